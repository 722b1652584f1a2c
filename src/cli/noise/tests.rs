use super::*;
use crate::baseline::file;
use crate::cells::Grid;
use crate::config::{MINIMAL, load_watch, parse};
use crate::judge::accounting::Accounting;
use crate::judge::fixture;
use crate::tally::record::{Counts, PaneRecord};
use clap::{Args, Command, FromArgMatches};
use std::path::Path;

const PANE_MS: i64 = 60_000;
const DAY: i64 = 1_440;

fn args(more: &[&str]) -> NoiseArgs {
    let words = [&["noise", "t.toml", "--model", "fraud", "--days", "1"], more].concat();
    let matches = NoiseArgs::augment_args(Command::new("noise")).try_get_matches_from(words);
    NoiseArgs::from_arg_matches(&matches.expect("the words fit")).expect("the values fit")
}

/// A configuration of version v1 alone, in its folder.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let baseline = fixture::baseline("v1", 1.0, true);
    file::write(&baseline, &folder.path().join("fraud-v1.parquet")).expect("written");
    folder
}

fn read(folder: &Path, more: &str) -> (Config, WatchedModel) {
    let config = parse(&format!("{MINIMAL}{more}"), Path::new("t.toml"), folder).expect("a configuration");
    let watch = load_watch(&config).expect("a baseline");
    (config, watch.models.into_iter().next().expect("a model"))
}

/// A day of v1, in which `amount` leans to either end every six hours, by `swing` at most, or nothing at all.
struct Fake {
    model: WatchedModel,
    swing: Option<f64>,
    error: Option<PanesError>,
}

impl Archive for Fake {
    fn accounting(&self) -> Result<Accounting, String> {
        Err("nobody asks".to_owned())
    }

    fn panes(&self, query: &PanesQuery) -> Result<Vec<PaneRecord>, PanesError> {
        if let Some(error) = &self.error {
            return Err(error.clone());
        }
        let Parts::These(parts) = &query.parts else { panic!("certain panes") };
        assert_eq!(query.version.as_deref(), Some("v1"));
        let one = &self.model.versions[0].series[0];
        let Grid::Numeric(grid) = &*one.reference.grid else { panic!("numbers") };
        let record = |(panes, start): &(u32, i64)| {
            let mut cells = vec![0; grid.cells()];
            for pane in 0..i64::from(*panes) {
                // A pane is the same in every sum that holds it.
                let pane = start / PANE_MS + pane;
                let mut rng = fastrand::Rng::with_seed(pane as u64);
                let lean =
                    self.swing.unwrap_or_default() * (std::f64::consts::TAU * pane as f64 / 360.0).sin();
                for at in 0..600 {
                    // Without a swing, no chance either.
                    let even = (f64::from(at) + 0.5) / 600.0;
                    let value = if self.swing == Some(0.0) { even } else { rng.f64().powf(lean.exp()) };
                    cells[grid.rank_one(value) as usize] += 1;
                }
            }
            PaneRecord {
                version: "v1".to_owned(),
                series: one.reference.name.clone(),
                grid_hash: one.grid_hash,
                start: *start,
                pane_len: PANE_MS,
                panes: *panes,
                complete: true,
                counts: Some(Counts { cells: crate::cells::runs::encode(&cells), ..Counts::default() }),
                ..PaneRecord::default()
            }
        };
        Ok(if self.swing.is_some() { parts.iter().map(record).collect() } else { Vec::new() })
    }
}

fn proposed(more: &[&str], swing: Option<f64>, error: Option<PanesError>) -> anyhow::Result<String> {
    let folder = folder();
    let (config, model) = read(folder.path(), "");
    let fake = Fake { model: model.clone(), swing, error };
    propose(&args(more), &config, &model, &fake, EventTime(DAY * PANE_MS))
}

#[test]
fn what_is_proposed_is_accepted_by_the_configuration() {
    let text = proposed(&[], Some(0.3), None).expect("a proposal");
    assert!(text.contains("# v1 from 1970-01-01T00:00:00.000Z to 1970-01-02T00:00:00.000Z"), "{text}");
    let (_, fragment) = text.split_once("[[model]] of fraud:\n").expect("what to add");
    let folder = folder();
    let (_, model) = read(folder.path(), fragment);
    let amount = &model.versions[0].series[0].reference;
    assert!(amount.traits.accepted, "{fragment}");
    assert_eq!(amount.traits.tolerances.iter().map(|one| one.scale).collect::<Vec<_>>(), SCALES);
    for one in &amount.traits.tolerances {
        assert!(
            (0.05..0.3).contains(&one.delta) && one.psi.is_some_and(|psi| (0.03..0.5).contains(&psi)),
            "{fragment}"
        );
    }
    assert!(!model.versions[0].series[1].reference.traits.accepted);
}

#[test]
fn traffic_within_the_defaults_leaves_nothing_to_accept() {
    let text = proposed(&["--series", "amount"], Some(0.0), None).expect("a proposal");
    assert!(text.contains("amount") && text.ends_with("there is nothing to accept.\n"), "{text}");
    assert!(!text.contains("[[model.noise]]"), "{text}");
}

#[test]
fn what_cannot_be_proposed_is_said_with_what_to_do() {
    let refused = |more: &[&str], error| proposed(more, None, error).expect_err("refused").to_string();
    assert!(refused(&[], None).contains("it takes 20 with 50 values"));
    assert!(refused(&[], Some(PanesError::TooMany(7))).contains("fewer --days"));
    assert_eq!(refused(&[], Some(PanesError::Unavailable("no broker".to_owned()))), "no broker");
    assert_eq!(
        refused(&["--version", "v9"], None),
        "version v9 of model fraud is not configured; configured: v1"
    );
    assert!(refused(&["--series", "nope"], None).contains("is not in the baseline of version v1"));
    assert!(refused(&["--until", "2026-11-25"], None).contains("--until 2026-11-25 is no RFC 3339 time"));
    let folder = folder();
    file::write(&fixture::baseline("v2", 1.0, true), &folder.path().join("v2.parquet")).expect("written");
    let text = MINIMAL.replace("v1.parquet\" }", "v1.parquet\", v2 = \"v2.parquet\" }");
    let config = parse(&text, Path::new("t.toml"), folder.path()).expect("a configuration");
    let model = load_watch(&config).expect("baselines").models.swap_remove(0);
    let fake = Fake { model: model.clone(), swing: None, error: None };
    let open = propose(&args(&[]), &config, &model, &fake, EventTime(0)).expect_err("which one?").to_string();
    assert_eq!(open, "which version serves is open: add --version, one of v1, v2");
}
