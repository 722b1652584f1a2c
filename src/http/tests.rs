//! The endpoints over real connections, and the page.

use super::archive::ArchiveAccess;
use super::board::Board;
use super::health::{Health, Stage};
use super::reload::ReloadRequest;
use super::weight::WeightAccess;
use super::{HttpState, Limits, Scope, Tokens, api, page, probes, serve};
use crate::event::{EventTime, ModelId, Role, SeriesKind};
use crate::judge::report::{
    KsReport, MeasuredOf, PsiReport, Reference, Report, SeriesReport, Verdict, Window,
};
use crate::metrics::Metrics;
use crate::policy::action::{Action, ActionOutcome, Decision, RolloutRef};
use reqwest::{Method, StatusCode};
use serde_json::Value;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::sync::{mpsc, watch};

const TOKEN: &str = "correct horse";
const ADMIN: &str = "battery staple";

pub(super) fn id(namespace: &str, name: &str) -> ModelId {
    ModelId { namespace: namespace.to_owned(), name: name.to_owned() }
}

pub(super) fn series(name: &str, of: MeasuredOf) -> SeriesReport {
    SeriesReport {
        name: name.to_owned(),
        of,
        kind: SeriesKind::Numeric,
        reference: Reference::Baseline,
        n: 1_000,
        m: 10_000,
        missing: 0,
        type_errors: 0,
        unseen: 0,
        out_of_range: 0,
        missing_ratio: Some(0.0),
        unseen_ratio: None,
        out_of_range_ratio: Some(0.0),
        ks: Some(KsReport { statistic: 0.1, upper: 0.1, p_value: 0.5 }),
        psi: Some(PsiReport { value: 0.02, p_value: 0.9, corrected: 0.0 }),
        js: Some(0.03),
        hellinger: None,
        total_variation: None,
        wasserstein: None,
        quantiles: None,
        mean: None,
        verdict: Verdict::Healthy,
        effect: None,
        severity: None,
    }
}

/// A report of `default/fraud` on the window of one minute that ends at minute `minute`.
pub(super) fn report(version: &str, minute: i64) -> Report {
    let at = |minute: i64| EventTime(minute * 60_000).to_rfc3339();
    Report {
        model: "fraud".to_owned(),
        namespace: "default".to_owned(),
        model_version: version.to_owned(),
        role: Some(Role::Stable),
        window: Window { start: at(minute - 1), end: at(minute), panes: 1, scale: 1 },
        revision: 0,
        baseline_age_seconds: Some(86_400.0),
        events: 1_000,
        traffic_share: 0.9,
        series: vec![series("amount", MeasuredOf::Feature), series("score", MeasuredOf::Prediction)],
        service: None,
        labels: Vec::new(),
        scores: Vec::new(),
        feature_drift_score: Some(0.02),
        prediction_drift_score: Some(0.02),
        threshold: 0.25,
        verdict: Verdict::Healthy,
        severity: None,
        reason: "Nothing moved.".to_owned(),
        complete: true,
    }
}

pub(super) fn action(canary: &str) -> Action {
    Action {
        idempotency_key: format!("default/fraud/{canary}/pause"),
        action: Decision::Pause,
        rollout: RolloutRef {
            namespace: "default".to_owned(),
            model: "fraud".to_owned(),
            stable: "v1".to_owned(),
            canary: canary.to_owned(),
            revision: canary.to_owned(),
        },
        window_start: EventTime(0).to_rfc3339(),
        window_end: EventTime(60_000).to_rfc3339(),
        events: 10,
        findings: Vec::new(),
        reason: "The arms are asked different things.".to_owned(),
    }
}

pub(super) fn outcome(action: &Action) -> ActionOutcome {
    ActionOutcome {
        idempotency_key: action.idempotency_key.clone(),
        sink: "controller".to_owned(),
        outcome: "delivered".to_owned(),
        attempts: 1,
        status: Some(204),
        at: EventTime(61_000).to_rfc3339(),
    }
}

/// A running server.
pub(super) struct Server {
    pub(super) address: SocketAddr,
    pub(super) state: Arc<HttpState>,
    pub(super) watch: watch::Sender<Arc<crate::baseline::Watch>>,
    stage: Stage,
    reloads: mpsc::Receiver<ReloadRequest>,
    client: reqwest::Client,
}

/// What was answered.
pub(super) struct Answer {
    pub(super) status: u16,
    headers: reqwest::header::HeaderMap,
    pub(super) body: String,
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    /// Checks that this is an RFC 9457 problem of the status.
    pub(super) fn is_problem(&self, status: u16) {
        assert_eq!((self.status, self.header("content-type")), (status, "application/problem+json"));
        let problem = self.json();
        assert_eq!(problem["status"], status);
        let text = |key: &str| problem[key].as_str().is_some_and(|text| !text.is_empty());
        assert!(["type", "title", "detail"].into_iter().all(text), "{problem}");
    }
}

impl Server {
    pub(super) async fn start(tokens: &[(&str, Scope, &str)]) -> Server {
        Server::bounded(tokens, Limits::default()).await
    }

    pub(super) async fn with_archive(archive: ArchiveAccess) -> Server {
        Server::with(&[], Limits::default(), (archive, super::weight_tests::deaf())).await
    }

    pub(super) async fn bounded(tokens: &[(&str, Scope, &str)], limits: Limits) -> Server {
        Server::with(tokens, limits, (super::archive_tests::access(), super::weight_tests::deaf())).await
    }

    /// One whose weights go this way.
    pub(super) async fn telling(tokens: &[(&str, Scope, &str)], weights: WeightAccess) -> Server {
        Server::with(tokens, Limits::default(), (super::archive_tests::access(), weights)).await
    }

    async fn with(
        tokens: &[(&str, Scope, &str)],
        limits: Limits,
        (archive, weights): (ArchiveAccess, WeightAccess),
    ) -> Server {
        let health = Health::new();
        let (stage, mut known) = (health.stage("tally-0"), Tokens::default());
        for (name, scope, secret) in tokens {
            known.add(name, *scope, secret).unwrap();
        }
        let ((reload, reloads), watch) = (super::reload::channel(), super::archive_tests::watch());
        let state = Arc::new(HttpState {
            board: Arc::new(Board::new()),
            metrics: Arc::new(Metrics::new()),
            health,
            tokens: known,
            reload,
            archive,
            weights,
            watch: watch.subscribe(),
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (router, metrics) = (api(&state).merge(probes(&state)), state.metrics.clone());
        tokio::spawn(serve(listener, router, limits, metrics, std::future::pending()));
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        Server { address, state, watch, stage, reloads, client }
    }

    async fn ask(&self, method: Method, path: &str, authorization: Option<&str>) -> Answer {
        self.send(method, path, authorization, String::new()).await
    }

    pub(super) async fn send(&self, method: Method, path: &str, may: Option<&str>, body: String) -> Answer {
        let mut request = self.client.request(method, format!("http://{}{path}", self.address)).body(body);
        if let Some(value) = may {
            request = request.header("authorization", value);
        }
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Answer { status, headers, body: response.text().await.unwrap() }
    }

    pub(super) async fn get(&self, path: &str) -> Answer {
        self.ask(Method::GET, path, None).await
    }
}

#[tokio::test]
async fn metrics_are_in_the_text_format_of_prometheus() {
    let server = Server::start(&[]).await;
    let answer = server.get("/metrics").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), "text/plain; version=0.0.4; charset=utf-8");
    assert!(answer.body.contains("# TYPE tidegate_build_info gauge\n"));
}

#[tokio::test]
async fn probes_follow_the_stages() {
    let server = Server::start(&[]).await;
    assert_eq!(server.get("/healthz").await.status, 200);
    server.get("/readyz").await.is_problem(503);
    server.stage.joined();
    assert_eq!(server.get("/readyz").await.status, 200);
    let metrics = server.get("/metrics").await.body;
    assert!(metrics.contains("tidegate_stage_up{stage=\"tally-0\"} 1"), "{metrics}");
    server.state.health.drain();
    let answer = server.get("/readyz").await;
    answer.is_problem(503);
    assert_eq!(answer.json()["detail"], "draining");
    assert_eq!(server.get("/healthz").await.status, 200, "a drain is not to be cut short");
}

#[tokio::test]
async fn an_ended_stage_fails_the_liveness_probe() {
    let server = Server::start(&[]).await;
    server.stage.ended();
    let answer = server.get("/healthz").await;
    answer.is_problem(503);
    assert_eq!(answer.json()["detail"], "stage tally-0 has ended");
}

#[tokio::test]
async fn probes_on_a_listener_of_their_own_need_no_token_and_are_not_on_the_other() {
    let server = Server::start(&[("reader", Scope::Read, TOKEN)]).await;
    let serve_at = async |router: axum::Router| {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let metrics = server.state.metrics.clone();
        tokio::spawn(serve(listener, router, Limits::default(), metrics, std::future::pending()));
        address
    };
    let (apart, bare) =
        (serve_at(super::probes_apart(&server.state)).await, serve_at(api(&server.state)).await);
    let get = async |address: SocketAddr, path: &str| {
        let request = server.client.get(format!("http://{address}{path}")).bearer_auth(TOKEN);
        request.send().await.unwrap().status().as_u16()
    };
    assert_eq!((get(apart, "/metrics").await, get(bare, "/metrics").await), (200, 404));
    assert_eq!((get(apart, "/healthz").await, get(bare, "/healthz").await), (200, 404));
    assert_eq!((get(apart, "/api/v1/models").await, get(bare, "/api/v1/models").await), (404, 200));
}

#[tokio::test]
async fn a_token_guards_everything_but_scrapes_and_probes() {
    let server = Server::start(&[("reader", Scope::Read, TOKEN), ("ops", Scope::Admin, ADMIN)]).await;
    server.stage.joined();
    for path in ["/metrics", "/healthz", "/readyz"] {
        assert_eq!(server.get(path).await.status, 200, "{path}");
    }
    for (path, challenge) in [
        ("/api/v1/models", "Bearer"),
        ("/no/such/path", "Bearer"),
        ("/api/v1/reload", "Bearer"),
        ("/", "Basic "),
    ] {
        let method = if path.ends_with("reload") { Method::POST } else { Method::GET };
        let answer = server.ask(method, path, None).await;
        answer.is_problem(401);
        assert!(answer.header("www-authenticate").starts_with(challenge), "{path}");
    }
    for wrong in ["Bearer", "Bearer ", "Bearer correct hors", "Bearer correct horse2", "Basic !!!", TOKEN] {
        server.ask(Method::GET, "/api/v1/models", Some(wrong)).await.is_problem(401);
        server.ask(Method::POST, "/api/v1/reload", Some(wrong)).await.is_problem(401);
    }
    let invalid = server.ask(Method::GET, "/api/v1/models", Some("Bearer nobody")).await;
    assert!(invalid.header("www-authenticate").contains("error=\"invalid_token\""));
    // The page's browser sends the token as the password of any user.
    let basic = "Basic YW55b25lOmNvcnJlY3QgaG9yc2U=";
    let rights =
        [format!("Bearer {TOKEN}"), format!("bearer {TOKEN}"), format!("Bearer {ADMIN}"), basic.to_owned()];
    for right in rights {
        for path in ["/api/v1/models", "/"] {
            assert_eq!(server.ask(Method::GET, path, Some(&right)).await.status, 200, "{right} {path}");
        }
    }
}

#[tokio::test]
async fn only_a_bearer_of_the_admin_scope_may_reload_and_hears_every_error() {
    let mut server = Server::start(&[("reader", Scope::Read, TOKEN), ("ops", Scope::Admin, ADMIN)]).await;
    let refused = server.ask(Method::POST, "/api/v1/reload", Some(&format!("Bearer {TOKEN}"))).await;
    refused.is_problem(403);
    assert!(refused.header("www-authenticate").contains("insufficient_scope"));
    // Another site's page could make a browser send this one.
    let basic = "Basic YW55b25lOmJhdHRlcnkgc3RhcGxl";
    server.ask(Method::POST, "/api/v1/reload", Some(basic)).await.is_problem(403);
    assert_eq!(server.ask(Method::GET, "/", Some(basic)).await.status, 200);
    assert!(server.reloads.try_recv().is_err(), "nothing was passed on");
    let mut outcomes = [Err(vec!["one".to_owned(), "two".to_owned()]), Ok(())].into_iter();
    let (mut reloads, (_, none)) = (server.reloads, super::reload::channel());
    server.reloads = none;
    tokio::spawn(async move {
        while let (Some(asked), Some(outcome)) = (reloads.recv().await, outcomes.next()) {
            asked.send(outcome).unwrap();
        }
    });
    let admin = format!("Bearer {ADMIN}");
    let asked = server.ask(Method::GET, "/api/v1/reload", Some(&admin)).await;
    asked.is_problem(405);
    assert_eq!(asked.header("allow"), "POST");
    let bad = server.ask(Method::POST, "/api/v1/reload", Some(&admin)).await;
    bad.is_problem(422);
    assert_eq!(bad.json()["errors"], serde_json::json!(["one", "two"]));
    let good = server.ask(Method::POST, "/api/v1/reload", Some(&admin)).await;
    assert_eq!((good.status, good.json()["outcome"].as_str()), (200, Some("taken")));
}

#[tokio::test]
async fn without_tokens_everybody_may_read_and_nobody_may_reload() {
    let server = Server::start(&[]).await;
    assert_eq!(server.get("/api/v1/models").await.status, 200);
    server.ask(Method::POST, "/api/v1/reload", None).await.is_problem(403);
    server.ask(Method::POST, "/api/v1/reload", Some("Bearer x")).await.is_problem(403);
}

#[test]
fn a_token_is_not_empty_and_has_one_name() {
    let mut tokens = Tokens::default();
    assert!(tokens.add("a", Scope::Read, " \n").is_err());
    tokens.add("a", Scope::Read, "x\n").unwrap();
    let twice = tokens.add("b", Scope::Admin, "x").unwrap_err().to_string();
    assert!(twice.contains("http.token b") && twice.contains("http.token a"), "{twice}");
}

#[tokio::test]
async fn what_cannot_be_answered_is_a_problem_document() {
    let server = Server::start(&[]).await;
    for path in ["/api/v1/models/nobody", "/api/v1/models/nobody/reports", "/no/such/path", "/api/v1/models/"]
    {
        server.get(path).await.is_problem(404);
    }
    let reports = "/api/v1/models/fraud/reports";
    for query in ["limit=0", "limit=1001", "limit=many", "limit=-1", "scale=x", "sort=asc", "limit=1&limit=2"]
    {
        server.get(&format!("{reports}?{query}")).await.is_problem(400);
    }
    server.get("/api/v1/models/fraud?limit=1").await.is_problem(400);
    server.get("/api/v1/models/%FF").await.is_problem(400);
    server.get("/api/v1/models/twice").await.is_problem(400);
    assert_eq!(server.get("/api/v1/models/twice?namespace=b").await.json()["model"]["namespace"], "b");
    server.get("/api/v1/models/fraud?namespace=b").await.is_problem(404);
}

#[tokio::test]
async fn only_reading_is_allowed() {
    let server = Server::start(&[]).await;
    for path in ["/", "/metrics", "/api/v1/models", "/api/v1/models/fraud/reports"] {
        for method in [Method::POST, Method::PUT, Method::DELETE] {
            let answer = server.ask(method, path, None).await;
            answer.is_problem(405);
            assert_eq!(answer.header("allow"), "GET,HEAD", "{path}");
        }
        let head = server.ask(Method::HEAD, path, None).await;
        assert_eq!((head.status, head.body.as_str()), (StatusCode::OK.as_u16(), ""));
    }
}

#[tokio::test]
async fn reports_are_filtered_cut_and_newest_first() {
    let server = Server::start(&[]).await;
    for (version, minute, scale) in [("v1", 1, 1), ("v1", 3, 1), ("v2", 2, 1), ("v1", 4, 4)] {
        let mut report = report(version, minute);
        report.window.scale = scale;
        server.state.board.apply_report(report);
    }
    let ends = async |query: &str| -> Vec<i64> {
        let answer = server.get(&format!("/api/v1/models/fraud/reports{query}")).await.json();
        let reports = answer["reports"].as_array().unwrap();
        let end = |report: &Value| report["window"]["end"].as_str().unwrap().parse::<jiff::Timestamp>();
        reports.iter().map(|report| end(report).unwrap().as_second() / 60).collect()
    };
    assert_eq!(ends("").await, [4, 3, 2, 1]);
    assert_eq!(ends("?limit=2").await, [4, 3]);
    assert_eq!(ends("?version=v1").await, [4, 3, 1]);
    assert_eq!(ends("?version=v1&scale=1").await, [3, 1]);
    assert_eq!(ends("?namespace=default&scale=4&limit=1000").await, [4]);
    assert_eq!(ends("?version=v3").await, [0; 0]);
}

#[tokio::test]
async fn a_model_shows_its_arms_and_what_became_of_its_actions() {
    let server = Server::start(&[]).await;
    server.state.board.apply_report(Report {
        role: Some(Role::Canary),
        verdict: Verdict::Drift,
        traffic_share: 0.1,
        ..report("v2", 1)
    });
    server.state.board.apply_report(report("v1", 1));
    let action = action("v2");
    server.state.board.apply_outcome(outcome(&action)); // the topics are read independently
    server.state.board.apply_action(action);
    let models = server.get("/api/v1/models").await.json();
    let fraud = &models["models"][0];
    assert_eq!((&fraud["name"], &fraud["verdict"]), (&"fraud".into(), &"drift".into()));
    assert_eq!((&fraud["arms"][0]["role"], &fraud["arms"][1]["role"]), (&"stable".into(), &"canary".into()));
    assert_eq!(fraud["last_action"]["outcomes"][0]["status"], 204);
    assert_eq!(models["models"][1]["verdict"], Value::Null);
    let model = server.get("/api/v1/models/fraud").await.json();
    assert_eq!(model["latest"].as_array().unwrap().len(), 2);
    assert_eq!(model["actions"][0]["action"], "pause");
}

#[tokio::test]
async fn the_page_loads_nothing_and_shows_every_model() {
    let server = Server::start(&[]).await;
    server.state.board.apply_report(report("v1", 1));
    let answer = server.get("/").await;
    assert_eq!((answer.status, answer.header("content-type")), (200, "text/html; charset=utf-8"));
    assert!(answer.header("content-security-policy").starts_with("default-src 'none'"));
    for shown in ["fraud", "twice", "amount", "score", "Nothing moved."] {
        assert!(answer.body.contains(shown), "{shown}");
    }
    for loading in ["<script", "src=", "href=", "url("] {
        assert!(!answer.body.contains(loading), "{loading}");
    }
}

#[test]
fn the_page_tells_a_version_that_has_fallen_silent() {
    let board = Board::new();
    board.apply_report(report("v1", 1));
    board.apply_report(report("v2", 1));
    let silent = |board: &Board| {
        page::render(&[board.model(&id("default", "fraud"))])
            .matches("no newer window of this version")
            .count()
    };
    assert_eq!(silent(&board), 0);
    board.apply_report(report("v1", 2));
    assert_eq!(silent(&board), 1);
}

#[test]
fn the_page_gives_quality_a_row_only_for_a_finding() {
    let render = |verdict| {
        let board = Board::new();
        let quality = SeriesReport { verdict, ..series("amount.missing", MeasuredOf::Quality) };
        board.apply_report(Report { series: vec![quality], ..report("v1", 1) });
        page::render(&[board.model(&id("default", "fraud"))])
    };
    let healthy = render(Verdict::Healthy);
    assert!(
        !healthy.contains("amount.missing") && healthy.contains("and 1 quality series without a finding")
    );
    let drift = render(Verdict::Drift);
    assert!(drift.contains("amount.missing") && !drift.contains("without a finding"));
    assert!(drift.contains("1970-01-01 00:01:00 UTC"));
}

#[test]
fn the_page_escapes_every_text_from_outside() {
    let evil = "<script>alert('\"&x')</script>";
    let board = Board::new();
    let mut report = report(evil, 1);
    (report.model, report.namespace, report.reason) = (evil.to_owned(), evil.to_owned(), evil.to_owned());
    report.series[0].name = evil.to_owned();
    board.apply_report(report);
    let mut action = action(evil);
    (action.rollout.model, action.rollout.namespace) = (evil.to_owned(), evil.to_owned());
    action.reason = evil.to_owned();
    board.apply_outcome(ActionOutcome {
        sink: evil.to_owned(),
        outcome: evil.to_owned(),
        ..outcome(&action)
    });
    board.apply_action(action);
    let html = page::render(&[board.model(&id(evil, evil))]);
    assert!(!html.contains("<script") && !html.contains("alert('"), "{html}");
    let escaped = "&lt;script&gt;alert(&#39;&quot;&amp;x&#39;)&lt;/script&gt;";
    assert!(html.matches(escaped).count() >= 8, "{html}");
}
