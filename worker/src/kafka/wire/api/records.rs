//! Requests with records: these are large, and are sent from where they are.
//!
//! The codec of `kafka-protocol` would copy them into the request. So this one request is written here, in the form that
//! its versions 9 to 12 share; a test compares it with the codec's.

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages::ProduceRequest;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};

/// Bytes that belong into a request.
#[derive(Clone, Debug)]
pub struct Insertion {
    /// Before which byte of the rest.
    at: usize,
    records: Bytes,
}

impl Insertion {
    /// How many bytes it has.
    pub(super) fn len(&self) -> usize {
        self.records.len()
    }
}

/// The parts of a request, in order; none is empty.
pub(super) fn joined(bytes: &Bytes, records: Vec<Insertion>) -> impl Iterator<Item = Bytes> + use<> {
    let mut parts = Vec::with_capacity(2 * records.len() + 1);
    let mut begin = 0;
    for Insertion { at, records } in records {
        parts.extend([bytes.slice(begin..at), records]);
        begin = at;
    }
    parts.push(bytes.slice(begin..));
    parts.into_iter().filter(|part| !part.is_empty())
}

/// Writes a produce request, but for its records.
pub(super) fn write(request: &ProduceRequest, out: &mut BytesMut, version: i16) -> Result<Vec<Insertion>, String> {
    if !(9..=12).contains(&version) {
        return Err(format!("its records are written in versions 9 to 12, not in {version}"));
    }
    let mut records = Vec::new();
    text(out, request.transactional_id.as_ref().map(|id| id.0.as_bytes()));
    out.put_i16(request.acks);
    out.put_i32(request.timeout_ms);
    array(out, &request.topic_data, |out, topic: &TopicProduceData| {
        text(out, Some(topic.name.0.as_bytes()));
        array(out, &topic.partition_data, |out, partition: &PartitionProduceData| {
            out.put_i32(partition.index);
            unsigned(out, partition.records.as_ref().map_or(0, |records| records.len() + 1));
            records.extend(partition.records.clone().map(|records| Insertion { at: out.len(), records }));
            no_tags(out);
        });
        no_tags(out);
    });
    no_tags(out);
    Ok(records)
}

/// A compact string; null is possible.
fn text(out: &mut BytesMut, text: Option<&[u8]>) {
    unsigned(out, text.map_or(0, |text| text.len() + 1));
    out.put_slice(text.unwrap_or_default());
}

/// A compact array.
fn array<T>(out: &mut BytesMut, elements: &[T], mut each: impl FnMut(&mut BytesMut, &T)) {
    unsigned(out, elements.len() + 1);
    for element in elements {
        each(out, element);
    }
}

/// No tagged fields.
fn no_tags(out: &mut BytesMut) {
    unsigned(out, 0);
}

/// An unsigned number of variable size.
fn unsigned(out: &mut BytesMut, mut value: usize) {
    while value >= 0x80 {
        out.put_u8(value as u8 | 0x80);
        value >>= 7;
    }
    out.put_u8(value as u8);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use kafka_protocol::messages::{TopicName, TransactionalId};
    use kafka_protocol::protocol::{Encodable, StrBytes};
    use proptest::prelude::*;

    use super::*;

    fn any_request() -> impl Strategy<Value = ProduceRequest> {
        let text = |form| proptest::string::string_regex(form).unwrap().prop_map(StrBytes::from_string);
        // From 128 and 16384 bytes on, lengths have a byte more.
        let records = proptest::option::of((0_usize..20_000, any::<u8>()).prop_map(|(len, byte)| vec![byte; len]));
        let partition = (any::<i32>(), records).prop_map(|(index, records)| {
            PartitionProduceData::default().with_index(index).with_records(records.map(Bytes::from))
        });
        let topic =
            (text("[a-z.]{1,200}"), proptest::collection::vec(partition, 0..4)).prop_map(|(name, partitions)| {
                TopicProduceData::default().with_name(TopicName(name)).with_partition_data(partitions)
            });
        let id = proptest::option::of(text("[a-zä.]{0,30}").prop_map(TransactionalId));
        (id, any::<i16>(), any::<i32>(), proptest::collection::vec(topic, 0..4)).prop_map(
            |(id, acks, timeout, topics)| {
                let request = ProduceRequest::default().with_transactional_id(id).with_acks(acks);
                request.with_timeout_ms(timeout).with_topic_data(topics)
            },
        )
    }

    proptest! {
        #[test]
        fn the_parts_are_what_the_codec_writes(request in any_request(), version in 9_i16..=12) {
            let (mut whole, mut out) = (BytesMut::new(), BytesMut::new());
            request.encode(&mut whole, version).unwrap();
            let records = write(&request, &mut out, version).unwrap();
            let parts: Vec<Bytes> = joined(&out.freeze(), records).collect();
            prop_assert!(parts.iter().all(|part| !part.is_empty()));
            prop_assert_eq!(parts.concat(), whole.as_ref());
        }
    }

    #[test]
    fn another_version_is_refused() {
        let mut out = BytesMut::new();
        assert!([8, 13].iter().all(|version| write(&ProduceRequest::default(), &mut out, *version).is_err()));
    }
}
