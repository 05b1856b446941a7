//! The connections of a Pipeline: servers, TLS, SASL, properties, and who refers to which.

use std::collections::HashSet;

use millstream_crds::kafka as crd;
use millstream_crds::pipeline::{Delivery, PipelineSpec};

use super::context::Context;
use super::names;
use super::path::Path;
use super::pipeline::{ClientCertificate, Connection, Sasl, SecretKey, Tls};
use super::properties;

/// The name of a connection that has none.
const UNNAMED: &str = "default";

/// The property that decides whether host names are checked.
const HOST_NAMES: &str = "ssl.endpoint.identification.algorithm";

/// Checks the connections; they keep their places.
pub(super) fn compile(context: &mut Context<'_>, spec: &PipelineSpec) -> Vec<Connection> {
    let path = Path::spec("connections");
    let named = |(index, connection): (usize, &millstream_crds::pipeline::Connection)| {
        let kafka = connection.kafka.clone().unwrap_or_default();
        let path = path.then(index).then("kafka");
        check(context, &kafka, &path);
        Connection {
            name: connection.name.clone().unwrap_or_else(|| UNNAMED.to_owned()),
            bootstrap_servers: kafka.bootstrap_servers,
            client: kafka.client,
            tls: kafka.tls.map(tls),
            sasl: kafka.sasl.map(sasl),
            properties: kafka.properties,
        }
    };
    spec.connections.iter().enumerate().map(named).collect()
}

fn check(context: &mut Context<'_>, kafka: &crd::KafkaConnection, path: &Path) {
    for server in kafka.bootstrap_servers.split(',') {
        let port = server.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
        if port.is_none_or(|port| port == 0) {
            let message = format!("`{}` has no port between 1 and 65535", names::excerpt(server));
            context.error(
                &path.then("bootstrapServers"),
                message,
                Some("write `host:port`, such as `kafka:9092`".into()),
            );
        }
    }
    for (name, value) in &kafka.properties {
        if let Some((message, help)) = properties::problem(name, value) {
            context.error(&path.then("properties").then(name.as_str()), message, help);
        }
    }
    if kafka.tls.is_some() && kafka.properties.get(HOST_NAMES).is_some_and(|value| value == "none") {
        let message = "brokers' certificates are not compared with their host names";
        let help = Some("whoever has any certificate of the authority can stand in for a broker".to_owned());
        context.warning(&path.then("properties").then(HOST_NAMES), message, help);
    }
}

fn tls(tls: crd::Tls) -> Tls {
    Tls {
        ca: tls.ca.map(|ca| SecretKey { secret: ca.secret_ref.name, key: ca.secret_ref.key }),
        certificate: tls.certificate.map(|certificate| {
            let key = |key: &str| SecretKey { secret: certificate.secret_ref.name.clone(), key: key.to_owned() };
            ClientCertificate { certificate: key("tls.crt"), key: key("tls.key") }
        }),
    }
}

fn sasl(sasl: crd::Sasl) -> Sasl {
    let secret = sasl.secret_ref;
    let key = |key: String| SecretKey { secret: secret.name.clone(), key };
    Sasl { mechanism: sasl.mechanism, username: key(secret.username_key), password: key(secret.password_key) }
}

/// The place of the connection that a node names, or of the only one.
pub(super) fn resolve(
    context: &mut Context<'_>,
    connections: &[Connection],
    name: Option<&String>,
    path: &Path,
) -> Option<usize> {
    let known = || connections.iter().map(|connection| connection.name.as_str());
    let found = match name {
        Some(name) => connections.iter().position(|connection| connection.name == *name),
        None if connections.len() == 1 => Some(0),
        None => {
            let names: Vec<&str> = known().collect();
            let help = format!("add `connection: …`, one of {}", names::listed(&names));
            context.error(path, "`connection` is missing: there are several", Some(help));
            return None;
        }
    };
    if let (None, Some(name)) = (found, name) {
        let message = format!("unknown connection `{}`", names::excerpt(name));
        context.error(&path.then("connection"), message, names::suggestion(name, known(), "connections"));
    }
    found
}

/// Who uses a connection, and at which place of the manifest.
pub(super) struct User {
    /// The field that names the connection.
    pub(super) path: Path,
    /// The connection, if it is known.
    pub(super) connection: Option<usize>,
    /// Whether records are read over it.
    pub(super) reads: bool,
}

/// Checks that nodes which must be on one cluster can be. Its id is only known when the pipeline runs; but connections
/// without a host in common are not meant to be one. Positions are kept where the sources are, so these always share
/// a cluster; whatever is written shares it where output and positions are one transaction.
pub(super) fn check_one_cluster(
    context: &mut Context<'_>,
    delivery: Delivery,
    connections: &[Connection],
    users: &[User],
) {
    let Some(home) = users.iter().find_map(|user| user.connection) else { return };
    for user in users.iter().filter(|user| user.reads || delivery == Delivery::ExactlyOnce) {
        let other = user.connection.filter(|other| !share_hosts(&connections[home], &connections[*other]));
        let Some(other) = other.map(|other| &connections[other].name) else { continue };
        let (why, help) = if user.reads {
            ("all sources need one cluster", "make a pipeline for each cluster")
        } else {
            ("exactly once needs one cluster", "use one connection for all, or `delivery: AtLeastOnce`")
        };
        let message = format!("connection `{other}` has no broker in common with `{}`: {why}", connections[home].name);
        context.error(&user.path, message, Some(help.to_owned()));
    }
}

/// Whether two connections could be one cluster: they name a host in common, by whatever listener.
pub(super) fn share_hosts(one: &Connection, other: &Connection) -> bool {
    let hosts = |connection: &Connection| -> HashSet<String> {
        let servers = connection.bootstrap_servers.split(',');
        servers.filter_map(|server| server.rsplit_once(':')).map(|(host, _)| host.to_ascii_lowercase()).collect()
    };
    one.bootstrap_servers == other.bootstrap_servers || !hosts(one).is_disjoint(&hosts(other))
}
