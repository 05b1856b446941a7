//! Exactly-once under faults, judged by Kafka's own Java client.
//!
//! `every_fault_point` has a fixed seed and passes each fault point twice; `fresh_seed` takes another seed each time and
//! prints it. More of the same: `cargo run --release -p millstream-tests --bin soak`.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, ensure};
use millstream::fault::{POINTS, WIRE_POINTS};
use millstream::kafka::KafkaClient;
use millstream_tests::chaos::{self, Options};
use millstream_tests::client::Record;
use millstream_tests::cluster::Settings;
use millstream_tests::pipeline::{FENCED, GUARD};
use millstream_tests::suite::{Case, Suite, seed};
use millstream_tests::wait;
use rand::SeedableRng;
use rand::rngs::StdRng;

fn main() -> ExitCode {
    Suite::new(Settings::new())
        .test("every_fault_point", every_fault_point)
        .test("fresh_seed", fresh_seed)
        .test("with_librdkafka", with_librdkafka)
        .test("two_processes_do_not_fence_each_other_for_ever", duel)
        .serial()
        .run()
}

/// The seed of the run that is the same every time.
const FIXED: u64 = 20_261_122;

fn every_fault_point(case: &Case<'_>) -> Result<()> {
    let faults = chaos::plan(&[POINTS, WIRE_POINTS].concat(), 0, &mut StdRng::seed_from_u64(FIXED));
    ensure!(faults.len() >= 30, "only {} faults", faults.len());
    let report = chaos::run(case, &Options { records: 1_000_000, faults, seed: FIXED, client: KafkaClient::Wire })?;
    eprintln!("{report}");
    Ok(())
}

fn fresh_seed(case: &Case<'_>) -> Result<()> {
    let seed = seed()?;
    let mut faults = chaos::plan(&[POINTS, WIRE_POINTS].concat(), 100, &mut StdRng::seed_from_u64(seed));
    faults.truncate(12);
    let report = chaos::run(case, &Options { records: 200_000, faults, seed, client: KafkaClient::Wire })?;
    eprintln!("{report}");
    Ok(())
}

/// The other client: a fixed part.
fn with_librdkafka(case: &Case<'_>) -> Result<()> {
    let client = KafkaClient::Librdkafka;
    let report = chaos::run(case, &Options { records: 200_000, faults: chaos::few(), seed: FIXED, client })?;
    eprintln!("{report}");
    Ok(())
}

/// Two processes at once, with nobody to start them again: one is left, and goes on.
fn duel(case: &Case<'_>) -> Result<()> {
    case.topics(&[("in", 4), ("out", 4)])?;
    let manifest = case.manifest(
        "sources: [{name: in, kafka: {topics: [~in]}, format: {type: Raw}}]\n\
         sinks: [{name: out, kafka: {topic: ~out}, format: {type: Raw}}]\n\
         checkpoint: {interval: 100ms}\nshards: 4",
    )?;
    let mut processes = [case.run(&manifest, "one").start()?, case.run(&manifest, "two").start()?];
    let mut written = 0;
    let left = wait::until("one of two processes to give up", GUARD, || {
        // Who has nothing to commit need not notice that it was fenced.
        case.client.write((0..4).map(|n| Record::new(&case.topic("in"), format!("{written}")).to(n)))?;
        written += 4;
        let codes = [processes[0].code()?, processes[1].code()?];
        Ok(match codes {
            [None, Some(FENCED)] => Some(0),
            [Some(FENCED), None] => Some(1),
            [None, None] => None,
            other => anyhow::bail!("exit codes {other:?}"),
        })
    })?;
    case.client.write((0..1000).map(|n| Record::new(&case.topic("in"), format!("{n}")).to(n % 4)))?;
    let records = case.client.read_until(&case.topic("out"), 1000 + written, GUARD)?;
    ensure!(records.len() == 1000 + written, "{} records", records.len());
    std::thread::sleep(Duration::from_secs(1));
    processes[left].must_run()?;
    processes[left].stop()
}
