//! What kind of values a series has (statistics.md §8.1).

use super::categorical::NameCounts;
use super::column::Values;
use crate::event::SeriesKind;
use serde::{Deserialize, Serialize};

/// A numeric series of at most so many distinct values is discrete.
const MOST_DISCRETE: u64 = 50;
/// As is one whose most frequent values, so many, cover [`COVERED`] of it.
const FREQUENT: usize = 20;
const COVERED: f64 = 0.95;

/// How a series' values are compared. More than its [`SeriesKind`], which says how they are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SeriesType {
    /// Numbers, by their order.
    Continuous,
    /// Numbers of which a few come again and again: counts, ratings, codes.
    Discrete,
    Categorical,
    Boolean,
}

impl SeriesType {
    pub const ALL: [SeriesType; 4] =
        [SeriesType::Continuous, SeriesType::Discrete, SeriesType::Categorical, SeriesType::Boolean];

    pub fn as_str(self) -> &'static str {
        match self {
            SeriesType::Continuous => "continuous",
            SeriesType::Discrete => "discrete",
            SeriesType::Categorical => "categorical",
            SeriesType::Boolean => "boolean",
        }
    }

    /// How values of this type are counted.
    pub fn kind(self) -> SeriesKind {
        match self {
            SeriesType::Continuous | SeriesType::Discrete => SeriesKind::Numeric,
            SeriesType::Categorical => SeriesKind::Categorical,
            SeriesType::Boolean => SeriesKind::Boolean,
        }
    }

    /// The type of a series with these counts per cell. Numbers are discrete when there are at most 50 distinct ones,
    /// or the 20 most frequent cover 95 %; and each comes twice on average, since a handful of rows says nothing.
    pub fn detect(kind: SeriesKind, counts: &[u64], distinct: u64) -> SeriesType {
        match kind {
            SeriesKind::Categorical => return SeriesType::Categorical,
            SeriesKind::Boolean => return SeriesType::Boolean,
            SeriesKind::Numeric => {}
        }
        let n: u64 = counts.iter().sum();
        if 2 * distinct > n {
            return SeriesType::Continuous;
        }
        // Every value of more than a 1,024th of the data is a cut, with a cell of its own.
        let mut ties: Vec<u64> = counts.iter().skip(1).step_by(2).copied().collect();
        ties.sort_unstable_by(|a, b| b.cmp(a));
        let frequent: u64 = ties.iter().take(FREQUENT).sum();
        if distinct <= MOST_DISCRETE || frequent as f64 >= COVERED * n as f64 {
            SeriesType::Discrete
        } else {
            SeriesType::Continuous
        }
    }
}

impl std::str::FromStr for SeriesType {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = SeriesType::ALL.into_iter().find(|one| one.as_str() == text);
        known.ok_or_else(|| format!("{text} is none of continuous, discrete, categorical, boolean"))
    }
}

/// The values as `wanted` has them. The error is why they cannot be.
pub(super) fn convert(values: Values, wanted: SeriesType) -> Result<Values, String> {
    match (values, wanted.kind()) {
        (values @ Values::Numeric(_), SeriesKind::Numeric)
        | (values @ Values::Categorical(_), SeriesKind::Categorical)
        | (values @ Values::Boolean(_), SeriesKind::Boolean) => Ok(values),
        (Values::Numeric(numbers), SeriesKind::Boolean) => {
            let mut counts = [0; 2];
            for number in numbers {
                let truth =
                    truth(number).ok_or("it holds numbers other than 0 and 1, which are not boolean")?;
                counts[usize::from(truth)] += 1;
            }
            Ok(Values::Boolean(counts))
        }
        (Values::Numeric(numbers), SeriesKind::Categorical) => {
            let mut names = NameCounts::default();
            let too_many = |_| "it holds too many different numbers for categories".to_owned();
            numbers.iter().try_for_each(|number| names.add(&name(*number))).map_err(too_many)?;
            Ok(Values::Categorical(names))
        }
        (Values::Boolean(counts), SeriesKind::Categorical) => {
            let mut names = NameCounts::default();
            names.add_times("false", counts[0]);
            names.add_times("true", counts[1]);
            Ok(Values::Categorical(names))
        }
        (Values::Categorical(_), _) => Err("its values are strings".to_owned()),
        (Values::Boolean(_), _) => Err("its values are booleans".to_owned()),
    }
}

/// What a number is as a boolean.
pub(super) fn truth(number: f64) -> Option<bool> {
    if number == 0.0 { Some(false) } else { (number == 1.0).then_some(true) }
}

/// What a number is called as a category: the shortest decimal, `7` for 7.0.
pub(super) fn name(number: f64) -> String {
    (number + 0.0).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_values_again_and_again_are_discrete() {
        let detect = |ties: &[u64], distinct| {
            let counts: Vec<u64> = ties.iter().flat_map(|tie| [0, *tie]).chain([0]).collect();
            SeriesType::detect(SeriesKind::Numeric, &counts, distinct)
        };
        assert_eq!(detect(&[100; 50], 50), SeriesType::Discrete);
        assert_eq!(detect(&[100; 51], 51), SeriesType::Continuous);
        let mut atoms = vec![5_000; 19];
        atoms.extend([2; 1_000]);
        assert_eq!(detect(&atoms, 1_019), SeriesType::Discrete, "19 values cover 97.9 %");
        atoms.extend([2; 1_600]);
        assert_eq!(detect(&atoms, 2_619), SeriesType::Continuous, "94.8 %");
        assert_eq!(detect(&[1; 40], 40), SeriesType::Continuous, "40 rows say nothing");
        assert_eq!(SeriesType::detect(SeriesKind::Boolean, &[1, 2], 2), SeriesType::Boolean);
    }

    #[test]
    fn types_are_read_as_they_are_written() {
        for one in SeriesType::ALL {
            assert_eq!(one.as_str().parse(), Ok(one));
            assert_eq!(serde_json::to_string(&one).expect("JSON"), format!("{:?}", one.as_str()));
        }
        assert!("number".parse::<SeriesType>().expect_err("unknown").contains("number is none of"));
    }
}
