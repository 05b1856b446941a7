//! The state topic: made by whoever comes first, or beforehand; its partition count is S.

use crate::kafka::{Admin, Code, KafkaError, NewTopic, TopicDescription};

/// What is wrong with the state topic.
#[derive(Debug, thiserror::Error)]
pub enum StateTopicError {
    /// The manifest asks for another number of shards.
    #[error(
        "the pipeline has {found} shards (the partitions of its state topic `{topic}`), the manifest asks for {wanted}; set `shards: {found}` or leave it out"
    )]
    OtherShards {
        /// The topic.
        topic: String,
        /// Its partitions.
        found: u32,
        /// What the manifest says.
        wanted: u32,
    },
    /// A setting would lose headers.
    #[error("state topic `{topic}` has {name}={found}, which can lose the pipeline's positions; set it to {right}")]
    Setting {
        /// The topic.
        topic: String,
        /// The setting.
        name: &'static str,
        /// Its value.
        found: String,
        /// What it must be.
        right: &'static str,
    },
    /// Kafka refused.
    #[error(transparent)]
    Kafka(#[from] KafkaError),
}

/// The settings that headers depend on.
const REQUIRED: [(&str, &str); 2] = [("cleanup.policy", "compact"), ("unclean.leader.election.enable", "false")];
/// Settings of a topic that we make: small segments keep it short, so that a takeover reads little.
const SETTINGS: [(&str, &str); 5] = [
    ("cleanup.policy", "compact"),
    ("unclean.leader.election.enable", "false"),
    ("segment.bytes", "16777216"),
    ("segment.ms", "600000"),
    ("min.cleanable.dirty.ratio", "0.1"),
];

/// The state topic, if it is there.
pub fn describe(admin: &Admin, topic: &str) -> Result<Option<TopicDescription>, KafkaError> {
    let mut described = admin.describe_topics(&[topic.to_owned()])?;
    match described.pop() {
        Some((_, Ok(description))) => Ok(Some(description)),
        Some((_, Err(error))) if error.is_unknown_topic() => Ok(None),
        Some((_, Err(error))) => Err(error),
        None => Err(KafkaError::new(format!("describe topic `{topic}`"), Code::Unknown, "no answer for it")),
    }
}

/// Makes the topic with `shards` partitions. That somebody else was quicker is no error.
pub fn create(admin: &Admin, topic: &str, shards: u32) -> Result<(), KafkaError> {
    let settings = SETTINGS.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    match admin.create_topic(&NewTopic { name: topic.to_owned(), partitions: shards, settings }) {
        Err(error) if error.code == Code::TopicAlreadyExists => Ok(()),
        outcome => outcome,
    }
}

/// Checks partition count and settings.
pub fn verify(
    topic: &TopicDescription,
    wanted: Option<u32>,
    settings: &[(String, String)],
) -> Result<(), StateTopicError> {
    if let Some(wanted) = wanted.filter(|wanted| *wanted != topic.partitions) {
        return Err(StateTopicError::OtherShards { topic: topic.name.clone(), found: topic.partitions, wanted });
    }
    for (name, right) in REQUIRED {
        let found = settings.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
        if let Some(found) = found.filter(|found| found != right) {
            return Err(StateTopicError::Setting { topic: topic.name.clone(), name, found, right });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn verified(wanted: Option<u32>, policy: &str, unclean: &str) -> Result<(), String> {
        let topic = TopicDescription { name: "a.state".into(), id: [0; 16], partitions: 4 };
        let settings = [
            ("cleanup.policy".to_owned(), policy.to_owned()),
            ("unclean.leader.election.enable".to_owned(), unclean.to_owned()),
        ];
        verify(&topic, wanted, &settings).map_err(|error| error.to_string())
    }

    #[test]
    fn a_topic_made_beforehand_must_keep_headers() {
        verified(None, "compact", "false").unwrap();
        verified(Some(4), "compact", "false").unwrap();
        let shards = verified(Some(8), "compact", "false").unwrap_err();
        assert!(shards.contains("has 4 shards") && shards.contains("asks for 8"), "{shards}");
        for policy in ["delete", "compact,delete"] {
            let error = verified(None, policy, "false").unwrap_err();
            assert!(
                error.contains(&format!("cleanup.policy={policy}")) && error.contains("set it to compact"),
                "{error}"
            );
        }
        assert!(verified(None, "compact", "true").unwrap_err().contains("unclean.leader.election.enable=true"));
    }
}
