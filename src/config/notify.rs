//! `[notify]`: where actions are sent.

use super::load::{Files, read_file};
use super::reader::Reader;
use super::{NotifyConfig, WebhookConfig};
use crate::policy::action::Decision;
use std::time::Duration;

pub(super) fn read_notify(reader: Reader, files: &Files) -> NotifyConfig {
    let mut webhooks: Vec<WebhookConfig> = Vec::new();
    for (index, one) in reader.tables("webhook").into_iter().enumerate() {
        let (path, at) = (format!("{}.name", one.path), one.at);
        let webhook = read_webhook(one, index, files);
        if webhooks.iter().any(|other| other.name == webhook.name) {
            let problem = format!("\"{}\" is there twice", webhook.name);
            reader.errors.add(at, &path, problem, "expected a name of its own");
        }
        webhooks.push(webhook);
    }
    let age = reader.duration("max_action_age", Duration::from_secs(1));
    reader.finish();
    NotifyConfig { webhooks, max_action_age: age.unwrap_or(NotifyConfig::default().max_action_age) }
}

fn read_webhook(reader: Reader, index: usize, files: &Files) -> WebhookConfig {
    let url = reader.string("url");
    match (reader.find("url"), &url) {
        (None, _) => reader.missing("url", "an http:// or https:// address"),
        (Some(found), Some(url)) if !is_http(url) => {
            reader.refuse(
                &found,
                // Not repeated: it may hold a secret.
                "is no web address",
                "expected http:// or https:// and a host",
            );
        }
        _ => {}
    }
    if reader.find("secret_file").is_none() {
        reader.missing("secret_file", "a file that holds whsec_<base64 of 24 to 64 bytes>");
    }
    let webhook = WebhookConfig {
        name: reader.string("name").unwrap_or_else(|| format!("webhook-{}", index + 1)),
        url: url.unwrap_or_default(),
        secret_file: read_file(&reader, "secret_file", files).unwrap_or_default(),
        ca_file: read_file(&reader, "ca_file", files),
        kinds: read_kinds(&reader),
    };
    reader.finish();
    webhook
}

fn is_http(url: &str) -> bool {
    let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
    rest.is_some_and(|rest| !rest.is_empty() && !rest.starts_with(['/', ':', '?']) && !rest.contains(' '))
}

/// The kinds that are ever sent.
const KINDS: [Decision; 3] = [Decision::Pause, Decision::Rollback, Decision::Resume];

fn read_kinds(reader: &Reader) -> Vec<Decision> {
    if reader.find("kinds").is_none() {
        return KINDS.to_vec();
    }
    let mut kinds = Vec::new();
    for (name, found) in reader.strings("kinds") {
        match KINDS.iter().find(|kind| kind.as_str() == name) {
            Some(kind) => kinds.push(*kind),
            None => {
                let expected = "expected \"pause\", \"rollback\" or \"resume\"";
                reader.refuse(&found, format!("\"{name}\" is no kind of action"), expected);
            }
        }
    }
    kinds
}
