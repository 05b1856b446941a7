//! Tests against real parts: what they share.
//!
//! The suites in `suites/` run the program `millstream` as a user would, against a real Apache Kafka that they start
//! themselves, and judge it by what other clients of Kafka see. [`cluster`] starts brokers, [`client`] makes topics,
//! writes and reads them, [`oracle`] asks Kafka's own Java client for a verdict, [`evidence`] what the brokers' logs
//! say where it objects, [`pipeline`] runs `millstream`, and [`suite`] turns functions into a test binary with one
//! broker. [`chaos`] is the test of exactly-once under faults, which the suite `exactly_once` and the command `soak`
//! share; [`outage`] is the same in pods, on a [`site`] with a [`kubernetes`] of its own.
//!
//! Nothing here is skipped when a part is missing: the error says which command installs it.

pub mod chaos;
pub mod client;
pub mod cluster;
pub mod evidence;
pub mod golden;
pub mod header;
pub mod installation;
pub mod kubernetes;
pub mod oracle;
pub mod outage;
pub mod pipeline;
pub mod placeholders;
pub mod ports;
pub mod process;
pub mod site;
pub mod sockets;
pub mod suite;
pub mod tls;
pub mod wait;
pub mod writing;

pub use client::Client;
