//! What Kafka's own Java client says of what was written: its verdict, or all of it; see `tests/oracle/Oracle.java`.

use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;

use crate::client::Record;
use crate::cluster::Cluster;
use crate::installation::run;

/// What the oracle found.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Verdict {
    /// Committed records in all topics.
    pub records: u64,
    /// Expected ids that are not there.
    pub missing: u64,
    /// Records whose id was there before.
    pub duplicates: u64,
    /// Records behind a later one of the same source in the same partition.
    pub out_of_order: u64,
    /// Records that are none of the expected ids.
    pub foreign: u64,
    /// Offsets behind the last stable ones: somebody's transaction is open.
    pub open: u64,
    /// Some of the above, in words.
    pub examples: Vec<String>,
}

impl Verdict {
    /// An error with the examples, unless every id is there once and in order.
    pub fn demand_exactly_once(&self) -> Result<()> {
        let wrong = self.missing + self.duplicates + self.out_of_order + self.foreign + self.open;
        ensure!(wrong == 0, "the oracle objects: {self:#?}");
        Ok(())
    }
}

/// Judges topics: `counts` are the numbers of ids of the sources 0, 1, …
pub fn check(cluster: &Cluster, topics: &[&str], counts: &[u64]) -> Result<Verdict> {
    let counts: Vec<String> = counts.iter().map(u64::to_string).collect();
    let mut command = cluster.installation().program("Oracle")?;
    command.args(["check", &cluster.bootstrap(), &topics.join(","), &counts.join(",")]);
    // The exit code only repeats what the line says.
    let (output, _) = run(command, "")?;
    let line = output.lines().find(|l| l.starts_with('{')).with_context(|| format!("no verdict: {output}"))?;
    Ok(serde_json::from_str(line)?)
}

/// A record as the Java client prints it: bytes are Base64 or null.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Dumped {
    topic: String,
    partition: i32,
    offset: i64,
    timestamp: i64,
    key: Option<String>,
    value: Option<String>,
    headers: Vec<(String, Option<String>)>,
}

impl Dumped {
    fn record(self) -> Result<Record> {
        let bytes = |text: Option<String>| text.map(|text| BASE64_STANDARD.decode(text)).transpose();
        let headers = self.headers.into_iter().map(|(name, value)| Ok((name, bytes(value)?)));
        Ok(Record {
            topic: self.topic,
            partition: Some(self.partition),
            offset: self.offset,
            key: bytes(self.key)?,
            value: bytes(self.value)?,
            headers: headers.collect::<Result<_>>()?,
            timestamp: Some(self.timestamp),
        })
    }
}

/// All committed records of some topics, in each partition's order.
pub fn dump(cluster: &Cluster, topics: &[&str]) -> Result<Vec<Record>> {
    let mut command = cluster.installation().program("Oracle")?;
    command.args(["dump", &cluster.bootstrap(), &topics.join(",")]);
    let (output, success) = run(command, "")?;
    ensure!(success, "the oracle cannot read {topics:?}: {output}");
    let records = output.lines().map(|line| serde_json::from_str::<Dumped>(line).map_err(Into::into));
    records.map(|dumped| dumped.and_then(Dumped::record)).collect()
}
