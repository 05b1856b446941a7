//! The headers in a pipeline's state topic, as documented for people who look into it.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::client::Client;

/// The header of a shard's last checkpoint.
#[derive(Clone, Debug, Deserialize)]
pub struct Header {
    /// Counts the checkpoints.
    pub sequence: u64,
    /// The number of shards.
    pub shards: u32,
    /// Whether the owner gave the shard away in order.
    pub released: bool,
    /// The pipeline's uid.
    pub uid: String,
    /// The process that made the checkpoint.
    pub run: String,
    /// The topics of all sources.
    pub topics: Vec<Topic>,
    /// The shard's partitions.
    pub partitions: Vec<Partition>,
    /// Whether a batch is done.
    #[serde(default)]
    pub complete: bool,
}

/// A source topic.
#[derive(Clone, Debug, Deserialize)]
pub struct Topic {
    /// Its name.
    pub name: String,
    /// The number of partitions at the checkpoint.
    pub partitions: i32,
}

/// A position.
#[derive(Clone, Debug, Deserialize)]
pub struct Partition {
    /// The place in [`Header::topics`].
    pub topic: usize,
    /// The partition.
    pub partition: i32,
    /// The next offset to read.
    pub offset: i64,
}

/// The last committed header of every shard.
pub fn read(client: &Client, application_id: &str) -> Result<BTreeMap<i32, Header>> {
    let topic = format!("{application_id}.state");
    let mut headers = BTreeMap::new();
    for record in client.read(&topic)?.into_iter().filter(|r| r.key_text() == "header") {
        let text = record.text();
        let header = serde_json::from_str(&text).with_context(|| format!("a header in {topic}: {text}"))?;
        headers.insert(record.partition.unwrap_or_default(), header);
    }
    Ok(headers)
}

/// The positions of all shards, by topic and partition.
pub fn positions(client: &Client, application_id: &str) -> Result<BTreeMap<(String, i32), i64>> {
    let mut positions = BTreeMap::new();
    for header in read(client, application_id)?.values() {
        for partition in &header.partitions {
            let topic = header.topics.get(partition.topic).context("a partition of no topic")?;
            positions.insert((topic.name.clone(), partition.partition), partition.offset);
        }
    }
    Ok(positions)
}
