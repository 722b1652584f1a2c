//! Random requests and their labels through a tally and a judge, against a join of all of them at once.

#[path = "exact_tests.rs"]
mod exact;
#[path = "gaps_tests.rs"]
mod gaps;

use super::LabelNotes;
use crate::baseline::{LabelJoin, VersionIndex, Watch};
use crate::decode::{
    Accepted, Answer, Column, JoinAnswer, JoinLabel, Joins, LabelPair, ScorePair, Served, Table,
};
use crate::event::fuzz::{cases, seed};
use crate::event::{EventTime, NO_UNIT, Outcome, SeriesOf, unit_hash};
use crate::judge::fixture::{CONFIG, watched};
use crate::judge::stored::{cover, window};
use crate::judge::twist_tests as twist;
use crate::judge::window::ModelWindow;
use crate::judge::{Judge, Matured, MergeState, Step, pane_key};
use crate::tally::labels::Labels;
use crate::tally::record::{PaneRecord, TallyRecord};
use crate::tally::scores::Scores;
use crate::tally::tests::{PANE_MS, source, stamp, start};
use crate::tally::{SourceKey, Tally};
use arrow::array::{DictionaryArray, Float64Array, Int64Array, StringArray, UInt8Array, UInt16Array};
use prost::Message;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The places of `score` and `class` among the fixture's series; the cells of the latter are legit, fraud, other and
/// unseen. What came true of a score is told by the lowest bit of the class.
const SCORE: usize = 4;
const CLASS: usize = 5;
const HORIZON: i64 = 5;

fn watch(max_pending: usize) -> Arc<Watch> {
    let join = LabelJoin { horizon_ms: HORIZON * PANE_MS - 1, max_pending, sample: 1.0 };
    Arc::new(Watch { models: vec![crate::baseline::WatchedModel { labels: Some(join), ..watched(true) }] })
}

fn sources() -> BTreeSet<SourceKey> {
    BTreeSet::from([source(0), source(1)])
}

#[derive(Debug, Clone, Copy)]
struct Request {
    version: u32,
    time: i64,
    id: u64,
    cell: u16,
    /// Beside the answer.
    beside: Option<u16>,
    /// Event time, and the label: `None`: of another type.
    label: Option<(i64, Option<u16>)>,
}

impl Request {
    fn score(&self) -> f64 {
        (self.time % 977) as f64 / 900.0
    }

    fn unit(&self) -> u8 {
        (self.time / 50 % i64::from(NO_UNIT + 1)) as u8
    }
}

/// A request each 50 ms, at most; a label comes at once, soon, late, or never.
fn requests(random: &mut fastrand::Rng, until: i64) -> Vec<Request> {
    let mut all = Vec::new();
    for time in (0..until).step_by(50) {
        let cell = random.u16(0..4);
        let label = random.bool().then(|| {
            let delay = match random.u8(0..10) {
                0 => -random.i64(0..900),
                1..4 => random.i64(0..500),
                4..9 => random.i64(0..HORIZON * PANE_MS),
                _ => random.i64(HORIZON * PANE_MS..8 * PANE_MS),
            };
            let truth = if random.bool() { cell } else { random.u16(0..4) };
            (time + delay, (random.u8(0..9) > 0).then_some(truth))
        });
        let beside = (random.u8(0..8) == 0).then(|| random.u16(0..4));
        // Some requests are answered again, soon or much later.
        let id = if random.u8(0..30) == 0 { random.u64(0..=time as u64 / 50) } else { time as u64 / 50 };
        all.push(Request { version: random.u32(0..2), time, id, cell, beside, label });
    }
    all
}

fn hash(id: u64) -> u64 {
    unit_hash(format!("request-{id}").as_bytes())
}

fn accepted(version: u32, time: i64, moves_watermark: bool) -> Accepted {
    Accepted {
        version: VersionIndex { model: 0, version },
        role: None,
        time: EventTime(time),
        unit: NO_UNIT,
        served: Served::default(),
        moves_watermark,
        foreign_namespace: false,
    }
}

fn record(tally: &mut Tally, partition: i32, event: &Accepted) {
    let offset = tally.next_offset(&source(partition)).expect("started");
    tally.record(&source(partition), offset, Outcome::Counted, Some(event), EventTime(i64::MAX));
}

/// Predictions, one row each.
fn predict(tally: &mut Tally, request: &Request) {
    record(tally, 0, &accepted(request.version, request.time, true));
    let names = StringArray::from(vec!["legit", "fraud", "other", "unseen"]);
    let array =
        DictionaryArray::try_new(UInt16Array::from(vec![request.cell]), Arc::new(names)).expect("cells");
    let (row, series, predicted, id) = (0, CLASS as u32, request.cell, hash(request.id));
    let pair = |truth| LabelPair { row, series, predicted, truth: Some(truth) };
    let scored = |truth: u16| ScorePair {
        row,
        series: SCORE as u32,
        score: request.score(),
        truth: Some(truth % 2 == 1),
    };
    let answer = |(series, answer)| JoinAnswer { row, request: id, series, answer };
    let answers = [(series, Answer::Cell(predicted)), (SCORE as u32, Answer::Score(request.score()))];
    let answers = answers.map(answer).into_iter().filter(|_| request.beside.is_none()).collect();
    let table = Table {
        version: VersionIndex { model: 0, version: request.version },
        of: SeriesOf::Prediction,
        times: Int64Array::from(vec![request.time]),
        units: UInt8Array::from(vec![request.unit()]),
        columns: vec![
            Column { array: Arc::new(Float64Array::from(vec![request.score()])), type_errors: vec![] },
            Column { array: Arc::new(array), type_errors: vec![] },
        ],
        labels: request.beside.into_iter().map(pair).collect(),
        scores: request.beside.into_iter().map(scored).collect(),
        joins: Joins { answers, labels: Vec::new() },
    };
    tally.count(&[table]).expect("the columns fit");
}

fn label(tally: &mut Tally, request: &Request, (time, truth): (i64, Option<u16>)) {
    record(tally, 1, &accepted(request.version, time, false));
    let label = |(series, truth): (usize, Option<u16>)| JoinLabel {
        time,
        request: hash(request.id),
        series: series as u32,
        truth,
    };
    let labels = [(CLASS, truth), (SCORE, truth.map(|truth| truth % 2))].map(label).to_vec();
    let table = Table {
        version: VersionIndex { model: 0, version: request.version },
        of: SeriesOf::Prediction,
        times: Int64Array::from(Vec::<i64>::new()),
        units: UInt8Array::from(Vec::<u8>::new()),
        columns: Vec::new(),
        labels: Vec::new(),
        scores: Vec::new(),
        joins: Joins { answers: Vec::new(), labels },
    };
    tally.count(&[table]).expect("no columns");
}

/// What tallies write of `requests`, in the order of time: labels by their own. `late`: how long after its time
/// an answer is read, by its number.
fn log(watch: &Arc<Watch>, requests: &[Request], late: impl Fn(usize) -> i64) -> Vec<TallyRecord> {
    let starts = [start(0, 0), start(1, 0)];
    let mut tally = Tally::new(Arc::clone(watch), PANE_MS);
    starts.iter().for_each(|one| tally.start_source(one.clone()));
    let mut records = Tally::init_markers(&stamp("init", 0), &starts);
    let mut events: Vec<(i64, usize, bool)> = Vec::new();
    for (number, request) in requests.iter().enumerate() {
        events.push((request.time + late(number), number, false));
        events.extend(request.label.map(|(time, _)| (time.max(0), number, true)));
    }
    events.sort_unstable();
    let mut flushed = 0;
    for (time, number, is_label) in events {
        if time - flushed >= 300 {
            tally.set_idle(&source(1), true);
            records.extend(tally.flush(&stamp(&format!("flush-{time}-{number}"), time)).records);
            tally.commit(500);
            flushed = time;
        }
        let request = &requests[number];
        match request.label.filter(|_| is_label) {
            Some(found) => label(&mut tally, request, found),
            None => predict(&mut tally, request),
        }
    }
    records.into_iter().map(|one| one.record).collect()
}

/// A label: its pane, when it was read, its number among those, and what it says.
type Found = (i64, i64, usize, Option<u16>);

/// Every answer with its label, joined at once: by version and pane.
fn expected(watch: &Watch, requests: &[Request]) -> BTreeMap<(u32, i64), (Labels, Scores)> {
    let pane = |time: i64| time.div_euclid(PANE_MS);
    // The label in the latest pane; of one pane the one that was read last.
    let mut found: BTreeMap<(u32, u64), Vec<Found>> = BTreeMap::new();
    for (number, request) in requests.iter().enumerate() {
        if let Some((time, truth)) = request.label {
            let label = (pane(time), time.max(0), number, truth);
            found.entry((request.version, request.id)).or_default().push(label);
        }
    }
    let mut seen = BTreeSet::new();
    let mut sums: BTreeMap<(u32, i64), (Labels, Scores)> = BTreeMap::new();
    for request in requests {
        let (version, of) = (request.version, pane(request.time));
        let watched = watch.version(VersionIndex { model: 0, version });
        let (labels, scores) = sums.entry((version, of)).or_default();
        let mut note = |label: Option<Option<u16>>| {
            labels.note_answer(watched, CLASS, request.cell, label);
            match label {
                None => scores.note_unlabelled(watched, SCORE),
                Some(truth) => {
                    let truth = truth.map(|truth| truth % 2 == 1);
                    scores.note(watched, SCORE, request.unit(), request.score(), truth);
                }
            }
        };
        if let Some(truth) = request.beside {
            note(Some(Some(truth)));
        } else if seen.insert((version, request.id, of)) {
            let labels = found.get(&(version, request.id)).into_iter().flatten();
            let in_time = labels.filter(|(pane, ..)| (of - 1..=of + HORIZON).contains(pane));
            let label = in_time.max_by_key(|(pane, read, number, _)| (*pane, *read, *number));
            note(label.map(|(.., truth)| *truth));
        }
    }
    sums
}

/// A judge and all that it has put out.
struct Run {
    judge: Judge,
    windows: BTreeMap<(u32, i64), ModelWindow>,
    stored: BTreeMap<String, PaneRecord>,
    notes: Vec<LabelNotes>,
}

impl Run {
    fn new(watch: &Arc<Watch>) -> Run {
        let judge = Judge::new(CONFIG, Arc::clone(watch), sources(), 0);
        Run { judge, windows: BTreeMap::new(), stored: BTreeMap::new(), notes: Vec::new() }
    }

    fn take(&mut self, step: Step) {
        self.stored.extend(step.panes.into_iter().map(|pane| (pane_key(&pane), pane)));
        self.windows.extend(step.windows.into_iter().map(|window| ((window.scale, window.end.0), window)));
        self.notes.push(step.notes.labels);
    }

    fn apply(&mut self, offset: usize, log: &[TallyRecord]) {
        let step = self.judge.apply(offset as i64, &log[offset]);
        self.take(step);
    }

    /// Ends the judge, and begins another one with what was stored.
    fn restart(&mut self, watch: &Arc<Watch>, log: &[TallyRecord], low: i64) {
        let mut state = MergeState::read(&self.judge.state().encode_to_vec()).expect("what it wrote itself");
        let (lost, applied) = (state.begin_at(low), self.judge.applied());
        self.judge = Judge::restore(CONFIG, Arc::clone(watch), sources(), &state);
        if lost {
            self.judge.lose_joins();
        }
        self.stored.values().for_each(|pane| self.judge.restore_pane(pane));
        for again in state.read_from()..applied {
            let step = self.judge.apply(again, &log[again as usize]);
            assert!(step.windows.is_empty() && step.panes.is_empty(), "a replay emitted something");
            assert_eq!(step.notes.labels, LabelNotes::default(), "a replay noted something again");
        }
    }

    fn noted(&self, of: impl Fn(&LabelNotes) -> u64) -> u64 {
        self.notes.iter().map(of).sum()
    }

    /// What matured in windows of one pane, by version and end of the window.
    fn matured(&self) -> BTreeMap<(u32, i64), Matured> {
        let windows = self.windows.values().filter(|window| window.scale == 1);
        let arms = windows.flat_map(|window| window.arms.iter().map(|arm| (window.end.0, arm)));
        arms.filter_map(|(end, arm)| Some(((arm.version.version, end), arm.matured.clone()?))).collect()
    }
}

fn run(watch: &Arc<Watch>, log: &[TallyRecord]) -> Run {
    let mut run = Run::new(watch);
    (0..log.len()).for_each(|offset| run.apply(offset, log));
    run
}

fn counts(matured: &Matured) -> (Labels, Scores) {
    (matured.labels.clone(), matured.scores.clone())
}

fn on_time(_: usize) -> i64 {
    0
}

/// Whatever matured is exactly right: nothing of a pane that is not whole.
fn check_all(watch: &Watch, requests: &[Request], matured: &BTreeMap<(u32, i64), Matured>) {
    let expected = expected(watch, requests);
    for ((version, _), found) in matured {
        let panes = (*version, found.start.0 / PANE_MS)..(*version, found.end.0 / PANE_MS);
        let watched = watch.version(VersionIndex { model: 0, version: *version });
        let mut sums = (Labels::default(), Scores::default());
        for (labels, scores) in expected.range(panes).map(|(_, counts)| counts) {
            assert!(
                sums.0.add(watched, &labels.record(watched)) && sums.1.add(watched, &scores.record(watched))
            );
        }
        assert_eq!(counts(found), sums, "version {version}, from {:?} to {:?}", found.start, found.end);
    }
}
