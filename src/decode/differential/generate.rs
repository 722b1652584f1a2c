//! Random event texts: mostly events, some of them broken on purpose.

use fastrand::Rng;

const NUMBERS: [&str; 23] = [
    "0",
    "1",
    "-0",
    "-0.0",
    "7",
    "-12",
    "1.5",
    "1e3",
    "-2.5E-3",
    "0.1",
    "3.141592653589793238462643",
    "9007199254740993",
    "9223372036854775807",
    "-9223372036854775808",
    "18446744073709551615",
    "18446744073709551616",
    "-9223372036854775809",
    "123456789012345678901234567890",
    "1.7976931348623157e308",
    "5e-324",
    "1e-400",
    "2.2250738585072011e-308",
    "123456789012345678901234567890.5",
];
const BROKEN: [&str; 14] = [
    "1e400", "-1e999", "NaN", "Infinity", "nan", "01", "1.", ".5", "+1", "tru", "nulll", "'x'", "\"\\x\"",
    "\"\t\"",
];
const TEXTS: [&str; 12] = [
    "TH",
    "FR",
    "DE",
    "",
    "NaN",
    "1",
    "ภาษาไทย",
    "🦀",
    "a\"b\\c/",
    "\u{0}\u{1f}",
    "\u{7f}\u{2028}",
    "T\u{301}H",
];
const FEATURES: [&str; 16] = [
    "amount",
    "country",
    "is_new",
    "user",
    "user.age",
    "user.home",
    "user.home.city",
    "ключ",
    "a_long_name_of_more_than_sixteen_bytes",
    "age",
    "home.city",
    "",
    ".",
    "amount.x",
    "class",
    "unwatched",
];
const TIMES: [&str; 12] = [
    "\"2026-11-23T10:00:00.123Z\"",
    "\"2026-11-23T11:00:00+01:00\"",
    "\"2026-11-23t09:59:59.9999z\"",
    "\"2026-11-23T10:00:00+25:00\"",
    "\"yesterday\"",
    "1795428000123",
    "1795428000.25",
    "1795428000123456789",
    "1.795428e9",
    "99999999999999999999",
    "true",
    "null",
];

pub(super) struct Generator {
    random: Rng,
}

impl Generator {
    pub(super) fn with_seed(seed: u64) -> Generator {
        Generator { random: Rng::with_seed(seed) }
    }

    pub(super) fn ends_batch(&mut self) -> bool {
        self.random.u8(..12) == 0
    }

    /// The text of an event, one in three of them damaged.
    pub(super) fn payload(&mut self) -> Vec<u8> {
        let mut text = self.event().into_bytes();
        if self.chance(33) {
            self.damage(&mut text);
        }
        text
    }

    /// A value of any kind, also a broken one.
    pub(super) fn any_value(&mut self) -> String {
        match self.random.u8(..4) {
            0 => self.pick(&NUMBERS).to_owned(),
            1 => self.pick(&TIMES).to_owned(),
            2 if self.chance(20) => self.pick(&BROKEN).to_owned(),
            _ => self.value(2),
        }
    }

    fn chance(&mut self, percent: u8) -> bool {
        self.random.u8(..100) < percent
    }

    fn pick<'a>(&mut self, texts: &[&'a str]) -> &'a str {
        texts[self.random.usize(..texts.len())]
    }

    fn damage(&mut self, text: &mut Vec<u8>) {
        let at = self.random.usize(..text.len());
        match self.random.u8(..9) {
            0 => text.truncate(at),
            1 => text.extend_from_slice(self.pick(&["x", "{}", ",", " \n", "\u{0}", "]", "}"]).as_bytes()),
            2 => drop(text.splice(..0, *b"\xef\xbb\xbf")),
            3 => text[at] = self.random.u8(..),
            4 => text[at] ^= 1 << self.random.u8(..8),
            5 => drop(text.remove(at)),
            6 => text.insert(at, self.random.u8(..)),
            7 => text.insert(at, b"{}[]\",:\\0.e- \n"[self.random.usize(..14)]),
            _ => {
                let broken = self.pick(&BROKEN).as_bytes();
                drop(text.splice(at..at, broken.iter().copied()));
            }
        }
    }

    fn event(&mut self) -> String {
        let model = if self.chance(95) { "\"fraud\"" } else { "\"other\"" };
        let version = ["\"v1\"", "\"v1\"", "\"v2\"", "\"v2\"", "\"v9\"", "2"][self.random.usize(..6)];
        let mut fields = vec![("model", model.to_owned()), ("model_version", version.to_owned())];
        if self.chance(90) {
            fields.push(("features", self.content()));
        }
        if self.chance(50) {
            fields.push(("predictions", self.content()));
        }
        if self.chance(50) {
            fields.push(("timestamp", self.pick(&TIMES).to_owned()));
        }
        let others = [
            ("role", 30),
            ("namespace", 30),
            ("labels", 20),
            ("latency_ms", 30),
            ("error", 30),
            ("unit", 40),
            ("request_id", 40),
        ];
        for (name, percent) in others {
            if self.chance(percent) {
                let value = match name {
                    "labels" => self.content(),
                    "unit" | "request_id" | "error" => self.value(5),
                    "latency_ms" if self.chance(60) => self.value(5),
                    _ => self.pick(&["\"canary\"", "\"stable\"", "\"ml\"", "null", "3"]).to_owned(),
                };
                fields.push((name, value));
            }
        }
        self.repeat_or_drop(&mut fields);
        self.random.shuffle(&mut fields);
        let fields: Vec<String> =
            fields.iter().map(|(key, value)| format!("{}:{value}", self.string(key))).collect();
        format!("{{{}}}{}", fields.join(self.comma()), self.space())
    }

    /// Now and then a key stands twice with another value, or not at all.
    fn repeat_or_drop(&mut self, fields: &mut Vec<(&'static str, String)>) {
        let at = self.random.usize(..fields.len());
        if self.chance(15) {
            let value = if self.chance(50) { self.value(1) } else { self.content() };
            fields.push((fields[at].0, value));
        } else if self.chance(8) {
            fields.remove(at);
        }
    }

    /// What stands under `features` and its like: nearly always an object.
    fn content(&mut self) -> String {
        if self.chance(96) { self.object(0) } else { self.value(2) }
    }

    fn object(&mut self, depth: u8) -> String {
        let fields: Vec<String> = (0..self.random.usize(..9))
            .map(|_| {
                let key = if self.chance(15) { "score" } else { self.pick(&FEATURES) };
                format!("{}{}:{}{}", self.string(key), self.space(), self.space(), self.value(depth + 1))
            })
            .collect();
        format!("{{{}}}", fields.join(self.comma()))
    }

    fn value(&mut self, depth: u8) -> String {
        match self.random.u8(..if depth > 4 { 12 } else { 16 }) {
            0..3 => self.number(),
            3..5 => self.pick(&NUMBERS[..14]).to_owned(),
            5..8 => {
                let text = self.pick(&TEXTS);
                self.string(text)
            }
            8..10 => self.pick(&["true", "false"]).to_owned(),
            10 => "null".to_owned(),
            11 => match self.random.u8(..25) {
                0 => self.pick(&BROKEN).to_owned(),
                1 => self.pick(&NUMBERS).to_owned(),
                _ => self.number(),
            },
            12 => {
                let values: Vec<String> =
                    (0..self.random.usize(..4)).map(|_| self.value(depth + 1)).collect();
                format!("[{}]", values.join(","))
            }
            _ => self.object(depth),
        }
    }

    fn number(&mut self) -> String {
        let bits = f64::from_bits(self.random.u64(..));
        match self.random.u8(..5) {
            0 => format!("{:.4}", self.random.f64() * 100.0),
            1 => self.random.i64(..).to_string(),
            2 => self.random.u64(..).to_string(),
            3 if bits.is_finite() => format!("{bits:e}"),
            _ => format!("{}", self.random.f64() - 0.5),
        }
    }

    /// A JSON string; now and then a character is written as an escape although it need not be.
    fn string(&mut self, text: &str) -> String {
        let escapes = self.chance(10);
        let mut out = String::from("\"");
        for character in text.chars() {
            let must = matches!(character, '"' | '\\' | '\0'..'\u{20}');
            if must || (escapes && self.chance(40)) {
                let mut units = [0; 2];
                for unit in character.encode_utf16(&mut units) {
                    out += &format!("\\u{unit:04x}");
                }
            } else {
                out.push(character);
            }
        }
        if escapes && self.chance(6) {
            out +=
                self.pick(&["\\ud800", "\\udc00", "\\ud800\\u0041", "\\udc00\\ud800", "\\u12", "\\n", "\\/"]);
        }
        out + "\""
    }

    fn comma(&mut self) -> &'static str {
        self.pick(&[",", ",", ",", " , ", ",\n\t"])
    }

    fn space(&mut self) -> &'static str {
        self.pick(&["", "", "", " ", "\r\n"])
    }
}
