//! What ends or interrupts the run of a shard.

use crate::kafka::{Class, KafkaError};

/// Why a step of a shard did not succeed, by what follows from it.
#[derive(Debug)]
pub enum Trouble {
    /// A broker refused the content of a record; go back to the last checkpoint and find it.
    Refused(KafkaError),
    /// The transaction is lost, or nothing is known for sure; end the run and take the shard over again, which aborts it.
    /// An abort by its own producer would let batches that are still on their way into the next transaction, which has the
    /// same epoch.
    Restart(String),
    /// Another producer has the transactional id, or its epoch ended.
    Fenced(KafkaError),
    /// Brokers refuse the user, the certificate, or what they may do: over only if the secrets are the same as before.
    Denied(KafkaError),
    /// The clients are of secrets that have been replaced; take the shard over again with new ones.
    Renew,
    /// Another process has taken the pipeline over.
    Lost(String),
    /// It makes no sense to go on before a person has done something.
    Stop(String),
    /// The worker was asked to stop while the shard waited for something.
    Asked,
}

impl From<KafkaError> for Trouble {
    /// What is retriable was retried by the caller as long as it made sense.
    fn from(error: KafkaError) -> Self {
        match error.class {
            Class::Fenced => Self::Fenced(error),
            _ if error.is_denied() => Self::Denied(error),
            Class::Abort | Class::Fatal | Class::Retriable | Class::Other => Self::Restart(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::Code;

    #[test]
    fn errors_lead_to_what_the_design_says() {
        let trouble = |code, class| Trouble::from(KafkaError { class, ..KafkaError::new("x", code, "y") });
        assert!(matches!(trouble(Code::Fenced, Class::Fenced), Trouble::Fenced(_)));
        assert!(matches!(trouble(Code::RequestTimedOut, Class::Abort), Trouble::Restart(_)));
        assert!(matches!(trouble(Code::RequestTimedOut, Class::Retriable), Trouble::Restart(_)));
        assert!(matches!(trouble(Code::Unknown, Class::Other), Trouble::Restart(_)));
        assert!(matches!(trouble(Code::OutOfOrderSequenceNumber, Class::Fatal), Trouble::Restart(_)));
        assert!(matches!(trouble(Code::InvalidProducerIdMapping, Class::Abort), Trouble::Restart(_)));
        assert!(matches!(trouble(Code::TopicAuthorizationFailed, Class::Abort), Trouble::Denied(_)));
        assert!(matches!(trouble(Code::Authentication, Class::Fatal), Trouble::Denied(_)));
    }
}
