//! The input: lines and JSON objects of about 100 bytes, the same in every run.

use anyhow::Result;
use millstream_tests::client::{Client, Record};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::jobs::{Compression, LINES, PARTITIONS, READINGS};
use crate::named::Named;

/// How much there is, and how it is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Input {
    /// Records of each topic.
    pub records: u64,
    /// The compression of their batches.
    pub compression: Compression,
}

const KINDS: [&str; 4] = ["Temp", "Humid", "Press", "Volt"];

/// A measurement of some sensor.
struct Reading {
    ts: u64,
    sensor: u32,
    kind: &'static str,
    value: f64,
    site: u32,
    seq: u64,
}

impl Reading {
    fn new(seq: u64, random: &mut StdRng) -> Self {
        Self {
            ts: 1_690_000_000_000 + seq / 10,
            sensor: random.random_range(0..1000),
            kind: KINDS[random.random_range(0..KINDS.len())],
            value: f64::from(random.random_range(1500..3500)) / 100.0,
            site: random.random_range(0..50),
            seq,
        }
    }

    fn line(&self) -> String {
        let Self { ts, sensor, kind, value, site, seq } = self;
        format!(
            "{ts},s{sensor},{kind},{value:.2},plant-{site:02},{seq},the quick brown fox jumps over the lazy dog again"
        )
    }

    fn json(&self) -> String {
        let Self { ts, sensor, kind, value, site, seq } = self;
        format!(
            "{{\"sensor\":\"s{sensor}\",\"kind\":\"{kind}\",\"value\":{value:.2},\"ts\":{ts},\"site\":\"plant-{site:02}\",\"seq\":{seq}}}"
        )
    }
}

/// Makes both topics and fills them.
pub fn write(client: &Client, input: Input) -> Result<()> {
    write_topic(client, LINES, input, Reading::line)?;
    write_topic(client, READINGS, input, Reading::json)
}

fn write_topic(client: &Client, topic: &str, input: Input, form: impl Fn(&Reading) -> String) -> Result<()> {
    let Input { records, compression } = input;
    client.create_topic(topic, PARTITIONS, &[])?;
    let settings = [("linger.ms", "50"), ("batch.size", "262144"), ("compression.type", compression.name())];
    let writer = client.writer(&settings)?;
    let mut random = StdRng::seed_from_u64(88_172_645_463_325_252);
    let mut bytes = 0;
    for seq in 0..records {
        let value = form(&Reading::new(seq, &mut random));
        bytes += value.len() as u64;
        Client::send(&writer, &Record::new(topic, value).to((seq % PARTITIONS as u64) as i32))?;
    }
    Client::flush(&writer)?;
    println!("{topic}: {records} records of {:.1} bytes", bytes as f64 / records as f64);
    Ok(())
}
