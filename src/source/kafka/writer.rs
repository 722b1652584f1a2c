//! One record, outside of any transaction.

use super::client::log;
use super::transaction::base_record;
use super::{ClientSettings, Outgoing};
use rdkafka::client::ClientContext;
use rdkafka::config::{FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::error::KafkaError;
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseProducer, Producer, ProducerContext};
use rdkafka::types::RDKafkaErrorCode;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

const POLL: Duration = Duration::from_millis(20);
/// How much longer than its time the answer about a record may take.
const GRACE: Duration = Duration::from_secs(1);

/// What became of the one record.
#[derive(Default)]
struct Delivery(Mutex<Option<Result<(), KafkaError>>>);

impl Delivery {
    fn take(&self) -> Option<Result<(), KafkaError>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl ClientContext for Delivery {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "kafka producer error");
    }
}

impl ProducerContext for Delivery {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let result = result.as_ref().map(|_| ()).map_err(|(error, _)| error.clone());
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
    }
}

/// Writes a record to all replicas in sync, within `limit` (and a second), with a client of its own. Blocks. For
/// records that do no harm twice: one is sent again when the answer is lost.
///
/// # Errors
/// When it is not known to be written. It may be there all the same after a time-out.
pub fn write_one(
    settings: &ClientSettings,
    role: &str,
    record: &Outgoing,
    limit: Duration,
) -> Result<(), KafkaError> {
    let config = settings.plain_producer(role, limit);
    let producer: BaseProducer<Delivery> =
        BaseProducer::from_config_and_context(&config, Delivery::default())?;
    // Asked first, for a new client: the request for the topic's leader that goes with a record may get lost with the
    // connection that first told of the brokers.
    let until = Instant::now() + limit + GRACE;
    let asked = producer.client().fetch_metadata(Some(&record.topic), limit);
    let result = asked.and_then(|_| send(&producer, record, until));
    // On a thread of its own: librdkafka may take its time to let go of a broker that does not answer.
    std::thread::spawn(move || drop(producer));
    result
}

fn send(producer: &BaseProducer<Delivery>, record: &Outgoing, until: Instant) -> Result<(), KafkaError> {
    producer.send(base_record(record)).map_err(|(error, _)| error)?;
    loop {
        producer.poll(POLL);
        if let Some(result) = producer.context().take() {
            return result;
        }
        if Instant::now() >= until {
            return Err(KafkaError::MessageProduction(RDKafkaErrorCode::MessageTimedOut));
        }
    }
}
