//! What can go wrong at a Kafka client, sorted by what the shard has to do about it.

use std::fmt;

pub use rdkafka::types::RDKafkaErrorCode as Code;

/// What an error asks of the caller, checked in this order: fatal first, then "requires abort", then retriable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Another producer took the transactional id over, or its epoch ended.
    Fenced,
    /// The client cannot go on; a new one is needed.
    Fatal,
    /// The open transaction has to be aborted.
    Abort,
    /// The same call may succeed later.
    Retriable,
    /// None of the above: treated like `Fatal` by the shard, since nothing is known about it.
    Other,
}

/// An error of the Kafka client or of a broker, with what was being done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KafkaError {
    /// What was being done, for a person: "commit the transaction", "describe topic `a`".
    pub doing: String,
    /// The error's code.
    pub code: Code,
    /// What to do about it.
    pub class: Class,
    /// The client's or broker's words.
    pub message: String,
}

impl KafkaError {
    /// An error by its code alone.
    pub fn new(doing: impl Into<String>, code: Code, message: impl Into<String>) -> Self {
        Self { doing: doing.into(), code, class: classify(code), message: message.into() }
    }

    /// Whether the brokers could not be reached or did not answer in time: something to wait for.
    pub fn is_unavailable(&self) -> bool {
        use Code as C;
        matches!(
            self.code,
            C::OperationTimedOut
                | C::MessageTimedOut
                | C::RequestTimedOut
                | C::BrokerTransportFailure
                | C::AllBrokersDown
                | C::Resolve
                | C::LeaderNotAvailable
                | C::NotLeaderForPartition
                | C::ReplicaNotAvailable
                | C::CoordinatorLoadInProgress
                | C::CoordinatorNotAvailable
                | C::NotCoordinator
                | C::BrokerNotAvailable
                | C::NetworkException
                | C::WaitingForCoordinator
                | C::KafkaStorageError
                | C::NotController
                | C::NotEnoughReplicas
                | C::NotEnoughReplicasAfterAppend
                | C::UnstableOffsetCommit
                | C::FencedLeaderEpoch
                | C::UnknownLeaderEpoch
                | C::OffsetNotAvailable
                | C::ConcurrentTransactions
        )
    }

    /// Whether what a client remembers of a topic may be the cause: a former leader, one that was not elected yet, a
    /// partition that it has not heard of.
    pub fn is_of_old_metadata(&self) -> bool {
        matches!(
            self.code,
            Code::NotLeaderForPartition
                | Code::FencedLeaderEpoch
                | Code::UnknownLeaderEpoch
                | Code::ReplicaNotAvailable
                | Code::LeaderNotAvailable
                | Code::NoEnt
        ) || self.is_unknown_topic()
    }

    /// Whether the broker knows no such topic or partition (yet).
    pub fn is_unknown_topic(&self) -> bool {
        matches!(
            self.code,
            Code::UnknownTopicOrPartition | Code::UnknownTopic | Code::UnknownPartition | Code::UnknownTopicId
        )
    }

    /// Whether credentials, certificates or permissions are wrong: waiting does not help.
    pub fn is_denied(&self) -> bool {
        matches!(
            self.code,
            Code::Authentication
                | Code::SaslAuthenticationFailed
                | Code::SSL
                | Code::TopicAuthorizationFailed
                | Code::GroupAuthorizationFailed
                | Code::ClusterAuthorizationFailed
                | Code::TransactionalIdAuthorizationFailed
                | Code::UnsupportedSASLMechanism
                | Code::IllegalSASLState
        )
    }

    /// Whether a broker or the client refused the content of a record.
    pub fn is_refused_record(&self) -> bool {
        matches!(
            self.code,
            Code::MessageSizeTooLarge
                | Code::MessageBatchTooLarge
                | Code::InvalidMessage
                | Code::InvalidMessageSize
                | Code::InvalidTimestamp
                | Code::InvalidRecord
                // What a broker says of the others in the batch of a record that it refuses.
                | Code::InvalidDifferentRecord
                | Code::UnsupportedForMessageFormat
                | Code::PolicyViolation
        )
    }
}

impl fmt::Display for KafkaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "could not {}: {} ({:?})", self.doing, self.message, self.code)?;
        match advice(self.code) {
            Some(advice) => write!(f, "; {advice}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for KafkaError {}

fn classify(code: Code) -> Class {
    match code {
        Code::ProducerFenced | Code::Fenced | Code::InvalidProducerEpoch => Class::Fenced,
        Code::Fatal => Class::Fatal,
        _ => Class::Other,
    }
}

/// The way out, where the code alone tells it.
fn advice(code: Code) -> Option<&'static str> {
    Some(match code {
        Code::Authentication | Code::SaslAuthenticationFailed => {
            "check user name, password and mechanism in the connection's secret"
        }
        Code::SSL => "check the connection's CA and client certificate, and that the port is the brokers' TLS port",
        Code::TopicAuthorizationFailed => {
            "the user lacks an ACL on the topic; the ACLs that a pipeline needs are listed in docs/security.md"
        }
        Code::GroupAuthorizationFailed => {
            "the user needs READ on the group that is named like the application id, and DELETE to delete it"
        }
        Code::TransactionalIdAuthorizationFailed => {
            "the user needs DESCRIBE and WRITE on transactional ids that begin with the application id and a dot"
        }
        Code::ClusterAuthorizationFailed => "the user lacks an ACL on the cluster; see docs/security.md",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_sorted_by_what_is_to_be_done() {
        let error = |code| KafkaError::new("try", code, "x");
        assert_eq!(error(Code::ProducerFenced).class, Class::Fenced);
        assert_eq!(error(Code::Fatal).class, Class::Fatal);
        assert_eq!(error(Code::Unknown).class, Class::Other);
        assert!(error(Code::AllBrokersDown).is_unavailable());
        assert!(error(Code::SaslAuthenticationFailed).is_denied());
        assert!(error(Code::InvalidTimestamp).is_refused_record());
        assert!(error(Code::InvalidDifferentRecord).is_refused_record());
        assert!(!error(Code::PurgeQueue).is_refused_record());
        // "No leaders found": librdkafka goes by what it remembers, and asks nobody.
        assert!(error(Code::NoEnt).is_of_old_metadata());
        assert!(!error(Code::OperationTimedOut).is_of_old_metadata());
    }

    #[test]
    fn the_text_names_deed_cause_and_way_out() {
        let error = KafkaError::new("describe topic `a`", Code::TopicAuthorizationFailed, "Broker: denied");
        let text = error.to_string();
        assert!(
            text.starts_with("could not describe topic `a`: Broker: denied (TopicAuthorizationFailed); "),
            "{text}"
        );
    }
}
