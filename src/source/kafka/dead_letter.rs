//! Messages that could not be used, on their way to the dead-letter topic: as they came, with headers that
//! say where from and why (streaming.md §5).

use super::{BorrowedRecord, Outgoing};

/// Larger payloads are cut: the source log keeps the full copy, and librdkafka refuses messages above
/// `message.max.bytes` (1,000,000), which would fail the whole flush.
pub const MAX_PAYLOAD: usize = 512 * 1024;
/// Larger keys are cut.
pub const MAX_KEY: usize = 16 * 1024;
/// Names and values of the message's own headers together; the ones beyond it are left out.
pub const MAX_HEADER_BYTES: usize = 64 * 1024;
/// The message's own headers; further ones are left out.
pub const MAX_HEADERS: usize = 256;

/// Held in memory for a letter beside its bytes: the structure itself and its allocations.
const OVERHEAD: usize = 512;
/// Likewise for one header.
const HEADER_OVERHEAD: usize = 96;

/// A header's name and value.
pub type HeaderPair = (String, Option<Vec<u8>>);

/// What of a message did not go into its dead letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cut {
    pub value: bool,
    pub key: bool,
    pub headers: bool,
}

/// A message that was not usable, copied out of the fetch buffer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    pub topic: String,
    pub partition: i32,
    pub offset: i64,
    pub timestamp: Option<i64>,
    pub key: Option<Vec<u8>>,
    pub payload: Option<Vec<u8>>,
    pub headers: Vec<HeaderPair>,
    pub cut: Cut,
    /// The outcome's name, e.g. `unreadable`.
    pub code: &'static str,
    /// What is wrong, without payload values.
    pub message: String,
}

impl DeadLetter {
    /// A copy of the record within the caps: with Tidegate's own headers it stays below 700 KiB.
    pub fn new(record: &BorrowedRecord<'_>, code: &'static str, message: String) -> DeadLetter {
        let (headers, headers_cut) = record.headers(MAX_HEADERS, MAX_HEADER_BYTES);
        let (key, key_cut) = capped(record.key(), MAX_KEY);
        let (payload, value_cut) = capped(record.payload(), MAX_PAYLOAD);
        DeadLetter {
            topic: record.topic().to_owned(),
            partition: record.partition(),
            offset: record.offset(),
            timestamp: record.timestamp(),
            key,
            payload,
            headers,
            cut: Cut { value: value_cut, key: key_cut, headers: headers_cut },
            code,
            message,
        }
    }

    /// Leaves only what Tidegate says about the message: for a topic that refuses more.
    pub fn strip(&mut self) {
        self.cut.value |= self.payload.take().is_some();
        self.cut.key |= self.key.take().is_some();
        self.cut.headers |= !self.headers.is_empty();
        self.headers.clear();
    }

    /// Bytes held in memory for it.
    pub fn size(&self) -> usize {
        let value = |bytes: &Option<Vec<u8>>| bytes.as_ref().map_or(0, Vec::len);
        let header = |(name, held): &HeaderPair| HEADER_OVERHEAD + name.len() + value(held);
        let headers: usize = self.headers.iter().map(header).sum();
        OVERHEAD + value(&self.key) + value(&self.payload) + headers
    }

    /// The record for the dead-letter topic.
    pub fn into_record(self, dead_letter_topic: &str, instance: &str) -> Outgoing {
        let own = headers_of(&self, instance);
        let mut headers = self.headers;
        headers.extend(own);
        Outgoing {
            topic: dead_letter_topic.to_owned(),
            partition: None,
            key: self.key,
            payload: self.payload,
            timestamp: self.timestamp,
            headers,
        }
    }
}

fn capped(bytes: Option<&[u8]>, most: usize) -> (Option<Vec<u8>>, bool) {
    let cut = bytes.is_some_and(|bytes| bytes.len() > most);
    (bytes.map(|bytes| bytes[..bytes.len().min(most)].to_vec()), cut)
}

impl Cut {
    /// `value`, `key`, `headers`: what was cut, comma separated.
    fn names(self) -> String {
        let parts = [(self.value, "value"), (self.key, "key"), (self.headers, "headers")];
        let names: Vec<&str> = parts.iter().filter(|(cut, _)| *cut).map(|(_, name)| *name).collect();
        names.join(",")
    }
}

/// Tidegate's headers, and the six of Kafka Streams (KIP-1034) that tools know. All values are UTF-8.
pub fn headers_of(letter: &DeadLetter, instance: &str) -> Vec<HeaderPair> {
    let own = [
        ("topic", letter.topic.clone()),
        ("partition", letter.partition.to_string()),
        ("offset", letter.offset.to_string()),
        ("stage", "decode".to_owned()),
        ("code", letter.code.to_owned()),
        ("message", letter.message.clone()),
        ("schema", "tidegate.event.v1".to_owned()),
        ("attempt", "1".to_owned()),
        ("instance", instance.to_owned()),
        ("truncated", (letter.cut != Cut::default()).to_string()),
        ("cut", letter.cut.names()),
    ];
    let streams = [
        ("exception", letter.code.to_owned()),
        ("stacktrace", String::new()),
        ("message", letter.message.clone()),
        ("topic", letter.topic.clone()),
        ("partition", letter.partition.to_string()),
        ("offset", letter.offset.to_string()),
    ];
    let header = |prefix: &str, name: &str, value: String| {
        (format!("__{prefix}.errors.{name}"), Some(value.into_bytes()))
    };
    let own = own.into_iter().map(|(name, value)| header("tidegate", name, value));
    own.chain(streams.into_iter().map(|(name, value)| header("streams", name, value))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letter() -> DeadLetter {
        DeadLetter {
            topic: "events".to_owned(),
            partition: 3,
            offset: 41,
            timestamp: Some(5),
            key: Some(b"k".to_vec()),
            payload: Some(vec![b'x'; MAX_PAYLOAD]),
            headers: vec![("trace".to_owned(), Some(vec![b'y'; 100]))],
            cut: Cut { value: true, ..Cut::default() },
            code: "unreadable",
            message: "not JSON".to_owned(),
        }
    }

    fn text(record: &Outgoing, name: &str) -> String {
        let found = record.headers.iter().find(|(header, _)| header == name);
        let value = found.and_then(|(_, value)| value.clone()).unwrap_or_else(|| panic!("header {name}"));
        String::from_utf8(value).expect("UTF-8")
    }

    #[test]
    fn a_cut_letter_says_what_was_cut() {
        let record = letter().into_record("dead", "a");
        assert_eq!(text(&record, "__tidegate.errors.truncated"), "true");
        assert_eq!(text(&record, "__tidegate.errors.cut"), "value");
        assert_eq!(text(&record, "__tidegate.errors.offset"), "41");
        assert_eq!(record.payload.map(|value| value.len()), Some(MAX_PAYLOAD));
        let whole = DeadLetter { cut: Cut::default(), ..letter() }.into_record("dead", "a");
        assert_eq!(text(&whole, "__tidegate.errors.truncated"), "false");
        assert_eq!(text(&whole, "__tidegate.errors.cut"), "");
    }

    #[test]
    fn a_stripped_letter_keeps_where_it_is_from_and_why() {
        let mut letter = letter();
        let whole = letter.size();
        letter.strip();
        assert!(letter.size() < 1_024 && whole > MAX_PAYLOAD);
        let record = letter.into_record("dead", "a");
        assert_eq!((&record.key, &record.payload, record.timestamp), (&None, &None, Some(5)));
        assert_eq!(text(&record, "__tidegate.errors.cut"), "value,key,headers");
        assert_eq!(text(&record, "__tidegate.errors.partition"), "3");
        assert_eq!(text(&record, "__streams.errors.exception"), "unreadable");
        assert!(record.headers.iter().all(|(name, _)| name.starts_with("__")), "none of the message's own");
    }
}
