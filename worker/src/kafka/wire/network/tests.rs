#![allow(clippy::unwrap_used, clippy::panic)]

use std::net::TcpListener;

use kafka_protocol::messages::MetadataRequest;

use super::super::connection::fake::{self, Conduct};
use super::*;

const PATIENCE: Patience = Patience { open: Duration::from_secs(20), answer: Duration::from_secs(20) };

fn network(patience: Patience) -> Network {
    let options = Options { client: "test".to_owned(), tls: None, login: None, frame: 10_000 };
    Network::new(options, patience).unwrap()
}

fn next(network: &mut Network) -> Event {
    let end = Instant::now() + Duration::from_mins(1);
    while Instant::now() < end {
        if let Some(event) = network.next_event() {
            return event;
        }
        network.wait(end);
    }
    panic!("nothing happened");
}

#[test]
fn requests_wait_for_the_connection_and_are_answered_in_order() {
    let broker = fake::broker(Conduct::Answers);
    let mut network = network(PATIENCE);
    let peer = Peer::Seed(0);
    for _ in 0..3 {
        network.send(peer, &broker.endpoint, &MetadataRequest::default()).unwrap();
    }
    for _ in 0..3 {
        let Event::Answer { peer: Peer::Seed(0), api: ApiKey::Metadata, body } = next(&mut network) else {
            panic!("no answer")
        };
        assert_eq!(api::decode::<MetadataRequest>(body).unwrap().throttle_time_ms, 7);
    }
    assert!(network.has(peer));
    network.rename(peer, Peer::Broker(4));
    assert_eq!(network.open_peers().collect::<Vec<_>>(), [Peer::Broker(4)]);
    network.send(Peer::Broker(4), &broker.endpoint, &MetadataRequest::default()).unwrap();
    network.close(Peer::Broker(4));
    assert!(matches!(next(&mut network), Event::Answer { peer: Peer::Broker(4), .. }), "not while it is asked");
    network.close(Peer::Broker(4));
    assert_eq!(network.open_peers().count(), 0);
    assert_eq!(broker.connections(), 1);
}

#[test]
fn waiting_ends_in_time() {
    let mut network = network(PATIENCE);
    let before = Instant::now();
    network.wait(before + Duration::from_millis(20));
    assert!(before.elapsed() >= Duration::from_millis(20));
    assert!(network.next_event().is_none());
}

#[test]
fn a_lost_connection_tells_what_was_under_way() {
    let broker = fake::broker(Conduct::EndsAfter(1));
    let mut network = network(PATIENCE);
    let peer = Peer::Broker(1);
    network.send(peer, &broker.endpoint, &MetadataRequest::default()).unwrap();
    assert!(matches!(next(&mut network), Event::Answer { .. }));
    network.send(peer, &broker.endpoint, &MetadataRequest::default()).unwrap();
    network.send(peer, &broker.endpoint, &MetadataRequest::default()).unwrap();
    let Event::Lost { under_way, error: ConnectionError::Broken(_), .. } = next(&mut network) else {
        panic!("not lost")
    };
    assert_eq!(under_way, [ApiKey::Metadata, ApiKey::Metadata]);
    // The next request connects anew.
    network.send(peer, &broker.endpoint, &MetadataRequest::default()).unwrap();
    assert!(matches!(next(&mut network), Event::Answer { .. }));
    assert_eq!(broker.connections(), 2);
}

#[test]
fn who_does_not_answer_is_lost() {
    let broker = fake::broker(Conduct::IsSilent);
    let mut network = network(Patience { answer: Duration::from_millis(30), ..PATIENCE });
    network.send(Peer::Broker(1), &broker.endpoint, &MetadataRequest::default()).unwrap();
    let Event::Lost { peer: Peer::Broker(1), under_way, error: ConnectionError::Late(_) } = next(&mut network) else {
        panic!("not lost")
    };
    assert_eq!(under_way, [ApiKey::Metadata]);
}

#[test]
fn who_cannot_be_reached_is_told() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = Endpoint { host: "127.0.0.1".to_owned(), port: listener.local_addr().unwrap().port() };
    drop(listener);
    let mut network = network(PATIENCE);
    network.send(Peer::Seed(3), &endpoint, &MetadataRequest::default()).unwrap();
    let Event::Lost { peer: Peer::Seed(3), under_way, error: ConnectionError::Connect { .. } } = next(&mut network)
    else {
        panic!("not lost")
    };
    assert_eq!(under_way, [ApiKey::Metadata]);
}

#[test]
fn what_the_socket_does_not_take_at_once_is_sent_later() {
    let broker = fake::broker(Conduct::Answers);
    let mut network = network(PATIENCE);
    // Some megabytes, more than a socket's buffers.
    let topic = kafka_protocol::messages::metadata_request::MetadataRequestTopic::default()
        .with_name(Some(kafka_protocol::messages::TopicName(StrBytes::from_string("t".repeat(30_000)))));
    let request = MetadataRequest::default().with_topics(Some(vec![topic; 1000]));
    for _ in 0..2 {
        network.send(Peer::Broker(1), &broker.endpoint, &request).unwrap();
    }
    for _ in 0..2 {
        assert!(matches!(next(&mut network), Event::Answer { .. }));
    }
}
