//! A client that knows of no broker any more is told where it began.
//!
//! librdkafka (from 2.10 on) forgets every broker that a metadata response does not name. A broker that has just been
//! started names none, itself included, until its controller has let it in; a client that asks it then has nobody left
//! to ask, and stays so for ever (confluentinc/librdkafka#5301). Its statistics tell.

use super::{ClientSettings, native};
use rdkafka::ClientContext;
use rdkafka::client::Client;
use rdkafka::statistics::Statistics;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How often a client should have statistics, to be lost for no longer.
pub const STATISTICS: Duration = Duration::from_secs(2);

/// Notices that a client is lost, and brings it back. Part of the client's context, which takes statistics in.
#[derive(Debug)]
pub struct Lifeline {
    brokers: String,
    lost: AtomicBool,
}

impl Lifeline {
    /// Of a client with these settings.
    pub fn new(settings: &ClientSettings) -> Lifeline {
        Lifeline { brokers: settings.brokers.clone(), lost: AtomicBool::new(false) }
    }

    /// Takes note of whether the client knows of any broker. Those of a role (`GroupCoordinator`), which are reached
    /// by way of another one, do not count.
    pub fn note(&self, statistics: &Statistics) {
        let is_broker = |source: &str| source == "learned" || source == "configured";
        let knows_any = statistics.brokers.values().any(|broker| is_broker(&broker.source));
        self.lost.store(!knows_any, Ordering::Relaxed);
    }

    /// Brings the client back, if it is lost; says whether it was. Costs next to nothing if not.
    pub fn rescue<C: ClientContext>(&self, client: &Client<C>) -> bool {
        let lost = self.lost.swap(false, Ordering::Relaxed);
        if lost {
            tracing::warn!(brokers = self.brokers, "a kafka client knew of no broker any more");
            native::add_brokers(client, &self.brokers);
        }
        lost
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::kafka::Quiet;
    use rdkafka::config::{ClientConfig, FromClientConfigAndContext};
    use rdkafka::consumer::{BaseConsumer, Consumer};
    use rdkafka::statistics::Broker;
    use std::net::TcpListener;
    use std::time::Instant;

    fn lifeline(brokers: String) -> Lifeline {
        Lifeline { brokers, lost: AtomicBool::new(false) }
    }

    fn statistics(sources: &[&str]) -> Statistics {
        let broker = |source: &&str| Broker { source: (*source).to_owned(), ..Broker::default() };
        let brokers = sources.iter().map(|source| ((*source).to_owned(), broker(source))).collect();
        Statistics { brokers, ..Statistics::default() }
    }

    #[test]
    fn a_client_is_lost_when_only_roles_are_left() {
        let lifeline = lifeline(String::new());
        for (sources, lost) in [
            (&["configured"][..], false),
            (&["logical", "learned"], false),
            (&["logical", "internal"], true),
            (&[], true),
        ] {
            lifeline.note(&statistics(sources));
            assert_eq!(lifeline.lost.load(Ordering::Relaxed), lost, "{sources:?}");
        }
    }

    #[test]
    fn a_lost_client_calls_where_it_began_and_is_told_once() {
        let server = TcpListener::bind("127.0.0.1:0").expect("a port");
        server.set_nonblocking(true).expect("a socket");
        let lifeline = lifeline(server.local_addr().expect("an address").to_string());
        let consumer: BaseConsumer<Quiet> =
            BaseConsumer::from_config_and_context(&ClientConfig::new(), Quiet).expect("a client");
        assert!(!lifeline.rescue(consumer.client()));
        lifeline.note(&statistics(&["logical"]));
        assert!(lifeline.rescue(consumer.client()) && !lifeline.rescue(consumer.client()));
        let started = Instant::now();
        while server.accept().is_err() {
            assert!(started.elapsed() < Duration::from_secs(30), "nobody calls");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}
