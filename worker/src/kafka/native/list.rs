//! Lists of partitions with offsets.

use std::ffi::c_void;

use rdkafka::bindings as rd;

use super::{c_string, check, text};
use crate::kafka::error::KafkaError;
use crate::records::TopicPartition;

/// A partition and a place in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The partition.
    pub partition: TopicPartition,
    /// The next offset.
    pub offset: i64,
    /// The leader epoch of the record before it; -1 if unknown.
    pub leader_epoch: i32,
    /// Text kept with a committed offset.
    pub metadata: String,
}

/// An owned list.
#[derive(Debug)]
pub(super) struct List(pub(super) *mut rd::rd_kafka_topic_partition_list_t);

impl List {
    pub(super) fn of<'a>(places: impl ExactSizeIterator<Item = &'a Place>) -> Self {
        // SAFETY: a new list, filled with copies; metadata is allocated by librdkafka's allocator, which frees it.
        unsafe {
            let list = rd::rd_kafka_topic_partition_list_new(i32::try_from(places.len()).unwrap_or(0));
            for place in places {
                let topic = c_string(&place.partition.topic);
                let element = rd::rd_kafka_topic_partition_list_add(list, topic.as_ptr(), place.partition.partition);
                (*element).offset = place.offset;
                if place.leader_epoch >= 0 {
                    rd::rd_kafka_topic_partition_set_leader_epoch(element, place.leader_epoch);
                }
                if !place.metadata.is_empty() {
                    let copy = rd::rd_kafka_mem_malloc(std::ptr::null_mut(), place.metadata.len());
                    if !copy.is_null() {
                        std::ptr::copy_nonoverlapping(
                            place.metadata.as_ptr().cast::<c_void>(),
                            copy,
                            place.metadata.len(),
                        );
                        (*element).metadata = copy;
                        (*element).metadata_size = place.metadata.len();
                    }
                }
            }
            Self(list)
        }
    }
}

impl Drop for List {
    fn drop(&mut self) {
        // SAFETY: ours, destroyed once.
        unsafe { rd::rd_kafka_topic_partition_list_destroy(self.0) };
    }
}

/// Copies of a list's elements, each with its own error.
///
/// # Safety
/// `list` is null or a live list.
pub(super) unsafe fn read_list(
    list: *const rd::rd_kafka_topic_partition_list_t,
    doing: &str,
) -> Vec<Result<Place, KafkaError>> {
    // SAFETY: by the contract; a list has `cnt` elements.
    let elements = unsafe {
        match list.as_ref().and_then(|list| Some((list.elems, usize::try_from(list.cnt).ok()?))) {
            Some((elements, count)) if count > 0 => std::slice::from_raw_parts(elements, count),
            _ => &[],
        }
    };
    elements.iter().map(|element| read_element(element, doing)).collect()
}

/// A copy of an element, or its error.
pub(super) fn read_element(element: &rd::rd_kafka_topic_partition_t, doing: &str) -> Result<Place, KafkaError> {
    let partition = TopicPartition { topic: text(element.topic).into(), partition: element.partition };
    check(format!("{doing} of {partition}"), element.err)?;
    let metadata = if element.metadata.is_null() || element.metadata_size == 0 {
        String::new()
    } else {
        // SAFETY: the element owns `metadata_size` bytes there.
        let bytes =
            unsafe { std::slice::from_raw_parts(element.metadata.cast::<u8>().cast_const(), element.metadata_size) };
        String::from_utf8_lossy(bytes).into_owned()
    };
    // SAFETY: reads a field behind the element's private part.
    let leader_epoch = unsafe { rd::rd_kafka_topic_partition_get_leader_epoch(element) };
    Ok(Place { partition, offset: element.offset, leader_epoch, metadata })
}
