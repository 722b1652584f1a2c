//! The one integration-test binary: every file more would link the whole program once more.

mod backpressure_tests;
mod bad_input_tests;
mod archive_tests;
mod broker;
mod broker_tests;
mod cardinality_tests;
mod data;
mod faults;
mod guard;
mod process;
mod messages;
mod receiver;
mod recreated_tests;
mod rooms;
mod schemas_config;
mod schemas_event;
mod serve_tests;
mod service;
mod demo_tests;
mod naive;
mod notify_tests;
mod promtool;
mod soak_tests;
mod stream_tests;
mod schemas_proto;
mod schemas_reports;
