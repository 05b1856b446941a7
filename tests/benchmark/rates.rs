//! What a pipeline costs, and how late its output is, while little comes in: then what a record costs counts less than
//! what a checkpoint does.

use std::collections::BTreeSet;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use millstream::kafka::KafkaClient;
use millstream_tests::client::{Client, Record};
use millstream_tests::cluster::{Cluster, Settings};
use millstream_tests::outage::pauses::percentile;
use millstream_tests::pipeline::Millstream;
use millstream_tests::sockets;
use rdkafka::Message;
use rdkafka::consumer::BaseConsumer;

use crate::jobs::{Compression, Job};
use crate::measure::{Ends, Process};
use crate::pipeline::{Delivery, Pipeline};
use crate::table::{line, number};

/// How long a case is looked at.
const LONG: Duration = Duration::from_secs(30);
/// How long it runs before.
const WARM: Duration = Duration::from_secs(5);
/// Guards the end of the output.
const GUARD: Duration = Duration::from_mins(1);

const TITLES: [&str; 14] = [
    "shards",
    "partitions in, out",
    "records/s",
    "delivery",
    "checkpoint",
    "latency p50, ms",
    "p99",
    "highest",
    "millicores",
    "broker's",
    "RSS, MiB",
    "threads",
    "markers/s",
    "segments sent/s",
];

/// A pipeline and what comes in.
#[derive(Clone, Copy, Debug)]
struct Case {
    shards: u32,
    /// Of the input and of the output.
    partitions: i32,
    /// Records a second.
    rate: u32,
    delivery: Delivery,
    checkpoint: &'static str,
}

const CASES: [Case; 7] = [
    Case { shards: 1, partitions: 4, rate: 1000, delivery: Delivery::ExactlyOnce, checkpoint: "1s" },
    Case { shards: 1, partitions: 4, rate: 1000, delivery: Delivery::ExactlyOnce, checkpoint: "100ms" },
    Case { shards: 1, partitions: 4, rate: 1000, delivery: Delivery::AtLeastOnce, checkpoint: "1s" },
    Case { shards: 32, partitions: 32, rate: 1000, delivery: Delivery::ExactlyOnce, checkpoint: "1s" },
    Case { shards: 32, partitions: 32, rate: 1000, delivery: Delivery::AtLeastOnce, checkpoint: "1s" },
    Case { shards: 1, partitions: 4, rate: 0, delivery: Delivery::ExactlyOnce, checkpoint: "1s" },
    Case { shards: 12, partitions: 12, rate: 0, delivery: Delivery::ExactlyOnce, checkpoint: "1s" },
];

/// Measures all cases on one broker, and prints a table.
pub fn run() -> Result<()> {
    let cluster = Cluster::start(&Settings::new())?;
    println!("{}\n{}", line(TITLES), line(["---"; TITLES.len()]));
    for (number, case) in CASES.iter().enumerate() {
        let seen = case.measure(&cluster, number).with_context(|| format!("{case:?}"))?;
        println!("{}", seen.row(case));
    }
    Ok(())
}

/// What was seen of a case.
#[derive(Clone, Debug)]
struct Seen {
    /// From before a record is handed to the producer until it is read from the output.
    latencies: Vec<Duration>,
    /// Thousandths of a processor.
    millicores: f64,
    broker: f64,
    process: Process,
    markers: f64,
    segments: f64,
}

impl Case {
    fn measure(&self, cluster: &Cluster, number: usize) -> Result<Seen> {
        let client = Client::new(&cluster.bootstrap())?;
        let (input, output) = (format!("rate-{number}-in"), format!("rate-{number}-out"));
        client.create_topic(&input, self.partitions, &[])?;
        client.create_topic(&output, self.partitions, &[])?;
        let ends = Ends::new(&cluster.bootstrap(), &output, self.partitions)?;
        let mut program = self.start(cluster, &input, &output)?;
        let reader = client.follow(&output)?;
        at_end(&reader, self.partitions)?;
        self.feed(&client, &input, &reader, WARM)?;
        let (before, began) = (Account::take(&program, cluster, &ends)?, Instant::now());
        let latencies = self.feed(&client, &input, &reader, LONG)?;
        let (after, seconds) = (Account::take(&program, cluster, &ends)?, began.elapsed().as_secs_f64());
        program.stop()?;
        let millicores = |from: Duration, to: Duration| to.saturating_sub(from).as_secs_f64() / seconds * 1000.0;
        let written = (after.written - before.written) as f64;
        Ok(Seen {
            millicores: millicores(before.process.cpu, after.process.cpu),
            broker: millicores(before.broker, after.broker),
            process: after.process,
            markers: (written - latencies.len() as f64) / seconds,
            segments: (after.segments - before.segments) as f64 / seconds,
            latencies,
        })
    }

    fn start(&self, cluster: &Cluster, input: &str, output: &str) -> Result<Millstream> {
        let pipeline = Pipeline {
            job: Job::UpperCase,
            client: KafkaClient::Wire,
            input,
            output,
            compression: Compression::None,
            mode: "Streaming",
            shards: self.shards,
            checkpoint: self.checkpoint,
            delivery: self.delivery,
        };
        let mut program = pipeline.start(cluster)?;
        program.wait_ready()?;
        Ok(program)
    }

    /// Writes at the case's rate and reads all of it from the output; gives the latencies.
    fn feed(&self, client: &Client, input: &str, reader: &BaseConsumer, time: Duration) -> Result<Vec<Duration>> {
        let records = u64::from(self.rate) * time.as_secs();
        if records == 0 {
            thread::sleep(time);
            return Ok(Vec::new());
        }
        thread::scope(|scope| {
            let writing = scope.spawn(|| self.write(client, input, records));
            let latencies = latencies(reader, records as usize, time + GUARD);
            writing.join().map_err(|_| anyhow::anyhow!("the writer panicked"))??;
            latencies
        })
    }

    fn write(&self, client: &Client, input: &str, records: u64) -> Result<()> {
        let writer = client.writer(&[("linger.ms", "0")])?;
        let began = Instant::now();
        for seq in 0..records {
            let due = Duration::from_secs(seq) / self.rate;
            thread::sleep(due.saturating_sub(began.elapsed()));
            let value =
                format!("{:019} the quick brown fox jumps over the lazy dog again and again", now().as_micros());
            // Each shard's keys spread over all partitions of the output.
            let partition = (seq % self.partitions as u64) as i32;
            Client::send(&writer, &Record::new(input, value).key(format!("key-{seq}")).to(partition))?;
        }
        Client::flush(&writer)
    }
}

/// Waits until the reader stands at the end of each partition, so that it misses nothing from now on.
fn at_end(reader: &BaseConsumer, partitions: i32) -> Result<()> {
    let (mut there, began) = (BTreeSet::new(), Instant::now());
    while there.len() < partitions as usize {
        ensure!(began.elapsed() < GUARD, "only {} partitions of the output are read to their ends", there.len());
        match reader.poll(Duration::from_secs(1)) {
            Some(Err(rdkafka::error::KafkaError::PartitionEOF(partition))) => _ = there.insert(partition),
            Some(Err(error)) => return Err(error.into()),
            Some(Ok(_)) | None => {}
        }
    }
    Ok(())
}

/// Reads records, and says how old each was.
fn latencies(reader: &BaseConsumer, records: usize, guard: Duration) -> Result<Vec<Duration>> {
    let (mut found, began) = (Vec::with_capacity(records), Instant::now());
    while found.len() < records {
        ensure!(began.elapsed() < guard, "{} records in the output, not {records}", found.len());
        match reader.poll(Duration::from_secs(1)) {
            Some(Ok(message)) => {
                let value = std::str::from_utf8(message.payload().context("no value")?)?;
                let written = value.split(' ').next().context("no time")?.parse()?;
                found.push(now().saturating_sub(Duration::from_micros(written)));
            }
            Some(Err(rdkafka::error::KafkaError::PartitionEOF(_))) | None => {}
            Some(Err(error)) => return Err(error.into()),
        }
    }
    Ok(found)
}

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Counters at some moment.
struct Account {
    process: Process,
    broker: Duration,
    written: i64,
    /// Segments with data that were sent: about as many as requests while these are small.
    segments: u64,
}

impl Account {
    fn take(program: &Millstream, cluster: &Cluster, ends: &Ends) -> Result<Self> {
        Ok(Self {
            process: Process::read(program.id())?,
            broker: Process::read(cluster.broker_id()?)?.cpu,
            written: ends.written()?,
            segments: sockets::sum(program.id(), "data_segs_out", &[])?,
        })
    }
}

impl Seen {
    fn row(&self, case: &Case) -> String {
        let latency = |share| {
            let found = (!self.latencies.is_empty()).then(|| percentile(&self.latencies, share));
            number(found.map(|latency| latency.as_secs_f64() * 1000.0), 0)
        };
        let Case { shards, partitions, rate, delivery, checkpoint } = case;
        let whole = |value| number(Some(value), 0);
        line([
            shards.to_string(),
            format!("{partitions}, {partitions}"),
            rate.to_string(),
            format!("{delivery:?}"),
            (*checkpoint).to_owned(),
            latency(0.5),
            latency(0.99),
            latency(1.0),
            whole(self.millicores),
            whole(self.broker),
            (self.process.rss >> 20).to_string(),
            self.process.threads.to_string(),
            whole(self.markers),
            whole(self.segments),
        ])
    }
}
