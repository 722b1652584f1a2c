//! Which columns of a stream are scanned.

use super::profile::{ColumnProfile, Profile};
use crate::stats::scan::ColumnKind;

/// The columns that are scanned, and what is to be said of the others.
#[derive(Debug, Default, PartialEq)]
pub struct Selection {
    /// Index in the file, and how it is compared.
    pub columns: Vec<(usize, ColumnKind)>,
    /// Sentences about columns that are left out, or kept and doubtful.
    pub notes: Vec<String>,
}

/// Every numeric column, or the ones that `wanted` names: by name, by index from 0, or by a range of indices such
/// as `0-25`. A named column without numbers is compared as categories. The errors are sentences.
pub fn select(profile: &Profile, wanted: Option<&str>) -> Result<Selection, Vec<String>> {
    let mut selection = Selection::default();
    let indices = match wanted {
        Some(wanted) => parse(profile, wanted)?,
        None => (0..profile.columns.len()).filter(|&index| profile.columns[index].is_numeric()).collect(),
    };
    for (index, column) in profile.columns.iter().enumerate() {
        if indices.contains(&index) {
            let note = doubt(column, wanted.is_some());
            selection.notes.extend(note.map(|note| format!("column {}: {note}", column.name)));
        } else if wanted.is_none() {
            let why = reason(column);
            selection.notes.push(format!("column {} is left out: {why}", column.name));
        }
    }
    for index in indices {
        let numeric = profile.columns[index].is_numeric();
        let kind = if numeric { ColumnKind::Numeric } else { ColumnKind::Category };
        selection.columns.push((index, kind));
    }
    match selection.columns.is_empty() {
        true => Err(vec![
            "The stream has no column of numbers; --columns names columns of categories.".to_owned(),
        ]),
        false => Ok(selection),
    }
}

fn reason(column: &ColumnProfile) -> String {
    match (column.numbers, column.texts) {
        (0, 0) => "it has no values".to_owned(),
        (0, texts) => format!("its {texts} values are categories; --columns takes it in"),
        (numbers, texts) => format!("only {numbers} of its {} values are numbers", numbers + texts),
    }
}

fn doubt(column: &ColumnProfile, named: bool) -> Option<String> {
    if column.is_clock() && !named {
        return Some("it only ever grows, as clocks and counters do, and will be found to drift; --columns can leave it out".to_owned());
    }
    if column.is_numeric() && column.texts > 0 {
        return Some(format!("{} values that are no numbers are taken as missing", column.texts));
    }
    None
}

fn parse(profile: &Profile, wanted: &str) -> Result<Vec<usize>, Vec<String>> {
    let (mut indices, mut errors): (Vec<usize>, Vec<String>) = (Vec::new(), Vec::new());
    for word in wanted.split(',').map(str::trim).filter(|word| !word.is_empty()) {
        match find(profile, word) {
            Ok(found) => {
                for index in found.filter(|index| !indices.contains(index)).collect::<Vec<_>>() {
                    indices.push(index);
                }
            }
            Err(error) => errors.push(error),
        }
    }
    if indices.is_empty() && errors.is_empty() {
        errors.push("--columns names no column.".to_owned());
    }
    if errors.is_empty() { Ok(indices) } else { Err(errors) }
}

fn find(profile: &Profile, word: &str) -> Result<std::ops::RangeInclusive<usize>, String> {
    let columns = &profile.columns;
    let mut named = (0..columns.len()).filter(|&index| profile.header && columns[index].name == word);
    match (named.next(), named.next()) {
        (Some(index), None) => return Ok(index..=index),
        (Some(_), Some(_)) => {
            return Err(format!("--columns: more than one column is called {word}; name it by its index."));
        }
        _ => {}
    }
    let (from, to) = word.split_once('-').unwrap_or((word, word));
    match (from.trim().parse::<usize>(), to.trim().parse::<usize>()) {
        (Ok(from), Ok(to)) if from <= to && to < columns.len() => Ok(from..=to),
        (Ok(_), Ok(_)) => Err(format!(
            "--columns: {word} is outside of the columns 0 to {}.",
            columns.len().saturating_sub(1)
        )),
        _ => {
            let names: Vec<&str> = columns.iter().take(20).map(|column| column.name.as_str()).collect();
            Err(format!("--columns: there is no column {word}; the columns are {}.", names.join(", ")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(header: bool) -> Profile {
        let column = |(index, name): (usize, &str)| ColumnProfile {
            name: if header { name.to_owned() } else { index.to_string() },
            numbers: if name == "class" { 0 } else { 100 },
            texts: if name == "class" { 100 } else { 0 },
            missing: 0,
            increasing: name == "time",
        };
        let columns = ["time", "a", "b-c", "class"].into_iter().enumerate().map(column).collect();
        Profile { rows: 100, header, columns }
    }

    fn indices(header: bool, wanted: Option<&str>) -> Vec<usize> {
        let selection = select(&stream(header), wanted).unwrap_or_else(|errors| panic!("{errors:?}"));
        selection.columns.into_iter().map(|(index, _)| index).collect()
    }

    #[test]
    fn columns_are_named_by_name_index_or_range() {
        assert_eq!(indices(true, None), [0, 1, 2]);
        assert_eq!(indices(true, Some("b-c, a")), [2, 1]);
        assert_eq!(indices(false, Some("0-2")), [0, 1, 2]);
        assert_eq!(indices(true, Some("1-1,1,a")), [1]);
        let class = select(&stream(true), Some("class")).unwrap();
        assert_eq!(class.columns, [(3, ColumnKind::Category)]);
    }

    #[test]
    fn what_is_left_out_or_doubtful_is_said() {
        let notes = select(&stream(true), None).unwrap().notes;
        assert_eq!(notes.len(), 2, "{notes:?}");
        assert!(notes[0].starts_with("column time: it only ever grows"));
        assert!(notes[1].starts_with("column class is left out: its 100 values are categories"));
    }

    #[test]
    fn each_unknown_column_is_one_sentence() {
        let errors = select(&stream(true), Some("x,9,2-1,a")).unwrap_err();
        assert_eq!(errors.len(), 3, "{errors:?}");
        assert_eq!(errors[0], "--columns: there is no column x; the columns are time, a, b-c, class.");
        assert_eq!(errors[1], "--columns: 9 is outside of the columns 0 to 3.");
        assert_eq!(select(&stream(true), Some(",")).unwrap_err(), ["--columns names no column."]);
    }
}
