//! Connections to the brokers of a cluster, on the thread of whoever uses them.
//!
//! ```text
//! send ─► link of a peer ─► (opening: a thread of its own) ─► socket
//! wait ─► poll(2) over all sockets ─► Event: an answer │ a link that was lost, with what was under way
//! ```
//!
//! Only opening takes a thread, since looking up names blocks; what was sent meanwhile waits for it. There is no thread
//! and no queue on the way of an answer: the kernel's buffers hold it until the user comes for it.
//!
//! **Guarantees.** Each request ends: by one answer, or with its link. A link whose oldest request was not answered in
//! time is lost. `wait` is back by the time it was given.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use kafka_protocol::messages::ApiKey;
use kafka_protocol::protocol::StrBytes;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::api::{self, Api, CodecError, Frame, Transactions};
use super::cluster::Endpoint;
use super::connection::{Connection, ConnectionError, Options};

/// Whom a link is to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Peer {
    /// A broker, by its number.
    Broker(i32),
    /// Whoever listens at an address of the manifest, by its place there.
    Seed(usize),
}

/// How long things may take.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// Opening a connection.
    pub open: Duration,
    /// An answer.
    pub answer: Duration,
}

/// What happened.
#[derive(Debug)]
pub enum Event {
    /// An answer, for [`api::decode`].
    Answer {
        /// Whose.
        peer: Peer,
        /// To which request.
        api: ApiKey,
        /// The answer.
        body: Bytes,
    },
    /// A link was lost or could not be opened.
    Lost {
        /// To whom.
        peer: Peer,
        /// What was asked and will not be answered.
        under_way: Vec<ApiKey>,
        /// Why.
        error: ConnectionError,
    },
}

/// The connections of one user.
#[derive(Debug)]
pub struct Network {
    options: Arc<Options>,
    client: StrBytes,
    patience: Patience,
    transactions: Transactions,
    links: BTreeMap<Peer, Link>,
    links_made: u64,
    events: VecDeque<Event>,
    opened: Receiver<Opened>,
    opener: Opener,
    bell: PipeReader,
}

/// A connection, or one that is being opened.
#[derive(Debug)]
struct Link {
    // Tells the links of one peer apart.
    number: u64,
    connection: Option<Connection>,
    waiting: Vec<Frame>,
    under_way: VecDeque<ApiKey>,
    // By when the oldest request is to be answered.
    due: Instant,
    flushed: bool,
}

/// What an opening thread brings.
#[derive(Debug)]
struct Opened {
    peer: Peer,
    number: u64,
    outcome: Result<Connection, ConnectionError>,
}

/// What an opening thread needs.
#[derive(Clone, Debug)]
struct Opener {
    results: Sender<Opened>,
    bell: Arc<PipeWriter>,
}

impl Opener {
    /// Brings an outcome. Where nobody is there any more, it matters to nobody.
    fn tell(&self, opened: Opened) {
        let _ = self.results.send(opened);
        let _ = (&*self.bell).write(&[0]);
    }
}

impl Network {
    /// No connection yet.
    pub fn new(options: Options, patience: Patience) -> io::Result<Self> {
        let (results, opened) = mpsc::channel();
        let (bell, ringer) = io::pipe()?;
        Ok(Self {
            client: StrBytes::from_string(options.client.clone()),
            options: Arc::new(options),
            patience,
            transactions: Transactions::default(),
            links: BTreeMap::new(),
            links_made: 0,
            events: VecDeque::new(),
            opened,
            opener: Opener { results, bell: Arc::new(ringer) },
            bell,
        })
    }

    /// Whether there is a connection to the peer, or one on its way.
    pub fn has(&self, peer: Peer) -> bool {
        self.links.contains_key(&peer)
    }

    /// The peers with an open connection.
    pub fn open_peers(&self) -> impl Iterator<Item = Peer> + '_ {
        self.links.iter().filter(|(_, link)| link.connection.is_some()).map(|(peer, _)| *peer)
    }

    /// Which transactions the cluster of a connected peer has.
    pub fn transactions_of(&self, peer: Peer) -> Option<Transactions> {
        self.links.get(&peer)?.connection.as_ref().map(|connection| connection.transactions)
    }

    /// Sends requests for these transactions from now on.
    pub fn set_transactions(&mut self, transactions: Transactions) {
        self.transactions = transactions;
    }

    /// Connects, if that is not so already or under way.
    pub fn open(&mut self, peer: Peer, endpoint: &Endpoint) {
        if self.links.contains_key(&peer) {
            return;
        }
        self.links_made += 1;
        let number = self.links_made;
        let due = Instant::now() + self.patience.open + self.patience.answer;
        let link =
            Link { number, connection: None, waiting: Vec::new(), under_way: VecDeque::new(), due, flushed: true };
        self.links.insert(peer, link);
        let (place, options, wait) = (endpoint.clone(), Arc::clone(&self.options), self.patience.open);
        let opener = self.opener.clone();
        let open = move || opener.tell(Opened { peer, number, outcome: Connection::open(&place, &options, wait) });
        if let Err(source) = thread::Builder::new().name("kafka-connect".to_owned()).spawn(open) {
            let (host, port) = (endpoint.host.clone(), endpoint.port);
            let outcome = Err(ConnectionError::Connect { host, port, source });
            self.opener.tell(Opened { peer, number, outcome });
        }
    }

    /// Sends a request to a peer that listens at `endpoint`, once the connection is open.
    pub fn send<R: Api>(&mut self, peer: Peer, endpoint: &Endpoint, request: &R) -> Result<(), CodecError> {
        let frame = api::encode_for(request, &self.client, self.transactions)?;
        let now = Instant::now();
        if self.links.get(&peer).is_some_and(|link| link.is_to_be_renewed(now)) {
            self.links.remove(&peer);
        }
        self.open(peer, endpoint);
        let Some(link) = self.links.get_mut(&peer) else { return Ok(()) };
        if link.connection.is_some() && link.under_way.is_empty() {
            link.due = now + self.patience.answer;
        }
        link.under_way.push_back(frame.api);
        if let Err(error) = link.push(frame) {
            self.lose(peer, error.into());
        }
        Ok(())
    }

    /// Ends a connection that is of no use any more; what was under way is told by an event.
    pub fn lose(&mut self, peer: Peer, error: ConnectionError) {
        if let Some(link) = self.links.remove(&peer) {
            self.events.push_back(Event::Lost { peer, under_way: link.under_way.into(), error });
        }
    }

    /// Ends a connection that is not needed any more. Not one with a request under way.
    pub fn close(&mut self, peer: Peer) {
        if self.links.get(&peer).is_some_and(|link| link.under_way.is_empty()) {
            self.links.remove(&peer);
        }
    }

    /// A connection turned out to be to another peer, which has none yet.
    pub fn rename(&mut self, from: Peer, to: Peer) {
        if !self.links.contains_key(&to)
            && let Some(link) = self.links.remove(&from)
        {
            self.links.insert(to, link);
        }
    }

    /// Takes what has happened; until then, waits at most until `deadline`.
    pub fn wait(&mut self, deadline: Instant) {
        let now = Instant::now();
        self.expire(now);
        if !self.events.is_empty() {
            return;
        }
        let due = self.links.values().filter_map(Link::deadline).min();
        let until = due.map_or(deadline, |due| due.min(deadline));
        let ready = self.look(until.saturating_duration_since(now));
        if ready.bell {
            self.take_opened();
        }
        for peer in ready.peers {
            self.turn(peer);
        }
    }

    /// The next thing that happened, if any.
    pub fn next_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Loses the links whose time is over.
    fn expire(&mut self, now: Instant) {
        let late: Vec<Peer> = self
            .links
            .iter()
            .filter(|(_, link)| link.deadline().is_some_and(|due| due <= now))
            .map(|(peer, _)| *peer)
            .collect();
        for peer in late {
            self.lose(peer, ConnectionError::Late(self.patience.answer));
        }
    }

    fn look(&self, wait: Duration) -> Ready {
        let open: Vec<_> = self.links.iter().filter_map(|(peer, link)| Some((*peer, link.poll_fd()?))).collect();
        let peers = open.iter().map(|(peer, _)| *peer);
        let mut fds = vec![PollFd::new(&self.bell, PollFlags::IN)];
        fds.extend(open.iter().map(|(_, fd)| fd.clone()));
        let timeout = Timespec { tv_sec: wait.as_secs() as i64, tv_nsec: i64::from(wait.subsec_nanos()) };
        // A signal ends it early, and whoever waits looks again.
        if poll(&mut fds, Some(&timeout)).is_err() {
            return Ready::default();
        }
        let mut happened = fds.iter().map(|fd| !fd.revents().is_empty());
        let bell = happened.next() == Some(true);
        Ready { bell, peers: peers.zip(happened).filter(|(_, happened)| *happened).map(|(peer, _)| peer).collect() }
    }

    fn take_opened(&mut self) {
        // A byte for each; what more there is rings again.
        let _ = self.bell.read(&mut [0; 64]);
        while let Ok(Opened { peer, number, outcome }) = self.opened.try_recv() {
            let due = Instant::now() + self.patience.answer;
            let Some(link) = self.links.get_mut(&peer).filter(|link| link.number == number) else { continue };
            let outcome = outcome.and_then(|connection| Ok(link.begin(connection, due)?));
            if let Err(error) = outcome {
                self.lose(peer, error);
            }
        }
    }

    /// Takes what a socket has, and gives it what waits.
    fn turn(&mut self, peer: Peer) {
        let Some(link) = self.links.get_mut(&peer) else { return };
        let due = Instant::now() + self.patience.answer;
        let outcome = link.turn(due, &mut |api, body| self.events.push_back(Event::Answer { peer, api, body }));
        if let Err(error) = outcome {
            self.lose(peer, error);
        }
    }
}

/// Who can be read from or written to.
#[derive(Debug, Default)]
struct Ready {
    bell: bool,
    peers: Vec<Peer>,
}

impl Link {
    /// By when something has to happen.
    fn deadline(&self) -> Option<Instant> {
        (self.connection.is_none() || !self.under_way.is_empty()).then_some(self.due)
    }

    fn is_to_be_renewed(&self, now: Instant) -> bool {
        let renewal = self.connection.as_ref().and_then(|connection| connection.renewal);
        self.under_way.is_empty() && renewal.is_some_and(|renewal| renewal <= now)
    }

    fn poll_fd(&self) -> Option<PollFd<'_>> {
        let flags = if self.flushed { PollFlags::IN } else { PollFlags::IN | PollFlags::OUT };
        self.connection.as_ref().map(|connection| PollFd::from_borrowed_fd(connection.socket(), flags))
    }

    fn begin(&mut self, mut connection: Connection, due: Instant) -> io::Result<()> {
        connection.set_nonblocking()?;
        self.connection = Some(connection);
        self.due = due;
        std::mem::take(&mut self.waiting).into_iter().try_for_each(|frame| self.push(frame))
    }

    fn push(&mut self, frame: Frame) -> io::Result<()> {
        match &mut self.connection {
            None => self.waiting.push(frame),
            Some(connection) => self.flushed = connection.push(frame)?,
        }
        Ok(())
    }

    fn turn(&mut self, due: Instant, answered: &mut dyn FnMut(ApiKey, Bytes)) -> Result<(), ConnectionError> {
        let Some(connection) = &mut self.connection else { return Ok(()) };
        self.flushed = connection.flush()?;
        while let Some((api, body)) = connection.pull()? {
            self.under_way.pop_front();
            self.due = due;
            answered(api, body);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
