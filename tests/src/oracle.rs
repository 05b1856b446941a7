//! The verdict of Kafka's own Java client on what a pipeline has written; see `tests/oracle/Oracle.java`.

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

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
