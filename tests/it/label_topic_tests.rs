//! Labels that go on coming where no predictions do: in a topic of their own, or after predictions have paused.

use super::broker::{Broker, Message, TestProducer, wait_until};
use super::serve_tests::now_ms;
use super::service::{Bench, LIMIT, baseline};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const CLASSES: [&str; 3] = ["cat", "dog", "owl"];
const PANE: i64 = 1_000;
const HORIZON: i64 = 4;
/// Milliseconds between two requests.
const STEP: i64 = 20;
/// From a request to its label (milliseconds).
const DELAY: i64 = 600;
/// Between two looks at the clock of who produces.
const TICK: Duration = Duration::from_millis(50);

/// The n-th request, which is right but for every seventh.
fn prediction(n: i64, time: i64) -> Message {
    let class = CLASSES[n as usize % 3];
    let event = format!(
        r#"{{"request_id":"request-{n}","model":"m","model_version":"v1","timestamp":{time},"features":{{"x":{}}},"predictions":{{"class":"{class}"}}}}"#,
        n % 8
    );
    Message::new(event.as_bytes())
}

fn label(request: &str, n: i64, time: i64) -> Message {
    let truth = CLASSES[(n + i64::from(n % 7 == 0)) as usize % 3];
    let event = format!(
        r#"{{"request_id":"{request}-{n}","model":"m","model_version":"v1","timestamp":{time},"labels":{{"class":"{truth}"}}}}"#
    );
    Message::new(event.as_bytes())
}

/// What is produced while a test looks on.
struct Feed<'a> {
    producer: TestProducer,
    predictions: &'a str,
    labels: &'a str,
    start: i64,
    /// No more predictions are to come.
    paused: AtomicBool,
    /// How many there were, once none is to come.
    requests: OnceLock<i64>,
    over: AtomicBool,
}

impl Feed<'_> {
    /// Produces predictions and their labels at their times until it is over, and as many labels of requests that
    /// nobody knows.
    fn run(&self) {
        let (mut requests, mut labels, mut unknown) = (0, 0, 0);
        while !self.over.load(Ordering::Relaxed) {
            let now = now_ms();
            let time = |n: i64| self.start + n * STEP;
            let is_paused = self.paused.load(Ordering::Relaxed);
            while time(unknown) <= now {
                self.producer.send(self.labels, &label("unknown", unknown, time(unknown)));
                unknown += 1;
            }
            while labels < requests && time(labels) + DELAY <= now {
                self.producer.send(self.labels, &label("request", labels, time(labels) + DELAY));
                labels += 1;
            }
            while !is_paused && time(requests) <= now {
                self.producer.send(self.predictions, &prediction(requests, time(requests)));
                requests += 1;
            }
            self.producer.flush();
            if is_paused {
                self.requests.get_or_init(|| requests);
            }
            std::thread::sleep(TICK);
        }
    }
}

/// Ends what is produced also when the test fails meanwhile.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn number(value: &serde_json::Value) -> i64 {
    value.as_i64().expect("a number")
}

/// The reports of single panes, by the number of the pane since `start`.
fn single_panes(bench: &Bench<'_>, start: i64) -> Vec<(i64, serde_json::Value)> {
    let pane = |text: &str| {
        let time = tidegate::event::EventTime::parse_rfc3339(text).expect("RFC 3339");
        (time.0 - start).div_euclid(PANE)
    };
    let reports = bench.reports().into_iter().filter(|((_, scale, _), _)| *scale == 1);
    let mut panes: Vec<_> = reports.map(|((.., start), report)| (pane(&start), report)).collect();
    panes.sort_by_key(|(pane, _)| *pane);
    panes
}

/// Panes close while labels are produced, before and after predictions pause. `apart`: in a topic of their own.
fn panes_close_while_labels_go_on(name: &str, apart: bool) {
    let Some(broker) = Broker::shared() else { return };
    let bench = Bench::new(broker, name, 2);
    let topic = format!("{}-labels", bench.events);
    let rows: Vec<Vec<String>> =
        (0..4_000).map(|row| vec![(row % 8).to_string(), CLASSES[row % 3].to_owned()]).collect();
    let path = baseline(bench.dir.path(), "m", "v1", &["x", "class"], &rows, &["class"]);
    let mut bench = bench.model("m", &[("v1", path)], &format!("labels = {{ horizon = \"{HORIZON}s\" }}"));
    if apart {
        broker.create_topic(&topic, 1);
        bench = bench.also(&topic);
    }
    let mut replica = bench.serve("a");
    let start = now_ms() / PANE * PANE;
    let feed = Feed {
        producer: broker.producer(&[("linger.ms", "5")]),
        predictions: &bench.events,
        labels: if apart { &topic } else { &bench.events },
        start,
        paused: AtomicBool::new(false),
        requests: OnceLock::new(),
        over: AtomicBool::new(false),
    };
    let reports = std::thread::scope(|scope| {
        let _over = Over(&feed.over);
        scope.spawn(|| feed.run());
        wait_until(LIMIT, "reports while predictions and labels come", || {
            (single_panes(&bench, start).len() as i64 >= HORIZON + 4).then_some(())
        });
        feed.paused.store(true, Ordering::Relaxed);
        let requests = wait_until(LIMIT, "the end of the predictions", || feed.requests.get().copied());
        // No prediction passes its end: it closes once no source is waited for.
        let last = (requests - 1) * STEP / PANE;
        wait_until(LIMIT, "the report of the last pane while only labels come", || {
            let panes = single_panes(&bench, start);
            panes.last().is_some_and(|(pane, _)| *pane == last).then_some(panes)
        })
    });
    let (per_pane, mut labelled) = (PANE / STEP, 0);
    for (pane, report) in &reports {
        assert_eq!(report["complete"], true, "{report}");
        let Some(labels) = report["labels"].as_array().expect("a list").first() else {
            assert!(*pane < HORIZON, "{report}");
            continue;
        };
        let counts = (number(&labels["answers"]), number(&labels["labelled"]));
        assert_eq!(counts, (per_pane, per_pane), "{report}");
        labelled += 1;
    }
    assert!(labelled >= 4, "{labelled} of {}", reports.len());
    assert_eq!(replica.terminate(), Some(0), "{}", replica.log());
}

#[test]
fn panes_close_while_labels_come_in_a_topic_of_their_own() {
    panes_close_while_labels_go_on("label-topic", true);
}

#[test]
fn panes_close_while_labels_come_after_predictions_have_paused() {
    panes_close_while_labels_go_on("label-pause", false);
}
