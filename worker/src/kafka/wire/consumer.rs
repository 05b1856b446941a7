//! Reading a shard's partitions by record batches: a [`Fetcher`] and the connections that carry out what it wants.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kafka_protocol::messages::{ApiKey, FetchRequest, MetadataRequest};

use super::api;
use super::batch::{Position, Room};
use super::cluster::Endpoint;
use super::complaints::Complaints;
use super::connection::Options;
use super::fetch::{self, Action, FetchEvent, Fetched, Fetcher, Reading};
use super::group::Group;
use super::network::{Event, Network, Patience, Peer};
use super::problem;
use super::seeds::Seeds;
use crate::fault;
use crate::kafka::consumer::{Assigned, ConsumerEvent, MAX_ROWS, Polled};
use crate::kafka::error::{Code, KafkaError};
use crate::kafka::native::list::Place;
use crate::metrics::Metrics;
use crate::records::TopicPartition;

/// What a consumer is to know.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The addresses of the manifest.
    pub seeds: Vec<Endpoint>,
    /// How to connect.
    pub options: Options,
    /// How long that and answers may take.
    pub patience: Patience,
    /// How to fetch.
    pub fetch: fetch::Settings,
    /// The rack whose replicas are the closest; empty if it does not matter.
    pub rack: String,
}

/// A consumer with an assignment by hand.
#[derive(Debug)]
pub struct Consumer {
    fetcher: Fetcher,
    network: Network,
    seeds: Seeds,
    group: RefCell<Group>,
    batch: usize,
    complaints: Complaints,
}

impl Consumer {
    /// A consumer of the group; `batch` bounds the bytes that a poll returns.
    pub fn new(settings: Settings, group: &str, batch: u64, metrics: Arc<Metrics>) -> Result<Self, KafkaError> {
        let network = Network::new(settings.options.clone(), settings.patience);
        Ok(Self {
            fetcher: Fetcher::new(settings.fetch, &settings.rack),
            network: network.map_err(|error| problem::of_client(&error))?,
            seeds: Seeds::new(settings.seeds.clone()),
            group: RefCell::new(Group::new(group, settings)),
            batch: usize::try_from(batch).unwrap_or(usize::MAX).max(1),
            complaints: Complaints::new(metrics),
        })
    }

    /// Connects: who leads the topics is asked once they are assigned.
    pub fn expect<'a>(&mut self, _topics: impl Iterator<Item = &'a str>) {
        if let Some((peer, endpoint)) = self.seeds.anybody(&self.network, self.fetcher.cluster()) {
            self.network.open(peer, &endpoint);
        }
    }

    /// Replaces the assignment; slots count from 0 in the order given.
    pub fn assign(&mut self, assigned: &[Assigned]) -> Result<(), KafkaError> {
        self.fetcher.assign(&assigned.iter().map(reading).collect::<Vec<_>>());
        Ok(())
    }

    /// Adds partitions; their slots follow the present ones.
    pub fn assign_more(&mut self, assigned: &[Assigned]) -> Result<(), KafkaError> {
        self.fetcher.assign_more(&assigned.iter().map(reading).collect::<Vec<_>>());
        Ok(())
    }

    /// Reads a slot from another place on.
    pub fn move_to(&mut self, slot: u32, offset: i64) -> Result<(), KafkaError> {
        let there = self.fetcher.move_to(slot, Position { offset, leader_epoch: -1 });
        known(there, "read from another offset", slot)
    }

    /// Reads a slot no longer.
    pub fn finish(&mut self, slot: u32) -> Result<(), KafkaError> {
        let there = self.fetcher.finish(slot);
        known(there, "end reading", slot)
    }

    /// Whether brokers have refused the client, and nobody has taken that error yet.
    pub fn is_refused(&self) -> bool {
        self.complaints.is_refused()
    }

    /// The last error, if any since the last look.
    pub fn take_error(&self) -> Option<KafkaError> {
        self.complaints.take()
    }

    /// The group's committed offsets of these partitions, with their metadata; -1001 where there is none.
    pub fn committed(&self, partitions: &[TopicPartition], wait: Duration) -> Result<Vec<Place>, KafkaError> {
        self.group.borrow_mut().committed(partitions, wait)
    }

    /// Records that are there, at most `max_rows`; waits up to `wait` for the first.
    pub fn poll(&mut self, wait: Duration, max_rows: usize) -> Polled {
        let room = Room { rows: max_rows.clamp(1, MAX_ROWS), bytes: self.batch };
        let deadline = Instant::now() + wait;
        let mut waited = Duration::ZERO;
        loop {
            self.take_answers();
            let now = Instant::now();
            let fetched = self.fetcher.poll(now, room);
            // What was handed out has made room: the brokers work while the shard does.
            self.ask(now);
            if !fetched.is_empty() || now >= deadline {
                return self.polled(fetched, waited);
            }
            let until = self.fetcher.deadline(now).map_or(deadline, |due| due.min(deadline));
            self.network.wait(until);
            waited += now.elapsed();
        }
    }

    fn polled(&self, fetched: Fetched, waited: Duration) -> Polled {
        let positions = fetched.positions.into_iter();
        Polled {
            batches: fetched.batches,
            positions: positions.map(|(slot, at)| (slot, at.offset, at.leader_epoch)).collect(),
            events: fetched.events.into_iter().map(|event| self.told(event)).collect(),
            bytes: fetched.bytes,
            waited,
        }
    }

    fn told(&self, event: FetchEvent) -> ConsumerEvent {
        match event {
            FetchEvent::PositionLost { slot, lost } => {
                ConsumerEvent::PositionLost { slot, error: problem::of_lost(&lost) }
            }
            FetchEvent::Error(error) => {
                let error = problem::of_fetch(&error);
                self.complaints.count(&error);
                ConsumerEvent::Error(error)
            }
        }
    }

    /// Takes what has arrived, without waiting.
    fn take_answers(&mut self) {
        loop {
            self.network.wait(Instant::now());
            let mut any = false;
            while let Some(event) = self.network.next_event() {
                any = true;
                self.happened(event);
            }
            if !any {
                return;
            }
        }
    }

    fn happened(&mut self, event: Event) {
        let now = Instant::now();
        match event {
            Event::Answer { peer, api, body } => {
                let outcome = match api {
                    ApiKey::Fetch => self.fetched(now, peer, body),
                    _ => self.described(now, peer, body),
                };
                if let Err(error) = outcome {
                    let error = error.into();
                    self.complaints.add(&error);
                    self.failed(now, peer, api);
                    self.network.lose(peer, error);
                }
            }
            Event::Lost { peer, under_way, error } => {
                // A broker that ends a connection on which nothing is under way has had enough of waiting.
                if !under_way.is_empty() {
                    self.complaints.add(&error);
                }
                for api in under_way {
                    self.failed(now, peer, api);
                }
            }
        }
    }

    fn fetched(&mut self, now: Instant, peer: Peer, body: bytes::Bytes) -> Result<(), api::CodecError> {
        let response = api::decode::<FetchRequest>(body)?;
        self.complaints.throttled(response.throttle_time_ms);
        if let Peer::Broker(node) = peer {
            self.fetcher.fetched(now, node, response);
        }
        fault::point("wire.fetch-answered");
        Ok(())
    }

    fn described(&mut self, now: Instant, peer: Peer, body: bytes::Bytes) -> Result<(), api::CodecError> {
        let response = api::decode::<MetadataRequest>(body)?;
        self.complaints.throttled(response.throttle_time_ms);
        self.fetcher.metadata(now, &response);
        self.seeds.settle(&mut self.network, self.fetcher.cluster(), peer);
        Ok(())
    }

    fn failed(&mut self, now: Instant, peer: Peer, api: ApiKey) {
        match (api, peer) {
            (ApiKey::Fetch, Peer::Broker(node)) => self.fetcher.fetch_failed(now, node),
            _ => self.fetcher.metadata_failed(now),
        }
    }

    /// Sends what the fetcher wants.
    fn ask(&mut self, now: Instant) {
        while let Some(action) = self.fetcher.next(now) {
            let (peer, api, outcome) = match action {
                Action::Metadata(request) => {
                    let anybody = self.seeds.anybody(&self.network, self.fetcher.cluster());
                    let Some((peer, endpoint)) = anybody else {
                        self.fetcher.metadata_failed(now);
                        continue;
                    };
                    (peer, ApiKey::Metadata, self.network.send(peer, &endpoint, &request))
                }
                Action::Fetch { node, request } => {
                    let peer = Peer::Broker(node);
                    let Some(endpoint) = self.fetcher.endpoint(node).cloned() else {
                        self.fetcher.fetch_failed(now, node);
                        continue;
                    };
                    (peer, ApiKey::Fetch, self.network.send(peer, &endpoint, &request))
                }
            };
            if let Err(error) = outcome {
                self.complaints.add(&error.into());
                self.failed(now, peer, api);
            }
        }
    }
}

fn reading(assigned: &Assigned) -> Reading {
    Reading {
        partition: assigned.partition.clone(),
        source: assigned.source,
        position: Position { offset: assigned.offset, leader_epoch: assigned.leader_epoch },
        end: assigned.end,
    }
}

fn known(there: bool, doing: &str, slot: u32) -> Result<(), KafkaError> {
    if there {
        return Ok(());
    }
    Err(KafkaError::new(doing, Code::UnknownPartition, format!("nothing is assigned as slot {slot}")))
}
