//! `tidegate serve`: the service, until SIGTERM or SIGINT. SIGHUP reads the configuration again.

use super::output;
use crate::config::{self, Config, EXIT_CONFIG};
use crate::http::reload::Reloaded;
use crate::pipeline::{self, Service, Stages};
use anyhow::Context;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use tokio::signal::unix::{SignalKind, signal};

/// `tidegate serve CONFIG`
#[derive(Debug, clap::Args)]
pub struct ServeArgs {
    /// The configuration file (TOML).
    config: PathBuf,
    /// Which stages this process runs.
    #[arg(long, value_enum, default_value = "all")]
    role: Stages,
    /// Log as JSON lines.
    #[arg(long)]
    log_json: bool,
}

/// Serves until a signal ends it. Exit code 0, or 64 for a bad configuration.
///
/// # Errors
/// When the service cannot start, or cannot go on.
pub fn run(args: ServeArgs) -> anyhow::Result<u8> {
    let (config, out_of_reach) = match load(&args.config) {
        Ok(loaded) => loaded,
        Err(errors) => {
            errors.iter().for_each(output::tell);
            return Ok(EXIT_CONFIG);
        }
    };
    start_log(args.log_json);
    out_of_reach.iter().for_each(|said| tracing::warn!("{said}"));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let served = runtime.block_on(serve(config, &args));
    // A stage that hangs in librdkafka must not keep the process.
    runtime.shutdown_timeout(std::time::Duration::from_millis(500));
    served.map(|()| 0)
}

/// The configuration, if it is whole, and what of it can never come about: baselines are read too, so that every
/// error comes at once.
fn load(path: &Path) -> Result<(Config, Vec<String>), Vec<config::ConfigError>> {
    let config = config::load(path)?;
    let watch = config::load_watch(&config)?;
    let out_of_reach = config::out_of_reach(&config, &watch);
    Ok((config, out_of_reach))
}

/// Logs go to standard error; `RUST_LOG` sets the level, `info` is the default.
pub fn start_log(json: bool) {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    let terminal = std::io::stderr().is_terminal();
    let log =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(terminal);
    // A log that was started before stays.
    let _ = if json { log.json().try_init() } else { log.try_init() };
}

async fn serve(config: Config, args: &ServeArgs) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("SIGTERM cannot be handled")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT cannot be handled")?;
    let mut hangup = signal(SignalKind::hangup()).context("SIGHUP cannot be handled")?;
    let mut service = pipeline::start(config, args.role).await?;
    tracing::info!(address = %service.address, role = ?args.role, "tidegate serves");
    let mut failed = std::pin::pin!(service.failed());
    let failure = loop {
        tokio::select! {
            _ = terminate.recv() => break None,
            _ = interrupt.recv() => break None,
            why = failed.as_mut() => break Some(why),
            _ = hangup.recv() => drop(reload(&mut service, &args.config)),
            Some(asked) = service.reloads.recv() => {
                // Who asked may have given up waiting.
                let _ = asked.send(reload(&mut service, &args.config));
            }
        }
    };
    tracing::info!("ending: flushing and leaving the groups");
    service.stop().await;
    failure.map_or(Ok(()), |why| Err(anyhow::anyhow!(why)))
}

/// Reads the configuration again; every error is said in the log too.
fn reload(service: &mut Service, path: &Path) -> Reloaded {
    match service.reload(path) {
        Ok(()) => {
            tracing::info!("the configuration was read again and is taken over at the next flush");
            Ok(())
        }
        Err(errors) => Err(errors
            .into_iter()
            .map(|error| {
                tracing::error!(%error, "the changed configuration is refused; the old one stays");
                error.to_string()
            })
            .collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::plan::tests::configured;

    #[test]
    fn what_can_never_be_promoted_is_said_at_the_start() {
        let (_folder, small) = configured(2_000, "");
        let (_, said) = load(&small).expect("whole");
        assert_eq!(said.len(), 1, "{said:?}");
        assert!(said[0].starts_with("model default/fraud: v2 beside v1 is never called good: "), "{said:?}");
        let (_folder, large) = configured(20_000, "");
        assert_eq!(load(&large).expect("whole").1, Vec::<String>::new());
        let (_folder, plain) = configured(2_000, "mode = \"thresholds\"\n");
        assert_eq!(load(&plain).expect("whole").1, Vec::<String>::new(), "nothing is promoted there");
    }
}
