#![allow(clippy::unwrap_used, clippy::panic)]

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::ProducerId;
use kafka_protocol::messages::fetch_response::{
    AbortedTransaction, EpochEndOffset, FetchableTopicResponse, LeaderIdAndEpoch,
};
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::protocol::{Encodable, StrBytes};
use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::kafka::columns::Row;
use crate::kafka::wire::api;
use crate::kafka::wire::batch::{self, Codec, Producer, Writer};

const ROOM: Room = Room { rows: 10_000, bytes: 1 << 20 };

fn at(topic: &str, partition: i32) -> TopicPartition {
    TopicPartition { topic: Arc::from(topic), partition }
}

fn reading(topic: &str, partition: i32, offset: i64) -> Reading {
    Reading { partition: at(topic, partition), source: 0, position: Position { offset, leader_epoch: -1 }, end: None }
}

fn settings() -> Settings {
    Settings {
        least: 1,
        max_wait: Duration::from_millis(50),
        prefetch: 4000,
        response: 2000,
        partition: 1000,
        batch: 1 << 20,
        headers: true,
    }
}

fn name(topic: &str) -> TopicName {
    TopicName(StrBytes::from_string(topic.to_owned()))
}

/// Brokers 1 and 2, and leaders: topic, partition, node, epoch.
fn metadata(leaders: &[(&str, i32, i32, i32)]) -> MetadataResponse {
    let brokers = [1, 2].map(|node| {
        let host = StrBytes::from_string(format!("broker-{node}"));
        MetadataResponseBroker::default().with_node_id(BrokerId(node)).with_host(host).with_port(9092)
    });
    let mut topics: Vec<MetadataResponseTopic> = Vec::new();
    for (topic, partition, node, epoch) in leaders {
        let partition = MetadataResponsePartition::default()
            .with_partition_index(*partition)
            .with_leader_id(BrokerId(*node))
            .with_leader_epoch(*epoch);
        match topics.iter_mut().find(|known| known.name == Some(name(topic))) {
            Some(known) => known.partitions.push(partition),
            None => topics
                .push(MetadataResponseTopic::default().with_name(Some(name(topic))).with_partitions(vec![partition])),
        }
    }
    MetadataResponse::default().with_brokers(brokers.to_vec()).with_topics(topics)
}

/// A batch of one record a word.
fn words(base_offset: i64, words: &[&str]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new());
    for (offset, word) in words.iter().enumerate() {
        let row = Row { offset: offset as i64, timestamp: 1, key: None, value: Some(word.as_bytes()) };
        writer.push(row, std::iter::empty());
    }
    writer.finish(&batch::Settings { base_offset, leader_epoch: 7, ..batch::Settings::default() }).unwrap()
}

fn data(partition: i32, records: &[Vec<u8>]) -> PartitionData {
    PartitionData::default()
        .with_partition_index(partition)
        .with_last_stable_offset(i64::MAX)
        .with_records(Some(Bytes::from(records.concat())))
}

fn refusal(partition: i32, code: ResponseError) -> PartitionData {
    PartitionData::default().with_partition_index(partition).with_error_code(code.code())
}

/// An answer, over the wire.
fn response(topic: &str, partitions: Vec<PartitionData>) -> FetchResponse {
    over_the_wire(
        &FetchResponse::default().with_responses(vec![
            FetchableTopicResponse::default().with_topic(name(topic)).with_partitions(partitions),
        ]),
    )
}

fn over_the_wire(response: &FetchResponse) -> FetchResponse {
    let mut bytes = BytesMut::from(&b"\0"[..]);
    response.encode(&mut bytes, 12).unwrap();
    api::decode::<FetchRequest>(bytes.freeze()).unwrap()
}

/// A fetcher of partitions 0.. of topic `t`, all led by broker 1 in epoch 3, and the time.
fn fetcher(partitions: i32) -> (Fetcher, Instant) {
    let mut fetcher = Fetcher::new(settings(), "");
    let readings: Vec<_> = (0..partitions).map(|partition| reading("t", partition, 10)).collect();
    fetcher.assign(&readings);
    let now = Instant::now();
    assert!(matches!(fetcher.next(now), Some(Action::Metadata(_))));
    let leaders: Vec<_> = (0..partitions).map(|partition| ("t", partition, 1, 3)).collect();
    fetcher.metadata(now, &metadata(&leaders));
    (fetcher, now)
}

/// The partitions and offsets that the next request to a broker asks for.
fn asked(action: Option<Action>) -> (i32, Vec<(i32, i64)>) {
    let Some(Action::Fetch { node, request }) = action else { return (-1, Vec::new()) };
    let partitions = request.topics.iter().flat_map(|topic| &topic.partitions);
    (node, partitions.map(|asked| (asked.partition, asked.fetch_offset)).collect())
}

fn values(fetched: &Fetched) -> Vec<String> {
    let values = fetched.batches.iter().flat_map(|batch| batch.values.iter());
    values.map(|value| String::from_utf8(value.unwrap().to_vec()).unwrap()).collect()
}

#[test]
fn records_come_after_metadata_and_the_next_request_continues_before_they_are_polled() {
    let mut fetcher = Fetcher::new(settings(), "");
    let now = Instant::now();
    assert_eq!((fetcher.next(now), fetcher.deadline(now)), (None, None), "nothing to read, nothing to do");
    fetcher.assign(&[reading("t", 0, 10)]);
    assert_eq!(fetcher.deadline(now), Some(now));
    let Some(Action::Metadata(question)) = fetcher.next(now) else { panic!("metadata first") };
    assert_eq!(question.topics.unwrap()[0].name, Some(name("t")));
    assert!(!question.allow_auto_topic_creation);
    assert_eq!(fetcher.next(now), None, "one question at a time");
    fetcher.metadata(now, &metadata(&[("t", 0, 2, 3)]));
    assert_eq!(fetcher.endpoint(2), Some(&Endpoint { host: "broker-2".to_owned(), port: 9092 }));

    let Some(Action::Fetch { node: 2, request }) = fetcher.next(now) else { panic!("then a fetch") };
    let bytes =
        api::encode(&request, &StrBytes::from_static_str("test")).unwrap().numbered(1).collect::<Vec<_>>().concat();
    assert_eq!(bytes[4..8], [0, 1, 0, 12], "a request Fetch, version 12");
    assert_eq!((request.max_wait_ms, request.min_bytes, request.max_bytes), (50, 1, 2000));
    assert_eq!((request.isolation_level, request.session_id, request.session_epoch), (1, 0, -1));
    assert_eq!((request.replica_id.0, request.rack_id.as_str()), (-1, ""));
    let asked_for = &request.topics[0].partitions[0];
    assert_eq!((asked_for.fetch_offset, asked_for.current_leader_epoch), (10, 3));
    assert_eq!((asked_for.last_fetched_epoch, asked_for.partition_max_bytes), (-1, 1000));
    assert_eq!(fetcher.next(now), None, "one request a broker at a time");

    fetcher.fetched(now, 2, response("t", vec![data(0, &[words(10, &["a", "b"])])]));
    assert!(fetcher.buffered() > 0);
    let Some(Action::Fetch { request, .. }) = fetcher.next(now) else { panic!("the next fetch") };
    let asked_for = &request.topics[0].partitions[0];
    assert_eq!((asked_for.fetch_offset, asked_for.last_fetched_epoch), (12, 7));
    let fetched = fetcher.poll(now, ROOM);
    assert_eq!((values(&fetched), fetched.bytes), (vec!["a".to_owned(), "b".to_owned()], 2));
    assert_eq!(fetched.positions, [(0, Position { offset: 12, leader_epoch: 7 })]);
    assert_eq!((fetcher.buffered(), fetcher.poll(now, ROOM).is_empty()), (0, true));
}

#[test]
fn a_leader_that_moved_is_looked_for_with_pauses() {
    let codes =
        [ResponseError::NotLeaderOrFollower, ResponseError::FencedLeaderEpoch, ResponseError::UnknownLeaderEpoch];
    for code in codes {
        let (mut fetcher, now) = fetcher(1);
        assert_eq!(asked(fetcher.next(now)), (1, vec![(0, 10)]));
        fetcher.fetched(now, 1, response("t", vec![refusal(0, code)]));
        assert!(matches!(fetcher.next(now), Some(Action::Metadata(_))), "{code:?}");
        // Another broker does not know it yet.
        fetcher.metadata(now, &metadata(&[("t", 0, -1, 3)]));
        assert_eq!(fetcher.next(now), None);
        let later = fetcher.deadline(now).unwrap();
        assert!(later > now && later <= now + Duration::from_millis(20));
        assert!(matches!(fetcher.next(later), Some(Action::Metadata(_))));
        fetcher.metadata(later, &metadata(&[("t", 0, 2, 4)]));
        let later = later + Duration::from_millis(20);
        assert_eq!(asked(fetcher.next(later)), (2, vec![(0, 10)]));
        // What a broker says that was told of an older epoch changes nothing.
        fetcher.metadata(later, &metadata(&[("t", 0, 1, 3)]));
        fetcher.fetched(later, 2, response("t", vec![data(0, &[])]));
        assert_eq!(asked(fetcher.next(later)).0, 2);
        assert!(fetcher.poll(later, ROOM).is_empty(), "nothing to tell about");
    }
}

#[test]
fn a_broker_that_names_the_new_leader_is_believed() {
    let (mut fetcher, now) = fetcher(1);
    assert_eq!(asked(fetcher.next(now)).0, 1);
    let leader = LeaderIdAndEpoch::default().with_leader_id(BrokerId(2)).with_leader_epoch(9);
    let moved = refusal(0, ResponseError::NotLeaderOrFollower).with_current_leader(leader);
    fetcher.fetched(now, 1, response("t", vec![moved]));
    assert!(matches!(fetcher.next(now), Some(Action::Metadata(_))), "asked nevertheless");
    assert_eq!(asked(fetcher.next(now + Duration::from_millis(20))), (2, vec![(0, 10)]));
}

#[test]
fn a_lost_position_is_told_once_all_before_it_is_handed_out() {
    let out_of_range = refusal(0, ResponseError::OffsetOutOfRange).with_log_start_offset(50);
    let diverging = EpochEndOffset::default().with_epoch(6).with_end_offset(11);
    let diverged = data(0, &[]).with_diverging_epoch(diverging);
    for lost in [out_of_range, diverged] {
        let (mut fetcher, now) = fetcher(1);
        fetcher.next(now);
        fetcher.fetched(now, 1, response("t", vec![data(0, &[words(10, &["a", "b"])])]));
        assert_eq!(asked(fetcher.next(now)), (1, vec![(0, 12)]));
        fetcher.fetched(now, 1, response("t", vec![lost.clone()]));
        assert_eq!(fetcher.next(now), None, "held until the rest is handed out");
        let fetched = fetcher.poll(now, ROOM);
        assert_eq!((fetched.events.len(), values(&fetched).len()), (0, 2));
        assert_eq!(asked(fetcher.next(now)), (1, vec![(0, 12)]));
        fetcher.fetched(now, 1, response("t", vec![lost.clone()]));
        let fetched = fetcher.poll(now, ROOM);
        let [FetchEvent::PositionLost { slot: 0, lost: told }] = &fetched.events[..] else { panic!("{fetched:?}") };
        let expected = if lost.log_start_offset == 50 {
            Lost::OutOfRange { partition: at("t", 0), offset: 12, log_start: 50 }
        } else {
            Lost::Diverged { partition: at("t", 0), offset: 12, leader_epoch: 7, epoch: 6, end_offset: 11 }
        };
        assert_eq!(told, &expected);
        assert!(told.to_string().contains("t-0") && told.to_string().contains("offset 12"), "{told}");
        assert_eq!(fetcher.next(now), None, "not read any more");
        assert!(fetcher.move_to(0, Position { offset: 50, leader_epoch: -1 }));
        assert_eq!(asked(fetcher.next(now)), (1, vec![(0, 50)]));
        assert!(!fetcher.move_to(1, Position { offset: 0, leader_epoch: -1 }) && !fetcher.finish(1));
    }
}

/// A fetcher of `t-0` in rack `r` whose leader, broker 1, has just named broker 2 as the closest.
fn in_rack() -> (Fetcher, Instant) {
    let (mut fetcher, now) = (Fetcher::new(settings(), "r"), Instant::now());
    fetcher.assign(&[reading("t", 0, 10)]);
    fetcher.next(now);
    fetcher.metadata(now, &metadata(&[("t", 0, 1, 3)]));
    let Some(Action::Fetch { node: 1, request }) = fetcher.next(now) else { panic!("the leader first") };
    assert_eq!(request.rack_id.as_str(), "r");
    fetcher.fetched(now, 1, response("t", vec![data(0, &[]).with_preferred_read_replica(BrokerId(2))]));
    (fetcher, now)
}

#[test]
fn the_closest_replica_is_read_from_until_the_leader_is_asked_again() {
    let (mut fetcher, now) = in_rack();
    for _ in 0..2 {
        let offset = fetcher.slots[0].reach().offset;
        assert_eq!(asked(fetcher.next(now)), (2, vec![(0, offset)]));
        fetcher.fetched(now, 2, response("t", vec![data(0, &[words(offset, &["a"])])]));
    }
    assert_eq!(values(&fetcher.poll(now, ROOM)), ["a", "a"]);
    let later = now + CLOSEST;
    assert!(matches!(fetcher.next(later), Some(Action::Metadata(_))), "old by then");
    fetcher.metadata(later, &metadata(&[("t", 0, 1, 3)]));
    assert_eq!(asked(fetcher.next(later)), (1, vec![(0, 12)]));
    // The leader itself, and nobody known.
    for closest in [1, 7, -1] {
        fetcher.fetched(later, 1, response("t", vec![data(0, &[]).with_preferred_read_replica(BrokerId(closest))]));
        assert_eq!(asked(fetcher.next(later)).0, 1, "{closest}");
    }
}

#[test]
fn what_a_follower_refuses_is_the_leaders_to_say() {
    let diverging = EpochEndOffset::default().with_epoch(6).with_end_offset(5);
    let answers = [
        refusal(0, ResponseError::OffsetOutOfRange),
        refusal(0, ResponseError::OffsetNotAvailable),
        refusal(0, ResponseError::NotLeaderOrFollower),
        refusal(0, ResponseError::UnknownLeaderEpoch),
        data(0, &[]).with_diverging_epoch(diverging),
    ];
    for answer in answers {
        let (mut fetcher, now) = in_rack();
        assert_eq!(asked(fetcher.next(now)).0, 2);
        fetcher.fetched(now, 2, response("t", vec![answer.clone()]));
        assert_eq!(fetcher.poll(now, ROOM).events, [], "{answer:?}");
        let later = now + Duration::from_millis(20);
        let mut next = fetcher.next(later);
        if matches!(next, Some(Action::Metadata(_))) {
            fetcher.metadata(later, &metadata(&[("t", 0, 1, 3)]));
            next = fetcher.next(later);
        }
        assert_eq!(asked(next), (1, vec![(0, 10)]), "{answer:?}");
        fetcher.fetched(later, 1, response("t", vec![refusal(0, ResponseError::OffsetOutOfRange)]));
        assert!(matches!(fetcher.poll(later, ROOM).events[..], [FetchEvent::PositionLost { slot: 0, .. }]));
    }
}

#[test]
fn a_follower_that_is_lost_is_not_asked_again() {
    let (mut fetcher, now) = in_rack();
    assert_eq!(asked(fetcher.next(now)).0, 2);
    fetcher.fetch_failed(now, 2);
    assert!(matches!(fetcher.next(now), Some(Action::Metadata(_))));
    assert_eq!(asked(fetcher.next(now)), (1, vec![(0, 10)]));
    // Nor one that says nothing of the partition.
    let (mut fetcher, now) = in_rack();
    assert_eq!(asked(fetcher.next(now)).0, 2);
    fetcher.fetched(now, 2, response("t", Vec::new()));
    assert_eq!(asked(fetcher.next(now)), (1, vec![(0, 10)]));
}

#[test]
fn what_waits_is_bounded_and_polling_makes_room() {
    let (mut fetcher, now) = fetcher(2);
    let large = "x".repeat(900);
    let mut next = 10;
    let mut requests = 0;
    while let Some(Action::Fetch { request, .. }) = fetcher.next(now) {
        requests += 1;
        assert!(fetcher.buffered() + request.max_bytes as usize <= 4000 || request.max_bytes == 2000);
        fetcher.fetched(
            now,
            1,
            response("t", vec![data(0, &[words(next, &[&large])]), data(1, &[words(next, &[&large])])]),
        );
        next += 1;
        assert!(requests < 10, "never full");
    }
    assert!(fetcher.buffered() <= 4000, "{}", fetcher.buffered());
    assert_eq!(fetcher.poll(now, Room { rows: 1, bytes: 1 << 20 }).bytes, 900);
    assert_eq!(fetcher.poll(now, Room { rows: 9, bytes: 1 }).bytes, 900, "at least a record");
    assert!(fetcher.next(now).is_some(), "there is room again");
}

#[test]
fn brokers_with_nothing_to_give_do_not_take_the_others_room() {
    let mut fetcher = Fetcher::new(settings(), "");
    let mut now = Instant::now();
    fetcher.assign(&[reading("t", 0, 0), reading("t", 1, 0), reading("t", 2, 0)]);
    assert!(matches!(fetcher.next(now), Some(Action::Metadata(_))));
    fetcher.metadata(now, &metadata(&[("t", 0, 1, 0), ("t", 1, 2, 0), ("t", 2, 3, 0)]));
    let mut asked = Vec::new();
    for _ in 0..10 {
        let mut round = Vec::new();
        while let Some(Action::Fetch { node, request }) = fetcher.next(now) {
            round.push((node, request.topics[0].partitions[0].partition, request.max_bytes));
        }
        now += Duration::from_millis(50);
        for (node, partition, _) in &round {
            fetcher.fetched(now, *node, response("t", vec![data(*partition, &[])]));
        }
        asked.extend(round);
    }
    for node in 1..=3 {
        assert!(asked.iter().filter(|(asked, ..)| *asked == node).count() >= 5, "{asked:?}");
    }
    assert!(asked.iter().all(|(_, _, bytes)| (1000..=2000).contains(bytes)), "{asked:?}");
}

#[test]
fn who_waited_longest_comes_first_and_polls_take_turns() {
    let (mut fetcher, now) = fetcher(3);
    assert_eq!(asked(fetcher.next(now)).1, [(0, 10), (1, 10), (2, 10)]);
    fetcher.fetched(now, 1, response("t", vec![data(0, &[words(10, &["a"])]), data(1, &[]), data(2, &[])]));
    assert_eq!(asked(fetcher.next(now)).1, [(1, 10), (2, 10), (0, 11)]);
    fetcher.fetched(now, 1, response("t", vec![data(1, &[words(10, &["b"])]), data(0, &[words(11, &["c"])])]));
    // What the answer left out is asked for again.
    assert_eq!(asked(fetcher.next(now)).1, [(2, 10), (0, 12), (1, 11)]);
    let one = Room { rows: 1, bytes: 1 << 20 };
    let turns: Vec<_> = (0..3).flat_map(|_| values(&fetcher.poll(now, one))).collect();
    assert_eq!(turns, ["a", "b", "c"], "slots in turn: 0, 1, and 0 again");
}

#[test]
fn a_damaged_batch_is_told_fetched_again_and_never_gone_over() {
    let (mut fetcher, now) = fetcher(1);
    fetcher.next(now);
    let mut damaged = words(11, &["b"]);
    *damaged.last_mut().unwrap() ^= 1;
    fetcher.fetched(now, 1, response("t", vec![data(0, &[words(10, &["a"]), damaged, words(12, &["c"])])]));
    let fetched = fetcher.poll(now, ROOM);
    assert_eq!((values(&fetched), fetched.positions[0].1.offset), (vec!["a".to_owned()], 11));
    let [FetchEvent::Error(error)] = &fetched.events[..] else { panic!("{fetched:?}") };
    assert!(
        error.to_string().starts_with("could not read t-0: the record batch at offset 11: its checksum"),
        "{error}"
    );
    assert_eq!(fetcher.next(now), None, "with a pause");
    let later = fetcher.deadline(now).unwrap();
    assert_eq!(later, now + MALFORMED);
    assert_eq!(asked(fetcher.next(later)).1, [(0, 11)]);
    fetcher.fetched(later, 1, response("t", vec![data(0, &[words(11, &["b"])])]));
    assert_eq!(values(&fetcher.poll(later, ROOM)), ["b"], "it was the way, not the disk");
}

#[test]
fn answers_to_former_questions_change_nothing() {
    let (mut fetcher, now) = fetcher(1);
    fetcher.next(now);
    fetcher.move_to(0, Position { offset: 99, leader_epoch: -1 });
    fetcher.fetched(now, 1, response("t", vec![data(0, &[words(10, &["old"])])]));
    assert!(fetcher.poll(now, ROOM).is_empty());
    assert_eq!(asked(fetcher.next(now)).1, [(0, 99)]);
    fetcher.assign(&[reading("t", 0, 500)]);
    assert!(matches!(fetcher.next(now), Some(Action::Metadata(_))));
    fetcher.fetched(now, 1, response("t", vec![refusal(0, ResponseError::OffsetOutOfRange)]));
    assert!(fetcher.poll(now, ROOM).is_empty());
    assert_eq!(asked(fetcher.next(now)).1, [(0, 500)]);
    fetcher.finish(0);
    fetcher.fetched(now, 1, response("t", vec![data(0, &[words(500, &["finished"])])]));
    // Nobody asked: of another topic, of another partition, and twice.
    fetcher.fetched(now, 1, response("u", vec![data(0, &[words(500, &["x"])]), data(7, &[])]));
    assert!(fetcher.poll(now, ROOM).is_empty());
    assert_eq!((fetcher.next(now), fetcher.deadline(now)), (None, None));
}

#[test]
fn a_partition_is_read_to_its_end_and_no_further() {
    let mut fetcher = Fetcher::new(settings(), "");
    let now = Instant::now();
    fetcher.assign(&[Reading { end: Some(12), ..reading("t", 0, 10) }]);
    fetcher.next(now);
    fetcher.metadata(now, &metadata(&[("t", 0, 1, 3)]));
    fetcher.next(now);
    fetcher.fetched(now, 1, response("t", vec![data(0, &[words(10, &["a", "b", "c"]), words(13, &["d"])])]));
    assert_eq!(fetcher.next(now), None, "what is there goes beyond the end");
    let fetched = fetcher.poll(now, ROOM);
    assert_eq!((values(&fetched).concat().as_str(), fetched.positions[0].1.offset), ("ab", 12));
    assert_eq!((fetcher.buffered(), fetcher.next(now), fetcher.deadline(now)), (0, None, None));
}

#[test]
fn lost_connections_and_refusals_are_tried_again_with_pauses() {
    let (mut fetcher, now) = fetcher(1);
    fetcher.next(now);
    fetcher.fetch_failed(now, 1);
    assert!(matches!(fetcher.next(now), Some(Action::Metadata(_))), "its partitions may have moved");
    fetcher.metadata_failed(now);
    assert_eq!(fetcher.next(now), None);
    let later = now + Duration::from_millis(20);
    assert!(matches!(fetcher.next(later), Some(Action::Metadata(_))));
    assert_eq!(asked(fetcher.next(later)).0, 1, "and meanwhile where they were");
    let all = FetchResponse::default().with_error_code(ResponseError::UnknownServerError.code());
    fetcher.fetched(later, 1, all);
    let told = fetcher.poll(later, ROOM).events;
    assert_eq!(told, [FetchEvent::Error(FetchError::RefusedAll { node: 1, code: ResponseError::UnknownServerError })]);
    assert_eq!(fetcher.next(later), None);
    // Its second failure in a row.
    let later = later + Duration::from_millis(40);
    assert_eq!(asked(fetcher.next(later)).0, 1);
    // A broker that wants to be left alone for a while.
    fetcher.fetched(later, 1, response("t", vec![data(0, &[])]).with_throttle_time_ms(300));
    assert_eq!(fetcher.next(later + Duration::from_millis(299)), None);
    let later = later + Duration::from_millis(300);
    assert_eq!(asked(fetcher.next(later)).0, 1);
    fetcher.fetched(later, 1, response("t", vec![refusal(0, ResponseError::TopicAuthorizationFailed)]));
    let told = fetcher.poll(later, ROOM).events;
    assert_eq!(
        told[0],
        FetchEvent::Error(FetchError::Refused { partition: at("t", 0), code: ResponseError::TopicAuthorizationFailed })
    );
    assert_eq!(fetcher.next(later), None);
}

#[test]
fn an_unknown_topic_is_told_and_asked_for_again() {
    let mut fetcher = Fetcher::new(settings(), "");
    let mut now = Instant::now();
    fetcher.assign(&[reading("t", 0, 0)]);
    let unknown = MetadataResponseTopic::default()
        .with_name(Some(name("t")))
        .with_error_code(ResponseError::UnknownTopicOrPartition.code());
    for pause in [20, 40, 80] {
        assert!(matches!(fetcher.next(now), Some(Action::Metadata(_))));
        fetcher.metadata(now, &metadata(&[]).with_topics(vec![unknown.clone()]));
        assert_eq!(fetcher.poll(now, ROOM).events.len(), 1);
        assert_eq!(fetcher.next(now), None);
        let later = now + Duration::from_millis(pause);
        assert_eq!(fetcher.deadline(now), Some(later));
        now = later;
    }
    assert!(matches!(fetcher.next(now), Some(Action::Metadata(_))));
    fetcher.metadata(now, &metadata(&[("t", 0, 1, 0)]));
    assert_eq!(asked(fetcher.next(now)).1, [(0, 0)]);
}

#[test]
fn metadata_is_renewed_and_a_topic_made_anew_begins_with_its_own_epochs() {
    let (mut fetcher, now) = fetcher(1);
    assert!(fetcher.next(now).is_some());
    let later = now + Duration::from_secs(30);
    assert_eq!(fetcher.deadline(now), Some(later));
    assert!(matches!(fetcher.next(later), Some(Action::Metadata(_))));
    let mut anew = metadata(&[("t", 0, 2, 0)]);
    anew.topics[0].topic_id = Uuid::from_u128(5);
    fetcher.metadata(later, &anew);
    fetcher.fetched(later, 1, response("t", vec![data(0, &[])]));
    assert_eq!(asked(fetcher.next(later)).0, 2);
}

/// A log of transactions, as a broker has it.
#[derive(Clone, Debug)]
struct Log {
    // First and last offset, and the bytes.
    batches: Vec<(i64, i64, Vec<u8>)>,
    // Producer, first offset, offset of the marker.
    aborted: Vec<(i64, i64, i64)>,
    committed: Vec<(i64, String)>,
    end: i64,
}

/// What happens in a log.
#[derive(Clone, Copy, Debug)]
enum Step {
    Write { producer: i64, records: usize, codec: usize },
    End { producer: i64, commit: bool },
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0_i64..3, 1_usize..5, 0_usize..5)
            .prop_map(|(producer, records, codec)| Step::Write { producer, records, codec }),
        1 => (0_i64..3, any::<bool>()).prop_map(|(producer, commit)| Step::End { producer, commit }),
    ]
}

impl Log {
    /// All transactions that were begun are ended.
    fn new(steps: &[Step]) -> Self {
        let mut log = Self { batches: Vec::new(), aborted: Vec::new(), committed: Vec::new(), end: 0 };
        let mut open: BTreeMap<i64, (i64, Vec<(i64, String)>)> = BTreeMap::new();
        let ends = (0..3).map(|producer| Step::End { producer, commit: producer != 1 });
        for step in steps.iter().copied().chain(ends) {
            match step {
                Step::Write { producer, records, codec } => {
                    let transaction = open.entry(producer).or_insert((log.end, Vec::new()));
                    transaction.1.extend(log.write(producer, records, Codec::ALL[codec]));
                }
                Step::End { producer, commit } => {
                    let Some((first, records)) = open.remove(&producer) else { continue };
                    if commit {
                        log.committed.extend(records);
                    } else {
                        log.aborted.push((producer, first, log.end));
                    }
                    log.mark(producer, commit);
                }
            }
        }
        log.committed.sort();
        log
    }

    fn write(&mut self, producer: i64, records: usize, codec: Codec) -> Vec<(i64, String)> {
        let written: Vec<_> =
            (self.end..).take(records).map(|offset| (offset, format!("{producer}@{offset}"))).collect();
        let mut writer = Writer::new(Vec::new());
        for (offset, value) in &written {
            let row = Row { offset: offset - self.end, timestamp: 1, key: None, value: Some(value.as_bytes()) };
            writer.push(row, std::iter::empty());
        }
        let bytes = writer.finish(&self.settings(producer, codec)).unwrap();
        self.append(records as i64, bytes);
        written
    }

    fn mark(&mut self, producer: i64, commit: bool) {
        let mut writer = Writer::new(Vec::new());
        let key = [0, 0, 0, u8::from(commit)];
        writer.push(Row { offset: 0, timestamp: 1, key: Some(&key), value: None }, std::iter::empty());
        let bytes = writer.finish_control(&self.settings(producer, Codec::None)).unwrap();
        self.append(1, bytes);
    }

    fn settings(&self, id: i64, codec: Codec) -> batch::Settings {
        let producer = Some(Producer { id, epoch: 0, sequence: 0, transactional: true });
        batch::Settings { base_offset: self.end, codec, producer, ..batch::Settings::default() }
    }

    fn append(&mut self, records: i64, bytes: Vec<u8>) {
        self.batches.push((self.end, self.end + records - 1, bytes));
        self.end += records;
    }

    /// What a broker answers: batches from the one with the offset on, cut off where the bytes end.
    fn answer(&self, partition: i32, offset: i64, bytes: usize, whole_first: bool) -> PartitionData {
        if offset > self.end {
            return refusal(partition, ResponseError::OffsetOutOfRange);
        }
        let batches = self.batches.iter().filter(|(_, last, _)| *last >= offset);
        let mut records: Vec<u8> = batches.clone().flat_map(|(_, _, bytes)| bytes.clone()).collect();
        let first = batches.clone().next().map_or(0, |(_, _, bytes)| bytes.len());
        records.truncate(if whole_first { bytes.max(first) } else { bytes });
        let overlapping = self.aborted.iter().filter(|(_, _, marker)| *marker >= offset);
        let aborted = overlapping.rev().map(|(producer, first, _)| {
            AbortedTransaction::default().with_producer_id(ProducerId(*producer)).with_first_offset(*first)
        });
        PartitionData::default()
            .with_partition_index(partition)
            .with_last_stable_offset(self.end)
            .with_aborted_transactions(Some(aborted.collect()))
            .with_records(Some(Bytes::from(records)))
    }
}

/// What may go wrong on the way of one answer.
#[derive(Clone, Copy, Debug)]
enum Chance {
    Answer,
    Lost,
    Moved,
    Damaged(usize),
    /// The leader says that broker 2 is closer.
    Closer,
    /// Broker 2 is behind.
    Behind,
}

fn any_chance() -> impl Strategy<Value = Chance> {
    prop_oneof![
        6 => Just(Chance::Answer),
        1 => Just(Chance::Lost),
        1 => Just(Chance::Moved),
        1 => any::<usize>().prop_map(Chance::Damaged),
        1 => Just(Chance::Closer),
        1 => Just(Chance::Behind),
    ]
}

fn answer(logs: &[Log], node: i32, request: &FetchRequest, chance: Chance) -> FetchResponse {
    let mut left = request.max_bytes as usize;
    let mut first = true;
    let mut topics = Vec::new();
    for topic in &request.topics {
        let mut partitions = Vec::new();
        for asked in &topic.partitions {
            let log = &logs[asked.partition as usize];
            let mut data = match chance {
                Chance::Moved => refusal(asked.partition, ResponseError::NotLeaderOrFollower),
                Chance::Behind if node == 2 => refusal(asked.partition, ResponseError::OffsetOutOfRange),
                Chance::Closer if node == 1 => data(asked.partition, &[]).with_preferred_read_replica(BrokerId(2)),
                _ => {
                    log.answer(asked.partition, asked.fetch_offset, left.min(asked.partition_max_bytes as usize), first)
                }
            };
            if let (Chance::Damaged(at), Some(records)) = (chance, data.records.as_mut().filter(|r| !r.is_empty())) {
                let mut bytes = records.to_vec();
                // In the first batch, whose first offset and epoch are a broker's own to set and not covered by the
                // checksum.
                let length = bytes.get(8..12).map_or(0, |length| u32::from_be_bytes(length.try_into().unwrap()));
                let first = 12 + length as usize;
                if length > 0 && bytes.len() >= first {
                    bytes[16 + at % (first - 16)] ^= 0x10;
                }
                *records = Bytes::from(bytes);
            }
            let size = data.records.as_ref().map_or(0, Bytes::len);
            left = left.saturating_sub(size);
            first &= size == 0;
            partitions.push(data);
        }
        topics.push(FetchableTopicResponse::default().with_topic(topic.topic.clone()).with_partitions(partitions));
    }
    over_the_wire(&FetchResponse::default().with_responses(topics))
}

proptest! {
    /// Whatever happens on the way, each partition's committed records come in order, each once.
    #[test]
    fn committed_records_come_once_and_in_order(
        steps in proptest::collection::vec(proptest::collection::vec(any_step(), 0..30), 1..4),
        chances in proptest::collection::vec(any_chance(), 1..40),
        rows in 1_usize..20,
        prefetch in 300_usize..3000,
    ) {
        let logs: Vec<_> = steps.iter().map(|steps| Log::new(steps)).collect();
        let settings = Settings { prefetch, response: prefetch / 2, partition: prefetch / 4, ..settings() };
        let mut fetcher = Fetcher::new(settings, "");
        let readings: Vec<_> = (0..logs.len() as i32).map(|partition| reading("t", partition, 0)).collect();
        fetcher.assign(&readings);
        let leaders = |node| (0..logs.len() as i32).map(|p| ("t", p, node, 0)).collect::<Vec<_>>();
        let mut now = Instant::now();
        let mut chances = chances.into_iter();
        let mut found: Vec<Vec<(i64, String)>> = vec![Vec::new(); logs.len()];
        for _ in 0..3000 {
            now += Duration::from_millis(50);
            while let Some(action) = fetcher.next(now) {
                match action {
                    Action::Metadata(_) => fetcher.metadata(now, &metadata(&leaders(1))),
                    Action::Fetch { node, request } => match chances.next().unwrap_or(Chance::Answer) {
                        Chance::Lost => fetcher.fetch_failed(now, node),
                        chance => {
                            fetcher.fetched(now, node, answer(&logs, node, &request, chance));
                            break;
                        }
                    },
                }
            }
            let fetched = fetcher.poll(now, Room { rows, bytes: 1 << 20 });
            for batch in &fetched.batches {
                for row in 0..batch.len() {
                    let value = String::from_utf8(batch.values.value(row).to_vec()).unwrap();
                    found[batch.slots.value(row) as usize].push((batch.offsets.value(row), value));
                }
            }
            let done = fetcher.slots.iter().zip(&logs).all(|(slot, log)| slot.position.offset == log.end);
            if done {
                break;
            }
        }
        for (log, found) in logs.iter().zip(&found) {
            prop_assert_eq!(&log.committed, found);
        }
        for (slot, log) in fetcher.slots.iter().zip(&logs) {
            prop_assert_eq!(slot.position.offset, log.end);
        }
    }

    /// Damaged responses are refused or decoded; nothing panics, and no count is believed.
    #[test]
    fn damaged_responses_are_refused_or_decoded(
        steps in proptest::collection::vec(any_step(), 0..10),
        changes in proptest::collection::vec((any::<usize>(), any::<u8>()), 1..5),
    ) {
        let log = Log::new(&steps);
        let topics = vec![FetchableTopicResponse::default().with_topic(name("t")).with_partitions(vec![
            log.answer(0, 0, 10_000, true),
            refusal(1, ResponseError::NotLeaderOrFollower).with_current_leader(
                LeaderIdAndEpoch::default().with_leader_id(BrokerId(2)).with_leader_epoch(1),
            ),
        ])];
        let mut bytes = BytesMut::from(&b"\0"[..]);
        FetchResponse::default().with_responses(topics).encode(&mut bytes, 12).unwrap();
        // Nearly all damage that matters is in front of the records.
        for (at, with) in changes {
            let length = if at % 3 == 0 { bytes.len() } else { bytes.len().min(60) };
            bytes[at % length] = with;
        }
        let (mut fetcher, now) = fetcher(2);
        fetcher.next(now);
        if let Ok(response) = api::decode::<FetchRequest>(bytes.freeze()) {
            fetcher.fetched(now, 1, response);
            let _ = fetcher.poll(now, ROOM);
        }
    }
}
