//! The wall clock, read only here.

use crate::event::EventTime;
use std::time::{SystemTime, UNIX_EPOCH};

/// Now, in milliseconds since 1970. A clock before 1970 reads as 0.
pub fn now() -> EventTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    EventTime(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
