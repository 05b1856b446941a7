//! Who sends a report: the API server says which pod a projected token belongs to.
//!
//! An answer is kept for a minute, so that a busy worker's reports do not become as many questions.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, TokenReviewStatus};
use kube::Api;
use kube::api::PostParams;
use millstream_crds::report::TOKEN_AUDIENCE;
use sha2::{Digest, Sha256};

use super::lock;
use crate::api::{ApiServer, Verb};

/// How long an answer is kept.
const KEEP: Duration = Duration::from_mins(1);
/// Where the API server says which pod a token is bound to.
const POD_NAME: &str = "authentication.kubernetes.io/pod-name";
/// What begins the name of a service account.
const SERVICE_ACCOUNT: &str = "system:serviceaccount:";

/// A pod that a token belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sender {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub pod: String,
}

/// Asks the API server about tokens.
pub struct Tokens {
    server: ApiServer,
    known: Mutex<HashMap<[u8; 32], (Instant, Sender)>>,
}

impl Tokens {
    /// Asks `server`.
    pub fn new(server: ApiServer) -> Self {
        Self { server, known: Mutex::default() }
    }

    /// Whose token it is; None if it is nobody's, or not for the operator.
    pub async fn sender(&self, token: &str) -> Result<Option<Sender>, kube::Error> {
        let digest: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        if let Some((at, sender)) = lock(&self.known).get(&digest)
            && at.elapsed() < KEEP
        {
            return Ok(Some(sender.clone()));
        }
        let spec = TokenReviewSpec { audiences: Some(vec![TOKEN_AUDIENCE.to_owned()]), token: Some(token.to_owned()) };
        let review = TokenReview { spec, ..TokenReview::default() };
        let (api, parameters) = (Api::all(self.server.client()), PostParams::default());
        let answer = self.server.ask::<TokenReview, _>(Verb::Create, api.create(&parameters, &review)).await?;
        let sender = answer.status.as_ref().and_then(sender);
        let mut known = lock(&self.known);
        known.retain(|_, (at, _)| at.elapsed() < KEEP);
        if let Some(sender) = &sender {
            known.insert(digest, (Instant::now(), sender.clone()));
        }
        Ok(sender)
    }
}

fn sender(status: &TokenReviewStatus) -> Option<Sender> {
    let for_us = |audiences: &Vec<String>| audiences.iter().any(|audience| audience == TOKEN_AUDIENCE);
    if status.authenticated != Some(true) || !status.audiences.as_ref().is_some_and(for_us) {
        return None;
    }
    let user = status.user.as_ref()?;
    let (namespace, _) = user.username.as_ref()?.strip_prefix(SERVICE_ACCOUNT)?.split_once(':')?;
    let pod = user.extra.as_ref()?.get(POD_NAME)?.first()?;
    Some(Sender { namespace: namespace.to_owned(), pod: pod.clone() })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use k8s_openapi::api::authentication::v1::UserInfo;

    use super::*;

    fn status(authenticated: bool, audience: &str, user: &str, pod: Option<&str>) -> TokenReviewStatus {
        let extra = pod.map(|pod| BTreeMap::from([(POD_NAME.to_owned(), vec![pod.to_owned()])]));
        let user = UserInfo { username: Some(user.to_owned()), extra, ..UserInfo::default() };
        TokenReviewStatus {
            authenticated: Some(authenticated),
            audiences: Some(vec![audience.to_owned()]),
            user: Some(user),
            ..TokenReviewStatus::default()
        }
    }

    #[test]
    fn only_tokens_of_pods_for_the_operator_count() {
        let account = "system:serviceaccount:shop:orders-worker";
        let expected = Sender { namespace: "shop".into(), pod: "orders-1".into() };
        assert_eq!(sender(&status(true, TOKEN_AUDIENCE, account, Some("orders-1"))), Some(expected));
        assert_eq!(sender(&status(false, TOKEN_AUDIENCE, account, Some("orders-1"))), None);
        assert_eq!(sender(&status(true, "another", account, Some("orders-1"))), None);
        assert_eq!(sender(&status(true, TOKEN_AUDIENCE, "kubernetes-admin", Some("orders-1"))), None);
        assert_eq!(sender(&status(true, TOKEN_AUDIENCE, account, None)), None);
    }
}
