//! The published snapshot: what the compacted topics say, bounded.

use crate::event::{ModelId, Role};
use crate::judge::report::{Report, Verdict};
use crate::policy::action::{Action, ActionOutcome, Alert};
use serde::Serialize;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, RwLock, RwLockReadGuard, RwLockWriteGuard};

const REPORTS_PER_KEY: usize = 64;
const ENTRIES_PER_MODEL: usize = 50;
const MAX_KEYS: usize = 10_000;
/// Bytes of reports, beyond which the oldest windows go; the newest of each version and scale stays.
pub const MAX_BYTES: usize = 96 << 20;

type Key = (ModelId, String, u32);

#[derive(Default)]
struct Inner {
    /// By window end, RFC 3339 with a fixed width, so that text order is time order.
    reports: BTreeMap<Key, BTreeMap<String, Arc<Report>>>,
    actions: BTreeMap<ModelId, VecDeque<Action>>,
    alerts: BTreeMap<ModelId, VecDeque<Alert>>,
    outcomes: BTreeMap<String, BTreeMap<String, ActionOutcome>>,
    evicted: u64,
    /// Bytes of `reports`.
    bytes: usize,
    is_whole: bool,
}

/// Bytes that a report takes, about.
fn size(report: &Report) -> usize {
    let text = report.reason.len() + report.model.len() + report.model_version.len();
    let of_series = |name: &String| size_of::<crate::judge::report::SeriesReport>() + 2 * name.len() + 64;
    1_024 + text + report.series.iter().map(|series| of_series(&series.name)).sum::<usize>()
}

impl Inner {
    fn forget(&mut self, windows: impl IntoIterator<Item = Arc<Report>>) {
        self.bytes -= windows.into_iter().map(|report| size(&report)).sum::<usize>();
    }

    /// Drops the oldest windows until the reports fit.
    fn limit_bytes(&mut self) {
        while self.bytes > MAX_BYTES {
            let several = self.reports.iter().filter(|(_, windows)| windows.len() > 1);
            let oldest = several.filter_map(|(key, windows)| Some((windows.keys().next()?, key))).min();
            let oldest = oldest.map(|(end, key)| (end.clone(), key.clone()));
            let Some((end, key)) = oldest else { return };
            let dropped = self.reports.get_mut(&key).and_then(|windows| windows.remove(&end));
            self.forget(dropped);
            self.evicted += 1;
        }
    }
}

/// Built from the topics by any replica; cheap to read.
#[derive(Default)]
pub struct Board(RwLock<Inner>);

/// An action with what its sinks answered.
#[derive(Debug, Clone, Serialize)]
pub struct ActionView {
    #[serde(flatten)]
    pub action: Action,
    pub outcomes: Vec<ActionOutcome>,
}

/// One version of a model, as its newest report of the smallest scale shows it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ArmView {
    pub model_version: String,
    /// `null` without a rollout.
    pub role: Option<Role>,
    /// Observed share of the model's events, 0 to 1.
    pub traffic_share: f64,
    pub verdict: Verdict,
}

/// A model in the list of models.
#[derive(Debug, Clone, Serialize)]
pub struct ModelSummary {
    #[serde(flatten)]
    pub model: ModelId,
    pub arms: Vec<ArmView>,
    /// The gravest verdict of the arms; `null` before the first report.
    pub verdict: Option<Verdict>,
    /// `null` when none was asked for.
    pub last_action: Option<ActionView>,
}

/// All the board holds of a model, newest first.
#[derive(Debug, Clone, Serialize)]
pub struct ModelView {
    pub model: ModelId,
    /// The stable arm, then the canary, then versions without a role.
    pub arms: Vec<ArmView>,
    /// The latest report of each version and scale.
    #[serde(serialize_with = "without_arc")]
    pub latest: Vec<Arc<Report>>,
    pub actions: Vec<ActionView>,
    pub alerts: Vec<Alert>,
}

fn without_arc<S: serde::Serializer>(reports: &[Arc<Report>], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(reports.iter().map(Arc::as_ref))
}

impl ModelView {
    /// The report that speaks for each version: the newest of its smallest scale, in the order of the arms.
    pub fn newest(&self) -> Vec<&Report> {
        newest_by_version(&self.latest)
    }

    /// The gravest verdict of the arms; `None` before the first report.
    pub fn verdict(&self) -> Option<Verdict> {
        self.arms.iter().map(|arm| arm.verdict).max_by_key(|verdict| gravity(*verdict))
    }
}

/// Orders verdicts by how much they need a look.
pub(super) fn gravity(verdict: Verdict) -> u8 {
    match verdict {
        Verdict::Healthy => 0,
        Verdict::Inconclusive => 1,
        Verdict::Warning => 2,
        Verdict::Drift => 3,
    }
}

fn newest_by_version(latest: &[Arc<Report>]) -> Vec<&Report> {
    let mut versions: BTreeMap<&str, &Report> = BTreeMap::new();
    for report in latest {
        let known = versions.entry(&report.model_version).or_insert(report);
        if report.window.scale < known.window.scale {
            *known = report;
        }
    }
    let mut reports: Vec<&Report> = versions.into_values().collect();
    reports.sort_by_key(|report| (report.role.is_none(), report.role));
    reports
}

fn latest(inner: &Inner, id: &ModelId) -> Vec<Arc<Report>> {
    let from = (id.clone(), String::new(), 0);
    let of_model = inner.reports.range(from..).take_while(|((model, ..), _)| model == id);
    of_model.filter_map(|(_, windows)| windows.values().last().cloned()).collect()
}

fn arm(report: &Report) -> ArmView {
    ArmView {
        model_version: report.model_version.clone(),
        role: report.role,
        traffic_share: report.traffic_share,
        verdict: report.verdict,
    }
}

impl Board {
    pub fn new() -> Board {
        Board::default()
    }

    fn read(&self) -> RwLockReadGuard<'_, Inner> {
        self.0.read().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn write(&self) -> RwLockWriteGuard<'_, Inner> {
        self.0.write().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Notes that everything has been read that stood in the topics when reading began.
    pub fn note_whole(&self) {
        self.write().is_whole = true;
    }

    /// Whether the latest reports are on the board: before, it may show what is long past.
    pub fn is_whole(&self) -> bool {
        self.read().is_whole
    }

    /// A later revision replaces an earlier one of its window; an earlier one changes nothing.
    pub fn apply_report(&self, report: Report) {
        let inner = &mut *self.write();
        let id = ModelId { namespace: report.namespace.clone(), name: report.model.clone() };
        let windows =
            inner.reports.entry((id, report.model_version.clone(), report.window.scale)).or_default();
        let end = report.window.end.clone();
        let mut dropped = Vec::new();
        if windows.get(&end).is_none_or(|known| known.revision <= report.revision) {
            inner.bytes += size(&report);
            dropped.extend(windows.insert(end, Arc::new(report)));
        }
        if windows.len() > REPORTS_PER_KEY {
            dropped.extend(windows.pop_first().map(|(_, report)| report));
        }
        inner.forget(dropped);
        inner.limit_bytes();
        if inner.reports.len() > MAX_KEYS {
            let newest =
                |(key, windows): (&Key, &BTreeMap<String, _>)| (windows.keys().last().cloned(), key.clone());
            if let Some((_, oldest)) = inner.reports.iter().map(newest).min() {
                let windows = inner.reports.remove(&oldest).unwrap_or_default();
                inner.forget(windows.into_values());
                inner.evicted += 1;
            }
        }
    }

    pub fn apply_action(&self, action: Action) {
        let inner = &mut *self.write();
        let id = ModelId { namespace: action.rollout.namespace.clone(), name: action.rollout.model.clone() };
        let actions = inner.actions.entry(id).or_default();
        actions.retain(|known| known.idempotency_key != action.idempotency_key);
        actions.push_front(action);
        if actions.len() > ENTRIES_PER_MODEL
            && let Some(dropped) = actions.pop_back()
        {
            inner.outcomes.remove(&dropped.idempotency_key);
        }
        if inner.actions.len() > MAX_KEYS {
            inner.actions.pop_first();
            inner.evicted += 1;
        }
    }

    /// Kept while the board holds its action, or until it comes: the topics are read independently.
    pub fn apply_outcome(&self, outcome: ActionOutcome) {
        let inner = &mut *self.write();
        if inner.outcomes.len() >= MAX_KEYS && !inner.outcomes.contains_key(&outcome.idempotency_key) {
            inner.outcomes.pop_first();
        }
        let sinks = inner.outcomes.entry(outcome.idempotency_key.clone()).or_default();
        sinks.insert(outcome.sink.clone(), outcome);
    }

    pub fn apply_alert(&self, alert: Alert) {
        let inner = &mut *self.write();
        let id = ModelId { namespace: alert.namespace.clone(), name: alert.model.clone() };
        let alerts = inner.alerts.entry(id).or_default();
        alerts.retain(|known| known.alert_id != alert.alert_id);
        alerts.push_front(alert);
        alerts.truncate(ENTRIES_PER_MODEL);
        if inner.alerts.len() > MAX_KEYS {
            inner.alerts.pop_first();
            inner.evicted += 1;
        }
    }

    /// Alerts about source topics, which are of no model, newest first.
    pub fn source_alerts(&self) -> Vec<Alert> {
        let nobody = ModelId { namespace: String::new(), name: String::new() };
        self.read().alerts.get(&nobody).into_iter().flatten().cloned().collect()
    }

    /// Reports held, and how often something was dropped at a bound.
    pub fn counts(&self) -> (usize, u64) {
        let inner = self.read();
        (inner.reports.values().map(BTreeMap::len).sum(), inner.evicted)
    }

    /// The latest report of each version and scale of a model.
    pub fn latest(&self, id: &ModelId) -> Vec<Arc<Report>> {
        latest(&self.read(), id)
    }

    pub fn model(&self, id: &ModelId) -> ModelView {
        let inner = self.read();
        let latest = latest(&inner, id);
        let view = |action: &Action| ActionView {
            action: action.clone(),
            outcomes: inner
                .outcomes
                .get(&action.idempotency_key)
                .map(|sinks| sinks.values().cloned().collect())
                .unwrap_or_default(),
        };
        ModelView {
            model: id.clone(),
            arms: newest_by_version(&latest).into_iter().map(arm).collect(),
            latest,
            actions: inner.actions.get(id).into_iter().flatten().map(view).collect(),
            alerts: inner.alerts.get(id).into_iter().flatten().cloned().collect(),
        }
    }

    /// A model's line in the list of models.
    pub fn summary(&self, id: &ModelId) -> ModelSummary {
        let view = self.model(id);
        ModelSummary {
            verdict: view.verdict(),
            model: view.model,
            arms: view.arms,
            last_action: view.actions.into_iter().next(),
        }
    }

    /// Newest first, at most `limit`.
    pub fn reports(
        &self,
        id: &ModelId,
        version: Option<&str>,
        scale: Option<u32>,
        limit: usize,
    ) -> Vec<Arc<Report>> {
        let inner = self.read();
        let wanted = |(model, of, at): &Key| {
            model == id && version.is_none_or(|v| v == of) && scale.is_none_or(|s| s == *at)
        };
        let kept = inner.reports.iter().filter(|(key, _)| wanted(key));
        let mut found: Vec<Arc<Report>> = kept.flat_map(|(_, windows)| windows.values().cloned()).collect();
        found.sort_by(|a, b| b.window.end.cmp(&a.window.end));
        found.truncate(limit);
        found
    }
}
