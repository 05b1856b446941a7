//! A fixed part of the tests of exactly-once on the newest Kafka, with three brokers: each partition has a leader all the
//! time, which the release demands for transactions (KAFKA-20734).

use std::process::ExitCode;

use anyhow::Result;
use millstream::kafka::KafkaClient;
use millstream_tests::chaos::{self, Fault, Options};
use millstream_tests::cluster::Settings;
use millstream_tests::installation::Version;
use millstream_tests::suite::{Case, Suite};

fn main() -> ExitCode {
    Suite::new(Settings::new().version(Version::V4_4).nodes(3))
        .test("exactly_once_under_faults_on_the_newest", faults)
        .serial()
        .run()
}

fn faults(case: &Case<'_>) -> Result<()> {
    let mut faults = chaos::few();
    faults.push(Fault::BrokerRestarted);
    let options = Options { records: 200_000, faults, seed: 44, client: KafkaClient::Wire };
    let report = chaos::run(case, &options)?;
    eprintln!("{report}");
    Ok(())
}
