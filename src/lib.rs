//! Tidegate watches what machine-learning models are asked and what they answer, straight from Kafka,
//! and tells the rollout controller when a canary must stop.
//!
//! ```text
//! source ─► decode ─► tally ─► Kafka ─► judge ─► policy ─► Kafka ─► notify ─► rollout controller
//! bytes     Arrow     exact    deltas,  windows,  decisions  actions
//!           columns   counts   markers  verdicts
//! ```
//!
//! The rooms, in the order in which they may import each other (each only what stands below it;
//! `tests/it/rooms.rs` keeps it so):

pub mod cli;
pub mod pipeline;
pub mod config;
pub mod http;
pub mod simulation;
pub mod notify;
pub mod policy;
pub mod judge;
pub mod tally;
pub mod decode;
pub mod source;
pub mod baseline;
pub mod stats;
pub mod cells;
pub mod event;
pub mod metrics;
