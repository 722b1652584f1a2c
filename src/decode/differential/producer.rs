//! Events as a few producers write them, each always with the same keys in the same order, and the same
//! events damaged byte by byte.

use super::generate::Generator;
use crate::event::fuzz::damage;
use fastrand::Rng;

/// One event of each producer. `%` and a letter stand for a value: a number `n`, a category `c`, a truth
/// value `b`, one of a score `l`, any text `s`, anything `x`, a time `t`, a role `r`, a unit `u`, an error `e`.
const PRODUCERS: [&str; 7] = [
    concat!(
        r#"{"request_id":%u,"timestamp":%t,"model":"fraud","model_version":"v1","role":%r,"unit":%u,"latency_ms":%n,"error":%e,"#,
        r#""features":{"amount":%n,"country":%c,"is_new":%b,"user.age":%n,"user.home.city":%c,"ключ":%b,"#,
        r#""a_long_name_of_more_than_sixteen_bytes":%n,"unwatched":%x},"predictions":{"score":%n,"class":%c},"labels":{"class":%c,"score":%l,"is_new":%b,"why":%s}}"#
    ),
    concat!(
        r#"{"request_id":%u,"timestamp":%t,"model":"fraud","model_version":"v2","role":%r,"latency_ms":%n,"#,
        r#""features":{"amount":%n,"country":%c,"is_new":%b,"user.age":%n,"user.home.city":%c,"ключ":%b,"#,
        r#""a_long_name_of_more_than_sixteen_bytes":%n,"unwatched":%x},"predictions":{"score":%n}}"#
    ),
    // json.dumps
    concat!(
        r#"{"model": "fraud", "model_version": "v1", "features": {"amount": %n, "age": %n, "is_new": %b, "#,
        r#""a.b": %n, "country": %c}, "predictions": {"score": %n, "user": {"age": %c, "name": %s}}, "#,
        r#""namespace": %r, "timestamp": %t, "request_id": %u, "unit": %u}"#
    ),
    // Keys sorted, so that the features come before the model; with labels.
    concat!(
        r#"{"features":{"a":%n,"amount":%n,"country":%c,"is_new":%b},"labels":{"class":%x},"model":"fraud","#,
        r#""model_version":"v2","namespace":"ml","trace":{"id":%s,"parts":[%n,%n]}}"#
    ),
    "{\n  \"model\" : \"fraud\",\n  \"model_version\" : \"v1\",\n  \"predictions\" : {\n    \"score\" : %n\n  },\r\n\t\"features\" : {}\n}\n",
    r#" {"model_version":"v2","model":"fraud","labels":{"class":%x,"score":%x},"features":null,"predictions":{"class":%c,"is_new":%b,"score":%n}}"#,
    // A label that comes by itself.
    r#"{"request_id":%u,"model":"fraud","model_version":"v1","timestamp":%t,"labels":{"class":%c,"is_new":%b,"user.age":%c,"score":%l}}"#,
];

/// What makes a difference to a parser.
const MARKS: &[u8] = b"{}[]\",:\\0123456789.e+- \n\t";

pub(super) struct Producer {
    random: Rng,
    values: Generator,
    /// Of [`PRODUCERS`]: a partition mostly holds a few events of one, then of another.
    current: usize,
}

impl Producer {
    pub(super) fn with_seed(seed: u64) -> Producer {
        Producer { random: Rng::with_seed(seed), values: Generator::with_seed(!seed), current: 0 }
    }

    pub(super) fn ends_batch(&mut self) -> bool {
        self.random.u8(..40) == 0
    }

    /// An event whose values are what they should be, or null.
    pub(super) fn plain(&mut self) -> Vec<u8> {
        self.event(0).into_bytes()
    }

    /// An event with values of all kinds and spellings now and then.
    pub(super) fn unusual(&mut self) -> Vec<u8> {
        self.event(6).into_bytes()
    }

    /// An event of which up to three places are changed, two times in five.
    pub(super) fn damaged(&mut self) -> Vec<u8> {
        let mut text = self.event(0).into_bytes();
        if self.random.u8(..5) < 2 {
            for _ in 0..self.random.u8(1..4) {
                damage(&mut self.random, &mut text, MARKS);
            }
        }
        text
    }

    fn event(&mut self, percent_unusual: u8) -> String {
        if self.random.u8(..8) == 0 {
            self.current = self.random.usize(..PRODUCERS.len());
        }
        let mut parts = PRODUCERS[self.current].split('%');
        let mut text = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let (kind, rest) = part.split_at(1);
            match self.random.u8(..100) < percent_unusual {
                true => text += &self.values.any_value(),
                false => self.value(kind, &mut text),
            }
            text += rest;
        }
        text
    }

    fn value(&mut self, kind: &str, text: &mut String) {
        if self.random.u8(..20) == 0 && kind != "s" {
            return text.push_str("null");
        }
        match kind {
            "n" => *text += &self.number(),
            "c" => {
                *text += self.pick(&[
                    "\"TH\"",
                    "\"FR\"",
                    "\"DE\"",
                    "\"\"",
                    "\"a name of some length\"",
                    "\"ภาษา\"",
                ])
            }
            "b" => *text += self.pick(&["true", "false"]),
            "l" => {
                *text += self.pick(&["true", "false", "1", "0", "1.0", "-0.0", "1e0", "0.5", "2", "\"1\""])
            }
            "r" => *text += self.pick(&["\"stable\"", "\"canary\"", "\"ml\"", "\"\""]),
            "t" => *text += self.pick(&["\"2026-11-23T10:00:00.123Z\"", "1795428000123", "1795428000.25"]),
            "e" => *text += self.pick(&["false", "0", "0.0", "\"\"", "\"timeout\"", "503", "true", "{}"]),
            "u" if self.random.bool() => {
                let hex: String = (0..self.random.usize(..40)).map(|_| self.random.digit(16)).collect();
                *text += &format!("\"{hex}\"");
            }
            "u" => *text += self.pick(&["\"user-7\"", "\"\"", "\"ผู้ใช้\"", "77", "-3", "77.0", "0.5", "[1]"]),
            "s" => {
                let hex: String = (0..self.random.usize(..40)).map(|_| self.random.digit(16)).collect();
                *text += &format!("\"{hex}{}\"", self.pick(&["", "", "\\n", "\\u00e9", "é", "\\\\"]));
            }
            _ => {
                *text +=
                    self.pick(&["1", "\"x\"", "[1, {\"a\":[]}]", "{\"user\":{\"age\":null}}", "true", "[ ]"])
            }
        }
    }

    /// A number that every reader takes: no integer beyond 64 bits, no double beyond the range.
    fn number(&mut self) -> String {
        let bits = f64::from_bits(self.random.u64(..));
        match self.random.u8(..8) {
            0 => format!("{:.4}", self.random.f64() * 100.0),
            1 => format!("{:.6}", self.random.f64() - 0.5),
            2 => format!("{:?}", self.random.f64() * 1e3),
            3 => self.random.i32(..).to_string(),
            4 => (self.random.i64(..) >> self.random.u8(..64)).to_string(),
            5 => format!("{}.{}", self.random.u64(..) >> 4, self.random.u64(..) >> self.random.u8(..64)),
            6 if bits.is_finite() => format!("{bits:e}"),
            _ => self.random.u8(..).to_string(),
        }
    }

    fn pick(&mut self, texts: &[&'static str]) -> &'static str {
        texts[self.random.usize(..texts.len())]
    }
}
