//! What `tidegate panes` refuses, and what it prints although it is no longer configured.

use super::panes::*;
use crate::config::{Config, MINIMAL, parse};
use crate::http::archive::{Archive, PanesError, PanesQuery};
use crate::http::panes::holds;
use crate::judge::accounting::Accounting;
use crate::judge::fixture;
use crate::tally::record::{Counts, PaneRecord, RoleCount};
use clap::{Args, Command, FromArgMatches};
use std::path::Path;

fn args(more: &[&str]) -> PanesArgs {
    let words = ["panes", "t.toml", "--model", "fraud", "--from", "1970-01-01T00:00:00Z"];
    let words = [&words[..], &["--to", "1970-01-02T00:00:00Z"], more].concat();
    let matches = PanesArgs::augment_args(Command::new("panes")).try_get_matches_from(words);
    PanesArgs::from_arg_matches(&matches.expect("the words fit")).expect("the values fit")
}

/// A configuration of version v1 alone.
fn config() -> Config {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("fraud-v1.parquet"), "").expect("a file");
    parse(MINIMAL, Path::new("t.toml"), folder.path()).expect("a configuration")
}

/// One pane of version v0, with the series `amount`.
struct Fake;

impl Archive for Fake {
    fn accounting(&self) -> Result<Accounting, String> {
        Err("nobody asks".to_owned())
    }

    fn panes(&self, query: &PanesQuery) -> Result<Vec<PaneRecord>, PanesError> {
        let version = "v0".to_owned();
        if query.version.as_ref().is_some_and(|wanted| *wanted != version) {
            return Ok(Vec::new());
        }
        let head = PaneRecord { version, pane_len: 60_000, panes: 1, filled: 1, ..PaneRecord::default() };
        let roles = Some(RoleCount { stable: 3, ..RoleCount::default() });
        let counts = Some(Counts { rows: 3, cells: vec![1, 3], ..Counts::default() });
        let series = "amount".to_owned();
        Ok(vec![PaneRecord { roles, ..head.clone() }, PaneRecord { series, counts, ..head }])
    }
}

#[test]
fn a_version_is_refused_when_it_is_neither_configured_nor_found() {
    let config = config();
    let of = |version: &str| counted(&args(&["--version", version]), &config, &Fake);
    let refused = of("v9").expect_err("unknown").to_string();
    assert_eq!(
        refused,
        "version v9 of model fraud is not configured, and no pane of this time is of it; configured: v1"
    );
    assert_eq!(of("v1").expect("configured").len(), 0);
    let gone = of("v0").expect("no longer configured, but there");
    assert_eq!((gone.len(), gone[0].events.stable), (1, 3));
    // What is not configured cannot be judged.
    let judged = args(&["--judge", "--version", "v0"]);
    let refused = configured_version(&judged, &config.models[0], "").expect_err("no baseline");
    assert_eq!(refused.to_string(), "version v0 of model fraud is not configured; configured: v1");
}

#[test]
fn a_series_is_refused_when_no_baseline_and_no_pane_has_it() {
    let (config, model) = (config(), fixture::watched(true));
    let panes = counted(&args(&[]), &config, &Fake).expect("panes");
    assert!(holds(&panes, "amount") && !holds(&panes, "nope"));
    let known = |series: &str| known_series(&args(&[]), &model, series);
    assert!(known("amount").is_ok() && known("score").is_ok());
    let refused = known("nope").expect_err("unknown").to_string();
    assert!(refused.starts_with("series nope of model fraud is in no baseline"), "{refused}");
    assert!(refused.contains("amount, ") && refused.contains("score"), "{refused}");
    assert_eq!(refused.matches("amount").count(), 1, "each name once: {refused}");
}

#[test]
fn a_time_that_is_none_is_told_once_with_what_would_be_one() {
    let refused = |text: &str| time("--from", text).expect_err(text).to_string();
    assert_eq!(refused("2026-11-25"), "--from 2026-11-25 is no RFC 3339 time, as 2026-11-25T00:00:00Z is");
    assert_eq!(
        refused("2026-11-25T10:30"),
        "--from 2026-11-25T10:30 is no RFC 3339 time, as 2026-11-25T10:30:00Z is"
    );
    assert!(refused("2026-11-25 10:30:05").ends_with("as 2026-11-25T10:30:05Z is"));
    assert!(refused("yesterday").ends_with("as 2026-11-23T10:00:00Z is"));
    assert_eq!(time("--to", "1970-01-01T00:00:01Z").expect("a time").0, 1_000);
}
