//! A judge fed with what no tally writes: records with impossible fields, damaged bytes, states and panes out of
//! a topic that somebody else wrote to. It never panics, never holds more than its bounds, refuses what cannot
//! be true, and reads back what it wrote itself.

use super::dispersion::Dispersion;
use super::evidence::{self, Evidence, Sampled, Terms};
use super::fixture::CONFIG;
use super::measure::measure;
use super::plan::MeasurePlan;
use super::streaks::Streaks;
use super::twist_tests as twist;
use super::verdict::{Budget, BudgetConfig, Thresholds, VerdictRules};
use super::window::ModelWindow;
use super::*;
use crate::baseline::{VersionIndex, Watch};
use crate::decode::{ScorePair, Table};
use crate::event::fuzz::{cases, seed};
use crate::event::{EventTime, ModelId, SeriesOf};
use crate::stats::sequential::srm::Sampling;
use crate::tally::checked::{MAX_COUNT, RecordError};
use crate::tally::record::{FORMAT, PaneRecord, TallyBody, TallyRecord, Weight};
use crate::tally::tests::{Event, PANE_MS, feed, source, stamp, start, watch};
use crate::tally::{SourceKey, SourceStart, Tally};
use arrow::array::{Int64Array, UInt8Array};
use fastrand::Rng;
use prost::Message;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

fn expected() -> BTreeSet<SourceKey> {
    (0..2).map(source).collect()
}

/// What two tallies write of two partitions: `flushes` each, a second of event time apart; with `late` some
/// events belong to panes that are closed.
fn log(watch: &Arc<Watch>, flushes: i64, late: bool) -> Vec<TallyRecord> {
    let starts: Vec<SourceStart> = (0..2).map(|one| start(one, 0)).collect();
    let mut records: Vec<TallyRecord> =
        Tally::init_markers(&stamp("init", 0), &starts).into_iter().map(|one| one.record).collect();
    let mut tallies: Vec<Tally> = Vec::new();
    for one in 0..2 {
        let mut tally = Tally::new(Arc::clone(watch), PANE_MS);
        tally.start_source(start(one, 0));
        tallies.push(tally);
    }
    for number in 0..flushes {
        for (partition, tally) in tallies.iter_mut().enumerate() {
            let event = |n: i64| {
                let behind = if late && n == 0 && number % 3 == 2 { 2 * PANE_MS } else { 0 };
                let x = if n == 1 { None } else { Some(n as f64 / 2.0) };
                Event { version: (n % 2) as u32, time: number * PANE_MS + 200 * n - behind, x }
            };
            let events: Vec<Event> = (0..4).map(event).collect();
            feed(tally, partition as i32, &events);
            score(tally, &events);
            let flush = tally.flush(&stamp(&format!("{partition}-{number}"), number * 1_000));
            records.extend(flush.records.into_iter().map(|one| one.record));
            tally.commit(500);
        }
        let ModelId { namespace, name: model } = watch.models[0].id.clone();
        let (canary_weight, since) = ((number % 4) as f64 / 4.0, number * PANE_MS);
        let told = TallyBody::Weight(Weight { namespace, model, canary_weight, since });
        records.push(TallyRecord { format: FORMAT, body: Some(told) });
    }
    records
}

/// Labels of the output `y` for all of these events, as if they were of one version.
fn score(tally: &mut Tally, events: &[Event]) {
    let rows = events.iter().enumerate();
    let pair = |(row, event): (usize, &Event)| ScorePair {
        row: row as u32,
        series: 1,
        score: (event.time % 7) as f64 / 4.0,
        truth: (row != 2).then_some(event.time % 3 == 0),
    };
    let table = Table {
        version: VersionIndex { model: 0, version: 0 },
        of: SeriesOf::Prediction,
        times: Int64Array::from(events.iter().map(|event| event.time).collect::<Vec<i64>>()),
        units: UInt8Array::from(events.iter().map(Event::unit).collect::<Vec<u8>>()),
        columns: Vec::new(),
        labels: Vec::new(),
        scores: rows.map(pair).collect(),
        joins: Default::default(),
    };
    tally.count(&[table]).expect("no column that might not fit");
}

/// What a judge wrote about a log: its state after some of the records, and the panes it had written by then.
struct Stored {
    state: MergeState,
    panes: Vec<PaneRecord>,
}

fn stored(watch: &Arc<Watch>, log: &[TallyRecord]) -> Vec<Stored> {
    let mut judge = Judge::new(CONFIG, Arc::clone(watch), expected(), 0);
    let (mut found, mut panes): (Vec<Stored>, BTreeMap<String, PaneRecord>) = Default::default();
    for (offset, record) in log.iter().enumerate() {
        let step = judge.apply(offset as i64, record);
        panes.extend(step.panes.into_iter().map(|pane| (pane_key(&pane), pane)));
        if offset % 7 == 0 {
            found.push(Stored { state: judge.state(), panes: panes.values().cloned().collect() });
        }
    }
    found
}

/// One judge, and what became of the records it was offered.
struct Fed {
    judge: Judge,
    config: JudgeConfig,
    watch: Arc<Watch>,
    used: u64,
    refused: BTreeMap<&'static str, u64>,
    windows: Vec<ModelWindow>,
}

impl Fed {
    fn offer(&mut self, offset: i64, payload: &[u8], in_parts: bool) {
        let step = match TallyRecord::read(payload) {
            Ok(record) if in_parts => self.judge.apply_in_part(offset, &record, 1),
            Ok(record) => self.judge.apply(offset, &record),
            Err(error) => {
                self.judge.skip(offset);
                return self.refuse(&error);
            }
        };
        self.used += 1;
        self.take(step);
        while let Some(step) = self.judge.close_more(1) {
            self.take(step);
        }
        self.check_bounds();
    }

    fn refuse(&mut self, error: &RecordError) {
        *self.refused.entry(error.reason()).or_default() += 1;
    }

    fn take(&mut self, step: Step) {
        for pane in &step.panes {
            assert_eq!(PaneRecord::read(&pane.encode_to_vec()).as_ref(), Ok(pane), "what it wrote itself");
        }
        for window in &step.windows {
            for arm in &window.arms {
                let events = [arm.stable_events, arm.canary_events, arm.unset_events];
                let service = &arm.service;
                let latencies = service.latency.iter().copied().fold(0, u64::saturating_add);
                let counts = [service.answers, service.errors, service.latency_unusable, latencies];
                assert!(events.iter().chain(&counts).all(|count| *count <= MAX_COUNT), "{arm:?}");
                for (_, scored) in arm.scores.outputs() {
                    assert!(scored.labelled() <= MAX_COUNT && scored.unusable() <= MAX_COUNT, "{scored:?}");
                }
                for series in &arm.series {
                    let known = series.n() + series.missing + series.type_errors;
                    assert!(series.rows <= MAX_COUNT && known <= series.rows, "{series:?}");
                }
            }
        }
        self.windows.extend(step.windows);
        self.windows.truncate(32);
    }

    /// Its windows can be measured and reported.
    fn report(&self) {
        let watched = &self.watch.models[0];
        let (plan, mut streaks) = (MeasurePlan::new(watched), Streaks::default());
        let budget = Budget::new(&BudgetConfig::default(), &plan, PANE_MS);
        let (mut dispersion, mut evidence) = (Dispersion::default(), Evidence::default());
        let sampled = Sampled { fractions: Sampling::default(), read_at: EventTime(0) };
        let terms = Terms { alpha: 0.01, tolerance: 0.02, weight: evidence::Weight::Told(0.1), sampled };
        for window in &self.windows {
            let measured = measure(&plan, window, &dispersion);
            for rules in [VerdictRules::Budget(budget), VerdictRules::Thresholds(Thresholds::default())] {
                let reports = build_reports(watched, window, &measured, &rules, &mut streaks);
                assert!(reports.len() <= window.arms.len());
            }
            evidence.add(&plan, window, &terms, &dispersion);
            evidence.compare(&plan, &terms, &dispersion, &|_| false);
            dispersion.add(&plan, window, 4);
        }
    }

    fn check_bounds(&self) {
        let judge = &self.judge;
        let open: usize = judge.open.values().map(|pane| pane.bytes()).sum();
        // A replay closes nothing: it holds what was open when it was stored.
        let may_close = !judge.is_replaying() && judge.open.len() > MIN_OPEN_PANES;
        assert!(open <= judge.open_limit || !may_close, "{open} bytes open");
        assert!(judge.staged.len() <= 4_096 && judge.boundaries.len() <= 512, "flushes, boundaries");
        let kept: usize = judge.models.values().flat_map(|one| &one.tiers).map(BTreeMap::len).sum();
        let late = (self.config.allowed_lateness_ms / self.config.pane_ms).max(1) as usize;
        assert!(kept <= 3 * late + 8 * 21 + 64, "{kept} closed panes and sums");
        assert!(judge.holes.ranges().len() <= 64);
        assert!(judge.weights.values().all(|weights| (1..=32).contains(&weights.changes().len())));
    }

    /// What it stores can be read back, and says the same.
    fn check_state(&self) {
        let state = self.judge.state();
        let read = MergeState::read(&state.encode_to_vec()).expect("what it wrote itself");
        assert_eq!(read, state);
        let again = Judge::restore(self.config, Arc::clone(&self.watch), expected(), &read);
        assert!(again.applied() <= state.applied);
        let accounting = accounting::account(&[state]);
        assert!(accounting.sources.len() <= 2 + 1_024 + 64, "{} sources", accounting.sources.len());
    }
}

fn config(random: &mut Rng) -> JudgeConfig {
    const CENTURY_MS: i64 = 36_500 * 86_400_000;
    let of = |random: &mut Rng, usual: i64| match random.u8(..8) {
        0 => 0,
        1 => CENTURY_MS,
        _ => usual,
    };
    JudgeConfig {
        pane_ms: if random.u8(..16) == 0 { CENTURY_MS } else { CONFIG.pane_ms },
        lateness_ms: of(random, CONFIG.lateness_ms),
        max_stall_ms: of(random, CONFIG.max_stall_ms),
        max_future_ms: of(random, CONFIG.max_future_ms),
        ..CONFIG
    }
}

/// A judge as some state left it, whole or changed, with its panes, some of them changed.
fn begin(random: &mut Rng, watch: &Arc<Watch>, stored: &[Stored]) -> (Fed, u64) {
    let config = config(random);
    let fed = |judge| Fed {
        judge,
        config,
        watch: Arc::clone(watch),
        used: 0,
        refused: BTreeMap::new(),
        windows: Vec::new(),
    };
    if random.bool() {
        return (fed(Judge::new(config, Arc::clone(watch), expected(), 0)), 0);
    }
    let from = &stored[random.usize(..stored.len())];
    let twisted = random.bool();
    let payload = if twisted { twist::state(random, &from.state) } else { from.state.encode_to_vec() };
    let read = MergeState::read(&payload);
    assert!(twisted || read.is_ok());
    let mut fed = match &read {
        Ok(state) => fed(Judge::restore(config, Arc::clone(watch), expected(), state)),
        Err(_) => fed(Judge::new(config, Arc::clone(watch), expected(), 0)),
    };
    read.err().iter().for_each(|error| fed.refuse(error));
    for pane in &from.panes {
        let payload = if random.u8(..8) == 0 { twist::pane(random, pane) } else { pane.encode_to_vec() };
        match PaneRecord::read(&payload) {
            Ok(pane) => fed.judge.restore_pane(&pane),
            Err(error) => fed.refuse(&error),
        }
    }
    fed.judge.open_limit = if random.bool() { 20_000 } else { MAX_OPEN_BYTES };
    (fed, 1 + from.panes.len() as u64)
}

#[test]
fn no_record_makes_a_judge_panic_outgrow_its_bounds_or_write_what_it_cannot_read() {
    let seed = seed(0x1_0dd);
    let (watch, wanted) = (watch(), cases(90));
    let log = log(&watch, 24, true);
    let stored = stored(&watch, &log);
    let (mut fed_in_all, mut used, mut refused) = (0, 0, BTreeMap::new());
    let mut number = 0;
    while fed_in_all < wanted {
        number += 1;
        let mut random = Rng::with_seed(seed.wrapping_add(number));
        let case = std::panic::AssertUnwindSafe(|| run(&mut random, &watch, &log, &stored));
        let Ok((fed, inputs)) = std::panic::catch_unwind(case) else {
            panic!("TIDEGATE_FUZZ_SEED={} fails in its first run", seed.wrapping_add(number - 1));
        };
        fed_in_all += inputs;
        used += fed.used;
        fed.refused.iter().for_each(|(reason, count)| *refused.entry(*reason).or_default() += count);
    }
    println!("{fed_in_all} records in {number} runs: {used} used, {refused:?} refused");
    assert!(used * 4 > fed_in_all, "{used} of {fed_in_all} used");
    for reason in ["unreadable", "format", "empty", "out_of_range"] {
        let count: u64 = refused.get(reason).copied().unwrap_or(0);
        assert!(count * 2_000 > wanted, "{reason}: {count} of {wanted}");
    }
}

fn run(random: &mut Rng, watch: &Arc<Watch>, log: &[TallyRecord], stored: &[Stored]) -> (Fed, u64) {
    let (mut fed, mut inputs) = begin(random, watch, stored);
    let mut at = (fed.judge.applied().clamp(0, log.len() as i64)) as usize;
    let (twisted, in_parts) = (random.u8(1..40), random.bool());
    let mut offset = fed.judge.applied();
    for _ in 0..random.usize(1..120) {
        match random.u8(..30) {
            0 => at = random.usize(..log.len()),
            1 => offset = offset.saturating_add(random.i64(..9)),
            _ => {}
        }
        let record = &log[at % log.len()];
        let payload =
            if random.u8(..40) < twisted { twist::tally(random, record) } else { record.encode_to_vec() };
        fed.offer(offset, &payload, in_parts);
        offset += 1;
        at += 1;
        inputs += 1;
    }
    fed.check_state();
    fed.report();
    (fed, inputs)
}

/// Windows as they were first reported: (version, scale, end) → the arm.
type First = BTreeMap<(u32, u32, i64), window::ArmWindow>;

fn first_windows(watch: &Arc<Watch>, log: &[TallyRecord], refused: impl Fn(usize) -> bool) -> First {
    let mut judge = Judge::new(CONFIG, Arc::clone(watch), expected(), 0);
    let mut found = First::new();
    for (offset, record) in log.iter().enumerate() {
        if refused(offset) {
            judge.skip(offset as i64);
            continue;
        }
        for window in judge.apply(offset as i64, record).windows {
            for arm in window.arms {
                found.entry((arm.version.version, window.scale, window.end.0)).or_insert(arm);
            }
        }
    }
    found
}

#[test]
fn refused_records_leave_every_window_exact_or_marked() {
    let mut random = Rng::with_seed(seed(0x9a9));
    let watch = watch();
    let log = log(&watch, 24, false);
    let exact = first_windows(&watch, &log, |_| false);
    assert!(exact.len() > 50 && exact.values().all(|arm| arm.complete));
    let (mut marked, mut same) = (0, 0);
    for _ in 0..cases(10) / log.len() as u64 {
        let refused: BTreeSet<usize> = (0..random.usize(1..4)).map(|_| random.usize(..log.len())).collect();
        for (place, arm) in first_windows(&watch, &log, |offset| refused.contains(&offset)) {
            let is_exact = exact.get(&place) == Some(&arm);
            assert!(is_exact || !arm.complete, "{refused:?} refused: {place:?} says {arm:?}");
            marked += u64::from(!arm.complete);
            same += u64::from(is_exact);
        }
    }
    println!("{same} windows exact, {marked} marked");
    assert!(marked > 100 && same > 100, "{same} windows exact, {marked} marked");
}
