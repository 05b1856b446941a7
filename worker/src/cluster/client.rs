//! The two whom a worker talks to: the API server, and the operator. One client library serves both: it knows TLS, and
//! reads tokens and CAs again when their files change.

use std::time::Duration;

use kube::Client;
use kube::config::Config;

use super::{ClusterError, OperatorAddress};

/// How long a connection may take to come about.
const CONNECT: Duration = Duration::from_secs(5);
/// How long the operator may take to answer.
const ANSWER: Duration = Duration::from_secs(5);

/// Whether the library itself repeats what a busy server has refused: up to fifteen times, with waits of minutes. Whoever
/// asks here asks again by itself, and soon.
const RETRY: bool = false;

/// A client of the API server: that of the pod, or of the kubeconfig.
pub(super) async fn api_server() -> Result<Client, ClusterError> {
    let no_way = |error: &dyn std::fmt::Display| ClusterError::NoApiServer(error.to_string());
    let mut config = Config::infer().await.map_err(|error| no_way(&error))?;
    config.connect_timeout = Some(CONNECT);
    config.default_retry = RETRY;
    Client::try_from(config).map_err(|error| no_way(&error))
}

/// A client of the operator. Needs a runtime around it.
pub(super) fn operator(address: &OperatorAddress) -> Result<Client, ClusterError> {
    let mut config = Config::new(address.url.clone());
    config.root_cert_file = Some(address.ca.clone());
    config.connect_timeout = Some(CONNECT);
    config.read_timeout = Some(ANSWER);
    config.write_timeout = Some(ANSWER);
    config.default_retry = RETRY;
    config.reset_reader_on_write = true;
    config.auth_info.token_file = Some(address.token.display().to_string());
    Client::try_from(config)
        .map_err(|error| ClusterError::NoOperator { url: address.url.to_string(), why: error.to_string() })
}
