//! The header: the record of a checkpoint, and the only truth about a shard's positions.
//!
//! It is the value of the key `header` in the shard's partition of the state topic, as JSON, so that people can read
//! it with any Kafka tool. Unknown fields are ignored, so that an older worker can read a newer header's positions.

use serde::{Deserialize, Serialize};

/// The key of header records.
pub const KEY: &[u8] = b"header";
/// The version that this worker writes, and the newest that it reads.
pub const VERSION: u32 = 1;

/// The record of a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Header {
    /// [`VERSION`].
    pub version: u32,
    /// Counts the checkpoints of the shard, from 1.
    pub sequence: u64,
    /// The uid of the Pipeline; `local` for `millstream run`.
    pub uid: String,
    /// The number of shards, S.
    pub shards: u32,
    /// The process that wrote it: `millstream run` decides by it who goes on.
    pub run: String,
    /// The assignment's generation; 0 for `millstream run`.
    pub generation: i64,
    /// Whether the owner has let the shard go.
    pub released: bool,
    /// The chain's hash.
    pub chain: String,
    /// Whether a batch has reached its ends.
    pub complete: bool,
    /// All source topics.
    pub topics: Vec<HeaderTopic>,
    /// The shard's partitions.
    pub partitions: Vec<HeaderPartition>,
}

/// A source topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HeaderTopic {
    /// Its name.
    pub name: String,
    /// Its id, as Kafka's tools print it.
    pub id: String,
    /// How many partitions it had.
    pub partitions: u32,
}

/// A partition of the shard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HeaderPartition {
    /// The topic's place in [`Header::topics`].
    pub topic: u32,
    /// The partition.
    pub partition: i32,
    /// The next offset.
    pub offset: i64,
    /// The leader epoch of the record before; -1 if unknown.
    pub leader_epoch: i32,
    /// Event time up to which the partition is complete, in microseconds since 1970.
    pub watermark: Option<i64>,
    /// With Batch: the offset to read up to.
    pub end: Option<i64>,
}

/// A header that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum HeaderError {
    /// Not JSON, or not a header.
    #[error("the header of shard {shard} at offset {offset} of topic `{topic}` cannot be read: {source}")]
    Unreadable {
        /// The shard.
        shard: u32,
        /// The state topic.
        topic: String,
        /// The record's offset.
        offset: i64,
        /// Why.
        source: serde_json::Error,
    },
    /// Written by a newer worker.
    #[error(
        "the header of shard {shard} has version {found}, this worker reads up to {VERSION}: run the newer worker again"
    )]
    TooNew {
        /// The shard.
        shard: u32,
        /// The version found.
        found: u32,
    },
}

impl Header {
    /// The value of the record.
    pub fn to_bytes(&self) -> Vec<u8> {
        // Serialising plain data to memory cannot fail.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Reads a record's value.
    pub fn from_bytes(shard: u32, topic: &str, offset: i64, value: &[u8]) -> Result<Self, HeaderError> {
        let header: Self = serde_json::from_slice(value).map_err(|source| HeaderError::Unreadable {
            shard,
            topic: topic.to_owned(),
            offset,
            source,
        })?;
        if header.version > VERSION {
            return Err(HeaderError::TooNew { shard, found: header.version });
        }
        Ok(header)
    }

    /// A topic of the header.
    pub fn topic(&self, name: &str) -> Option<&HeaderTopic> {
        self.topics.iter().find(|topic| topic.name == name)
    }

    /// The shard's position in a partition.
    pub fn partition(&self, topic: &str, partition: i32) -> Option<&HeaderPartition> {
        let index = self.topics.iter().position(|t| t.name == topic)?;
        self.partitions.iter().find(|p| p.topic as usize == index && p.partition == partition)
    }
}

/// The text form of a topic id, as Kafka's tools print it: base64url without padding.
pub fn topic_id(bytes: &[u8; 16]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes)
}

/// What stands beside an offset in the consumer group, to tell our mirror from strangers' commits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MirrorMark {
    /// The sequence of the checkpoint.
    pub sequence: u64,
    /// The uid of the Pipeline.
    pub uid: String,
}

impl MirrorMark {
    /// The text form.
    pub fn to_text(&self) -> String {
        format!("millstream:{}:{}", self.sequence, self.uid)
    }

    /// Reads the text form; None for anything else.
    pub fn from_text(text: &str) -> Option<Self> {
        let (sequence, uid) = text.strip_prefix("millstream:")?.split_once(':')?;
        Some(Self { sequence: sequence.parse().ok()?, uid: uid.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn header() -> Header {
        Header {
            version: VERSION,
            sequence: 7,
            uid: "local".into(),
            shards: 4,
            run: "r".into(),
            generation: 0,
            released: false,
            chain: "c".into(),
            complete: false,
            topics: vec![HeaderTopic { name: "in".into(), id: topic_id(&[255; 16]), partitions: 2 }],
            partitions: vec![HeaderPartition {
                topic: 0,
                partition: 1,
                offset: 5,
                leader_epoch: 0,
                watermark: None,
                end: Some(9),
            }],
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let header = header();
        assert_eq!(Header::from_bytes(0, "s", 1, &header.to_bytes()).unwrap(), header);
        assert_eq!(header.partition("in", 1).unwrap().offset, 5);
        assert!(header.partition("in", 0).is_none() && header.partition("out", 1).is_none());
        assert_eq!(header.topics[0].id, "_____________________w");
    }

    #[test]
    fn other_versions_and_rubbish_are_named() {
        let newer = Header { version: 2, ..header() };
        let error = Header::from_bytes(3, "a.state", 11, &newer.to_bytes()).unwrap_err().to_string();
        assert!(error.contains("shard 3") && error.contains("version 2"), "{error}");
        let error = Header::from_bytes(3, "a.state", 11, b"{").unwrap_err().to_string();
        assert!(error.contains("offset 11 of topic `a.state`"), "{error}");
        let mut value = serde_json::to_value(header()).unwrap();
        value["later"] = serde_json::json!({"x": 1});
        Header::from_bytes(0, "s", 1, value.to_string().as_bytes()).unwrap();
    }

    #[test]
    fn mirror_marks_are_told_from_strangers() {
        let mark = MirrorMark { sequence: 12, uid: "local".into() };
        assert_eq!(MirrorMark::from_text(&mark.to_text()), Some(mark));
        for foreign in ["", "millstream", "millstream:x:y", "flink:1:2"] {
            assert_eq!(MirrorMark::from_text(foreign), None, "{foreign}");
        }
    }
}
