//! `tidegate demo`: a mock Kafka cluster, model traffic that goes wrong, the whole service and a small
//! rollout controller in one process, and the story of what happens in plain lines.

mod baselines;
mod cluster;
mod controller;
mod ending;
mod model;
mod run;
mod setup;
mod story;
mod traffic;
#[cfg(test)]
mod fixture;
#[cfg(test)]
mod tests;

pub use baselines::PREDICTIONS;
pub use model::MODEL;
pub use run::run;
pub use traffic::Scenario;

use super::output;
use crate::config::Config;
use anyhow::{Context, anyhow};
use cluster::{Cluster, EVENT_PARTITIONS, Worker};
use controller::{CanaryWeight, Controller};
use ending::{End, Ending};
use setup::Folder;
use std::future::Future;
use std::io::IsTerminal;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use story::{Story, StoryEvent};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use traffic::{Traffic, TrafficOptions};

const EVENTS_PER_SECOND: u32 = 2_000;
const CANARY_WEIGHT: f64 = 0.10;
/// From the start of the traffic to its change.
const CHANGE_AFTER: Duration = Duration::from_secs(10);
/// How often the clock is asked whether the demo is over.
const TICK: Duration = Duration::from_millis(200);
/// How long the service may take to come up, and to drain.
const SERVICE_LIMIT: Duration = Duration::from_secs(15);

/// Watch a canary go wrong and be stopped; needs nothing installed
///
/// Runs a mock Kafka cluster, the traffic of a fraud model with a stable and a canary version, the whole
/// service, and a small rollout controller in this process, and tells what happens.
#[derive(Debug, Clone, clap::Args)]
pub struct DemoArgs {
    /// What happens to the traffic after ten seconds
    #[arg(long, value_enum, default_value_t)]
    pub scenario: Scenario,
    /// End with the scenario: exit code 0 at its own outcome, 1 at any other or after 60 s
    #[arg(long)]
    pub once: bool,
    /// Seed of the traffic
    #[arg(long, default_value_t = 7)]
    pub seed: u64,
    /// Port of the page on loopback; 0: a free one
    #[arg(long, default_value_t = 0)]
    pub port: u16,
}

/// One baseline that the demo needs made.
#[derive(Debug, Clone)]
pub struct BaselineJob {
    /// Parquet: 12 features and [`PREDICTIONS`], on rows that no version was trained on.
    pub training: PathBuf,
    pub model: &'static str,
    pub version: &'static str,
    /// Where the baseline file is to be written.
    pub output: PathBuf,
}

/// What the service is started with.
#[derive(Debug)]
pub struct DemoSetup {
    pub config: Config,
    /// To be told the address of the page once it is bound.
    pub page: oneshot::Sender<SocketAddr>,
    /// Becomes true when the service shall drain and end.
    pub shutdown: watch::Receiver<bool>,
}

/// Runs the demo and returns its exit code. `build_baseline` turns training data into a baseline file;
/// `serve` is the service: it ends when it is told to, or early with its error.
pub async fn run_with<B, S, Serving>(args: DemoArgs, build_baseline: B, serve: S) -> anyhow::Result<i32>
where
    B: Fn(&BaselineJob) -> anyhow::Result<()> + Send + 'static,
    S: FnOnce(DemoSetup) -> Serving,
    Serving: Future<Output = anyhow::Result<()>> + Send + 'static,
{
    let mut teller = Teller::new(args.scenario);
    let folder = make_baselines(args.seed, build_baseline).await?;
    let cluster = Cluster::start(&setup::topics())?;
    let (events, mut heard) = mpsc::unbounded_channel();
    let (stop, stopped) = watch::channel(false);
    let weight = CanaryWeight::new(CANARY_WEIGHT);

    let (secret, secret_file) = setup::write_secret(&folder)?;
    let controller = Controller::new(secret, weight.clone(), events.clone());
    let (address, serving) =
        controller.listen(told(stopped.clone())).await.context("no port for the controller")?;
    let controller = tokio::spawn(serving);
    let url = format!("http://{address}/webhook");
    let config = setup::config(&folder, &cluster.bootstrap(), args.port, url, secret_file);

    let (page, page_address) = oneshot::channel();
    let mut service = tokio::spawn(serve(DemoSetup { config, page, shutdown: stopped }));
    let address = up(page_address, &mut service).await?;
    teller.hear(&StoryEvent::Page(format!("http://{address}/")))?;

    let reader = cluster::read_own_topics(&cluster.bootstrap(), &setup::topics(), events.clone())?;
    let writer = start_traffic(&args, &cluster, weight, &events)?;
    let result = tell_all(&args, &mut teller, &mut heard, &mut service).await;

    drop(writer);
    stop.send_replace(true);
    if result.is_ok() {
        down(service).await?;
        let _ = tokio::time::timeout(TICK, controller).await;
    }
    drop(reader);
    result
}

/// The demo's folder with the baselines of both versions in it.
async fn make_baselines<B>(seed: u64, build: B) -> anyhow::Result<Folder>
where
    B: Fn(&BaselineJob) -> anyhow::Result<()> + Send + 'static,
{
    let work = move || {
        let folder = Folder::create()?;
        for version in [model::STABLE, model::CANARY] {
            let (training, output) = (folder.training(version), folder.baseline(version));
            baselines::write_training_data(&training, version, seed, baselines::TRAINING_ROWS)?;
            build(&BaselineJob { training, model: MODEL, version, output })?;
        }
        Ok(folder)
    };
    tokio::task::spawn_blocking(work).await.context("the baselines' thread panicked")?
}

/// Waits for the page's address; the service's own error if it ends first.
async fn up(
    address: oneshot::Receiver<SocketAddr>,
    service: &mut JoinHandle<anyhow::Result<()>>,
) -> anyhow::Result<SocketAddr> {
    match tokio::time::timeout(SERVICE_LIMIT, address).await {
        Ok(Ok(address)) => Ok(address),
        Ok(Err(_)) => Err(ended_early(service.await)),
        Err(_) => Err(anyhow!("the service did not come up within {} s", SERVICE_LIMIT.as_secs())),
    }
}

async fn down(service: JoinHandle<anyhow::Result<()>>) -> anyhow::Result<()> {
    let ended = tokio::time::timeout(SERVICE_LIMIT, service).await;
    let ended =
        ended.map_err(|_| anyhow!("the service did not drain within {} s", SERVICE_LIMIT.as_secs()))?;
    ended.context("the service panicked")?.context("the service failed while it drained")
}

fn ended_early(ended: Result<anyhow::Result<()>, tokio::task::JoinError>) -> anyhow::Error {
    match ended {
        Ok(Ok(())) => anyhow!("the service ended before the demo did"),
        Ok(Err(error)) => error.context("the service failed"),
        Err(error) => anyhow::Error::new(error).context("the service panicked"),
    }
}

async fn told(mut stopped: watch::Receiver<bool>) {
    // A sender that is gone means the same as one that said stop.
    let _ = stopped.wait_for(|stop| *stop).await;
}

fn start_traffic(
    args: &DemoArgs,
    cluster: &Cluster,
    weight: CanaryWeight,
    events: &mpsc::UnboundedSender<StoryEvent>,
) -> anyhow::Result<Worker> {
    let start_ms = jiff::Timestamp::now().as_millisecond();
    let options = TrafficOptions {
        seed: args.seed,
        scenario: args.scenario,
        start_ms,
        change_ms: start_ms + CHANGE_AFTER.as_millis() as i64,
        partitions: EVENT_PARTITIONS,
    };
    let traffic = Traffic::new(options, weight.get());
    let writer = cluster::produce(&cluster.bootstrap(), traffic, EVENTS_PER_SECOND, weight)?;
    let started = StoryEvent::TrafficStarted { per_second: EVENTS_PER_SECOND, canary_weight: CANARY_WEIGHT };
    let (later, change) = (events.clone(), StoryEvent::Change { scenario: args.scenario });
    // Nobody listens any more only at shutdown.
    let _ = events.send(started);
    tokio::spawn(async move {
        tokio::time::sleep(CHANGE_AFTER).await;
        let _ = later.send(change);
    });
    Ok(writer)
}

/// Tells what happens until the end (`--once`), Ctrl-C, or a failure of the service; the exit code.
async fn tell_all(
    args: &DemoArgs,
    teller: &mut Teller,
    heard: &mut mpsc::UnboundedReceiver<StoryEvent>,
    service: &mut JoinHandle<anyhow::Result<()>>,
) -> anyhow::Result<i32> {
    let mut tick = tokio::time::interval(TICK);
    let interrupt = tokio::signal::ctrl_c();
    tokio::pin!(interrupt);
    loop {
        tokio::select! {
            Some(event) = heard.recv() => teller.hear(&event)?,
            _ = tick.tick() => teller.look_at_the_clock()?,
            ended = &mut *service => return Err(ended_early(ended)),
            _ = &mut interrupt => return Ok(if args.once { 1 } else { 0 }),
        }
        if let (true, Some(end)) = (args.once, teller.end) {
            return Ok(end.exit_code());
        }
    }
}

/// Writes the story to stdout and watches for its end.
struct Teller {
    start: Instant,
    scenario: Scenario,
    story: Story,
    ending: Ending,
    end: Option<End>,
}

impl Teller {
    fn new(scenario: Scenario) -> Teller {
        let story = Story::new(std::io::stdout().is_terminal());
        Teller { start: Instant::now(), scenario, story, ending: Ending::new(scenario), end: None }
    }

    fn hear(&mut self, event: &StoryEvent) -> anyhow::Result<()> {
        self.write(event)?;
        let end = self.ending.observe(event, self.start.elapsed());
        self.ended(end)
    }

    fn look_at_the_clock(&mut self) -> anyhow::Result<()> {
        let end = self.ending.tick(self.start.elapsed());
        self.ended(end)
    }

    fn ended(&mut self, end: Option<End>) -> anyhow::Result<()> {
        let (None, Some(end)) = (self.end, end) else { return Ok(()) };
        self.end = Some(end);
        self.write(&StoryEvent::Ended { end, expected: self.scenario.expected() })
    }

    fn write(&mut self, event: &StoryEvent) -> anyhow::Result<()> {
        let Some(line) = self.story.tell(self.start.elapsed(), event) else { return Ok(()) };
        output::print(&(line + "\n"))
    }
}
