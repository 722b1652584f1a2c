//! Records of a delimited text file, one at a time.

use crate::source::file::{Line, Lines};
use std::io;
use std::ops::Range;
use std::path::Path;

/// The longest record, in bytes.
const RECORD_LIMIT: usize = 16 << 20;
/// In the order in which they win when equally many fields come of them.
const SEPARATORS: [u8; 4] = [b',', b'\t', b';', b'|'];
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// What stands between fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Separator {
    Byte(u8),
    /// Any run of spaces and tabs.
    Blanks,
}

/// The records of a file: quoted fields may hold separators, line ends and doubled quotes (RFC 4180). Empty lines
/// are passed over. Holds one record, never the file.
pub struct Records {
    lines: Lines,
    separator: Separator,
    /// Lines read.
    line: u64,
    record: Vec<u8>,
    /// The fields, unquoted, one after the other, and where each stands.
    text: Vec<u8>,
    fields: Vec<Range<usize>>,
}

/// Why a file is not made of records.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("the record that begins in line {line} is longer than {RECORD_LIMIT} bytes")]
    TooLong { line: u64 },
    #[error("a quoted field of the record that begins in line {line} has no end")]
    OpenQuote { line: u64 },
    #[error("the record that begins in line {line} is not UTF-8 text")]
    NotText { line: u64 },
}

impl Records {
    /// Opens a file; the separator is the one that makes most fields of the first line that is not empty.
    pub fn open(path: &Path) -> Result<Records, RecordError> {
        let mut first = Records::with(path, Separator::Byte(b','))?;
        let found = first.read_record()?;
        let separator = if found { separator(&first.record) } else { Separator::Byte(b',') };
        Records::with(path, separator)
    }

    fn with(path: &Path, separator: Separator) -> Result<Records, RecordError> {
        let lines = Lines::open(path, RECORD_LIMIT)?;
        let (record, text, fields) = (Vec::new(), Vec::new(), Vec::new());
        Ok(Records { lines, separator, line: 0, record, text, fields })
    }

    /// Goes to the next record; false at the end of the file.
    pub fn advance(&mut self) -> Result<bool, RecordError> {
        if !self.read_record()? {
            return Ok(false);
        }
        if std::str::from_utf8(&self.record).is_err() {
            return Err(RecordError::NotText { line: self.line });
        }
        let Records { record, text, fields, .. } = self;
        text.clear();
        fields.clear();
        match self.separator {
            Separator::Byte(separator) => split(record, separator, text, fields),
            Separator::Blanks => {
                for word in record.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()) {
                    push(word, text, fields);
                }
            }
        }
        Ok(true)
    }

    /// The number of fields of the present record.
    pub fn len(&self) -> usize {
        self.fields.len()
    }

    /// The fields of the present record, without quotes and surrounding blanks.
    pub fn fields(&self) -> impl Iterator<Item = &str> {
        self.fields.iter().map(|range| self.field_in(range.clone()))
    }

    /// One field of the present record; empty when it has none there.
    pub fn field(&self, index: usize) -> &str {
        self.fields.get(index).map_or("", |range| self.field_in(range.clone()))
    }

    fn field_in(&self, range: Range<usize>) -> &str {
        // Whole fields of valid text, cut at ASCII characters.
        std::str::from_utf8(&self.text[range]).unwrap_or_default().trim()
    }

    /// The line in which the present record ends, from 1.
    pub fn line(&self) -> u64 {
        self.line
    }

    /// Reads one record, of more than one line while a quote is open.
    fn read_record(&mut self) -> Result<bool, RecordError> {
        self.record.clear();
        let (mut begun, mut open) = (0, false);
        loop {
            let line = match self.lines.next_line()? {
                None if begun == 0 => return Ok(false),
                None => return Err(RecordError::OpenQuote { line: begun }),
                Some(Line::TooLong) => return Err(RecordError::TooLong { line: self.line + 1 }),
                Some(Line::Whole(line)) => line,
            };
            self.line += 1;
            let line = if self.line == 1 { line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line) } else { line };
            if begun == 0 {
                if line.iter().all(u8::is_ascii_whitespace) {
                    continue;
                }
                begun = self.line;
            } else {
                self.record.push(b'\n');
            }
            self.record.extend_from_slice(line);
            if self.record.len() > RECORD_LIMIT {
                return Err(RecordError::TooLong { line: begun });
            }
            open = match self.separator {
                Separator::Byte(separator) => ends_in_quotes(line, separator, open),
                Separator::Blanks => false,
            };
            if !open {
                return Ok(true);
            }
        }
    }
}

/// Whether a quoted field goes on in the next line; `open`: one goes on in this.
fn ends_in_quotes(line: &[u8], separator: u8, mut open: bool) -> bool {
    let mut rest = line;
    loop {
        if open {
            let Some(quote) = rest.iter().position(|byte| *byte == b'"') else { return true };
            rest = &rest[quote + 1..];
            if let Some(after) = rest.strip_prefix(b"\"") {
                rest = after;
                continue;
            }
            open = false;
        } else {
            rest = rest.trim_ascii_start();
            if let Some(after) = rest.strip_prefix(b"\"") {
                (rest, open) = (after, true);
                continue;
            }
        }
        match rest.iter().position(|byte| *byte == separator) {
            Some(end) => rest = &rest[end + 1..],
            None => return false,
        }
    }
}

fn separator(record: &[u8]) -> Separator {
    let fields = |separator: u8| {
        let (mut text, mut fields) = (Vec::new(), Vec::new());
        split(record, separator, &mut text, &mut fields);
        fields.len()
    };
    let most = SEPARATORS.iter().copied().rev().max_by_key(|&separator| fields(separator)).unwrap_or(b',');
    let words = record.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    let numbers = words.clone().filter(|word| is_number(word)).count();
    match fields(most) {
        1 if words.count() > 1 && numbers > 0 => Separator::Blanks,
        _ => Separator::Byte(most),
    }
}

fn is_number(word: &[u8]) -> bool {
    std::str::from_utf8(word).is_ok_and(|word| word.parse::<f64>().is_ok())
}

/// Splits a record. A field is quoted when its first character besides blanks is a quote.
fn split(record: &[u8], separator: u8, text: &mut Vec<u8>, fields: &mut Vec<Range<usize>>) {
    let mut rest = record;
    loop {
        let blanks = rest.iter().take_while(|byte| **byte == b' ').count();
        if rest.get(blanks) == Some(&b'"') {
            let start = text.len();
            let mut at = blanks + 1;
            while at < rest.len() {
                match (rest[at], rest.get(at + 1)) {
                    (b'"', Some(b'"')) => at += 1,
                    (b'"', _) => break,
                    _ => {}
                }
                text.push(rest[at]);
                at += 1;
            }
            fields.push(start..text.len());
            rest = &rest[at.min(rest.len())..];
            // What follows a closing quote before the separator belongs to no field.
            match rest.iter().position(|byte| *byte == separator) {
                Some(end) => rest = &rest[end + 1..],
                None => return,
            }
        } else {
            match rest.iter().position(|byte| *byte == separator) {
                Some(end) => {
                    push(&rest[..end], text, fields);
                    rest = &rest[end + 1..];
                }
                None => return push(rest, text, fields),
            }
        }
    }
}

fn push(field: &[u8], text: &mut Vec<u8>, fields: &mut Vec<Range<usize>>) {
    let start = text.len();
    text.extend_from_slice(field);
    fields.push(start..text.len());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(text: &str) -> Result<Vec<Vec<String>>, RecordError> {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), text).expect("written");
        let mut records = Records::open(file.path())?;
        let mut found = Vec::new();
        while records.advance()? {
            found.push(records.fields().map(str::to_owned).collect());
            assert_eq!(records.field(records.len()), "");
        }
        Ok(found)
    }

    #[test]
    fn fields_are_split_as_files_write_them() {
        let expected = [["a", "b"], ["1", "2"]];
        for text in [
            "a,b\n1,2\n",
            "\u{feff}a,b\r\n1,2",
            "a;b\n\n1; 2\n",
            "a\tb\n1\t2\n",
            "a|b\n1|2\n",
            "\"a\",\"b\"\n\"1\" ,2\n",
        ] {
            assert_eq!(records(text).unwrap(), expected, "{text}");
        }
        assert_eq!(records("1.5  2\n3\t4\n").unwrap(), [["1.5", "2"], ["3", "4"]]);
        assert_eq!(records("one column\nof text\n").unwrap(), [["one column"], ["of text"]]);
        assert!(records("").unwrap().is_empty());
    }

    #[test]
    fn quotes_keep_separators_line_ends_and_quotes() {
        let found = records("x,y\n\"a,\"\"b\"\"\nc\",2\n,\n").unwrap();
        assert_eq!(records("x,y\n5\" pipe,2\n").unwrap(), [["x", "y"], ["5\" pipe", "2"]]);
        assert_eq!(found, [vec!["x", "y"], vec!["a,\"b\"\nc", "2"], vec!["", ""]]);
    }

    #[test]
    fn what_is_no_record_is_said_with_its_line() {
        let error = |text: &str| records(text).unwrap_err().to_string();
        assert_eq!(error("a,b\n1,\"2\n3\n"), "a quoted field of the record that begins in line 2 has no end");
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), b"a\n\xff\xfe\n").expect("written");
        let mut records = Records::open(file.path()).unwrap();
        records.advance().unwrap();
        assert_eq!(
            records.advance().unwrap_err().to_string(),
            "the record that begins in line 2 is not UTF-8 text"
        );
    }
}
