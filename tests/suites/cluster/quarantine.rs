//! A shard whose records take every worker down: the others go on, people are told which one it is, and once the cause
//! is gone nothing is lost or there twice.

use anyhow::{Context, Result, ensure};
use millstream::shard::placement::shard_of;
use millstream_tests::client::Record;
use millstream_tests::site::Site;
use millstream_tests::wait;

use super::GUARD;

const NAMESPACE: &str = "quarantine";
/// The partition with the records that no worker survives.
const POISONED: i32 = 2;
const SHARDS: i32 = 6;
/// Good records of each partition.
const GOOD: usize = 200;
/// Records of a megabyte each while they are processed: more in one batch than the first limit of memory.
const POISON: usize = 600;

/// Each value is a number of characters; the output only has the number.
fn manifest(memory: &str) -> String {
    format!(
        "sources:\n  - {{name: in, kafka: {{topics: [~in]}}, format: {{type: Csv}}, \
         schema: [{{name: id, type: int}}, {{name: size, type: int}}]}}\n\
         transforms: [{{name: t, set: [{{column: size, expression: \"cast(length(repeat('x', size)) as int)\"}}]}}]\n\
         sinks: [{{name: out, kafka: {{topic: ~out}}, format: {{type: Csv}}}}]\n\
         checkpoint: {{interval: 250ms}}\nreplicas: 3\n\
         worker: {{resources: {{requests: {{cpu: 10m, memory: 64Mi}}, limits: {{memory: {memory}}}}}}}\n"
    )
}

pub fn quarantine(site: &Site) -> Result<()> {
    site.namespace(NAMESPACE)?;
    site.client.create_topic("quarantine.in", SHARDS, &[])?;
    site.client.create_topic("quarantine.out", SHARDS, &[])?;
    site.apply(NAMESPACE, &site.pipeline("p", &manifest("256Mi")))?;
    site.spread(NAMESPACE, "p", 3)?;
    site.wait_for(NAMESPACE, "p", "condition=Ready")?;
    site.client.write((0..POISON).map(|n| Record::new("quarantine.in", format!("{n},1000000")).to(POISONED)))?;
    quarantined(site)?;
    others_go_on(site)?;
    site.apply(NAMESPACE, &site.pipeline("p", &manifest("4Gi")))?;
    let all = POISON + GOOD * (SHARDS as usize - 1);
    let records = site.client.read_until("quarantine.out", all, GUARD).with_context(|| told(site))?;
    let different: std::collections::BTreeSet<String> = records.iter().map(Record::text).collect();
    ensure!(records.len() == all && different.len() == all, "{} records, {} different", records.len(), different.len());
    site.wait_for(NAMESPACE, "p", "condition=Ready")?;
    site.delete(NAMESPACE)
}

fn told(site: &Site) -> String {
    site.kubernetes.describe(NAMESPACE)
}

fn quarantined(site: &Site) -> Result<()> {
    let shard = format!("shard {}", shard_of("quarantine.in", POISONED, SHARDS as u32));
    wait::until_true("the shard to be quarantined", GUARD, || {
        let path = "{range .status.conditions[?(@.type==\"Stalled\")]}{.status} {.reason}: {.message}{end}";
        let stalled = site.kubernetes.get(NAMESPACE, "msp/p", path)?;
        let place = format!("topic `quarantine.in` partition {POISONED} offset 0");
        Ok(stalled.starts_with("True ShardQuarantined") && stalled.contains(&shard) && stalled.contains(&place))
    })
    .with_context(|| told(site))
}

/// Shards that share nothing with the poisoned one but the Pipeline.
fn others_go_on(site: &Site) -> Result<()> {
    let others = (0..SHARDS).filter(|partition| *partition != POISONED);
    let records = others.flat_map(|partition| {
        (0..GOOD)
            .map(move |n| Record::new("quarantine.in", format!("{},3", partition * 10_000 + n as i32)).to(partition))
    });
    site.client.write(records)?;
    let good = GOOD * (SHARDS as usize - 1);
    let read = site.client.read_until("quarantine.out", good, GUARD).with_context(|| told(site))?;
    ensure!(read.len() == good, "{} records of other shards, not {good}", read.len());
    Ok(())
}
