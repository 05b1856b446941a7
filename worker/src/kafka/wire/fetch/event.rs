//! What a fetcher tells beside records.

use kafka_protocol::error::ResponseError;

use crate::kafka::wire::batch::Malformed;
use crate::records::TopicPartition;

/// Something that is no record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FetchEvent {
    /// The position of a slot is gone; nothing is read there until it is moved.
    PositionLost {
        /// The slot.
        slot: u32,
        /// Why.
        lost: Lost,
    },
    /// Something went wrong; it is tried again.
    Error(FetchError),
}

/// Why a position is gone.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Lost {
    /// The log has no such offset.
    #[error("offset {offset} of {partition} is outside of its log, which begins at offset {log_start}")]
    OutOfRange {
        /// The partition.
        partition: TopicPartition,
        /// The position.
        offset: i64,
        /// Where the log begins; -1 if the broker did not say.
        log_start: i64,
    },
    /// The log was cut off below the position and written anew: what was read is not what is there.
    #[error(
        "the log of {partition} diverged below offset {offset}: what was read there in leader epoch {leader_epoch} was \
         lost; the log agrees up to offset {end_offset} of epoch {epoch}"
    )]
    Diverged {
        /// The partition.
        partition: TopicPartition,
        /// The position.
        offset: i64,
        /// The leader epoch of what was read before it.
        leader_epoch: i32,
        /// The largest epoch that the log has up to that.
        epoch: i32,
        /// Where that epoch ends.
        end_offset: i64,
    },
}

/// Why nothing could be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    /// The broker said so.
    #[error("could not read {partition}: {code:?}")]
    Refused {
        /// The partition.
        partition: TopicPartition,
        /// The broker's word.
        code: ResponseError,
    },
    /// The broker refused a request as a whole.
    #[error("broker {node} refused to be read from: {code:?}")]
    RefusedAll {
        /// The broker.
        node: i32,
        /// Its word.
        code: ResponseError,
    },
    /// There is no such topic, or nothing is said of it.
    #[error("could not find the leaders of topic `{topic}`: {code:?}")]
    NoTopic {
        /// The topic.
        topic: String,
        /// The broker's word.
        code: ResponseError,
    },
    /// A record batch cannot be read.
    #[error("could not read {partition}: {malformed}")]
    Malformed {
        /// The partition.
        partition: TopicPartition,
        /// What was found.
        malformed: Malformed,
    },
}
