//! What is not on the board, and is read from Kafka when somebody asks: the sources' accounts.

use super::{HttpState, problem};
use crate::judge::accounting::Accounting;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use std::sync::Arc;
use tokio::sync::Semaphore;

/// Readings under way at once; further requests are told to come again.
const MAX_READINGS: usize = 2;

/// Reads Kafka, blocking.
pub trait Archive: Send + Sync {
    /// The accounts of all sources.
    ///
    /// # Errors
    /// A sentence, when Kafka cannot be read in time.
    fn accounting(&self) -> Result<Accounting, String>;
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
