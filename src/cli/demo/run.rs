//! The demo with the real baseline builder and the real service plugged in.

use super::{BaselineJob, DemoArgs, DemoSetup, PREDICTIONS, run_with};
use crate::baseline::{BuildOptions, build, file};
use crate::pipeline::{self, Stages};
use anyhow::Context;

/// Runs the demo. Exit code 0 at the scenario's own outcome, 1 at any other.
///
/// # Errors
/// When a part of the demo cannot start.
pub fn run(args: DemoArgs) -> anyhow::Result<u8> {
    // The story is for the terminal: the log speaks only when it is asked to, or when something is broken.
    if std::env::var_os("RUST_LOG").is_some() {
        crate::cli::serve::start_log(false);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let code = runtime.block_on(run_with(args, build_baseline, serve));
    runtime.shutdown_timeout(std::time::Duration::from_millis(500));
    Ok(u8::try_from(code?).unwrap_or(1))
}

fn build_baseline(job: &BaselineJob) -> anyhow::Result<()> {
    let options = BuildOptions {
        model: job.model.to_owned(),
        version: job.version.to_owned(),
        predictions: PREDICTIONS.iter().map(|name| (*name).to_owned()).collect(),
        include: Vec::new(),
        exclude: Vec::new(),
        held_out: true,
        created: pipeline::now(),
        types: Vec::new(),
        time: None,
    };
    let report = build(&job.training, &options, &mut |_, _, _| {})?;
    file::write(&report.baseline, &job.output)?;
    Ok(())
}

async fn serve(mut setup: DemoSetup) -> anyhow::Result<()> {
    let service =
        pipeline::start_trusted(setup.config, Stages::All).await.context("the service did not start")?;
    // The demo may have ended meanwhile; the shutdown below says so.
    let _ = setup.page.send(service.address);
    // An error means that the demo is gone: that ends the service too.
    let _ = setup.shutdown.wait_for(|ended| *ended).await;
    service.stop().await;
    Ok(())
}
