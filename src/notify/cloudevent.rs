//! The body of a webhook: a structured CloudEvent around an action.

use crate::policy::action::Action;
use serde_json::json;

/// Content type of [`body`].
pub const CONTENT_TYPE: &str = "application/cloudevents+json; charset=UTF-8";

/// The JSON bytes; `id` is the idempotency key, so that every attempt carries the same event.
pub fn body(action: &Action) -> Vec<u8> {
    let rollout = &action.rollout;
    json!({
        "specversion": "1.0",
        "id": action.idempotency_key,
        "source": format!("/tidegate/{}/{}", rollout.namespace, rollout.model),
        "type": format!("io.tidegate.rollout.{}.v1", action.action.as_str()),
        "subject": format!("{}/{}", rollout.model, rollout.canary),
        "time": action.window_end,
        "datacontenttype": "application/json",
        "data": action,
    })
    .to_string()
    .into_bytes()
}
