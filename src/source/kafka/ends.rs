//! Where a partition begins and ends, asked of its leader.

use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::types::RDKafkaErrorCode;
use std::time::{Duration, Instant};

const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// Pause before a partition without a leader is asked for its ends again.
const ASK_AGAIN: Duration = Duration::from_millis(100);

/// First and next offset of a partition. One that was just made, or whose leader has just moved, is asked again
/// until the time of one call is over.
///
/// # Errors
/// When the broker does not answer, or the partition has no leader for ten seconds.
pub fn ends_of<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    topic: &str,
    partition: i32,
) -> KafkaResult<(i64, i64)> {
    patiently(CALL_TIMEOUT, || consumer.fetch_watermarks(topic, partition, CALL_TIMEOUT))
}

/// Asks until there is a leader to answer, for at most `limit`.
fn patiently<T>(limit: Duration, mut ask: impl FnMut() -> KafkaResult<T>) -> KafkaResult<T> {
    let until = Instant::now() + limit;
    loop {
        match ask() {
            Err(KafkaError::MetadataFetch(code)) if is_without_leader(code) && Instant::now() < until => {
                std::thread::sleep(ASK_AGAIN);
            }
            answer => return answer,
        }
    }
}

fn is_without_leader(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode::{LeaderNotAvailable, NotLeaderForPartition, UnknownTopicOrPartition};
    matches!(code, LeaderNotAvailable | NotLeaderForPartition | UnknownTopicOrPartition)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WITHOUT: [RDKafkaErrorCode; 3] = [
        RDKafkaErrorCode::LeaderNotAvailable,
        RDKafkaErrorCode::NotLeaderForPartition,
        RDKafkaErrorCode::UnknownTopicOrPartition,
    ];

    #[test]
    fn a_partition_without_a_leader_is_asked_until_it_has_one() {
        let mut answers =
            WITHOUT.iter().map(|code| Err(KafkaError::MetadataFetch(*code))).chain([Ok((3, 9))]);
        let ends = patiently(CALL_TIMEOUT, || answers.next().expect("asked once too often"));
        assert_eq!(ends, Ok((3, 9)));
    }

    #[test]
    fn one_that_gets_none_is_given_up_and_other_errors_are_told_at_once() {
        let mut asked = 0;
        let answer: KafkaResult<(i64, i64)> = patiently(3 * ASK_AGAIN, || {
            asked += 1;
            Err(KafkaError::MetadataFetch(WITHOUT[0]))
        });
        assert_eq!(answer, Err(KafkaError::MetadataFetch(WITHOUT[0])));
        assert!((2..=4).contains(&asked), "asked {asked} times");
        let denied = KafkaError::MetadataFetch(RDKafkaErrorCode::TopicAuthorizationFailed);
        asked = 0;
        let answer: KafkaResult<(i64, i64)> = patiently(CALL_TIMEOUT, || {
            asked += 1;
            Err(denied.clone())
        });
        assert_eq!((answer, asked), (Err(denied.clone()), 1));
    }
}
