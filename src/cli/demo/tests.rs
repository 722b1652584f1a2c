use super::*;
use clap::Parser;

#[derive(Parser)]
struct Command {
    #[command(flatten)]
    args: DemoArgs,
}

#[test]
fn the_defaults_are_the_model_regression_on_a_free_port() {
    let args = Command::parse_from(["demo"]).args;
    assert_eq!((args.scenario, args.once, args.seed, args.port), (Scenario::ModelRegression, false, 7, 0));
    for scenario in
        [Scenario::ModelRegression, Scenario::BrokenFeature, Scenario::UpstreamDrift, Scenario::Healthy]
    {
        let args = Command::parse_from(["demo", "--once", "--scenario", scenario.as_str()]).args;
        assert_eq!((args.scenario, args.once), (scenario, true));
    }
    assert!(Command::try_parse_from(["demo", "--scenario", "no-such"]).is_err());
}

fn args() -> DemoArgs {
    DemoArgs { scenario: Scenario::ModelRegression, once: true, seed: 7, port: 0 }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_fails_ends_the_demo_with_its_error() {
    let serve = |_: DemoSetup| async { Err(anyhow!("no broker")) };
    let error = run_with(args(), |_: &BaselineJob| Ok(()), serve).await.expect_err("it failed");
    assert!(format!("{error:#}").contains("no broker"), "{error:#}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_action_ends_the_demo_with_one_and_drains_the_service() {
    let serve = |mut setup: DemoSetup| async move {
        let version = setup.config.models[0].baselines[1].0.clone();
        assert_eq!(version, "v2");
        setup.page.send(SocketAddr::from(([127, 0, 0, 1], 1))).expect("the demo waits for it");
        say_pause(&setup.config);
        setup.shutdown.wait_for(|stop| *stop).await?;
        Ok(())
    };
    let build = |job: &BaselineJob| {
        assert!(job.training.is_file());
        Ok(())
    };
    assert_eq!(run_with(args(), build, serve).await.expect("it ran"), 1);
}

fn say_pause(config: &Config) {
    use rdkafka::ClientConfig;
    use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
    let producer: ThreadedProducer<DefaultProducerContext> =
        ClientConfig::new().set("bootstrap.servers", &config.kafka.brokers).create().expect("a producer");
    let action = fixture::action(crate::policy::action::Decision::Pause);
    let value = serde_json::to_vec(&action).expect("JSON");
    let topic = config.topics.own().actions;
    let record = BaseRecord::<(), [u8]>::to(&topic).payload(&value);
    producer.send(record).map_err(|(error, _)| error).expect("sent");
    producer.flush(Duration::from_secs(5)).expect("written");
}
