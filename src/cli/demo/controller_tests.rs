use super::super::fixture::action;
use super::{CanaryWeight, Controller, Decision, Secret, StoryEvent};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::sync::oneshot;

fn secret(byte: u8) -> Secret {
    use base64::Engine;
    let key = base64::engine::general_purpose::STANDARD.encode([byte; 32]);
    Secret::parse(&format!("whsec_{key}")).expect("32 bytes")
}

/// The demo's own, and another.
const KEY: u8 = 1;
const OTHER_KEY: u8 = 2;

struct Running {
    url: String,
    weight: CanaryWeight,
    story: UnboundedReceiver<StoryEvent>,
    _stop: oneshot::Sender<()>,
}

async fn start() -> Running {
    let (sender, story) = unbounded_channel();
    let (stop, stopped) = oneshot::channel::<()>();
    let weight = CanaryWeight::new(0.1);
    let controller = Controller::new(secret(KEY), weight.clone(), sender);
    let until = async move {
        let _ = stopped.await;
    };
    let (address, serving) = controller.listen(until).await.expect("a port");
    tokio::spawn(serving);
    Running { url: format!("http://{address}/webhook"), weight, story, _stop: stop }
}

fn now() -> i64 {
    crate::pipeline::now().0 / 1000
}

fn cloud_event(decision: Decision) -> Vec<u8> {
    let data = action(decision);
    let event = serde_json::json!({
        "specversion": "1.0", "id": data.idempotency_key, "source": "/tidegate/demo/fraud",
        "type": "io.tidegate.action.v1", "datacontenttype": "application/json", "data": data,
    });
    serde_json::to_vec(&event).expect("JSON")
}

impl Running {
    async fn post(&self, id: &str, timestamp: i64, key: u8, body: Vec<u8>) -> u16 {
        let signature = secret(key).sign(id, timestamp, &body);
        let request = reqwest::Client::new()
            .post(&self.url)
            .header("webhook-id", id)
            .header("webhook-timestamp", timestamp)
            .header("webhook-signature", signature)
            .body(body);
        request.send().await.expect("an answer").status().as_u16()
    }

    fn told(&mut self) -> Vec<StoryEvent> {
        std::iter::from_fn(|| self.story.try_recv().ok()).collect()
    }
}

#[tokio::test]
async fn a_signed_rollback_takes_the_canary_out_once() {
    let mut running = start().await;
    let verified = |duplicate| StoryEvent::ControllerVerified {
        id: "a/b".to_owned(),
        action: Decision::Rollback,
        duplicate,
    };
    assert_eq!(running.post("a/b", now(), KEY, cloud_event(Decision::Rollback)).await, 204);
    assert_eq!(running.weight.get(), 0.0);
    assert_eq!(running.told(), [verified(false), StoryEvent::WeightChanged { from: 0.1, to: 0.0 }]);
    running.weight.swap(0.1);
    assert_eq!(running.post("a/b", now(), KEY, cloud_event(Decision::Rollback)).await, 204);
    assert_eq!((running.weight.get(), running.told()), (0.1, vec![verified(true)]));
}

#[tokio::test]
async fn what_the_secret_did_not_sign_or_is_old_changes_nothing() {
    let mut running = start().await;
    let body = || cloud_event(Decision::Rollback);
    assert_eq!(running.post("1", now(), OTHER_KEY, body()).await, 401);
    assert_eq!(running.post("", now(), KEY, body()).await, 401);
    assert_eq!(running.post("1", now() - 400, KEY, body()).await, 401);
    let bare = reqwest::Client::new().post(&running.url).body(body()).send().await.expect("an answer");
    assert_eq!(bare.status().as_u16(), 401);
    assert_eq!(running.post("1", now(), KEY, b"{}".to_vec()).await, 400);
    assert_eq!(running.weight.get(), 0.1);
    let told = running.told();
    assert_eq!(told.len(), 5);
    assert!(told.iter().all(|event| matches!(event, StoryEvent::ControllerRefused { .. })));
}

#[tokio::test]
async fn a_pause_keeps_the_weight_and_resume_goes_on() {
    let mut running = start().await;
    assert_eq!(running.post("1", now(), KEY, cloud_event(Decision::Pause)).await, 204);
    assert_eq!(running.post("2", now(), KEY, cloud_event(Decision::Resume)).await, 204);
    assert_eq!(running.weight.get(), 0.1);
    let told = running.told();
    let paused = |paused| StoryEvent::Paused { paused, canary_weight: 0.1 };
    assert!(told.len() == 4 && told[1] == paused(true) && told[3] == paused(false), "{told:?}");
}
