//! What must be in Kafka when the faults are over, by brute force over the source topic.

use super::{SCORES, VALUES, traffic};
use crate::broker::Record;
use crate::receiver::Receiver;
use crate::service::Bench;
use prost::Message as _;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::{Duration, Instant};
use tidegate::cells::{NumericGrid, Sums, runs};
use tidegate::event::{bucket_of, unit_hash};
use tidegate::tally::record::{Counts, Marker, PaneRecord, TallyBody, TallyRecord};

const PANE_MS: i64 = 1_000;

/// A closed pane of a series, or (with an empty name) of the events by role.
type Place = (String, String, i64);

/// What a pane holds: counts, byte for byte, and events by role (stable, canary, unset).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Held {
    counts: Vec<u8>,
    roles: (u64, u64, u64),
}

/// What a run came to.
#[derive(Debug, Default)]
pub struct Verdict {
    pub events: u64,
    pub lost: u64,
    pub doubled: u64,
    pub panes: usize,
    pub reports: usize,
    pub incomplete: usize,
    pub alerts: usize,
    pub actions: usize,
    pub flushes: usize,
    /// Every way in which something is wrong.
    pub wrong: Vec<String>,
    /// Panes that are wrong and do not say so.
    pub unmarked: Vec<String>,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Verdict { events, lost, doubled, panes, reports, incomplete, alerts, actions, flushes, .. } =
            self;
        write!(
            f,
            "events={events} lost={lost} doubled={doubled} flushes={flushes} panes={panes} reports={reports} \
             incomplete={incomplete} alerts={alerts} actions={actions}"
        )
    }
}

impl Verdict {
    /// Panics unless everything is right.
    pub fn demand(&self) {
        assert!(self.wrong.is_empty(), "{self}\n{}", self.wrong.join("\n"));
    }
}

/// Waits until as many events stand in closed panes as in the source topic, or `limit` has passed.
pub fn settle(bench: &Bench<'_>, limit: Duration) {
    let events = bench.broker.read_all(&bench.events).len() as u64;
    let started = Instant::now();
    loop {
        let counted = bench.counted_events();
        if counted == events {
            return;
        }
        assert!(counted < events, "{counted} events are counted, {events} were sent");
        if started.elapsed() > limit {
            println!("after {limit:?} {counted} of {events} events are counted");
            return;
        }
        std::thread::sleep(Duration::from_millis(500));
    }
}

/// Compares all that was written with what must be there.
pub fn judge(bench: &Bench<'_>, receiver: &Receiver) -> Verdict {
    let source = bench.broker.read_all(&bench.events);
    let mut verdict = Verdict { events: source.len() as u64, ..Verdict::default() };
    compare_panes(bench, &source, &mut verdict);
    check_reports(bench, &mut verdict);
    check_actions(bench, receiver, &mut verdict);
    check_accounting(bench, &source, &mut verdict);
    verdict
}

fn compare_panes(bench: &Bench<'_>, source: &[Record], verdict: &mut Verdict) {
    let expected = brute_force(source);
    let records = bench.panes();
    let found: BTreeMap<Place, Held> =
        records.iter().map(|(place, record)| (place.clone(), held(record))).collect();
    verdict.panes = found.len();
    for place in expected.keys().chain(found.keys()).collect::<BTreeSet<_>>() {
        let (want, have) = (expected.get(place), found.get(place));
        if want == have {
            continue;
        }
        let (want, have) = (want.cloned().unwrap_or_default(), have.cloned().unwrap_or_default());
        let sum = |roles: (u64, u64, u64)| roles.0 + roles.1 + roles.2;
        verdict.lost += sum(want.roles).saturating_sub(sum(have.roles));
        verdict.doubled += sum(have.roles).saturating_sub(sum(want.roles));
        let line = format!("pane {place:?}: events {:?}, counted {:?}", want.roles, have.roles);
        // A pane that misses all of a series has no record of it; its record of events by role is marked then.
        let head = (place.0.clone(), String::new(), place.2);
        let marked = |place: &Place| records.get(place).is_some_and(|record| !record.complete);
        if !marked(place) && !marked(&head) {
            verdict.unmarked.push(line.clone());
        }
        if verdict.wrong.len() < 20 {
            verdict.wrong.push(line);
        }
    }
}

fn held(record: &PaneRecord) -> Held {
    let roles = record.roles.as_ref().map_or((0, 0, 0), |roles| (roles.stable, roles.canary, roles.unset));
    Held { counts: record.counts.as_ref().map_or_else(Vec::new, |counts| counts.encode_to_vec()), roles }
}

/// The panes as they follow from the events themselves.
fn brute_force(source: &[Record]) -> BTreeMap<Place, Held> {
    let mut cells: BTreeMap<Place, (Vec<u64>, Vec<u64>)> = BTreeMap::new();
    let mut panes: BTreeMap<Place, Held> = BTreeMap::new();
    for record in source {
        let event: serde_json::Value = serde_json::from_str(&record.text()).expect("an event");
        let version = event["model_version"].as_str().expect("a version").to_owned();
        let time = event["timestamp"].as_i64().expect("a time");
        let pane = time - time.rem_euclid(PANE_MS);
        let roles = &mut panes.entry((version.clone(), String::new(), pane)).or_default().roles;
        match event["role"].as_str() {
            Some("stable") => roles.0 += 1,
            Some("canary") => roles.1 += 1,
            _ => roles.2 += 1,
        }
        let number = |value: &serde_json::Value| value.as_u64().expect("a whole number") as usize;
        let score = event["predictions"]["score"].as_f64().expect("a score");
        let bucket =
            usize::from(bucket_of(unit_hash(event["request_id"].as_str().expect("an id").as_bytes())));
        let values = [
            ("x", number(&event["features"]["x"]), VALUES),
            ("lane", number(&event["features"]["lane"]), traffic::LANES),
            ("score", (score * SCORES as f64).round() as usize, SCORES),
        ];
        for (series, value, distinct) in values {
            // Every value is a cut point of its grid: the n-th has cell 2n + 1.
            let place = (version.clone(), series.to_owned(), pane);
            let empty = || (vec![0; 2 * distinct as usize + 1], vec![0; 32 * 8]);
            let (cells, units) = cells.entry(place).or_insert_with(empty);
            cells[2 * value + 1] += 1;
            // All values are equally frequent in training.
            units[8 * bucket + 8 * value / distinct as usize] += 1;
        }
    }
    for (place, (cells, units)) in cells {
        let rows = cells.iter().sum();
        // Scores are fractions of so many, the others whole numbers from 0.
        let whole = if place.1 == "score" { SCORES as f64 } else { 1.0 };
        let grid = NumericGrid::new((0..cells.len() / 2).map(|value| value as f64 / whole).collect());
        let sums = Sums::of_ties(grid.scale(), grid.cuts(), &cells).expect("every value is a cut point");
        let (sums, summed) = (sums.encode(), sums.values);
        let (cells, units) = (runs::encode(&cells), runs::encode(&units));
        let counts = Counts { rows, cells, units, sums, summed, ..Counts::default() };
        panes.insert(place, Held { counts: counts.encode_to_vec(), roles: (0, 0, 0) });
    }
    panes
}

/// Each report and each alert once under `read_committed`; none that misses offsets.
fn check_reports(bench: &Bench<'_>, verdict: &mut Verdict) {
    let reports = bench.read_json("reports");
    verdict.reports = reports.len();
    verdict.incomplete = reports.iter().filter(|report| report["complete"] == false).count();
    let key = |report: &serde_json::Value| {
        let window = &report["window"];
        let parts = [&report["model"], &report["model_version"], &window["scale"], &window["start"]];
        format!("report {} revision {}", parts.map(ToString::to_string).join("|"), report["revision"])
    };
    once(reports.iter().map(key), verdict);
    let alerts = bench.read_json("alerts");
    verdict.alerts = alerts.len();
    once(alerts.iter().map(|alert| format!("alert {}", alert["alert_id"])), verdict);
    if verdict.incomplete > 0 {
        verdict.wrong.push(format!("{} reports say that they are incomplete", verdict.incomplete));
    }
}

fn once(keys: impl Iterator<Item = String>, verdict: &mut Verdict) {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    keys.for_each(|key| *seen.entry(key).or_default() += 1);
    let twice = seen.into_iter().filter(|(_, count)| *count > 1);
    verdict.wrong.extend(twice.map(|(key, count)| format!("{key} was written {count} times")));
}

/// Each action once, and delivered at least once under its one key; nothing else is delivered.
fn check_actions(bench: &Bench<'_>, receiver: &Receiver, verdict: &mut Verdict) {
    let actions = bench.read_json("actions");
    verdict.actions = actions.len();
    let key = |action: &serde_json::Value| action["idempotency_key"].as_str().expect("a key").to_owned();
    once(actions.iter().map(|action| format!("action {}", key(action))), verdict);
    let asked: BTreeSet<String> = actions.iter().map(key).collect();
    let started = Instant::now();
    loop {
        let delivered: BTreeSet<String> = receiver.requests().into_iter().map(|request| request.id).collect();
        if delivered == asked {
            return;
        }
        if started.elapsed() > Duration::from_secs(30) || !delivered.is_subset(&asked) {
            verdict.wrong.push(format!("actions asked {asked:?}, delivered {delivered:?}"));
            return;
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// The flushes of every merge partition tile the source partitions, and their outcomes add up to the offsets
/// read: every event ended in exactly one.
fn check_accounting(bench: &Bench<'_>, source: &[Record], verdict: &mut Verdict) {
    let ends = source.iter().fold(BTreeMap::<i32, i64>::new(), |mut ends, record| {
        let end = ends.entry(record.partition).or_default();
        *end = (*end).max(record.offset + 1);
        ends
    });
    let mut markers: BTreeMap<i32, Vec<Marker>> = BTreeMap::new();
    let mut deltas: BTreeMap<(i32, String), u64> = BTreeMap::new();
    for record in bench.broker.read_all(&bench.own("tallies")) {
        let value = record.value.as_deref().expect("tallies have values");
        match TallyRecord::decode(value).expect("a tally record").body {
            Some(TallyBody::Marker(marker)) => markers.entry(record.partition).or_default().push(marker),
            Some(TallyBody::Delta(delta)) => {
                *deltas.entry((record.partition, delta.range_id)).or_default() += 1;
            }
            Some(TallyBody::Joins(joins)) => {
                *deltas.entry((record.partition, joins.range_id)).or_default() += 1;
            }
            Some(TallyBody::Weight(_)) => {}
            None => verdict.wrong.push("a tally record without a body".to_owned()),
        }
    }
    verdict.flushes = markers.values().next().map_or(0, Vec::len);
    for (partition, markers) in &markers {
        for marker in markers {
            let found = deltas.get(&(*partition, marker.range_id.clone())).copied().unwrap_or(0);
            if found != marker.n_deltas_here {
                verdict.wrong.push(format!("flush {} of {found} deltas is torn", marker.range_id));
            }
        }
        tile(*partition, markers, &ends, verdict);
    }
}

fn tile(merge: i32, markers: &[Marker], ends: &BTreeMap<i32, i64>, verdict: &mut Verdict) {
    let mut next: BTreeMap<i32, i64> = BTreeMap::new();
    for marker in markers {
        for range in &marker.sources {
            let expected = next.get(&range.partition).copied();
            let continues = if marker.init { expected.is_none() } else { expected == Some(range.from) };
            let outcomes: u64 = range.outcomes.iter().map(|outcome| outcome.count).sum();
            if !continues || outcomes != (range.to - range.from) as u64 {
                verdict.wrong.push(format!(
                    "merge partition {merge}, flush {}: source partition {} from {} to {} with {outcomes} \
                     outcomes, expected to go on at {expected:?}",
                    marker.range_id, range.partition, range.from, range.to
                ));
            }
            next.insert(range.partition, range.to);
        }
    }
    let reached: BTreeMap<i32, i64> = next.into_iter().filter(|(_, to)| *to > 0).collect();
    if reached != *ends {
        verdict.wrong.push(format!("merge partition {merge}: read up to {reached:?} of {ends:?}"));
    }
}
