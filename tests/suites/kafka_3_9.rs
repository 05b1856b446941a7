//! A fixed part of the tests of transactions on Kafka 3.9, whose brokers do not know the second version of
//! transactions (KIP-890): fencing and aborting take other ways there.

use std::process::ExitCode;

use anyhow::{Result, ensure};
use millstream::kafka::KafkaClient;
use millstream_tests::chaos::{self, Fault, Options};
use millstream_tests::client::Record;
use millstream_tests::cluster::Settings;
use millstream_tests::installation::Version;
use millstream_tests::pipeline::DONE;
use millstream_tests::pipeline::GUARD;
use millstream_tests::suite::{Case, Suite};
use millstream_tests::writing::{self, Epochs};

fn main() -> ExitCode {
    Suite::new(Settings::new().version(Version::V3_9))
        .test("exactly_once_under_faults", faults)
        .test("a_batch_runs_to_its_end", batch)
        .test("what_we_write_is_read_by_others_in_3_9", |case| writing::read_by_others(case, Epochs::Long))
        .test("who_is_fenced_in_3_9_is_told", writing::fenced)
        .serial()
        .run()
}

fn faults(case: &Case<'_>) -> Result<()> {
    let mut faults = chaos::few();
    faults.push(Fault::BrokerRestarted);
    let options = Options { records: 200_000, faults, seed: 39, client: KafkaClient::Wire };
    let report = chaos::run(case, &options)?;
    eprintln!("{report}");
    Ok(())
}

fn batch(case: &Case<'_>) -> Result<()> {
    case.topics(&[("in", 3), ("out", 2)])?;
    case.client.write_transaction(&case.topic("aborted"), false, [Record::new(&case.topic("in"), "aborted").to(0)])?;
    case.client.write((0..3000).map(|n| Record::new(&case.topic("in"), format!("{n}")).to(n % 3)))?;
    let manifest = case.manifest(
        "sources: [{name: in, kafka: {topics: [~in]}, format: {type: Raw}}]\n\
         sinks: [{name: out, kafka: {topic: ~out}, format: {type: Raw}}]\nmode: Batch\n",
    )?;
    case.run(&manifest, "run").start()?.expect_exit(DONE, GUARD)?;
    let records = case.client.read(&case.topic("out"))?.len();
    ensure!(records == 3000, "{records} records");
    Ok(())
}
