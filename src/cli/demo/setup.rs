//! What the demo hands to the service: a folder of its own, the webhook's secret, and the configuration.

use super::cluster::EVENTS_TOPIC;
use super::model::{CANARY, MODEL, STABLE};
use crate::baseline::Rollout;
use crate::config::{
    Config, DeadLettersConfig, HttpConfig, KafkaConfig, ModelConfig, NotifyConfig, StartAt, TopicsConfig,
    VerdictConfig, WebhookConfig, WindowsConfig,
};
use crate::event::ModelId;
use crate::notify::signature::Secret;
use crate::policy::PolicyConfig;
use anyhow::Context;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::collections::BTreeMap;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Partitions of Tidegate's own topics.
const OWN_PARTITIONS: i32 = 2;
const SECRET_BYTES: usize = 32;

/// A folder under the system's temporary one that only this user can read, deleted when dropped.
#[derive(Debug)]
pub struct Folder(PathBuf);

impl Folder {
    pub fn create() -> anyhow::Result<Folder> {
        let name = random_bytes::<8>()?.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let path = std::env::temp_dir().join(format!("tidegate-demo-{name}"));
        let made = DirBuilder::new().mode(0o700).create(&path);
        made.with_context(|| format!("cannot create the folder {}", path.display()))?;
        Ok(Folder(path))
    }

    /// Where the baseline of a version lies.
    pub fn baseline(&self, version: &str) -> PathBuf {
        self.0.join(format!("{MODEL}-{version}.parquet"))
    }

    /// Where the training data of a version lies.
    pub fn training(&self, version: &str) -> PathBuf {
        self.0.join(format!("training-{version}.parquet"))
    }

    fn secret(&self) -> PathBuf {
        self.0.join("webhook-secret")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            tracing::warn!(%error, folder = %self.0.display(), "the demo's folder is left behind");
        }
    }
}

/// Makes a webhook secret, writes it as `whsec_<base64>` into the folder, and returns it with the file.
pub fn write_secret(folder: &Folder) -> anyhow::Result<(Secret, PathBuf)> {
    let key = random_bytes::<SECRET_BYTES>()?;
    let path = folder.secret();
    let text = format!("whsec_{}\n", STANDARD.encode(key));
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&path)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .with_context(|| format!("cannot write {}", path.display()))?;
    Ok((Secret::parse(&text)?, path))
}

fn random_bytes<const N: usize>() -> anyhow::Result<[u8; N]> {
    let mut bytes = [0; N];
    let source = Path::new("/dev/urandom");
    File::open(source)
        .and_then(|mut file| file.read_exact(&mut bytes))
        .context("cannot read /dev/urandom")?;
    Ok(bytes)
}

/// The topics of the demo.
pub fn topics() -> TopicsConfig {
    TopicsConfig {
        events: vec![EVENTS_TOPIC.to_owned()],
        prefix: "tidegate".to_owned(),
        // The mock cluster has no admin API: the demo makes the topics itself.
        create: false,
        partitions: OWN_PARTITIONS,
        replication: 1,
        tallies_retention: Duration::from_secs(6 * 3600),
        retention: Duration::from_secs(7 * 24 * 3600),
    }
}

/// The whole configuration: panes of 1 s on the broker at `bootstrap`, the page on loopback `port` (0: a
/// free one), actions to `webhook_url`.
pub fn config(
    folder: &Folder,
    bootstrap: &str,
    port: u16,
    webhook_url: String,
    secret_file: PathBuf,
) -> Config {
    let webhook = WebhookConfig {
        name: "controller".to_owned(),
        url: webhook_url,
        secret_file,
        ca_file: None,
        kinds: Vec::new(),
    };
    Config {
        kafka: KafkaConfig {
            brokers: bootstrap.to_owned(),
            group: "tidegate-demo".to_owned(),
            instance: "demo".to_owned(),
            start: StartAt::Earliest,
            consumers: 1,
            client: BTreeMap::from([("group.protocol".to_owned(), "consumer".to_owned())]),
        },
        topics: topics(),
        windows: windows(),
        dead_letters: DeadLettersConfig::default(),
        http: HttpConfig { listen: SocketAddr::from((Ipv4Addr::LOCALHOST, port)), ..HttpConfig::default() },
        models: vec![model(folder)],
        notify: NotifyConfig { webhooks: vec![webhook], max_action_age: Duration::from_secs(15 * 60) },
    }
}

fn windows() -> WindowsConfig {
    WindowsConfig {
        pane: Duration::from_secs(1),
        lateness: Duration::from_secs(1),
        allowed_lateness: Duration::from_secs(30),
        flush_interval: Duration::from_millis(250),
        idle_timeout: Duration::from_secs(2),
        max_stall: Duration::from_secs(30),
        max_future: Duration::from_secs(300),
        max_past: None,
    }
}

fn model(folder: &Folder) -> ModelConfig {
    let baseline = |version: &str| (version.to_owned(), folder.baseline(version));
    ModelConfig {
        id: ModelId { namespace: "demo".to_owned(), name: MODEL.to_owned() },
        baselines: vec![baseline(STABLE), baseline(CANARY)],
        rollout: Rollout::Fixed { stable: STABLE.to_owned(), canary: Some(CANARY.to_owned()) },
        policy: PolicyConfig::default(),
        verdicts: VerdictConfig::default(),
        noise: Vec::new(),
        labels: None,
        max_exported_series: 200,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_is_private_and_goes_with_its_owner() {
        use std::os::unix::fs::PermissionsExt;
        let folder = Folder::create().expect("a folder");
        let path = folder.0.clone();
        let (secret, file) = write_secret(&folder).expect("written");
        let mode = |path: &Path| std::fs::metadata(path).expect("there").permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(&file)), (0o700, 0o600));
        let text = std::fs::read_to_string(&file).expect("readable");
        let written = Secret::parse(&text).expect("the standard's form");
        assert_eq!(written.sign("id", 1, b"body"), secret.sign("id", 1, b"body"));
        assert!(write_secret(&folder).is_err(), "a secret is never overwritten");
        drop(folder);
        assert!(!path.exists());
    }

    #[test]
    fn a_pane_of_the_canary_can_be_judged() {
        let folder = Folder::create().expect("a folder");
        let url = "http://127.0.0.1:1/webhook".to_owned();
        let config = config(&folder, "127.0.0.1:1", 0, url, PathBuf::from("secret"));
        assert_eq!(config.models[0].baselines.len(), 2);
        assert!(config.http.listen.ip().is_loopback());
    }
}
