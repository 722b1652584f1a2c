//! Where bytes come from, and the clients that carry results back: the one place that speaks to librdkafka.

pub mod file;
pub mod kafka;
