//! Real Kafka brokers on 127.0.0.1, one or several, in `KRaft` mode.
//!
//! Every node is broker and controller. Clients without credentials come in over PLAINTEXT and may do everything; a
//! [`Settings::secured`] cluster also listens on SASL over TLS and on mutual TLS, where ACLs decide. A node keeps its
//! ports and data over restarts. Dropping the [`Cluster`] kills the brokers and deletes their data.

use std::fmt::Write as _;
use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;

use crate::installation::{Installation, Version, run};
use crate::ports;
use crate::process::{Process, Signal};
use crate::tls::Authority;
use crate::wait;

/// A broker starts in 2–6 s on an idle machine.
const START: Duration = Duration::from_secs(90);
/// An orderly stop takes about a second.
const STOP: Duration = Duration::from_mins(1);
/// The user that SCRAM clients log in as, and the name in clients' certificates.
pub const USER: &str = "millstream";
/// The password of [`USER`].
pub const PASSWORD: &str = "a pass word; with = in it";

/// How a cluster is to be.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    version: Version,
    nodes: usize,
    properties: Vec<(String, String)>,
    secured: bool,
    host: Option<Ipv4Addr>,
}

impl Settings {
    /// One node of the default release.
    pub fn new() -> Self {
        Self { nodes: 1, ..Self::default() }
    }

    /// Another release.
    #[must_use]
    pub fn version(mut self, version: Version) -> Self {
        self.version = version;
        self
    }

    /// Several nodes; with three, topics have three replicas.
    #[must_use]
    pub fn nodes(mut self, nodes: usize) -> Self {
        self.nodes = nodes;
        self
    }

    /// A broker setting; the last one of a name counts.
    #[must_use]
    pub fn property(mut self, name: &str, value: &str) -> Self {
        self.properties.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Another address than 127.0.0.1 for clients, which pods can reach.
    #[must_use]
    pub fn host(mut self, host: Ipv4Addr) -> Self {
        self.host = Some(host);
        self
    }

    /// TLS listeners, a SCRAM user, and ACLs for everybody who does not come over PLAINTEXT.
    #[must_use]
    pub fn secured(mut self) -> Self {
        self.secured = true;
        self
    }

    /// Where clients reach the brokers.
    fn address(&self) -> Ipv4Addr {
        self.host.unwrap_or(Ipv4Addr::LOCALHOST)
    }
}

/// The addresses of a node.
#[derive(Clone, Copy, Debug)]
struct Ports {
    client: u16,
    controller: u16,
    sasl: u16,
    tls: u16,
}

/// A broker, running or not.
#[derive(Debug)]
struct Node {
    directory: PathBuf,
    ports: Ports,
    state: Mutex<NodeState>,
}

/// How often a node was started, and its process while it runs.
#[derive(Debug, Default)]
struct NodeState {
    starts: usize,
    process: Option<Process>,
}

impl Node {
    fn state(&self) -> MutexGuard<'_, NodeState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Brokers that belong together.
#[derive(Debug)]
pub struct Cluster {
    settings: Settings,
    installation: Installation,
    authority: Option<Authority>,
    nodes: Vec<Node>,
    directory: TempDir,
}

impl Cluster {
    /// Starts the brokers and waits until they serve.
    pub fn start(settings: &Settings) -> Result<Self> {
        let mut tries = 0;
        loop {
            tries += 1;
            match Self::start_once(settings.clone()) {
                Err(error) if tries < 3 && format!("{error:#}").contains("Address already in use") => {}
                result => return result,
            }
        }
    }

    fn start_once(settings: Settings) -> Result<Self> {
        let installation = Installation::find(settings.version)?;
        let directory = tempfile::Builder::new().prefix("millstream-kafka-").tempdir()?;
        let authority =
            settings.secured.then(|| authority(&directory.path().join("tls"), settings.address())).transpose()?;
        let ports = ports::free(4 * settings.nodes)?;
        let nodes = (0..settings.nodes)
            .map(|i| Node {
                directory: directory.path().join(format!("node-{}", i + 1)),
                ports: Ports {
                    client: ports[4 * i],
                    controller: ports[4 * i + 1],
                    sasl: ports[4 * i + 2],
                    tls: ports[4 * i + 3],
                },
                state: Mutex::default(),
            })
            .collect();
        let cluster = Self { settings, installation, authority, nodes, directory };
        for node in 0..cluster.nodes.len() {
            cluster.format(node)?;
        }
        cluster.launch_all()?;
        Ok(cluster)
    }

    /// `host:port,…` for clients without credentials.
    pub fn bootstrap(&self) -> String {
        self.addresses(|ports| ports.client)
    }

    /// `host:port,…` for SASL over TLS.
    pub fn bootstrap_sasl(&self) -> String {
        self.addresses(|ports| ports.sasl)
    }

    /// `host:port,…` for mutual TLS.
    pub fn bootstrap_tls(&self) -> String {
        self.addresses(|ports| ports.tls)
    }

    /// The rack of a node; replicas in a client's own rack are read from.
    pub fn rack(node: usize) -> String {
        format!("rack-{}", node + 1)
    }

    /// The authority behind the certificates of a secured cluster.
    pub fn authority(&self) -> Result<&Authority> {
        self.authority.as_ref().context("the cluster is not secured")
    }

    /// The release in use, for its tools.
    pub fn installation(&self) -> &Installation {
        &self.installation
    }

    /// A directory that goes with the cluster.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The process id of the first node's broker.
    pub fn broker_id(&self) -> Result<u32> {
        let state = self.nodes.first().context("the cluster has no node")?.state();
        Ok(state.process.as_ref().context("the node does not run")?.id())
    }

    /// Stops a node in order: it hands its partitions over and closes its log.
    pub fn stop(&self, node: usize) -> Result<()> {
        if let Some(mut process) = self.nodes[node].state().process.take() {
            process.terminate(STOP)?;
        }
        Ok(())
    }

    /// Kills a node.
    pub fn kill(&self, node: usize) -> Result<()> {
        if let Some(mut process) = self.nodes[node].state().process.take() {
            process.kill()?;
        }
        Ok(())
    }

    /// Freezes a node, or lets it go on.
    pub fn signal(&self, node: usize, signal: Signal) -> Result<()> {
        self.nodes[node].state().process.as_mut().context("the node does not run")?.signal(signal)
    }

    /// Starts a node that was stopped or killed, with its old data, and waits until it serves.
    pub fn start_node(&self, node: usize) -> Result<()> {
        self.launch(node)?;
        self.wait_started(node)
    }

    /// Gives ACLs; a line is `PRINCIPAL RESOURCE_TYPE PATTERN_TYPE NAME OPERATION[,…]`.
    pub fn allow(&self, lines: &str) -> Result<()> {
        let mut command = self.installation.program("Stranger")?;
        command.args(["acls", &self.bootstrap()]);
        let (output, success) = run(command, lines)?;
        ensure!(success, "cannot create ACLs: {output}");
        Ok(())
    }

    /// Takes all ACLs away.
    pub fn revoke_all(&self) -> Result<()> {
        self.delete_acls(None)
    }

    /// Takes all ACLs of a principal away.
    pub fn revoke(&self, principal: &str) -> Result<()> {
        self.delete_acls(Some(principal))
    }

    fn delete_acls(&self, principal: Option<&str>) -> Result<()> {
        let mut command = self.installation.program("Stranger")?;
        command.args(["no-acls", &self.bootstrap()]).args(principal);
        let (output, success) = run(command, "")?;
        ensure!(success, "cannot delete ACLs: {output}");
        Ok(())
    }

    /// Makes a password the only one of a SCRAM user, who need not exist. Connections that are there live on.
    pub fn set_password(&self, user: &str, password: &str) -> Result<()> {
        let mut command = self.installation.program("Stranger")?;
        command.args(["scram", &self.bootstrap(), user]);
        let (output, success) = run(command, password)?;
        ensure!(success, "cannot set the password of {user}: {output}");
        Ok(())
    }

    /// The end of what the brokers have said, for people who look for the cause of a failure.
    pub fn log_tail(&self) -> String {
        let mut text = String::new();
        for (number, node) in self.nodes.iter().enumerate() {
            let output = node.state().process.as_ref().map(Process::output).unwrap_or_default();
            let lines: Vec<&str> = output.lines().filter(|l| l.contains(" WARN ") || l.contains(" ERROR ")).collect();
            let tail = lines[lines.len().saturating_sub(15)..].join("\n");
            let _ = writeln!(text, "--- broker {}\n{tail}", number + 1);
        }
        text
    }

    fn addresses(&self, port: impl Fn(&Ports) -> u16) -> String {
        let host = self.settings.address();
        let all: Vec<String> = self.nodes.iter().map(|n| format!("{host}:{}", port(&n.ports))).collect();
        all.join(",")
    }

    fn format(&self, number: usize) -> Result<()> {
        let node = &self.nodes[number];
        fs::create_dir_all(&node.directory)?;
        let properties = node.directory.join("server.properties");
        fs::write(&properties, self.properties(number)?)?;
        let mut command = self.installation.java("128m", "kafka.tools.StorageTool");
        command.env("KAFKA_LOG_LEVEL", "ERROR").args(["format", "-t", "MkU3OEVBNTcwNTJENDM2Qk", "-c"]).arg(properties);
        if self.settings.secured {
            for mechanism in ["SCRAM-SHA-256", "SCRAM-SHA-512"] {
                command.arg("--add-scram").arg(format!("{mechanism}=[name=\"{USER}\",password=\"{PASSWORD}\"]"));
            }
        }
        let (output, success) = run(command, "")?;
        ensure!(success, "cannot format the storage: {output}");
        Ok(())
    }

    fn launch_all(&self) -> Result<()> {
        (0..self.nodes.len()).try_for_each(|node| self.launch(node))?;
        (0..self.nodes.len()).try_for_each(|node| self.wait_started(node))
    }

    fn launch(&self, number: usize) -> Result<()> {
        let node = &self.nodes[number];
        let mut state = node.state();
        state.starts += 1;
        let log = node.directory.join(format!("server-{}.log", state.starts));
        let mut command = self.installation.java("512m", "kafka.Kafka");
        command.arg("server.properties").current_dir(&node.directory);
        state.process = Some(Process::start(&mut command, &log)?);
        Ok(())
    }

    fn wait_started(&self, number: usize) -> Result<()> {
        let mut state = self.nodes[number].state();
        let process = state.process.as_mut().context("the node does not run")?;
        wait::until_true("a broker to start", START, || {
            let output = process.output();
            if process.exited()?.is_some() {
                let lines: Vec<&str> = output.lines().collect();
                bail!("the broker did not start:\n{}", lines[lines.len().saturating_sub(30)..].join("\n"));
            }
            Ok(output.contains("Kafka Server started"))
        })
    }

    fn properties(&self, number: usize) -> Result<String> {
        let Node { directory, ports, .. } = &self.nodes[number];
        let voters: Vec<String> = (self.nodes.iter().enumerate())
            .map(|(i, node)| format!("{}@127.0.0.1:{}", i + 1, node.ports.controller))
            .collect();
        let (replicas, in_sync) = if self.nodes.len() >= 3 { (3, 2) } else { (1, 1) };
        let mut text = format!(
            "node.id={}\nbroker.rack={}\ncontroller.quorum.voters={}\nlog.dirs={}\n",
            number + 1,
            Self::rack(number),
            voters.join(","),
            directory.join("data").display()
        );
        text.push_str(COMMON);
        for name in REPLICATED {
            let _ = writeln!(text, "{name}={replicas}");
        }
        for name in IN_SYNC {
            let _ = writeln!(text, "{name}={in_sync}");
        }
        self.listeners(*ports, &mut text)?;
        for (name, value) in &self.settings.properties {
            let _ = writeln!(text, "{name}={value}");
        }
        Ok(text)
    }

    fn listeners(&self, ports: Ports, text: &mut String) -> Result<()> {
        let host = self.settings.address();
        let mut advertised = format!("PLAINTEXT://{host}:{}", ports.client);
        if let Some(authority) = &self.authority {
            let _ = write!(advertised, ",SASL_SSL://{host}:{},SSL://{host}:{}", ports.sasl, ports.tls);
            let _ = writeln!(text, "ssl.keystore.location={}", authority.keystore("broker")?.display());
            let _ = writeln!(text, "ssl.truststore.location={}", authority.ca().display());
            text.push_str(SECURED);
        }
        let _ = writeln!(text, "listeners={advertised},CONTROLLER://127.0.0.1:{}", ports.controller);
        let _ = writeln!(text, "advertised.listeners={advertised}");
        Ok(())
    }
}

fn authority(directory: &Path, host: Ipv4Addr) -> Result<Authority> {
    let authority = Authority::create(directory)?;
    authority.issue("broker", host)?;
    authority.issue(USER, host)?;
    Ok(authority)
}

/// Settings of every broker: quick starts, few internal partitions, restarts that are noticed within seconds, and
/// timed-out transactions that are aborted at once and not within ten seconds.
const COMMON: &str = "\
process.roles=broker,controller
replica.selector.class=org.apache.kafka.common.replica.RackAwareReplicaSelector
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SASL_SSL:SASL_SSL,SSL:SSL
num.partitions=4
offsets.topic.num.partitions=5
transaction.state.log.num.partitions=5
transaction.abort.timed.out.transaction.cleanup.interval.ms=200
group.initial.rebalance.delay.ms=0
auto.create.topics.enable=false
log.retention.ms=-1
log.cleaner.backoff.ms=1000
log.cleaner.dedupe.buffer.size=16777216
log.cleaner.min.cleanable.ratio=0.01
broker.heartbeat.interval.ms=500
broker.session.timeout.ms=3000
initial.broker.registration.timeout.ms=60000
";

/// Settings that are the number of replicas.
const REPLICATED: &[&str] = &[
    "default.replication.factor",
    "offsets.topic.replication.factor",
    "transaction.state.log.replication.factor",
    "share.coordinator.state.topic.replication.factor",
];

/// Settings that are the number of replicas that must have a record.
const IN_SYNC: &[&str] =
    &["min.insync.replicas", "transaction.state.log.min.isr", "share.coordinator.state.topic.min.isr"];

/// What a secured broker has in addition.
const SECURED: &str = "\
ssl.keystore.type=PEM
ssl.truststore.type=PEM
listener.name.ssl.ssl.client.auth=required
sasl.enabled.mechanisms=SCRAM-SHA-256,SCRAM-SHA-512,PLAIN
listener.name.sasl_ssl.scram-sha-256.sasl.jaas.config=\
org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config=\
org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.sasl_ssl.plain.sasl.jaas.config=\
org.apache.kafka.common.security.plain.PlainLoginModule required user_millstream=\"a pass word; with = in it\";
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS
";
