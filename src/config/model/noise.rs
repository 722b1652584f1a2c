//! `[[model.noise]]`: how far the windows of a series usually stray, as a person accepted it.

use crate::baseline::{AcceptedNoise, SCALES, Tolerance};
use crate::config::reader::Reader;

/// The keys of [`SCALES`].
const KEYS: [&str; 4] = ["1", "4", "16", "64"];
/// The largest PSI that may be accepted.
const LARGEST_PSI: f64 = 100.0;

/// All entries of a model. They are of a budget: with plain thresholds they would have no effect and are refused.
pub(super) fn read_noise(model: &Reader) -> Vec<AcceptedNoise> {
    let plain = model.find("mode").is_some_and(|mode| mode.value.as_str() == Some("thresholds"));
    if let Some(found) = model.find("noise").filter(|found| plain && found.value.is_array()) {
        model.refuse(&found, "has no effect in this mode", "expected mode = \"budget\" beside it");
    }
    let mut all: Vec<AcceptedNoise> = Vec::new();
    for entry in model.tables("noise") {
        let noise = read_entry(&entry);
        let twice = all.iter().any(|one| one.series == noise.series && !noise.series.is_empty());
        if let Some(at) = entry.find("series").filter(|_| twice) {
            let problem = format!("\"{}\" is there twice", noise.series);
            entry.refuse(&at, problem, "expected one entry per series");
        }
        entry.finish();
        all.push(noise);
    }
    all
}

fn read_entry(entry: &Reader) -> AcceptedNoise {
    if entry.find("series").is_none() {
        entry.missing("series", "a feature or prediction of a baseline");
    }
    let (ks, psi) = (read_scales(entry, "ks", 1.0), read_scales(entry, "psi", LARGEST_PSI));
    if entry.find("ks").is_none() && entry.find("psi").is_none() {
        entry.missing("ks", "what `tidegate noise` proposes, e.g. { 1 = 0.05, 4 = 0.04 }, or psi");
    }
    let said = |at: usize| ks[at].is_some() || psi[at].is_some();
    let tolerance = |at: usize| Tolerance {
        scale: SCALES[at],
        // Nothing said: what is no drift of any series.
        delta: ks[at].unwrap_or_default(),
        blocks: 0,
        psi: psi[at],
    };
    AcceptedNoise {
        series: entry.string("series").unwrap_or_default(),
        tolerances: (0..SCALES.len()).filter(|&at| said(at)).map(tolerance).collect(),
    }
}

/// What is said of each scale, a number above 0 and at most `high`.
fn read_scales(entry: &Reader, key: &'static str, high: f64) -> [Option<f64>; 4] {
    let Some(found) = entry.find(key) else { return [None; 4] };
    let scales = entry.table_of(&found);
    if found.value.is_table() && scales.entries().is_empty() {
        entry.refuse(
            &found,
            "is empty",
            "expected panes of a window and a number, e.g. { 1 = 0.05, 4 = 0.04 }",
        );
    }
    let read = KEYS.map(|panes| scales.find(panes).map(|_| scales.positive(panes, high, high)));
    scales.finish();
    read
}
