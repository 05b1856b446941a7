//! The client's side of SASL: PLAIN, and SCRAM with SHA-256 and SHA-512 (RFC 5802, RFC 7677).
//!
//! Like Kafka's own clients, this one takes user name and password as they are and does not normalise them (`SASLprep`).
//! With SCRAM the server proves that it knows the password, too; a server that does not is refused.

use std::fmt;
use std::num::NonZeroU32;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use ring::{digest, hmac, pbkdf2};

/// The fewest iterations that count as safe; Kafka has the same bound.
const LEAST_ITERATIONS: u32 = 4096;
/// The most that are computed because a server says so.
const MOST_ITERATIONS: u32 = 1_000_000;

/// How to log in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mechanism {
    /// User name and password as they are.
    Plain,
    /// A proof of the password, by SHA-256.
    ScramSha256,
    /// A proof of the password, by SHA-512.
    ScramSha512,
}

impl Mechanism {
    /// The name in Kafka's protocol.
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha512 => "SCRAM-SHA-512",
        }
    }
}

/// Who logs in, and how. `Debug` shows neither.
#[derive(Clone)]
pub struct Login {
    /// The mechanism.
    pub mechanism: Mechanism,
    user: String,
    password: String,
}

impl Login {
    /// A login.
    pub fn new(mechanism: Mechanism, user: String, password: String) -> Self {
        Self { mechanism, user, password }
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Login({})", self.mechanism.name())
    }
}

/// Why a login failed before or after the server's decision. Never contains a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SaslError {
    /// The server's message is not what it should be.
    #[error("the broker's {message} of {mechanism} is not one: {found}")]
    Message {
        /// Which message.
        message: &'static str,
        /// The mechanism.
        mechanism: &'static str,
        /// What was found.
        found: &'static str,
    },
    /// The number of iterations is out of bounds.
    #[error("the broker asks for {0} iterations; between 4096 and 1000000 are computed")]
    Iterations(u32),
    /// The server refused the proof.
    #[error("the broker refused the login: {0}; check user name and password in the connection's secret")]
    Refused(String),
    /// The server does not know the password.
    #[error("the broker could not prove that it knows the password: it is not the one that the user was made on")]
    Server,
    /// There is no randomness to be had.
    #[error("no random number could be had for the login")]
    Random,
}

/// A login under way.
#[derive(Debug)]
pub struct Exchange {
    state: State,
}

enum State {
    Plain,
    First(Scram, String),
    Final { server_signature: hmac::Tag, mechanism: &'static str },
    Done,
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Plain => "Plain",
            Self::First(..) => "First",
            Self::Final { .. } => "Final",
            Self::Done => "Done",
        })
    }
}

/// What is known before the server says something.
struct Scram {
    hash: Hash,
    password: String,
    nonce: String,
}

#[derive(Clone, Copy)]
struct Hash {
    mechanism: &'static str,
    hmac: hmac::Algorithm,
    pbkdf2: pbkdf2::Algorithm,
    digest: &'static digest::Algorithm,
}

impl Exchange {
    /// Begins: the login under way, and the first message.
    pub fn begin(login: &Login) -> Result<(Self, Vec<u8>), SaslError> {
        let hash = match login.mechanism {
            Mechanism::Plain => {
                let message = format!("\0{}\0{}", login.user, login.password);
                return Ok((Self { state: State::Plain }, message.into_bytes()));
            }
            Mechanism::ScramSha256 => Hash {
                mechanism: login.mechanism.name(),
                hmac: hmac::HMAC_SHA256,
                pbkdf2: pbkdf2::PBKDF2_HMAC_SHA256,
                digest: &digest::SHA256,
            },
            Mechanism::ScramSha512 => Hash {
                mechanism: login.mechanism.name(),
                hmac: hmac::HMAC_SHA512,
                pbkdf2: pbkdf2::PBKDF2_HMAC_SHA512,
                digest: &digest::SHA512,
            },
        };
        let random = ring::rand::generate::<[u8; 24]>(&ring::rand::SystemRandom::new());
        let nonce = BASE64_STANDARD.encode(random.map_err(|_| SaslError::Random)?.expose());
        Ok(Self::scram(hash, login, nonce))
    }

    fn scram(hash: Hash, login: &Login, nonce: String) -> (Self, Vec<u8>) {
        let user = login.user.replace('=', "=3D").replace(',', "=2C");
        let first = format!("n={user},r={nonce}");
        let message = format!("n,,{first}").into_bytes();
        let scram = Scram { hash, password: login.password.clone(), nonce };
        (Self { state: State::First(scram, first) }, message)
    }

    /// Takes the server's message. The next one, or None when the login is done.
    pub fn answer(&mut self, message: &[u8]) -> Result<Option<Vec<u8>>, SaslError> {
        match std::mem::replace(&mut self.state, State::Done) {
            State::Plain | State::Done => Ok(None),
            State::First(scram, first) => {
                let (last, server_signature) = scram.prove(&first, message)?;
                self.state = State::Final { server_signature, mechanism: scram.hash.mechanism };
                Ok(Some(last))
            }
            State::Final { server_signature, mechanism } => {
                confirm(&server_signature, message, mechanism)?;
                Ok(None)
            }
        }
    }
}

impl Scram {
    /// The client's last message, and the signature that the server must answer with.
    fn prove(&self, first: &str, message: &[u8]) -> Result<(Vec<u8>, hmac::Tag), SaslError> {
        let wrong = |found| SaslError::Message { message: "first message", mechanism: self.hash.mechanism, found };
        let text = std::str::from_utf8(message).map_err(|_| wrong("no UTF-8"))?;
        let mut parts = text.split(',');
        let mut attribute = |prefix, found| parts.next().and_then(|part| part.strip_prefix(prefix)).ok_or(wrong(found));
        let nonce = attribute("r=", "no nonce at its begin")?;
        let salt = attribute("s=", "no salt behind the nonce")?;
        let iterations = attribute("i=", "no iterations behind the salt")?;
        // Longer than ours, so that it is the server's, too.
        if !nonce.starts_with(&self.nonce) || nonce.len() == self.nonce.len() {
            return Err(wrong("its nonce does not continue the client's"));
        }
        let salt = BASE64_STANDARD.decode(salt).map_err(|_| wrong("its salt is no base64"))?;
        let iterations: u32 = iterations.parse().map_err(|_| wrong("its iterations are no number"))?;
        let bounded = (LEAST_ITERATIONS..=MOST_ITERATIONS).contains(&iterations);
        let iterations = NonZeroU32::new(iterations).filter(|_| bounded).ok_or(SaslError::Iterations(iterations))?;

        let keys = self.keys(&salt, iterations);
        let without_proof = format!("c=biws,r={nonce}");
        let all = format!("{first},{text},{without_proof}");
        let signature = hmac::sign(&hmac::Key::new(self.hash.hmac, keys.stored.as_ref()), all.as_bytes());
        let proof: Vec<u8> = keys.client.as_ref().iter().zip(signature.as_ref()).map(|(a, b)| a ^ b).collect();
        let server_signature = hmac::sign(&hmac::Key::new(self.hash.hmac, keys.server.as_ref()), all.as_bytes());
        Ok((format!("{without_proof},p={}", BASE64_STANDARD.encode(proof)).into_bytes(), server_signature))
    }

    fn keys(&self, salt: &[u8], iterations: NonZeroU32) -> Keys {
        let mut salted = vec![0; self.hash.digest.output_len()];
        pbkdf2::derive(self.hash.pbkdf2, iterations, salt, self.password.as_bytes(), &mut salted);
        let salted = hmac::Key::new(self.hash.hmac, &salted);
        let client = hmac::sign(&salted, b"Client Key");
        Keys {
            client,
            stored: digest::digest(self.hash.digest, client.as_ref()),
            server: hmac::sign(&salted, b"Server Key"),
        }
    }
}

struct Keys {
    client: hmac::Tag,
    stored: digest::Digest,
    server: hmac::Tag,
}

fn confirm(expected: &hmac::Tag, message: &[u8], mechanism: &'static str) -> Result<(), SaslError> {
    let wrong = |found| SaslError::Message { message: "last message", mechanism, found };
    let text = std::str::from_utf8(message).map_err(|_| wrong("no UTF-8"))?;
    let first = text.split(',').next().unwrap_or_default();
    if let Some(error) = first.strip_prefix("e=") {
        return Err(SaslError::Refused(error.chars().take(200).collect()));
    }
    let signature = first.strip_prefix("v=").ok_or(wrong("neither a signature nor an error"))?;
    let signature = BASE64_STANDARD.decode(signature).map_err(|_| wrong("its signature is no base64"))?;
    // Nothing is learned from how long this takes: the signature is of this login alone.
    if signature == expected.as_ref() { Ok(()) } else { Err(SaslError::Server) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    fn hash(mechanism: Mechanism) -> Hash {
        match Exchange::begin(&Login::new(mechanism, String::new(), String::new())).unwrap().0.state {
            State::First(scram, _) => scram.hash,
            _ => panic!("no SCRAM"),
        }
    }

    /// One login with given nonces.
    struct Vector {
        hash: Hash,
        user: &'static str,
        password: &'static str,
        client_first: &'static str,
        server_first: &'static str,
        client_final: &'static str,
        server_final: &'static str,
    }

    fn sha256() -> Vector {
        Vector {
            hash: hash(Mechanism::ScramSha256),
            user: "user",
            password: "pencil",
            client_first: "n,,n=user,r=rOprNGfwEbeRWgbNEkqO",
            server_first: "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
            client_final: "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                           p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
            server_final: "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
        }
    }

    fn begin(vector: &Vector) -> Exchange {
        let login = Login::new(Mechanism::ScramSha256, vector.user.to_owned(), vector.password.to_owned());
        let nonce = vector.client_first.rsplit_once("r=").unwrap().1.to_owned();
        let (exchange, first) = Exchange::scram(vector.hash, &login, nonce);
        assert_eq!(String::from_utf8(first).unwrap(), vector.client_first);
        exchange
    }

    #[test]
    fn logins_are_those_of_the_standards() {
        // RFC 5802, section 5.
        let sha1 = Vector {
            hash: Hash {
                mechanism: "SCRAM-SHA-1",
                hmac: hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
                pbkdf2: pbkdf2::PBKDF2_HMAC_SHA1,
                digest: &digest::SHA1_FOR_LEGACY_USE_ONLY,
            },
            user: "user",
            password: "pencil",
            client_first: "n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL",
            server_first: "r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096",
            client_final: "c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
            server_final: "v=rmF9pqV8S7suAoZWja4dJRkFsKQ=",
        };
        // No standard has one for SHA-512; this is what Python's hashlib and hmac give.
        let sha512 = Vector {
            hash: hash(Mechanism::ScramSha512),
            user: "us=er,",
            password: "p,=ä",
            client_first: "n,,n=us=3Der=2C,r=rOprNGfwEbeRWgbNEkqO",
            server_first: "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=8192",
            client_final: "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                           p=5xq41sqLeufFkndI0iff3RPDOWfyem1fJ7hnoLsfaR1cqsjzXTdzvNg5zMGtADPC+vKRNa/qcOPPUziBZ8K3yA==",
            server_final: "v=TiK6yL1XaqC3UfcctOsZobeN1Y/BGGwV21QDL6Qy4RYNDhNvgxTUsRJFf/GqEq65poun4ICjicmKeYV/3UdQIg==",
        };
        // The second is RFC 7677, section 3.
        for vector in [sha1, sha256(), sha512] {
            let mut exchange = begin(&vector);
            let last = exchange.answer(vector.server_first.as_bytes()).unwrap().unwrap();
            assert_eq!(String::from_utf8(last).unwrap(), vector.client_final);
            assert_eq!(exchange.answer(vector.server_final.as_bytes()), Ok(None));
        }
        let plain = Login::new(Mechanism::Plain, "user".to_owned(), "pencil".to_owned());
        let (mut exchange, first) = Exchange::begin(&plain).unwrap();
        assert_eq!(first, b"\0user\0pencil");
        assert_eq!(exchange.answer(b""), Ok(None));
    }

    #[test]
    fn a_server_that_does_not_keep_to_it_is_refused() {
        let cases: [(&[u8], &str); 9] = [
            (b"\xff", "no UTF-8"),
            (b"", "no nonce at its begin"),
            (b"m=x,r=rOprNGfwEbeRWgbNEkqOx,s=AA==,i=4096", "no nonce at its begin"),
            (b"r=rOprNGfwEbeRWgbNEkqOx", "no salt"),
            (b"r=rOprNGfwEbeRWgbNEkqO,s=AA==,i=4096", "does not continue"),
            (b"r=anotherNonceAltogether,s=AA==,i=4096", "does not continue"),
            (b"r=rOprNGfwEbeRWgbNEkqOx,s=?,i=4096", "no base64"),
            (b"r=rOprNGfwEbeRWgbNEkqOx,s=AA==,i=4095", "asks for 4095 iterations"),
            (b"r=rOprNGfwEbeRWgbNEkqOx,s=AA==,i=4000000000", "asks for 4000000000 iterations"),
        ];
        for (message, expected) in cases {
            let error = begin(&sha256()).answer(message).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
        let cases: [(&[u8], SaslError); 3] = [
            (
                b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G5=",
                SaslError::Message {
                    message: "last message",
                    mechanism: "SCRAM-SHA-256",
                    found: "its signature is no base64",
                },
            ),
            (b"v=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=", SaslError::Server),
            (b"e=invalid-proof", SaslError::Refused("invalid-proof".to_owned())),
        ];
        for (message, expected) in cases {
            let vector = sha256();
            let mut exchange = begin(&vector);
            exchange.answer(vector.server_first.as_bytes()).unwrap();
            assert_eq!(exchange.answer(message), Err(expected));
        }
    }

    #[test]
    fn nonces_differ_and_nothing_shows_the_password() {
        let login = Login::new(Mechanism::ScramSha512, "user".to_owned(), "pencil".to_owned());
        let (one, first) = Exchange::begin(&login).unwrap();
        let (_, second) = Exchange::begin(&login).unwrap();
        assert_ne!(first, second);
        let shown = format!("{login:?} {one:?}");
        assert!(!shown.contains("pencil") && !shown.contains("user"), "{shown}");
    }
}
