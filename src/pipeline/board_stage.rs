//! Keeps the board, from which any replica answers: reports, alerts, actions and outcomes out of their
//! compacted topics.

use super::tally_stage::Shared;
use crate::config::OwnTopics;
use crate::http::board::Board;
use crate::source::kafka::{ClientSettings, Operation, TopicReader, Using, explain};
use std::sync::Arc;
use std::time::Duration;

const POLL: Duration = Duration::from_millis(100);

/// Reads until the process stops.
///
/// # Errors
/// When the topics cannot be looked up.
pub fn run(
    client: &ClientSettings,
    own: &OwnTopics,
    board: &Arc<Board>,
    shared: &Shared,
) -> Result<(), String> {
    let topics = [own.reports.as_str(), own.alerts.as_str(), own.actions.as_str(), own.outcomes.as_str()];
    let names = topics.join(", ");
    let using = Using { topic: Some((Operation::Read, &names)), ..Using::default() };
    let mut reader = TopicReader::from_beginning(client, "board", &topics)
        .map_err(|error| explain(&error, using))
        .map_err(|why| format!("the reports could not be looked up: {why}"))?;
    shared.stage.joined();
    let mut seen = board.counts().1;
    while !shared.is_stopping() {
        shared.stage.beat();
        if let Some(why) = reader.denied() {
            return Err(why);
        }
        if !board.is_whole() && reader.is_caught_up() {
            board.note_whole();
        }
        let (reports, evicted) = board.counts();
        shared.metrics.board_reports.set(reports as i64);
        shared.metrics.board_evictions.inc_by(evicted - seen);
        seen = evicted;
        reader.poll(POLL, |topic, _, payload| {
            let Some(payload) = payload else { return };
            if let Err(error) = take(board, own, topic, payload) {
                tracing::warn!(%error, topic, "an unreadable record is not shown");
            }
        });
    }
    Ok(())
}

fn take(board: &Board, own: &OwnTopics, topic: &str, payload: &[u8]) -> Result<(), serde_json::Error> {
    if topic == own.reports {
        board.apply_report(serde_json::from_slice(payload)?);
    } else if topic == own.alerts {
        board.apply_alert(serde_json::from_slice(payload)?);
    } else if topic == own.actions {
        board.apply_action(serde_json::from_slice(payload)?);
    } else if topic == own.outcomes {
        board.apply_outcome(serde_json::from_slice(payload)?);
    }
    Ok(())
}
