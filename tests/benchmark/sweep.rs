//! What decides the cost of a record: its size, partitions, shards, what is promised. One thing is varied at a time.

use anyhow::{Context, Result, ensure};
use millstream::kafka::KafkaClient;
use millstream_tests::client::{Client, Record};
use millstream_tests::cluster::{Cluster, Settings};

use crate::bench::OUTPUT;
use crate::jobs::{Compression, Job};
use crate::measure::{self, Cost, Ends};
use crate::pipeline::{Delivery, Pipeline};
use crate::results::median;
use crate::table::line;

/// The bytes of an input whose records are not small.
const BYTES: u64 = 2 << 30;

const TITLES: [&str; 9] = [
    "bytes",
    "partitions",
    "shards",
    "delivery",
    "CPU s per million",
    "per GiB",
    "× first row",
    "records/s",
    "peak RSS, MiB",
];

/// What is varied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Case {
    /// Bytes of a record's value.
    size: u64,
    /// Of the input and of the output.
    partitions: i32,
    shards: u32,
    delivery: Delivery,
}

const BASE: Case = Case { size: 100, partitions: 4, shards: 1, delivery: Delivery::ExactlyOnce };

/// Cases of one input follow each other.
const CASES: [Case; 10] = [
    BASE,
    Case { delivery: Delivery::AtLeastOnce, ..BASE },
    Case { shards: 2, ..BASE },
    Case { shards: 4, ..BASE },
    Case { partitions: 64, ..BASE },
    Case { partitions: 64, shards: 4, ..BASE },
    Case { partitions: 64, shards: 32, ..BASE },
    Case { partitions: 512, ..BASE },
    Case { size: 1024, ..BASE },
    Case { size: 10240, ..BASE },
];

/// Measures all cases on one broker, and prints a table of medians. `records` are those of the small size.
pub fn run(records: u64, rounds: u32) -> Result<()> {
    let cluster = Cluster::start(&Settings::new())?;
    println!("{}\n{}", line(TITLES), line(["---"; TITLES.len()]));
    let (mut input, mut base) = (None, None);
    for case in CASES {
        if input != Some((case.size, case.partitions)) {
            case.write_input(&cluster, records)?;
            input = Some((case.size, case.partitions));
        }
        let costs = (1..=rounds).map(|round| case.run(&cluster, records, round));
        let costs = costs.collect::<Result<Vec<_>>>().with_context(|| format!("{case:?}"))?;
        println!("{}", case.row(&costs, case.records(records), &mut base));
    }
    Ok(())
}

impl Case {
    fn records(self, small: u64) -> u64 {
        if self.size == BASE.size { small } else { BYTES / self.size }
    }

    fn input(self) -> String {
        format!("sweep-{}-{}", self.size, self.partitions)
    }

    /// Each partition's records come in batches of 100 KB, as from a busy producer.
    fn write_input(self, cluster: &Cluster, small: u64) -> Result<()> {
        let client = Client::new(&cluster.bootstrap())?;
        client.create_topic(&self.input(), self.partitions, &[])?;
        let writer = client.writer(&[("linger.ms", "1000"), ("batch.size", "100000")])?;
        let chunk = 100_000 / self.size;
        for seq in 0..self.records(small) {
            let value = format!("{seq:0>width$}", width = self.size as usize);
            let partition = (seq / chunk) as i32 % self.partitions;
            Client::send(&writer, &Record::new(&self.input(), value).to(partition))?;
        }
        Client::flush(&writer)
    }

    fn run(self, cluster: &Cluster, small: u64, round: u32) -> Result<Cost> {
        let (bootstrap, input) = (cluster.bootstrap(), self.input());
        let client = Client::new(&bootstrap)?;
        let output = format!("{input}-{}-{:?}-{round}", self.shards, self.delivery).to_lowercase();
        client.create_topic(&output, self.partitions, &OUTPUT)?;
        let ends = Ends::new(&bootstrap, &output, self.partitions)?;
        let pipeline = Pipeline {
            job: Job::PassThrough,
            client: KafkaClient::Wire,
            input: &input,
            output: &output,
            compression: Compression::None,
            mode: "Batch",
            shards: self.shards,
            checkpoint: "1s",
            delivery: self.delivery,
        };
        let cost = pipeline.run(cluster, &ends)?;
        let count = measure::count(&bootstrap, &output, self.partitions)?;
        let expected = self.records(small);
        ensure!(count == expected, "{count} records in the output, not {expected}");
        client.delete_topic(&output)?;
        Ok(cost)
    }

    fn row(self, costs: &[Cost], records: u64, base: &mut Option<f64>) -> String {
        let cpu = median(costs.iter().map(|cost| cost.cpu.as_secs_f64())).unwrap_or_default();
        let wall = median(costs.iter().map(|cost| cost.wall.as_secs_f64())).unwrap_or_default();
        let rss = costs.iter().map(|cost| cost.peak_rss).max().unwrap_or_default();
        let million = cpu / (records as f64 / 1e6);
        let base = *base.get_or_insert(million);
        let gibibyte = cpu / ((records * self.size) as f64 / f64::from(1 << 30));
        let Self { size, partitions, shards, delivery } = self;
        line([
            size.to_string(),
            partitions.to_string(),
            shards.to_string(),
            format!("{delivery:?}"),
            format!("{million:.2}"),
            format!("{gibibyte:.2}"),
            format!("{:.2}", million / base),
            format!("{:.0}", records as f64 / wall),
            (rss >> 20).to_string(),
        ])
    }
}
