//! Secrets that change while the process runs: clients are made anew, and nothing is restarted.
//!
//! ```text
//! files ─► read, twice alike ─► a broker takes them ─► the next Access ─► shard by shard: checkpoint, takeover
//! ```
//!
//! What counts is what the files say, not when they were written: the kubelet turns one symbolic link for all files of a
//! Secret, people write one file after the other. So a change is read again until two readings agree, and is tried at a
//! broker before anybody depends on it: secrets that are half written, or ahead of the cluster's, harm no running shard.
//! Until then, and when files cannot be read any more, clients stay as they are, which is told once.
//!
//! Shards take turns, so that a process never pauses as a whole. A shard whose clients are refused does not wait for its
//! turn: it has nothing to lose.
//!
//! The thread is owned by the runner and ends with its stop flag. Shards look, too, when they are refused: the files are
//! read before a refusal ends anything. One looks at a time.

use std::mem::Discriminant;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::prepare::Prepared;
use super::shared::StopFlag;
use crate::kafka::{Admin, ClientConfig, KafkaError, SecretStore};
use crate::metrics::Metrics;
use crate::plan::pipeline::Connection;

/// How often the secrets are looked at.
pub(super) const LOOK_EVERY: Duration = Duration::from_secs(2);
/// The time between two readings that have to agree.
const SETTLE: Duration = Duration::from_millis(200);
/// How often is read at most until two readings agree.
const READINGS: usize = 6;
/// How long brokers have to answer to new credentials.
const ANSWER: Duration = Duration::from_secs(3);
/// How long one question to them may take.
const ASK: Duration = Duration::from_millis(200);

/// What clients are made of: the settings of all connections by one reading of the secrets.
#[derive(Debug)]
pub struct Access {
    /// Counts the readings that were put to use, from 1.
    pub version: u64,
    /// Each connection's settings.
    pub configs: Vec<ClientConfig>,
    /// Each connection's client for questions.
    pub admins: Vec<Arc<Admin>>,
}

/// What a look at the secrets has brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Renewal {
    /// There is a newer access.
    Newer,
    /// The secrets are those in use.
    Unchanged,
    /// They cannot be read; the text says why.
    Unreadable(String),
    /// They have changed, but no client can be made of them, or brokers refuse it; the text says why.
    Refused(String),
    /// They have changed, and no broker has answered to them yet.
    Unanswered(String),
}

/// What follows from a refusal by brokers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AfterDenial {
    /// There are newer secrets: again, with clients of those.
    Again,
    /// There may be: again after a while. The text says what happened.
    Later(String),
    /// There are none; the text says what is wrong.
    Stop(String),
}

/// Whether brokers take a client.
type Trial<'a> = &'a dyn Fn(&Admin) -> Result<(), Renewal>;

/// The newest access, and how it is renewed.
#[derive(Debug)]
pub struct Rotation {
    origin: Origin,
    stop: Arc<StopFlag>,
    newest: Mutex<Arc<Access>>,
    /// The problem that was told last. Held by whoever looks.
    told: Mutex<Option<Discriminant<Renewal>>>,
    taken: Arc<AtomicBool>,
}

/// A shard's turn to make its clients anew; it ends when this is dropped.
#[derive(Debug)]
pub struct Turn(Arc<AtomicBool>);

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

impl Rotation {
    /// Reads the secrets for the first time. An error is for a person.
    pub fn open(prepared: &Prepared) -> Result<Self, String> {
        let origin = Origin {
            connections: prepared.pipeline.connections.clone(),
            client: format!("millstream.{}.admin", prepared.pipeline.application_id),
            secrets: prepared.options.secrets.clone(),
            rack: prepared.options.rack.clone(),
            embedded: prepared.options.embedded,
            metrics: Arc::clone(&prepared.metrics),
        };
        Self::of(origin, Arc::clone(&prepared.stop))
    }

    fn of(origin: Origin, stop: Arc<StopFlag>) -> Result<Self, String> {
        let first = Arc::new(origin.access(origin.read()?, None)?);
        Ok(Self { origin, stop, newest: Mutex::new(first), told: Mutex::default(), taken: Arc::default() })
    }

    /// The newest access.
    pub fn newest(&self) -> Arc<Access> {
        Arc::clone(&lock(&self.newest))
    }

    /// The newest access' version.
    pub fn version(&self) -> u64 {
        lock(&self.newest).version
    }

    /// Whether there is anything that could change.
    pub fn has_secrets(&self) -> bool {
        self.origin.connections.iter().any(has_secrets)
    }

    /// Looks at the secrets until somebody asks to stop.
    pub fn run(&self, stop: &StopFlag) {
        while !stop.sleep(LOOK_EVERY) {
            self.renew(self.version());
        }
    }

    /// Takes a turn, unless another shard of this process has it.
    pub fn turn(&self) -> Option<Turn> {
        let free = self.taken.compare_exchange(false, true, Ordering::AcqRel, Ordering::Acquire).is_ok();
        free.then(|| Turn(Arc::clone(&self.taken)))
    }

    /// What to do about brokers that refuse clients of the access `used`.
    pub fn after_denial(&self, used: u64, error: &KafkaError) -> AfterDenial {
        verdict(&self.renew(used), error)
    }

    /// Looks whether there is, or can be, a newer access than `used`.
    fn renew(&self, used: u64) -> Renewal {
        self.renew_with(used, &|admin| self.is_taken(admin))
    }

    fn renew_with(&self, used: u64, is_taken: Trial<'_>) -> Renewal {
        let mut told = lock(&self.told);
        let former = self.newest();
        if former.version > used {
            return Renewal::Newer;
        }
        let renewal = match self.changed(&former, is_taken) {
            Ok(None) => Renewal::Unchanged,
            Ok(Some(access)) => {
                *lock(&self.newest) = Arc::new(access);
                Renewal::Newer
            }
            Err(problem) => problem,
        };
        tell(&renewal, &mut told);
        renewal
    }

    /// Another access, if the secrets have changed and brokers take them.
    fn changed(&self, former: &Access, is_taken: Trial<'_>) -> Result<Option<Access>, Renewal> {
        let read = settled(&former.configs, || self.origin.read(), || self.stop.sleep(SETTLE));
        let configs = read.map_err(Renewal::Unreadable)?;
        if configs == former.configs {
            return Ok(None);
        }
        let access = self.origin.access(configs, Some(former)).map_err(Renewal::Refused)?;
        let is_new = |admin: &&Arc<Admin>| !former.admins.iter().any(|known| Arc::ptr_eq(known, admin));
        access.admins.iter().filter(is_new).try_for_each(|admin| is_taken(admin))?;
        Ok(Some(access))
    }

    /// Whether brokers take a client, which they show by telling it about the cluster.
    fn is_taken(&self, admin: &Admin) -> Result<(), Renewal> {
        let (deadline, mut cause) = (Instant::now() + ANSWER, None);
        while Instant::now() < deadline && !self.stop.asked() {
            if admin.cluster_id(ASK).is_some() {
                return Ok(());
            }
            cause = admin.cause().or(cause);
            if let Some(error) = cause.as_ref().filter(|error| error.is_denied()) {
                return Err(Renewal::Refused(format!("connection `{}`: {error}", admin.connection())));
            }
        }
        let why = cause.map_or_else(|| "no broker has answered".to_owned(), |error| error.to_string());
        Err(Renewal::Unanswered(format!("connection `{}`: {why}", admin.connection())))
    }
}

/// How clients are made.
#[derive(Debug)]
struct Origin {
    connections: Vec<Connection>,
    /// The name of the clients for questions.
    client: String,
    secrets: SecretStore,
    rack: Option<String>,
    embedded: bool,
    metrics: Arc<Metrics>,
}

/// Which client it is is a matter of processor time, so nobody should have to guess.
fn tell_client(config: &ClientConfig) {
    if let Some(property) = config.librdkafkas() {
        let connection = &config.connection;
        tracing::info!("connection `{connection}` goes through librdkafka: only that knows `{property}`");
    }
}

impl Origin {
    fn read(&self) -> Result<Vec<ClientConfig>, String> {
        let read = |connection: &Connection| {
            ClientConfig::resolve(connection, &self.secrets)
                .map(|config| config.in_rack(self.rack.as_deref()))
                .inspect(tell_client)
                .map_err(|error| format!("connection `{}`: {error}", connection.name))
        };
        self.connections.iter().map(read).collect()
    }

    /// Clients of these settings; what is as before keeps its client.
    fn access(&self, configs: Vec<ClientConfig>, former: Option<&Access>) -> Result<Access, String> {
        let admins = configs.iter().enumerate().map(|(index, config)| {
            match former.filter(|former| former.configs[index] == *config) {
                Some(former) => Ok(Arc::clone(&former.admins[index])),
                None => self.admin(config),
            }
        });
        let admins = admins.collect::<Result<_, String>>()?;
        Ok(Access { version: former.map_or(1, |former| former.version + 1), configs, admins })
    }

    fn admin(&self, config: &ClientConfig) -> Result<Arc<Admin>, String> {
        let admin = Admin::new(config, &self.client, Arc::clone(&self.metrics))
            .map_err(|error| format!("connection `{}`: {error}", config.connection))?;
        Ok(Arc::new(if self.embedded { admin.embedded() } else { admin }))
    }
}

fn has_secrets(connection: &Connection) -> bool {
    let tls = connection.tls.as_ref().is_some_and(|tls| tls.ca.is_some() || tls.certificate.is_some());
    tls || connection.sasl.is_some()
}

/// What is read: the former, or what two readings in a row agree on. `pause` comes between two, and says whether to give
/// up.
fn settled<T: PartialEq>(
    former: &T,
    mut read: impl FnMut() -> Result<T, String>,
    mut pause: impl FnMut() -> bool,
) -> Result<T, String> {
    let mut last = read();
    for _ in 1..READINGS {
        if last.as_ref() == Ok(former) || pause() {
            break;
        }
        let before = std::mem::replace(&mut last, read());
        if last.is_ok() && last == before {
            break;
        }
    }
    last
}

fn verdict(renewal: &Renewal, error: &KafkaError) -> AfterDenial {
    match renewal {
        Renewal::Newer => AfterDenial::Again,
        Renewal::Unanswered(why) => AfterDenial::Later(format!("{error}; the secrets have changed: {why}")),
        Renewal::Unchanged => AfterDenial::Stop(error.to_string()),
        Renewal::Unreadable(why) | Renewal::Refused(why) => AfterDenial::Stop(format!("{error}; {why}")),
    }
}

/// Says what has changed, and each kind of problem once until it is over.
fn tell(renewal: &Renewal, told: &mut Option<Discriminant<Renewal>>) {
    let kind = Some(std::mem::discriminant(renewal));
    match renewal {
        Renewal::Newer => tracing::info!("the secrets have changed; shards make their clients anew, one by one"),
        Renewal::Unchanged if told.is_some() => tracing::info!("the secrets are those in use again"),
        Renewal::Unchanged => {}
        _ if *told == kind => return,
        Renewal::Unreadable(why) => tracing::warn!("the secrets cannot be read any more: {why}; {GOING_ON}"),
        Renewal::Refused(why) => tracing::warn!("the secrets have changed and are refused: {why}; {GOING_ON}"),
        Renewal::Unanswered(why) => tracing::warn!("the secrets have changed: {why}; {GOING_ON}"),
    }
    *told = kind.filter(|_| !matches!(renewal, Renewal::Newer | Renewal::Unchanged));
}

const GOING_ON: &str = "clients go on with the former ones, and the secrets are read again every few seconds";

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::path::Path;

    use super::*;
    use crate::kafka::Code;
    use crate::plan::pipeline::{KafkaClient, Sasl, SaslMechanism, SecretKey, Tls};

    /// Port 9 discards: nobody listens there, and nothing depends on it.
    fn rotation(folder: &Path) -> Rotation {
        let key = |key: &str| SecretKey { secret: "user".into(), key: key.into() };
        let sasl = Sasl { mechanism: SaslMechanism::ScramSha512, username: key("username"), password: key("password") };
        let connection = Connection {
            name: "main".into(),
            bootstrap_servers: "127.0.0.1:9".into(),
            client: KafkaClient::Wire,
            tls: None,
            sasl: Some(sasl),
            properties: std::collections::BTreeMap::new(),
        };
        let plain = Connection { name: "plain".into(), sasl: None, ..connection.clone() };
        let origin = Origin {
            connections: vec![connection, plain],
            client: "test".into(),
            secrets: SecretStore::directory(folder),
            rack: None,
            embedded: false,
            metrics: Metrics::new("p"),
        };
        Rotation::of(origin, Arc::default()).unwrap()
    }

    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("user")).unwrap();
        write(&folder, "username", "somebody");
        write(&folder, "password", "old");
        folder
    }

    fn write(folder: &tempfile::TempDir, key: &str, value: &str) {
        std::fs::write(folder.path().join("user").join(key), value).unwrap();
    }

    const TAKEN: Trial<'static> = &|_| Ok(());
    const REFUSED: Trial<'static> = &|_| Err(Renewal::Refused(String::new()));

    #[test]
    fn what_files_say_makes_a_version_and_not_when_they_were_written() {
        let folder = folder();
        let rotation = rotation(folder.path());
        assert_eq!(rotation.renew_with(1, TAKEN), Renewal::Unchanged);
        write(&folder, "password", "old\n");
        assert_eq!(rotation.renew_with(1, TAKEN), Renewal::Unchanged);
        write(&folder, "password", "new");
        assert_eq!(rotation.renew_with(1, TAKEN), Renewal::Newer);
        assert_eq!(rotation.version(), 2);
        // Whoever still uses the first one hears of the second, though nothing has changed since.
        assert_eq!(rotation.renew_with(1, REFUSED), Renewal::Newer);
        assert_eq!(rotation.renew_with(2, REFUSED), Renewal::Unchanged);
    }

    #[test]
    fn a_connection_whose_secrets_are_the_same_keeps_its_client() {
        let folder = folder();
        let rotation = rotation(folder.path());
        let before = rotation.newest();
        write(&folder, "password", "new");
        rotation.renew_with(1, TAKEN);
        let after = rotation.newest();
        let same: Vec<bool> = before.admins.iter().zip(&after.admins).map(|(a, b)| Arc::ptr_eq(a, b)).collect();
        assert_eq!(same, [false, true]);
    }

    #[test]
    fn secrets_that_are_refused_or_gone_change_nothing() {
        let folder = folder();
        let rotation = rotation(folder.path());
        write(&folder, "password", "not yet known to brokers");
        assert_eq!(rotation.renew_with(1, REFUSED), Renewal::Refused(String::new()));
        std::fs::remove_file(folder.path().join("user/password")).unwrap();
        let Renewal::Unreadable(why) = rotation.renew_with(1, TAKEN) else { unreachable!() };
        assert!(why.contains("connection `main`: secret `user`, key `password`"), "{why}");
        assert_eq!(rotation.version(), 1);
        write(&folder, "password", "not yet known to brokers");
        assert_eq!(rotation.renew_with(1, TAKEN), Renewal::Newer);
    }

    #[test]
    fn a_change_counts_when_two_readings_agree() {
        type Reading = Result<i32, &'static str>;
        const GONE: Reading = Err("gone");
        let cases: [(&[Reading], Reading); 7] = [
            (&[Ok(1)], Ok(1)),
            (&[Ok(2), Ok(2)], Ok(2)),
            (&[Ok(2), Ok(3), Ok(3)], Ok(3)),
            (&[Ok(2), Ok(1)], Ok(1)),
            (&[GONE, Ok(1)], Ok(1)),
            (&[GONE, GONE, Ok(2), Ok(2)], Ok(2)),
            (&[GONE; READINGS], GONE),
        ];
        for (readings, expected) in cases {
            let mut left = readings.iter();
            let read = || left.next().copied().unwrap().map_err(ToOwned::to_owned);
            assert_eq!(settled(&1, read, || false), expected.map_err(ToOwned::to_owned), "{readings:?}");
            assert_eq!(left.next(), None, "{readings:?}");
        }
    }

    #[test]
    fn secrets_of_which_no_client_can_be_made_are_refused() {
        let folder = folder();
        write(&folder, "ca.crt", "-----BEGIN CERTIFICATE-----\nno base64\n-----END CERTIFICATE-----\n");
        let mut rotation = rotation(folder.path());
        let ca = SecretKey { secret: "user".into(), key: "ca.crt".into() };
        rotation.origin.connections[0].tls = Some(Tls { ca: Some(ca), certificate: None });
        let renewal = rotation.renew_with(1, TAKEN);
        assert!(matches!(&renewal, Renewal::Refused(why) if why.contains("connection `main`")), "{renewal:?}");
    }

    #[test]
    fn brokers_that_do_not_answer_have_not_refused() {
        let folder = folder();
        let rotation = rotation(folder.path());
        write(&folder, "password", "hush hush");
        let Renewal::Unanswered(why) = rotation.renew(1) else { unreachable!() };
        assert!(!why.contains("hush"), "{why}");
        assert_eq!(rotation.version(), 1);
    }

    #[test]
    fn one_shard_at_a_time_has_its_turn() {
        let folder = folder();
        let rotation = rotation(folder.path());
        let turn = rotation.turn().unwrap();
        assert!(rotation.turn().is_none());
        drop(turn);
        let again = rotation.turn();
        assert!(again.is_some() && rotation.turn().is_none());
    }

    #[test]
    fn a_refusal_ends_nothing_while_there_may_be_newer_secrets() {
        let error = KafkaError::new("connect", Code::Authentication, "no");
        let after = |renewal: &Renewal| verdict(renewal, &error);
        assert_eq!(after(&Renewal::Newer), AfterDenial::Again);
        assert!(matches!(after(&Renewal::Unanswered("x".into())), AfterDenial::Later(_)));
        assert_eq!(after(&Renewal::Unchanged), AfterDenial::Stop(error.to_string()));
        for problem in [Renewal::Unreadable("gone".into()), Renewal::Refused("gone".into())] {
            assert!(matches!(after(&problem), AfterDenial::Stop(text) if text.ends_with("; gone")));
        }
    }

    #[test]
    fn each_kind_of_problem_is_told_once_until_it_is_over() {
        let mut told = None;
        let unreadable = Renewal::Unreadable("a".into());
        tell(&unreadable, &mut told);
        assert_eq!(told, Some(std::mem::discriminant(&unreadable)));
        tell(&Renewal::Unreadable("b".into()), &mut told);
        assert_eq!(told, Some(std::mem::discriminant(&unreadable)));
        tell(&Renewal::Unchanged, &mut told);
        assert_eq!(told, None);
    }

    #[test]
    fn only_connections_with_references_are_looked_at() {
        let folder = folder();
        let mut rotation = rotation(folder.path());
        assert!(rotation.has_secrets());
        rotation.origin.connections.remove(0);
        assert!(!rotation.has_secrets());
    }
}
