//! Questions about topics, making and deleting them.

use std::ffi::{c_char, c_int};
use std::ptr;
use std::time::Duration;

use rdkafka::bindings as rd;

use super::client::{Client, millis};
use super::list::{List, Place, read_element, read_list};
use super::{c_string, check, text};
use crate::kafka::error::{Code, KafkaError};

/// What a cluster tells of a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicDescription {
    /// The topic's name.
    pub name: String,
    /// The topic's id; all zero where the brokers know none.
    pub id: [u8; 16],
    /// How many partitions it has.
    pub partitions: u32,
}

/// A topic's name with its description, or what was wrong with it.
pub type DescribedTopic = (String, Result<TopicDescription, KafkaError>);

/// Which offset of a partition is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OffsetSpec {
    /// The log's start.
    Earliest,
    /// The end: the last stable offset, or the high watermark.
    Latest,
    /// The first record not older than this, in milliseconds since 1970; -1 if there is none.
    Timestamp(i64),
}

/// Which end is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isolation {
    /// The last stable offset.
    ReadCommitted,
    /// The high watermark.
    ReadUncommitted,
}

/// A topic to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewTopic {
    /// Its name.
    pub name: String,
    /// Its number of partitions.
    pub partitions: u32,
    /// Its settings; replication is the cluster's default.
    pub settings: Vec<(String, String)>,
}

/// A queue for one answer, with the options of the call.
struct Call<'a> {
    client: &'a Client,
    queue: *mut rd::rd_kafka_queue_t,
    options: *mut rd::rd_kafka_AdminOptions_t,
    wait: Duration,
}

impl<'a> Call<'a> {
    fn new(client: &'a Client, kind: rd::rd_kafka_admin_op_t, wait: Duration) -> Self {
        let mut words: [c_char; 256] = [0; 256];
        // SAFETY: queue and options are ours until drop; a timeout out of range leaves the default.
        unsafe {
            let queue = rd::rd_kafka_queue_new(client.handle);
            let options = rd::rd_kafka_AdminOptions_new(client.handle, kind);
            rd::rd_kafka_AdminOptions_set_request_timeout(options, millis(wait), words.as_mut_ptr(), words.len());
            Self { client, queue, options, wait }
        }
    }

    /// Waits for the answer. librdkafka's own time limit ends first; the second on top is for its reply.
    fn answer(&self, doing: &str) -> Result<Event, KafkaError> {
        // SAFETY: live queue; the event is ours.
        let event = Event(unsafe { rd::rd_kafka_queue_poll(self.queue, millis(self.wait + Duration::from_secs(1))) });
        if event.0.is_null() {
            return Err(KafkaError::new(doing, Code::OperationTimedOut, "the brokers did not answer in time"));
        }
        // SAFETY: live event.
        let (code, words) =
            unsafe { (rd::rd_kafka_event_error(event.0), text(rd::rd_kafka_event_error_string(event.0))) };
        match check(doing, code) {
            Ok(()) => Ok(event),
            Err(error) => Err(KafkaError { message: words, ..error }),
        }
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        // SAFETY: ours, destroyed once, while the client lives.
        unsafe {
            rd::rd_kafka_AdminOptions_destroy(self.options);
            rd::rd_kafka_queue_destroy(self.queue);
        }
        self.client.poll(Duration::ZERO);
    }
}

struct Event(*mut rd::rd_kafka_event_t);

impl Drop for Event {
    fn drop(&mut self) {
        if !self.0.is_null() {
            // SAFETY: ours, destroyed once, after everything that was read from it was copied.
            unsafe { rd::rd_kafka_event_destroy(self.0) };
        }
    }
}

/// A slice of an answer's pointers.
fn pointers<'a, T>(array: *const *const T, count: usize) -> &'a [*const T] {
    if array.is_null() || count == 0 {
        return &[];
    }
    // SAFETY: librdkafka gives an array with its length, which the event owns.
    unsafe { std::slice::from_raw_parts(array, count) }
}

impl Client {
    /// Describes topics by name; each with its own error.
    pub(in crate::kafka) fn describe_topics(
        &self,
        names: &[String],
        wait: Duration,
    ) -> Result<Vec<DescribedTopic>, KafkaError> {
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let call = Call::new(self, rd::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS, wait);
        let strings: Vec<_> = names.iter().map(|name| c_string(name)).collect();
        let mut array: Vec<*const c_char> = strings.iter().map(|name| name.as_ptr()).collect();
        // SAFETY: the collection copies the names, and is destroyed after the call has copied it.
        unsafe {
            let topics = rd::rd_kafka_TopicCollection_of_topic_names(array.as_mut_ptr(), array.len());
            rd::rd_kafka_DescribeTopics(self.handle, topics, call.options, call.queue);
            rd::rd_kafka_TopicCollection_destroy(topics);
        }
        let event = call.answer("describe topics")?;
        // SAFETY: the event is a DescribeTopics result, alive while its parts are copied.
        unsafe {
            let result = rd::rd_kafka_event_DescribeTopics_result(event.0);
            let mut count = 0;
            let array = rd::rd_kafka_DescribeTopics_result_topics(result, &raw mut count);
            Ok(pointers(array, count).iter().map(|topic| describe_topic(*topic)).collect())
        }
    }

    /// All topics with their numbers of partitions, without internal ones that the user may not see.
    pub(in crate::kafka) fn topics(&self, wait: Duration) -> Result<Vec<(String, u32)>, KafkaError> {
        let mut metadata: *const rd::rd_kafka_metadata = ptr::null();
        // SAFETY: on success the metadata is ours and destroyed after its names were copied.
        unsafe {
            check(
                "list topics",
                rd::rd_kafka_metadata(self.handle, 1, ptr::null_mut(), &raw mut metadata, millis(wait)),
            )?;
            let count = usize::try_from((*metadata).topic_cnt).unwrap_or(0);
            let topics: &[rd::rd_kafka_metadata_topic] =
                if count == 0 { &[] } else { std::slice::from_raw_parts((*metadata).topics, count) };
            let size = |topic: &rd::rd_kafka_metadata_topic| u32::try_from(topic.partition_cnt).unwrap_or(0);
            let topics = topics.iter().map(|topic| (text(topic.topic), size(topic))).collect();
            rd::rd_kafka_metadata_destroy(metadata);
            Ok(topics)
        }
    }

    /// Offsets of partitions; each with its own error. `offset` of the places is not looked at.
    pub(in crate::kafka) fn list_offsets(
        &self,
        places: &[Place],
        spec: OffsetSpec,
        isolation: Isolation,
        wait: Duration,
    ) -> Result<Vec<Result<Place, KafkaError>>, KafkaError> {
        if places.is_empty() {
            return Ok(Vec::new());
        }
        let call = Call::new(self, rd::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_LISTOFFSETS, wait);
        let number = match spec {
            OffsetSpec::Earliest => -2,
            OffsetSpec::Latest => -1,
            OffsetSpec::Timestamp(time) => time.max(0),
        };
        let asked: Vec<Place> =
            places.iter().map(|place| Place { offset: number, leader_epoch: -1, ..place.clone() }).collect();
        let list = List::of(asked.iter());
        let level = match isolation {
            Isolation::ReadCommitted => rd::rd_kafka_IsolationLevel_t::RD_KAFKA_ISOLATION_LEVEL_READ_COMMITTED,
            Isolation::ReadUncommitted => rd::rd_kafka_IsolationLevel_t::RD_KAFKA_ISOLATION_LEVEL_READ_UNCOMMITTED,
        };
        // SAFETY: the list is copied by the call; an error object would be ours, and is destroyed by the check.
        unsafe {
            super::check_error("ask for offsets", rd::rd_kafka_AdminOptions_set_isolation_level(call.options, level))?;
            rd::rd_kafka_ListOffsets(self.handle, list.0, call.options, call.queue);
        }
        let event = call.answer("ask for offsets")?;
        // SAFETY: the event is a ListOffsets result, alive while its parts are copied.
        unsafe {
            let result = rd::rd_kafka_event_ListOffsets_result(event.0);
            let mut count = 0;
            let array = rd::rd_kafka_ListOffsets_result_infos(result, &raw mut count);
            Ok(pointers(array, count)
                .iter()
                .map(|info| {
                    let element = rd::rd_kafka_ListOffsetsResultInfo_topic_partition(*info);
                    read_element(&*element, "ask for the offset")
                })
                .collect())
        }
    }

    /// A group's committed, stable offsets of these partitions, each with its own error; -1001 where there is none.
    ///
    /// Only for a consumer: on an error of the coordinator librdkafka looks at the client's own group without asking
    /// whether it has one (`rd_kafka_handle_OffsetFetch`).
    pub(in crate::kafka) fn group_offsets(
        &self,
        group: &str,
        places: &[Place],
        stable: bool,
        wait: Duration,
    ) -> Result<Vec<Result<Place, KafkaError>>, KafkaError> {
        let doing = "read the group's offsets";
        let call = Call::new(self, rd::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_LISTCONSUMERGROUPOFFSETS, wait);
        let list = List::of(places.iter());
        // SAFETY: the request copies name and list, is copied by the call, and destroyed afterwards.
        unsafe {
            super::check_error(
                doing,
                rd::rd_kafka_AdminOptions_set_require_stable_offsets(call.options, c_int::from(stable)),
            )?;
            let mut request = rd::rd_kafka_ListConsumerGroupOffsets_new(c_string(group).as_ptr(), list.0);
            rd::rd_kafka_ListConsumerGroupOffsets(self.handle, &raw mut request, 1, call.options, call.queue);
            rd::rd_kafka_ListConsumerGroupOffsets_destroy(request);
        }
        let event = call.answer(doing)?;
        let mut places = Vec::new();
        // SAFETY: the event is a ListConsumerGroupOffsets result, alive while its parts are copied.
        unsafe {
            let result = rd::rd_kafka_event_ListConsumerGroupOffsets_result(event.0);
            let mut count = 0;
            let array = rd::rd_kafka_ListConsumerGroupOffsets_result_groups(result, &raw mut count);
            for group in pointers(array, count) {
                group_outcome(doing, *group)?;
                places.extend(read_list(rd::rd_kafka_group_result_partitions(*group), doing));
            }
        }
        Ok(places)
    }

    /// Makes a topic; that it exists is an error like any other.
    pub(in crate::kafka) fn create_topic(&self, topic: &NewTopic, wait: Duration) -> Result<(), KafkaError> {
        let doing = format!("make topic `{}`", topic.name);
        let call = Call::new(self, rd::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_CREATETOPICS, wait);
        let mut words: [c_char; 512] = [0; 512];
        // SAFETY: the description is ours, copied by the call and destroyed afterwards; strings are copied.
        unsafe {
            let name = c_string(&topic.name);
            let partitions = i32::try_from(topic.partitions).unwrap_or(i32::MAX);
            let mut new = rd::rd_kafka_NewTopic_new(name.as_ptr(), partitions, -1, words.as_mut_ptr(), words.len());
            if new.is_null() {
                return Err(KafkaError::new(doing, Code::InvalidArgument, text(words.as_ptr())));
            }
            for (key, value) in &topic.settings {
                rd::rd_kafka_NewTopic_set_config(new, c_string(key).as_ptr(), c_string(value).as_ptr());
            }
            rd::rd_kafka_CreateTopics(self.handle, &raw mut new, 1, call.options, call.queue);
            rd::rd_kafka_NewTopic_destroy(new);
        }
        let event = call.answer(&doing)?;
        // SAFETY: the event is a CreateTopics result, alive while its parts are copied.
        unsafe {
            let result = rd::rd_kafka_event_CreateTopics_result(event.0);
            let mut count = 0;
            let array = rd::rd_kafka_CreateTopics_result_topics(result, &raw mut count);
            pointers(array, count).iter().try_for_each(|topic| topic_outcome(&doing, *topic))
        }
    }

    /// Deletes a topic; that there is none is an error like any other.
    pub(in crate::kafka) fn delete_topic(&self, topic: &str, wait: Duration) -> Result<(), KafkaError> {
        let doing = format!("delete topic `{topic}`");
        let call = Call::new(self, rd::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DELETETOPICS, wait);
        // SAFETY: the request copies the name, is copied by the call, and destroyed afterwards.
        unsafe {
            let mut gone = rd::rd_kafka_DeleteTopic_new(c_string(topic).as_ptr());
            rd::rd_kafka_DeleteTopics(self.handle, &raw mut gone, 1, call.options, call.queue);
            rd::rd_kafka_DeleteTopic_destroy(gone);
        }
        let event = call.answer(&doing)?;
        // SAFETY: the event is a DeleteTopics result, alive while its parts are copied.
        unsafe {
            let result = rd::rd_kafka_event_DeleteTopics_result(event.0);
            let mut count = 0;
            let array = rd::rd_kafka_DeleteTopics_result_topics(result, &raw mut count);
            pointers(array, count).iter().try_for_each(|topic| topic_outcome(&doing, *topic))
        }
    }

    /// Deletes a group and its offsets; that there is none is an error like any other.
    pub(in crate::kafka) fn delete_group(&self, group: &str, wait: Duration) -> Result<(), KafkaError> {
        let doing = format!("delete group `{group}`");
        let call = Call::new(self, rd::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DELETEGROUPS, wait);
        // SAFETY: the request copies the name, is copied by the call, and destroyed afterwards.
        unsafe {
            let mut gone = rd::rd_kafka_DeleteGroup_new(c_string(group).as_ptr());
            rd::rd_kafka_DeleteGroups(self.handle, &raw mut gone, 1, call.options, call.queue);
            rd::rd_kafka_DeleteGroup_destroy(gone);
        }
        let event = call.answer(&doing)?;
        // SAFETY: the event is a DeleteGroups result, alive while its parts are copied.
        unsafe {
            let result = rd::rd_kafka_event_DeleteGroups_result(event.0);
            let mut count = 0;
            let array = rd::rd_kafka_DeleteGroups_result_groups(result, &raw mut count);
            pointers(array, count).iter().try_for_each(|group| group_outcome(&doing, *group))
        }
    }

    /// A topic's settings, by name.
    pub(in crate::kafka) fn topic_settings(
        &self,
        topic: &str,
        wait: Duration,
    ) -> Result<Vec<(String, String)>, KafkaError> {
        let doing = format!("read the settings of topic `{topic}`");
        let call = Call::new(self, rd::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS, wait);
        // SAFETY: the description is ours, copied by the call and destroyed afterwards.
        unsafe {
            let name = c_string(topic);
            let mut resource =
                rd::rd_kafka_ConfigResource_new(rd::rd_kafka_ResourceType_t::RD_KAFKA_RESOURCE_TOPIC, name.as_ptr());
            rd::rd_kafka_DescribeConfigs(self.handle, &raw mut resource, 1, call.options, call.queue);
            rd::rd_kafka_ConfigResource_destroy(resource);
        }
        let event = call.answer(&doing)?;
        let mut settings = Vec::new();
        // SAFETY: the event is a DescribeConfigs result, alive while its parts are copied.
        unsafe {
            let result = rd::rd_kafka_event_DescribeConfigs_result(event.0);
            let mut count = 0;
            let resources = rd::rd_kafka_DescribeConfigs_result_resources(result, &raw mut count);
            for resource in pointers(resources, count) {
                let code = rd::rd_kafka_ConfigResource_error(*resource);
                check(doing.as_str(), code).map_err(|error| KafkaError {
                    message: text(rd::rd_kafka_ConfigResource_error_string(*resource)),
                    ..error
                })?;
                let mut entries = 0;
                let array = rd::rd_kafka_ConfigResource_configs(*resource, &raw mut entries);
                settings.extend(pointers(array, entries).iter().map(|entry| {
                    (text(rd::rd_kafka_ConfigEntry_name(*entry)), text(rd::rd_kafka_ConfigEntry_value(*entry)))
                }));
            }
        }
        Ok(settings)
    }
}

/// # Safety
/// `topic` is part of a live result.
unsafe fn topic_outcome(doing: &str, topic: *const rd::rd_kafka_topic_result_t) -> Result<(), KafkaError> {
    // SAFETY: by the contract; everything is copied.
    unsafe {
        check(doing, rd::rd_kafka_topic_result_error(topic)).map_err(|error| {
            let words = text(rd::rd_kafka_topic_result_error_string(topic));
            if words.is_empty() { error } else { KafkaError { message: words, ..error } }
        })
    }
}

/// # Safety
/// `group` is part of a live result.
unsafe fn group_outcome(doing: &str, group: *const rd::rd_kafka_group_result_t) -> Result<(), KafkaError> {
    // SAFETY: by the contract; the error stays the result's, and is copied.
    unsafe {
        let error = rd::rd_kafka_group_result_error(group);
        if error.is_null() {
            return Ok(());
        }
        let code = Code::from(rd::rd_kafka_error_code(error));
        Err(KafkaError::new(doing, code, text(rd::rd_kafka_error_string(error))))
    }
}

/// # Safety
/// `topic` is part of a live result.
unsafe fn describe_topic(topic: *const rd::rd_kafka_TopicDescription_t) -> DescribedTopic {
    // SAFETY: by the contract; everything is copied.
    unsafe {
        let name = text(rd::rd_kafka_TopicDescription_name(topic));
        let error = rd::rd_kafka_TopicDescription_error(topic);
        if !error.is_null() {
            let code = rd::rd_kafka_error_code(error);
            if code != rd::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
                let words = text(rd::rd_kafka_error_string(error));
                let error = KafkaError::new(format!("describe topic `{name}`"), Code::from(code), words);
                return (name, Err(error));
            }
        }
        let mut count = 0;
        rd::rd_kafka_TopicDescription_partitions(topic, &raw mut count);
        let id = rd::rd_kafka_TopicDescription_topic_id(topic);
        let mut bytes = [0; 16];
        if !id.is_null() {
            bytes[..8].copy_from_slice(&rd::rd_kafka_Uuid_most_significant_bits(id).to_be_bytes());
            bytes[8..].copy_from_slice(&rd::rd_kafka_Uuid_least_significant_bits(id).to_be_bytes());
        }
        let description =
            TopicDescription { name: name.clone(), id: bytes, partitions: u32::try_from(count).unwrap_or(0) };
        (name, Ok(description))
    }
}
