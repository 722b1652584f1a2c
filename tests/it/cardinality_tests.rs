//! Names that an attacker invents: a million models, versions, features and categories leave memory and metrics
//! as they were, and each kind shows in one counter.

use super::broker::{Broker, Message, wait_until};
use super::process;
use super::service::{Bench, LIMIT, baseline};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use tidegate::baseline::{Baseline, BaselineSeries, Rollout, Watch, WatchedModel};
use tidegate::cells::{Categories, Grid, NumericGrid};
use tidegate::decode::{Arrival, Decoder, TimeBounds};
use tidegate::event::{EventTime, ModelId, Outcome, SeriesKind, SeriesOf};
use tidegate::tally::record::{TallyBody, TallyRecord};
use tidegate::tally::{FlushStamp, SourceKey, SourceStart, Tally};

const NOW: EventTime = EventTime(1_795_428_000_000);
/// Set for the process of its own in which a million names of each kind are fed to the pure cores.
const CHILD: &str = "TIDEGATE_TEST_CARDINALITY_CHILD";
const MILLION: usize = 1_000_000;

/// An event of the n-th invented name, and what its kind is.
fn invented(kind: &str, n: usize, time: i64) -> String {
    let event = |model: &str, version: &str, country: &str, more: &str| {
        format!(
            r#"{{"model":"{model}","model_version":"{version}","timestamp":{time},"features":{{"x":3,"country":"{country}"{more}}}}}"#
        )
    };
    match kind {
        "model" => event(&format!("model-{n}"), "v1", "TH", ""),
        "version" => event("m", &format!("v-{n}"), "TH", ""),
        "category" => event("m", "v1", &format!("country-{n}"), ""),
        "feature" => event("m", "v1", "TH", &format!(r#","feature-{n}":1,"nested-{n}":{{"a":{{"b":"c"}}}}"#)),
        other => panic!("{other}"),
    }
}

const KINDS: [&str; 4] = ["model", "version", "category", "feature"];

fn watch() -> Arc<Watch> {
    let series = |name: &str, kind: SeriesKind, grid: Grid| {
        let (counts, name) = (vec![1; grid.cells()], name.to_owned());
        let (of, grid) = (SeriesOf::Feature, Arc::new(grid));
        Arc::new(BaselineSeries {
            name,
            of,
            kind,
            grid,
            counts,
            missing: 0,
            distinct: 3,
            range: None,
            traits: Default::default(),
        })
    };
    let countries = Categories::new(vec!["TH".to_owned(), "DE".to_owned()], vec!["FR".to_owned()]);
    let baseline = Baseline {
        model: "m".to_owned(),
        version: "v1".to_owned(),
        rows: 3,
        created: EventTime(0),
        held_out: true,
        times: None,
        series: vec![
            series("x", SeriesKind::Numeric, Grid::Numeric(NumericGrid::new(vec![1.0, 2.0, 3.0]))),
            series("country", SeriesKind::Categorical, Grid::Categorical(countries)),
        ],
    };
    let id = ModelId { namespace: "default".to_owned(), name: "m".to_owned() };
    let model = WatchedModel::new(id, Rollout::Auto, &[Arc::new(baseline)]).expect("a baseline");
    Arc::new(Watch { models: vec![model] })
}

/// An event close to the largest that is read, with as many values as fit into it.
fn huge() -> String {
    let mut event = invented("category", 0, NOW.0);
    event.truncate(event.len() - 1);
    event.push_str(r#","more":[1"#);
    event.push_str(&",1".repeat(4_900_000));
    event.push_str("]}");
    event
}

/// Feeds `count` events of a kind; returns the outcomes and how often the category was unseen.
fn feed(
    decoder: &mut Decoder,
    tally: &mut Tally,
    kind: &str,
    count: usize,
) -> (BTreeMap<Outcome, usize>, u64) {
    let source = SourceKey { topic: "events".to_owned(), partition: 0 };
    let (mut outcomes, mut unseen) = (BTreeMap::new(), 0);
    for n in 0..count {
        let arrival = Arrival { record_time: None, now: NOW };
        let result = decoder.push(invented(kind, n, NOW.0).as_bytes(), arrival);
        let outcome = result.as_ref().map_or_else(|rejected| rejected.outcome, |_| Outcome::Counted);
        let offset = tally.next_offset(&source).expect("started");
        tally.record(&source, offset, outcome, result.ok().as_ref(), NOW);
        *outcomes.entry(outcome).or_default() += 1;
        if n % 4_096 == 4_095 || n + 1 == count {
            tally.count(&decoder.take()).expect("columns fit");
        }
        if n % 100_000 == 99_999 || n + 1 == count {
            unseen += flushed(tally);
        }
    }
    (outcomes, unseen)
}

/// Flushes the tally and says how many categories were in the cell of unseen ones.
fn flushed(tally: &mut Tally) -> u64 {
    let stamp = FlushStamp {
        range_id: "r",
        instance: "a",
        wall_clock: NOW,
        flush_interval_ms: 1_000,
        lateness_ms: 0,
        partitions: 1,
    };
    let unseen = |record: &TallyRecord| match &record.body {
        Some(TallyBody::Delta(delta)) if delta.series == "country" => {
            let counts = delta.counts.as_ref().expect("counts");
            *tidegate::cells::runs::decode(&counts.cells, 4)
                .expect("four cells")
                .last()
                .expect("the last cell")
        }
        _ => 0,
    };
    let flush = tally.flush(&stamp);
    tally.commit(0);
    flush.records.iter().map(|one| unseen(&one.record)).sum()
}

fn flood() {
    let watch = watch();
    let bounds = TimeBounds { max_future_ms: 300_000, max_past_ms: None };
    let (mut decoder, mut tally) = (Decoder::new(Arc::clone(&watch), bounds), Tally::new(watch, 60_000));
    let source = SourceKey { topic: "events".to_owned(), partition: 0 };
    tally.start_source(SourceStart { source, topic_uuid: String::new(), offset: 0, instead_of: None });
    for kind in KINDS {
        feed(&mut decoder, &mut tally, kind, 20_000);
    }
    let before = process::rss("self");
    let event = huge();
    let mut swallow = || {
        let held = process::rss("self");
        let arrival = Arrival { record_time: None, now: NOW };
        assert!(decoder.push(event.as_bytes(), arrival).is_ok(), "a huge event is an event");
        drop(decoder.take());
        process::rss("self").saturating_sub(held)
    };
    // The allocator keeps some of the first; the decoder keeps nothing of any.
    assert!(swallow() < 48 << 20, "most of what a huge event takes is given back");
    let more: u64 = (0..20).map(|_| swallow()).sum();
    assert!(more < 16 << 20, "{more} bytes are kept of twenty more");
    drop(event);
    let before = process::rss("self").max(before);
    for kind in KINDS {
        let (outcomes, unseen) = feed(&mut decoder, &mut tally, kind, MILLION);
        let expected = match kind {
            "model" => (Outcome::UnknownModel, 0),
            "version" => (Outcome::UnknownVersion, 0),
            "category" => (Outcome::Counted, MILLION as u64),
            _ => (Outcome::Counted, 0),
        };
        assert_eq!((outcomes, unseen), (BTreeMap::from([(expected.0, MILLION)]), expected.1), "{kind}");
        let grown = process::rss("self").saturating_sub(before);
        assert!(grown < 4 << 20, "{kind}: {grown} bytes more after a million names");
    }
}

#[test]
fn a_million_invented_names_of_each_kind_leave_no_trace_in_decoder_and_tally() {
    if std::env::var_os(CHILD).is_some() {
        return flood();
    }
    // In a process of its own: memory is measured, and other tests use it too.
    let name = "cardinality_tests::a_million_invented_names_of_each_kind_leave_no_trace_in_decoder_and_tally";
    let output = Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", name, "--nocapture"])
        .env(CHILD, "1")
        .output()
        .expect("it runs");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

fn bench<'a>(broker: &'a Broker, dir_name: &str) -> Bench<'a> {
    let bench = Bench::new(broker, dir_name, 2);
    let countries = ["TH", "DE", "US"];
    let rows: Vec<Vec<String>> =
        (0..900).map(|row| vec![(row % 8).to_string(), countries[row % 3].to_owned()]).collect();
    let path = of(bench.dir.path(), &rows);
    bench.model("m", &[("v1", path)], "")
}

fn of(dir: &Path, rows: &[Vec<String>]) -> std::path::PathBuf {
    baseline(dir, "m", "v1", &["x", "country"], rows, &[])
}

#[test]
fn invented_names_leave_metrics_log_and_memory_of_the_service_as_they_were() {
    const NAMES: usize = 5_000;
    let Some(broker) = Broker::shared() else { return };
    let bench = bench(broker, "names");
    let replica = bench.serve("a");
    let flood = |round: usize| {
        let now =
            SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970").as_millis() as i64;
        let names = (0..NAMES).flat_map(|n| KINDS.map(|kind| invented(kind, round * NAMES + n, now - 5_000)));
        let messages: Vec<Message> = names.map(Message::new).collect();
        broker.produce(&bench.events, &messages);
        let expected = ((round + 1) * NAMES) as u64;
        wait_until(LIMIT, "all outcomes", || {
            let outcomes = replica.outcomes();
            (outcomes.values().sum::<u64>() == 4 * expected).then_some(())
        });
        let unknown = [("unknown_model", expected), ("unknown_version", expected), ("counted", 2 * expected)];
        assert_eq!(replica.outcomes(), unknown.map(|(name, count)| (name.to_owned(), count)).into());
        wait_until(LIMIT, "closed panes", || (bench.counted_events() >= 2 * expected).then_some(()));
        (replica.get("/metrics").1, process::rss(&replica.pid().to_string()))
    };
    let (_, _) = flood(0);
    let (before, held) = flood(1);
    let (after, holds) = flood(2);
    let names = |text: &str| -> Vec<String> {
        let samples = text.lines().filter(|line| !line.starts_with('#'));
        samples.filter_map(|line| Some(line.rsplit_once(' ')?.0.to_owned())).collect()
    };
    assert!(
        !after.contains("model-") && !after.contains("country-") && !after.contains("feature-"),
        "{after}"
    );
    let new: Vec<String> = names(&after).into_iter().filter(|name| !names(&before).contains(name)).collect();
    assert!(new.is_empty(), "labels that came with the names: {new:?}");
    let grown = holds.saturating_sub(held);
    assert!(grown < 24 << 20, "{grown} bytes more");
    let unseen = wait_until(LIMIT, "the unseen ratio", || {
        let body = replica.get("/metrics").1;
        let line = body
            .lines()
            .find(|line| line.starts_with("tidegate_feature_unseen_ratio{feature=\"country\""))?;
        line.rsplit(' ').next()?.parse::<f64>().ok()
    });
    assert!((unseen - 0.5).abs() < 0.01, "half of the counted events have an unseen country, not {unseen}");
    let log = replica.log();
    assert!(log.lines().count() < 200 && !log.contains("country-") && !log.contains("model-"), "{log}");
}
