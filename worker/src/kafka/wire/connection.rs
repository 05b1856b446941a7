//! A connection to a broker: frames, the handshake, and requests in order.
//!
//! ```text
//! Handshake: ApiVersions ─► SaslHandshake ─► SaslAuthenticate … ─► ready      (frames in, frames out; no I/O)
//! Calls:     request ─► frame with a number;  frame ─► which request it answers
//! Connection: both over a socket, with TLS by rustls or without
//! ```
//!
//! A broker answers the requests of one connection in their order; an answer with another number ends the connection.
//! Frames are bounded before anything is allocated for them. All waiting has a deadline.

#[cfg(test)]
pub(super) mod fake;
mod handshake;
mod stream;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::io::{self, IoSlice, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes};
use kafka_protocol::messages::ApiKey;
use kafka_protocol::protocol::StrBytes;

pub use handshake::{Handshake, HandshakeError, Ready, Step};
pub use stream::{Stream, Tls, TlsError};

use super::api::{self, Api, CodecError, Frame, Transactions};
use super::cluster::Endpoint;
use super::pool::Pool;
use super::sasl::Login;

/// Why a connection ended or never began.
#[derive(Debug, thiserror::Error)]
pub enum ConnectionError {
    /// The broker cannot be reached.
    #[error("cannot connect to broker {host}:{port}: {source}")]
    Connect {
        /// The broker's host.
        host: String,
        /// Its port.
        port: u16,
        /// Why.
        source: io::Error,
    },
    /// The connection broke.
    #[error("the connection to the broker broke: {0}")]
    Broken(#[from] io::Error),
    /// Nothing came in time.
    #[error("the broker did not answer within {0:?}")]
    Late(Duration),
    /// TLS cannot be set up.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The broker and this client do not come together.
    #[error(transparent)]
    Handshake(#[from] HandshakeError),
    /// A message cannot be written or read.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// An answer to something else.
    #[error(transparent)]
    Order(#[from] OrderError),
    /// A frame's length is out of bounds.
    #[error(
        "the broker sends a frame of {length} bytes; allowed are 4 to {most}: is its port one of Kafka's, without TLS?"
    )]
    Frame {
        /// What the length says.
        length: i32,
        /// The bound.
        most: usize,
    },
}

/// An answer that nobody waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OrderError {
    /// The frame has no number.
    #[error("the broker sent a frame of {0} bytes, without a number")]
    Short(usize),
    /// The number is another request's.
    #[error("the broker answers request {found} where request {expected} was to be answered")]
    Number {
        /// The oldest request without an answer.
        expected: i32,
        /// The answer's.
        found: i32,
    },
    /// Nothing was asked.
    #[error("the broker answers request {0}, and none was under way")]
    Nobody(i32),
}

/// The requests of one connection that are under way.
#[derive(Debug)]
pub struct Calls {
    client: StrBytes,
    next: i32,
    under_way: VecDeque<(i32, ApiKey)>,
}

impl Calls {
    /// None, as the client of this name.
    pub fn new(client: &str) -> Self {
        Self { client: StrBytes::from_string(client.to_owned()), next: 0, under_way: VecDeque::new() }
    }

    /// The next request's frame, with its length.
    pub fn request<R: Api>(&mut self, request: &R) -> Result<Bytes, CodecError> {
        let frame = api::encode(request, &self.client)?;
        Ok(Bytes::from(self.send(frame).collect::<Vec<_>>().concat()))
    }

    /// The same of a request that was written before, part by part.
    pub fn send(&mut self, frame: Frame) -> impl Iterator<Item = Bytes> + use<> {
        let number = self.next;
        self.next = self.next.wrapping_add(1);
        self.under_way.push_back((number, frame.api));
        frame.numbered(number)
    }

    /// Which request a frame, without its length, answers, and the answer: for [`api::decode`].
    pub fn answer(&mut self, mut frame: Bytes) -> Result<(ApiKey, Bytes), OrderError> {
        if frame.len() < 4 {
            return Err(OrderError::Short(frame.len()));
        }
        let found = frame.get_i32();
        let (expected, api) = *self.under_way.front().ok_or(OrderError::Nobody(found))?;
        if found != expected {
            return Err(OrderError::Number { expected, found });
        }
        self.under_way.pop_front();
        Ok((api, frame))
    }

    /// How many requests are under way.
    pub fn under_way(&self) -> usize {
        self.under_way.len()
    }
}

/// What bytes can be read from into memory that nobody has written to yet.
pub trait Source {
    /// Appends what is there, at most as much as the buffer has spare capacity for; 0 at the end.
    fn read_spare(&mut self, buffer: &mut Vec<u8>) -> io::Result<usize>;
}

/// A source whose reader has to be given memory that was written to.
#[derive(Debug)]
pub struct Reader<R>(pub R);

impl<R: Read> Source for Reader<R> {
    fn read_spare(&mut self, buffer: &mut Vec<u8>) -> io::Result<usize> {
        // As much as TLS encrypts at once.
        const MOST: usize = 16 << 10;
        let start = buffer.len();
        buffer.resize(start + MOST.min(buffer.capacity() - start), 0);
        let outcome = self.0.read(&mut buffer[start..]);
        buffer.truncate(start + outcome.as_ref().map_or(0, |read| *read));
        outcome
    }
}

/// Frames out of a stream of bytes; what arrived of one is kept until the rest does.
#[derive(Debug)]
pub struct Frames {
    most: usize,
    pool: Pool,
    // Of the frame's length first, then of the frame.
    partial: Vec<u8>,
    length: Option<usize>,
}

/// The bytes of a frame's length.
const LENGTH: usize = 4;
/// A response is read while the next one arrives.
const FRAMES: usize = 2;

impl Frames {
    /// Frames of at most `most` bytes.
    pub fn new(most: usize) -> Self {
        Self { most, pool: Pool::new(FRAMES), partial: Vec::new(), length: None }
    }

    /// Reads until a frame is whole. None where the source says `WouldBlock` before; the next call continues there.
    pub fn next(&mut self, from: &mut impl Source) -> Result<Option<Bytes>, ConnectionError> {
        loop {
            let wanted = self.length.unwrap_or(LENGTH);
            if !self.fill(from, wanted)? {
                return Ok(None);
            }
            // A buffer may be larger than what it was made for, and then hold a part of what follows.
            let rest = self.partial.split_off(wanted);
            let whole = std::mem::replace(&mut self.partial, rest);
            if self.length.take().is_some() {
                return Ok(Some(self.pool.lend(whole)));
            }
            let length = whole.as_slice().get_i32();
            let bounded = usize::try_from(length).ok().filter(|length| (4..=self.most).contains(length));
            let length = bounded.ok_or(ConnectionError::Frame { length, most: self.most })?;
            let begun = std::mem::replace(&mut self.partial, self.pool.take(length));
            self.partial.extend_from_slice(&begun);
            self.length = Some(length);
        }
    }

    /// Whether `wanted` bytes are there.
    fn fill(&mut self, from: &mut impl Source, wanted: usize) -> io::Result<bool> {
        self.partial.reserve_exact(wanted.saturating_sub(self.partial.len()));
        while self.partial.len() < wanted {
            match from.read_spare(&mut self.partial) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if is_late(&error) => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }
}

/// How to connect.
#[derive(Clone, Debug)]
pub struct Options {
    /// The client's name, for the brokers' logs.
    pub client: String,
    /// How to encrypt, if at all.
    pub tls: Option<Tls>,
    /// How to log in, if at all.
    pub login: Option<Login>,
    /// The bytes of the largest frame that is taken.
    pub frame: usize,
}

/// A connection to a broker that is ready for requests.
#[derive(Debug)]
pub struct Connection {
    stream: Stream,
    calls: Calls,
    frames: Frames,
    // What the socket did not take yet.
    outgoing: VecDeque<Bytes>,
    /// When to connect anew, before the broker ends the connection because the login is too old.
    pub renewal: Option<Instant>,
    /// Which transactions the broker's cluster has.
    pub transactions: Transactions,
}

/// The parts that a socket is given at once.
const AT_ONCE: usize = 64;

/// The share of a login's life after which another is due: what Kafka's own client does, at the earliest.
const RENEWAL: f64 = 0.85;

impl Connection {
    /// Connects, encrypts, logs in; within `wait`.
    pub fn open(endpoint: &Endpoint, options: &Options, wait: Duration) -> Result<Self, ConnectionError> {
        let deadline = Instant::now() + wait;
        let stream = Stream::connect(endpoint, options.tls.as_ref(), wait)?;
        let mut connection = Self {
            stream,
            calls: Calls::new(&options.client),
            frames: Frames::new(options.frame),
            outgoing: VecDeque::new(),
            renewal: None,
            transactions: Transactions::default(),
        };
        let mut handshake = Handshake::new(options.login.clone());
        let mut step = handshake.begin(&mut connection.calls)?;
        loop {
            match step {
                Step::Send(frame) => connection.write(&frame, wait)?,
                Step::Ready(ready) => {
                    connection.transactions = ready.transactions;
                    connection.renewal = ready.session.map(|session| Instant::now() + session.mul_f64(RENEWAL));
                    return Ok(connection);
                }
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let frame = connection.frame(left)?.ok_or(ConnectionError::Late(wait))?;
            step = handshake.answer(&mut connection.calls, frame)?;
        }
    }

    /// Sends a request; within `wait`.
    pub fn send<R: Api>(&mut self, request: &R, wait: Duration) -> Result<(), ConnectionError> {
        let frame = self.calls.request(request)?;
        self.write(&frame, wait)
    }

    /// The next answer, and to which request; None if none comes in time. For [`api::decode`].
    pub fn receive(&mut self, wait: Duration) -> Result<Option<(ApiKey, Bytes)>, ConnectionError> {
        let Some(frame) = self.frame(wait)? else { return Ok(None) };
        Ok(Some(self.calls.answer(frame)?))
    }

    /// Asks and waits for the answer.
    pub fn call<R: Api>(&mut self, request: &R, wait: Duration) -> Result<R::Response, ConnectionError> {
        self.send(request, wait)?;
        let (_api, answer) = self.receive(wait)?.ok_or(ConnectionError::Late(wait))?;
        Ok(api::decode::<R>(answer)?)
    }

    /// From now on nothing waits: then [`Self::push`], [`Self::flush`] and [`Self::pull`] are the calls to use.
    pub fn set_nonblocking(&mut self) -> io::Result<()> {
        self.stream.socket().set_nonblocking(true)
    }

    /// Sends a request, as far as the socket takes it; `flush` sends the rest. Whether nothing is left.
    pub fn push(&mut self, frame: Frame) -> io::Result<bool> {
        self.outgoing.extend(self.calls.send(frame));
        self.flush()
    }

    /// Sends what is left, as far as the socket takes it. Whether nothing is left.
    pub fn flush(&mut self) -> io::Result<bool> {
        while !self.outgoing.is_empty() {
            let parts: Vec<IoSlice<'_>> = self.outgoing.iter().take(AT_ONCE).map(|part| IoSlice::new(part)).collect();
            match self.stream.write_vectored(&parts) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => self.written(written),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if is_late(&error) => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        match self.stream.flush() {
            Err(error) if is_late(&error) => Ok(false),
            outcome => outcome.map(|()| true),
        }
    }

    /// The socket took so many bytes.
    fn written(&mut self, mut bytes: usize) {
        while let Some(first) = self.outgoing.front_mut() {
            if bytes < first.len() {
                first.advance(bytes);
                return;
            }
            bytes -= first.len();
            self.outgoing.pop_front();
        }
    }

    /// The next answer, and to which request, if it has arrived. For [`api::decode`].
    pub fn pull(&mut self) -> Result<Option<(ApiKey, Bytes)>, ConnectionError> {
        let Some(frame) = self.frames.next(&mut self.stream)? else { return Ok(None) };
        Ok(Some(self.calls.answer(frame)?))
    }

    /// The socket, to be waited for.
    pub fn socket(&self) -> BorrowedFd<'_> {
        self.stream.socket().as_fd()
    }

    fn frame(&mut self, wait: Duration) -> Result<Option<Bytes>, ConnectionError> {
        let deadline = Instant::now() + wait;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            // Zero would mean without end.
            self.stream.socket().set_read_timeout(Some(left.max(Duration::from_millis(1))))?;
            match self.frames.next(&mut self.stream)? {
                None if Instant::now() < deadline => {}
                outcome => return Ok(outcome),
            }
        }
    }

    /// Writes all of a frame. After an error the connection is of no use.
    fn write(&mut self, mut frame: &[u8], wait: Duration) -> Result<(), ConnectionError> {
        let deadline = Instant::now() + wait;
        while !frame.is_empty() {
            let left = deadline.saturating_duration_since(Instant::now());
            self.stream.socket().set_write_timeout(Some(left.max(Duration::from_millis(1))))?;
            match self.stream.write(frame) {
                Ok(0) => return Err(io::Error::from(io::ErrorKind::WriteZero).into()),
                Ok(written) => frame = &frame[written..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if is_late(&error) => return Err(ConnectionError::Late(wait)),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(self.stream.flush()?)
    }
}

/// Whether a socket's time was over.
fn is_late(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}
