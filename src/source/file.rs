//! Files of recorded events: one message a line.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

/// Bytes read from the file at once.
const BUFFER: usize = 1 << 20;

/// The lines of a file, as bytes. Holds one line and one buffer, never the file.
pub struct Lines {
    reader: BufReader<File>,
    /// The longest line that is handed over, in bytes.
    limit: usize,
    line: Vec<u8>,
    read: u64,
}

/// One line, without its end (`\n` or `\r\n`).
#[derive(Debug, PartialEq, Eq)]
pub enum Line<'a> {
    Whole(&'a [u8]),
    /// More bytes than the limit; they were passed over.
    TooLong,
}

impl Lines {
    /// # Errors
    /// When the file cannot be opened.
    pub fn open(path: &Path, limit: usize) -> io::Result<Lines> {
        let reader = BufReader::with_capacity(BUFFER, File::open(path)?);
        Ok(Lines { reader, limit, line: Vec::new(), read: 0 })
    }

    /// Bytes of the file that were read so far.
    pub fn bytes_read(&self) -> u64 {
        self.read
    }

    /// The next line; `None` at the end of the file. A last line needs no end.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn next_line(&mut self) -> io::Result<Option<Line<'_>>> {
        self.line.clear();
        let (mut begun, mut too_long) = (false, false);
        loop {
            let bytes = match self.reader.fill_buf() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                other => other?,
            };
            let end = bytes.iter().position(|byte| *byte == b'\n');
            let part = &bytes[..end.unwrap_or(bytes.len())];
            let last = end.is_some() || bytes.is_empty();
            begun |= !bytes.is_empty();
            // One byte more may be the `\r` of its end.
            if self.line.len() + part.len() > self.limit + 1 {
                too_long = true;
                self.line = Vec::new();
            } else if !too_long {
                self.line.extend_from_slice(part);
            }
            let used = part.len() + usize::from(end.is_some());
            self.reader.consume(used);
            self.read += used as u64;
            if last {
                break;
            }
        }
        if !begun {
            return Ok(None);
        }
        let line = self.line.strip_suffix(b"\r").unwrap_or(&self.line);
        Ok(Some(if too_long || line.len() > self.limit { Line::TooLong } else { Line::Whole(line) }))
    }
}

/// Whether a file holds JSON, one value a line: by its name (`ndjson`, `jsonl`, `json`), or because an object
/// begins it.
///
/// # Errors
/// When the file cannot be read.
pub fn holds_json_lines(path: &Path) -> io::Result<bool> {
    let named = path.extension().and_then(|extension| extension.to_str());
    if matches!(named, Some("ndjson" | "jsonl" | "json")) {
        return Ok(true);
    }
    let mut start = Vec::new();
    File::open(path)?.take(512).read_to_end(&mut start)?;
    Ok(start.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &[u8], limit: usize) -> Vec<Option<Vec<u8>>> {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), text).expect("written");
        let mut lines = Lines::open(file.path(), limit).expect("opened");
        let mut found = Vec::new();
        while let Some(line) = lines.next_line().expect("read") {
            found.push(match line {
                Line::Whole(bytes) => Some(bytes.to_vec()),
                Line::TooLong => None,
            });
        }
        assert_eq!(lines.bytes_read(), text.len() as u64);
        found
    }

    #[test]
    fn lines_end_as_files_end_them() {
        let some = |text: &str| Some(text.as_bytes().to_vec());
        assert_eq!(lines(b"", 10), []);
        assert_eq!(lines(b"a\nbc\r\n\nd", 10), [some("a"), some("bc"), some(""), some("d")]);
        assert_eq!(lines(b"a\n", 10), [some("a")]);
    }

    #[test]
    fn a_line_beyond_the_limit_is_passed_over_and_the_next_one_is_whole() {
        let mut text = vec![b'x'; 3 * BUFFER];
        text.extend_from_slice(b"\n12345\n123456\r\n1234567\n");
        let expected = [None, Some(b"12345".to_vec()), Some(b"123456".to_vec()), None];
        assert_eq!(lines(&text, 6), expected);
    }

    #[test]
    fn events_are_told_from_tables() {
        let folder = tempfile::tempdir().expect("a folder");
        let holds = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).expect("written");
            holds_json_lines(&path).expect("read")
        };
        assert!(holds("a.ndjson", "") && holds("b.log", "\n {\"model\":1}"));
        assert!(!holds("c.csv", "a,b\n1,2\n") && !holds("d", "PAR1"));
    }
}
