//! Labels from tables to windows, to what is stored, and to reports.

use super::fixture::{CONFIG, watched};
use super::labels::{Labelled, MAX_CLASSES, OutputLabels, report};
use super::stored::{cover, window};
use super::window::ModelWindow;
use super::*;
use crate::baseline::{Baseline, BaselineSeries, Rollout, VersionIndex, Watch, WatchedModel};
use crate::cells::{Categories, Grid};
use crate::decode::{Accepted, Column, LabelPair, ScorePair, Served, Table};
use crate::event::{EventTime, ModelId, NO_UNIT, Outcome, SeriesKind, SeriesOf};
use crate::tally::Tally;
use crate::tally::labels::Labels;
use crate::tally::record::{LabelCounts, PaneRecord};
use crate::tally::scores::Scores;
use crate::tally::tests::{PANE_MS, source, stamp, start};
use arrow::array::{DictionaryArray, Float64Array, Int64Array, StringArray, UInt8Array, UInt16Array};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

const VERSION: VersionIndex = VersionIndex { model: 0, version: 0 };
/// The place of `score` among the fixture's series.
const SCORE: u32 = 4;
/// The place of `class` among the fixture's series; its cells are legit, fraud, other and unseen.
const CLASS: u32 = 5;

fn watch() -> Arc<Watch> {
    Arc::new(Watch { models: vec![watched(true)] })
}

/// The answer and the label of the event at `time`: three in four have one, a tenth of those is wrong.
fn class_and_label(time: i64) -> (u16, Option<u16>) {
    let n = time / 100;
    let class = (n % 3 == 0) as u16;
    let label = if n % 10 == 1 { 1 - class } else { class };
    (class, (n % 4 != 0).then_some(label))
}

/// The score and the label of the event at `time`: `None`, it has none; `Some(None)`, it is unusable.
fn score_and_label(time: i64) -> (f64, Option<Option<bool>>) {
    let n = time / 100;
    let score = (n * 37 % 101) as f64 / 100.0;
    let truth = (n % 9 != 0).then_some((n * 53 % 97) as f64 / 97.0 < score);
    (score, (n % 4 != 1).then_some(truth))
}

fn bucket(time: i64) -> u8 {
    (time / 100 % (i64::from(NO_UNIT) + 1)) as u8
}

fn feed(tally: &mut Tally, times: &[i64]) {
    for time in times {
        let accepted = Accepted {
            version: VERSION,
            role: None,
            time: EventTime(*time),
            unit: bucket(*time),
            served: Served::default(),
            moves_watermark: true,
            foreign_namespace: false,
        };
        let offset = tally.next_offset(&source(0)).expect("started");
        tally.record(&source(0), offset, Outcome::Counted, Some(&accepted), EventTime(i64::MAX));
    }
    let classes: Vec<u16> = times.iter().map(|time| class_and_label(*time).0).collect();
    let names = StringArray::from(vec!["legit", "fraud", "other", "unseen"]);
    let array = DictionaryArray::try_new(UInt16Array::from(classes), Arc::new(names)).expect("cells");
    let pair = |(row, time): (usize, &i64)| {
        let (predicted, label) = class_and_label(*time);
        label.map(|truth| LabelPair { row: row as u32, series: CLASS, predicted, truth: Some(truth) })
    };
    let scores: Vec<f64> = times.iter().map(|time| score_and_label(*time).0).collect();
    let score_pair = |(row, time): (usize, &i64)| {
        let (score, label) = score_and_label(*time);
        label.map(|truth| ScorePair { row: row as u32, series: SCORE, score, truth })
    };
    let table = Table {
        version: VERSION,
        of: SeriesOf::Prediction,
        times: Int64Array::from(times.to_vec()),
        units: UInt8Array::from(times.iter().map(|time| bucket(*time)).collect::<Vec<u8>>()),
        columns: vec![
            Column { array: Arc::new(Float64Array::from(scores)), type_errors: vec![] },
            Column { array: Arc::new(array), type_errors: vec![] },
        ],
        labels: times.iter().enumerate().filter_map(pair).collect(),
        joins: Default::default(),
        scores: times.iter().enumerate().filter_map(score_pair).collect(),
    };
    tally.count(&[table]).expect("the columns fit");
}

/// What windows of `[from, to)` have to hold.
fn expected(watch: &Watch, from: i64, to: i64) -> Labels {
    let mut cells = [0; 9];
    for time in (from..to).step_by(100) {
        let (class, label) = class_and_label(time);
        if let Some(label) = label {
            cells[usize::from(3 * class + label)] += 1;
        }
    }
    let series = &watch.version(VERSION).series[CLASS as usize];
    let counts = LabelCounts {
        output: "class".to_owned(),
        grid_hash: series.grid_hash,
        pairs: crate::cells::runs::encode(&cells),
        ..LabelCounts::default()
    };
    let mut labels = Labels::default();
    assert!(labels.add(watch.version(VERSION), &[counts]));
    labels
}

fn expected_scores(watch: &Watch, from: i64, to: i64) -> Scores {
    let mut scores = Scores::default();
    for time in (from..to).step_by(100) {
        if let (score, Some(truth)) = score_and_label(time) {
            scores.note(watch.version(VERSION), SCORE as usize, bucket(time), score, truth);
        }
    }
    scores
}

/// 40 s of events, those of second 20 two seconds late; the judge is replaced at its state three times.
#[test]
fn windows_and_stored_panes_hold_the_labels_of_their_time_also_late_and_after_a_restart() {
    let watch = watch();
    let expected_sources = BTreeSet::from([source(0)]);
    let mut judge = Judge::new(CONFIG, watch.clone(), expected_sources.clone(), 0);
    let mut tally = Tally::new(watch.clone(), PANE_MS);
    tally.start_source(start(0, 0));
    let mut log: Vec<_> = Tally::init_markers(&stamp("init", 0), &[start(0, 0)]).into_iter().collect();
    for time in (0..40_000).step_by(100) {
        let late = if (22_500..23_500).contains(&time) { Some(time - 2_500) } else { None };
        let skipped = (20_000..21_000).contains(&time);
        let times: Vec<i64> = [Some(time).filter(|_| !skipped), late].into_iter().flatten().collect();
        feed(&mut tally, &times);
        if time % 300 == 0 {
            log.extend(tally.flush(&stamp(&format!("flush-{time}"), time)).records);
            tally.commit(500);
        }
    }
    let mut stored: BTreeMap<String, PaneRecord> = BTreeMap::new();
    let mut newest: BTreeMap<(u32, i64), ModelWindow> = BTreeMap::new();
    for (offset, record) in log.iter().enumerate() {
        let step = judge.apply(offset as i64, &record.record);
        stored.extend(step.panes.into_iter().map(|pane| (pane_key(&pane), pane)));
        newest.extend(step.windows.into_iter().map(|window| ((window.scale, window.end.0), window)));
        if offset % (log.len() / 3) == 0 {
            let state = judge.state();
            judge = Judge::restore(CONFIG, watch.clone(), expected_sources.clone(), &state);
            stored.values().for_each(|pane| judge.restore_pane(pane));
            for again in state.replay_from..=offset as i64 {
                let step = judge.apply(again, &log[again as usize].record);
                newest.extend(step.windows.into_iter().map(|window| ((window.scale, window.end.0), window)));
            }
        }
    }
    for ((scale, end), live) in &newest {
        let wanted = expected(&watch, live.start.0, *end);
        assert_eq!(live.arms[0].labels, wanted, "scale {scale}, end {end}");
        let scores = expected_scores(&watch, live.start.0, *end);
        // They are too long to be shown.
        assert!(live.arms[0].scores == scores, "scale {scale}, end {end}");
        let parts = cover(live.start, live.end, PANE_MS);
        let records = stored.values().filter(|record| parts.contains(&(record.panes, record.start)));
        let records: Vec<PaneRecord> = records.cloned().collect();
        let (again, left_out) = window(&watch, 0, (live.start, live.end, PANE_MS), &records);
        assert_eq!((&again.arms[0].labels, left_out), (&wanted, 0), "scale {scale}, end {end}");
        assert!(again.arms[0].scores == scores, "scale {scale}, end {end}");
    }
    let of_scale = |scale: u32| newest.keys().filter(|key| key.0 == scale).count();
    assert_eq!([1, 4, 16].map(of_scale), [39, 36, 6]);
}

/// The labels of an output with these categories, from pairs (predicted, true, how often) of classes.
fn reported(
    named: usize,
    pairs: &[(usize, usize, u64)],
    other_errors: u64,
) -> crate::judge::report::LabelReport {
    let names = (0..named).map(|n| format!("c{n}")).collect();
    let grid = Grid::Categorical(Categories::new(names, Vec::new()));
    let series = BaselineSeries {
        name: "class".to_owned(),
        of: SeriesOf::Prediction,
        kind: SeriesKind::Categorical,
        counts: vec![1; grid.cells()],
        grid: Arc::new(grid),
        missing: 0,
        distinct: named as u64,
        range: None,
        traits: Default::default(),
    };
    let baseline = Baseline {
        model: "m".to_owned(),
        version: "v1".to_owned(),
        rows: 10,
        created: EventTime(0),
        held_out: true,
        times: None,
        series: vec![Arc::new(series)],
    };
    let id = ModelId { namespace: "default".to_owned(), name: "m".to_owned() };
    let model = WatchedModel::new(id, Rollout::Auto, &[Arc::new(baseline)]).expect("a baseline");
    let version = &model.versions[0];
    let classes = named + 1;
    let mut cells = vec![0; classes * classes];
    pairs.iter().for_each(|(predicted, truth, count)| cells[predicted * classes + truth] += count);
    let counts = LabelCounts {
        output: "class".to_owned(),
        grid_hash: version.series[0].grid_hash,
        pairs: crate::cells::runs::encode(&cells),
        other_errors,
        unusable: 3,
        ..LabelCounts::default()
    };
    let mut labels = Labels::default();
    assert!(labels.add(version, &[counts]));
    let of_output = |(series, confusion): (usize, &crate::tally::labels::Confusion)| OutputLabels {
        series,
        answers: 400,
        confusion: confusion.clone(),
        span: None,
    };
    let outputs: Vec<OutputLabels> = labels.outputs().map(of_output).collect();
    report(Labelled { watched: version, outputs: &outputs }, None).remove(0)
}

fn near(found: Option<crate::judge::report::RatioReport>, expected: [f64; 3]) {
    let found = found.expect("a ratio");
    for (found, expected) in [found.value, found.lower, found.upper].into_iter().zip(expected) {
        assert!((found - expected).abs() < 1e-6, "{found} is not {expected}");
    }
}

/// 40 of c0 found, 10 missed, 5 of c1 taken for it: accuracy 85 of 100; the intervals of precision, recall and F1 are
/// those of the tests of `stats::labelled`.
#[test]
fn a_report_says_how_right_the_answers_of_a_small_confusion_are() {
    let found = reported(2, &[(0, 0, 40), (0, 1, 5), (1, 0, 10), (1, 1, 45)], 0);
    assert_eq!(
        (found.output.as_str(), found.answers, found.labelled, found.unusable),
        ("class", 400, 100, 3)
    );
    near(found.accuracy, [0.85, 0.767164, 0.906940]);
    // 80/95 and 90/105.
    assert!((found.macro_f1.expect("classes") - (80.0 / 95.0 + 90.0 / 105.0) / 2.0).abs() < 1e-12);
    let names: Vec<_> = found.classes.iter().map(|class| class.class.as_deref()).collect();
    assert_eq!(names, [Some("c0"), Some("c1")]);
    let class = &found.classes[0];
    assert_eq!((class.labelled, class.predicted), (50, 45));
    near(class.precision, [40.0 / 45.0, 0.765009, 0.951595]);
    near(class.recall, [0.8, 0.669629, 0.887562]);
    near(class.f1, [0.842105, 0.748183, 0.905425]);
}

#[test]
fn other_categories_are_one_class_and_right_only_where_they_are_the_same() {
    let found = reported(1, &[(0, 0, 6), (1, 1, 4)], 3);
    assert!((found.accuracy.expect("labels").value - 0.7).abs() < 1e-12);
    let other = &found.classes[1];
    assert_eq!((other.class.as_deref(), other.labelled, other.predicted), (None, 4, 4));
    assert!((other.precision.expect("predicted").value - 0.25).abs() < 1e-12);
}

#[test]
fn the_most_frequent_classes_are_shown_and_all_count() {
    let pairs: Vec<_> = (0..30).map(|class| (class, class, 1 + class as u64)).collect();
    let found = reported(30, &pairs, 0);
    let names: Vec<_> = found.classes.iter().filter_map(|class| class.class.clone()).collect();
    assert_eq!(names, (14..30).map(|class| format!("c{class}")).collect::<Vec<_>>());
    assert_eq!((names.len(), found.labelled, found.macro_f1), (MAX_CLASSES, 465, Some(1.0)));
}
