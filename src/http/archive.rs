//! What is not on the board, and is read from Kafka when somebody asks: the sources' accounts, and stored panes.

use super::panes::PaneView;
use super::{Asked, HttpState, Named, bad_request, find, panes, problem};
use crate::event::{EventTime, ModelId};
use crate::judge::accounting::Accounting;
use crate::judge::stored::Part;
use crate::tally::record::PaneRecord;
use axum::Json;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::json;
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// Readings under way at once; further requests are told to come again.
const MAX_READINGS: usize = 2;

/// Records of panes in one answer, unless asked for fewer or more; the events of a pane and each of its series
/// are one record.
pub const DEFAULT_LIMIT: usize = 2_000;
/// The most records that may be asked for at once.
pub const MAX_LIMIT: usize = 20_000;

/// Which panes of a model are wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PanesQuery {
    pub model: ModelId,
    /// `None`: all.
    pub version: Option<String>,
    /// The events by role come in any case. `None`: all.
    pub series: Option<String>,
    pub parts: Parts,
    /// The most records that are wanted.
    pub limit: usize,
}

/// Which panes and sums.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Parts {
    /// Those of this length, in panes, that start at or after `from` and before `to`.
    Between {
        length: u32,
        from: EventTime,
        to: EventTime,
    },
    These(BTreeSet<Part>),
}

impl Parts {
    pub fn contains(&self, length: u32, start: i64) -> bool {
        match self {
            Parts::Between { length: wanted, from, to } => {
                length == *wanted && (from.0..to.0).contains(&start)
            }
            Parts::These(parts) => parts.contains(&(length, start)),
        }
    }

    /// The earliest start that is wanted, in milliseconds since 1970; `None` when nothing is.
    pub fn earliest(&self) -> Option<i64> {
        match self {
            Parts::Between { from, .. } => Some(from.0),
            Parts::These(parts) => parts.iter().map(|(_, start)| *start).min(),
        }
    }
}

/// Why panes could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PanesError {
    #[error(
        "there are more than {0} records of panes (or more than 64 MiB): ask for a shorter time, for one version \
         or series, or for sums (length 4 or 16)"
    )]
    TooMany(usize),
    #[error("{0}")]
    Unavailable(String),
}

/// Reads Kafka, blocking.
pub trait Archive: Send + Sync {
    /// The accounts of all sources.
    ///
    /// # Errors
    /// A sentence, when Kafka cannot be read in time.
    fn accounting(&self) -> Result<Accounting, String>;

    /// Closed panes and sums: the newest revision of each, in order of their starts.
    ///
    /// # Errors
    /// When there are more than the query's limit, or Kafka cannot be read in time.
    fn panes(&self, query: &PanesQuery) -> Result<Vec<PaneRecord>, PanesError>;
}

/// The archive, for a bounded number of readers at once.
#[derive(Clone)]
pub struct ArchiveAccess {
    archive: Arc<dyn Archive>,
    readings: Arc<Semaphore>,
}

impl ArchiveAccess {
    pub fn new(archive: Arc<dyn Archive>) -> ArchiveAccess {
        ArchiveAccess { archive, readings: Arc::new(Semaphore::new(MAX_READINGS)) }
    }

    /// Runs a reading in a thread of its own. The permit goes with it: a reading outlives a client that has
    /// gone, and still counts.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        reading: impl FnOnce(&dyn Archive) -> T + Send + 'static,
    ) -> Result<T, Box<Response>> {
        let unavailable = |detail: &str| Box::new(problem(StatusCode::SERVICE_UNAVAILABLE, detail));
        let Ok(permit) = Arc::clone(&self.readings).try_acquire_owned() else {
            return Err(unavailable("other requests are reading Kafka; ask again"));
        };
        let archive = Arc::clone(&self.archive);
        let task = tokio::task::spawn_blocking(move || {
            let found = reading(archive.as_ref());
            drop(permit);
            found
        });
        task.await.map_err(|_| unavailable("the reading ended abnormally"))
    }
}

pub(super) async fn accounting(State(state): State<Arc<HttpState>>) -> Response {
    match state.archive.read(|archive| archive.accounting()).await {
        Ok(Ok(accounting)) => Json(accounting).into_response(),
        Ok(Err(why)) => problem(StatusCode::SERVICE_UNAVAILABLE, &why),
        Err(response) => *response,
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PanesParameters {
    namespace: Option<String>,
    version: Option<String>,
    series: Option<String>,
    from: String,
    to: String,
    length: Option<u32>,
    limit: Option<usize>,
}

pub(super) async fn stored_panes(
    State(state): State<Arc<HttpState>>,
    name: Named,
    query: Asked<PanesParameters>,
) -> Response {
    let Query(asked) = match query {
        Ok(query) => query,
        Err(error) => return bad_request(&error.body_text()),
    };
    let model = match find(&state, name, asked.namespace.as_deref()) {
        Ok(model) => model,
        Err(response) => return *response,
    };
    let query = match wanted(model, asked) {
        Ok(query) => query,
        Err(why) => return bad_request(why),
    };
    let asked = query.clone();
    match state.archive.read(move |archive| archive.panes(&query)).await {
        Ok(Ok(records)) => {
            let panes = panes::views(&records);
            match unknown(&state, &asked, &panes) {
                Some(why) => problem(StatusCode::NOT_FOUND, &why),
                None => Json(json!({ "panes": panes })).into_response(),
            }
        }
        Ok(Err(error @ PanesError::TooMany(_))) => bad_request(&error.to_string()),
        Ok(Err(PanesError::Unavailable(why))) => problem(StatusCode::SERVICE_UNAVAILABLE, &why),
        Err(response) => *response,
    }
}

/// Why there is nothing of the version or series that was asked for: it is neither configured nor in these panes.
fn unknown(state: &HttpState, asked: &PanesQuery, panes: &[PaneView]) -> Option<String> {
    let version = asked.version.as_deref();
    let besides = ", and no pane of this time is of it";
    if let Some(why) = state.unknown_version(&asked.model, version, besides).filter(|_| panes.is_empty()) {
        return Some(why);
    }
    let series = asked.series.as_deref().filter(|series| !panes::holds(panes, series))?;
    let watch = state.watched();
    let model = watch.models.iter().find(|model| model.id == asked.model)?;
    panes::unknown_series(model, version, series)
}

fn wanted(model: ModelId, asked: PanesParameters) -> Result<PanesQuery, &'static str> {
    let time = |text: &str| EventTime::parse_rfc3339(text).map_err(|_| "from and to are RFC 3339 times");
    let (from, to) = (time(&asked.from)?, time(&asked.to)?);
    if from >= to {
        return Err("from is before to");
    }
    let length = asked.length.unwrap_or(1);
    if ![1, 4, 16].contains(&length) {
        return Err("length is 1, 4 or 16 panes");
    }
    let limit = asked.limit.unwrap_or(DEFAULT_LIMIT);
    if !(1..=MAX_LIMIT).contains(&limit) {
        return Err("limit is 1 to 20000");
    }
    let parts = Parts::Between { length, from, to };
    Ok(PanesQuery { model, version: asked.version, series: asked.series, parts, limit })
}
