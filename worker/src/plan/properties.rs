//! The properties of the Kafka client that a manifest may set.
//!
//! An allow-list with types and bounds: what decides correctness (transactions, isolation, offsets), security or the
//! memory budget is set by Millstream alone, and what reads files or runs code has no place in a manifest. A property
//! that a user is likely to bring along from another system is refused with what takes its place here.

use super::names::{excerpt, suggestion};

/// What a property's value may be.
enum Kind {
    /// A whole number within bounds.
    Integer(i64, i64),
    /// `true` or `false`.
    Boolean,
    /// One of some words.
    Choice(&'static [&'static str]),
    /// A short text.
    Text,
}

const MEBI: i64 = 1 << 20;

/// Properties that may be set. Bounds are librdkafka's, narrowed where a value would break the memory budget.
const ALLOWED: &[(&str, Kind)] = &[
    ("batch.size", Kind::Integer(1_024, 16 * MEBI)),
    ("broker.address.family", Kind::Choice(&["any", "v4", "v6"])),
    ("broker.address.ttl", Kind::Integer(0, 86_400_000)),
    ("client.dns.lookup", Kind::Choice(&["use_all_dns_ips", "resolve_canonical_bootstrap_servers_only"])),
    ("client.rack", Kind::Text),
    ("connections.max.idle.ms", Kind::Integer(0, 2_147_483_647)),
    ("fetch.error.backoff.ms", Kind::Integer(0, 300_000)),
    ("fetch.max.bytes", Kind::Integer(1_024, 100 * MEBI)),
    ("fetch.message.max.bytes", Kind::Integer(1_024, 100 * MEBI)),
    ("fetch.min.bytes", Kind::Integer(1, 100_000_000)),
    ("fetch.wait.max.ms", Kind::Integer(0, 300_000)),
    ("linger.ms", Kind::Integer(0, 5_000)),
    ("max.partition.fetch.bytes", Kind::Integer(1_024, 100 * MEBI)),
    ("metadata.max.age.ms", Kind::Integer(1_000, 86_400_000)),
    ("metadata.recovery.strategy", Kind::Choice(&["none", "rebootstrap"])),
    ("reconnect.backoff.max.ms", Kind::Integer(0, 3_600_000)),
    ("reconnect.backoff.ms", Kind::Integer(0, 3_600_000)),
    ("socket.connection.setup.timeout.ms", Kind::Integer(1_000, 2_147_483_647)),
    ("socket.keepalive.enable", Kind::Boolean),
    ("socket.nagle.disable", Kind::Boolean),
    ("socket.receive.buffer.bytes", Kind::Integer(0, 16 * MEBI)),
    ("socket.send.buffer.bytes", Kind::Integer(0, 16 * MEBI)),
    ("socket.timeout.ms", Kind::Integer(10, 300_000)),
    ("ssl.cipher.suites", Kind::Text),
    ("ssl.endpoint.identification.algorithm", Kind::Choice(&["https", "none"])),
    ("topic.metadata.refresh.interval.ms", Kind::Integer(1_000, 3_600_000)),
];

/// Beginnings of properties that are set elsewhere, and where. The first that fits is taken.
const ELSEWHERE: &[(&str, &str)] = &[
    ("acks", "all replicas acknowledge, always: nothing less is exactly once"),
    ("auto.offset.reset", "use `startFrom` and `onDataLoss` of the source"),
    ("bootstrap.servers", "use `bootstrapServers` of the connection"),
    ("client.id", "it is set to the pipeline's application id and shard"),
    ("compression", "use `compression` of the sink"),
    (
        "delivery.timeout.ms",
        "records are retried until the transaction's timeout, which follows from `checkpoint.interval`",
    ),
    ("enable.auto", "positions are committed with the output, in `checkpoint`"),
    ("enable.idempotence", "producers are idempotent, always"),
    ("enable.ssl.certificate.verification", "name the authority in `tls.ca` instead of trusting everybody"),
    ("fetch.queue.backoff.ms", "it is kept small so that a full queue does not stop a partition"),
    ("group.", "use `applicationId`; partitions are assigned by shard, not by group"),
    ("heartbeat.", "there is no group membership to keep alive; see `workerTimeout`"),
    ("isolation.level", "only committed records are read, always"),
    ("max.poll", "there is no group membership to keep alive; see `workerTimeout`"),
    ("message.max.bytes", "the limit of each topic is used"),
    (
        "message.timeout.ms",
        "records are retried until the transaction's timeout, which follows from `checkpoint.interval`",
    ),
    ("metadata.broker.list", "use `bootstrapServers` of the connection"),
    ("partition", "records keep to Kafka's own partitioning by key"),
    ("queue", "queues follow from the memory limit of the worker"),
    ("request.required.acks", "all replicas acknowledge, always: nothing less is exactly once"),
    ("retr", "retries are a part of exactly once; they are not for tuning"),
    ("sasl.", "use `sasl` of the connection"),
    ("security.protocol", "use `tls` and `sasl` of the connection"),
    ("session.timeout.ms", "there is no group membership to keep alive; see `workerTimeout`"),
    ("ssl.", "use `tls` of the connection, which refers to Secrets"),
    ("transaction", "transactions follow from `applicationId` and `checkpoint.interval`"),
];

/// Why a property may not be set to a value, and what would be right.
pub(super) fn problem(name: &str, value: &str) -> Option<(String, Option<String>)> {
    let Some((_, kind)) = ALLOWED.iter().find(|(allowed, _)| *allowed == name) else {
        return Some(refused(name));
    };
    let wanted = match kind {
        Kind::Integer(least, most) if !value.parse().is_ok_and(|number| (*least..=*most).contains(&number)) => {
            format!("a whole number between {least} and {most}")
        }
        Kind::Boolean if !matches!(value, "true" | "false") => "true or false".into(),
        Kind::Choice(words) if !words.contains(&value) => super::names::listed(words),
        Kind::Text if value.is_empty() || value.len() > 1_024 || value.contains(char::is_control) => {
            "a text of one line with at most 1024 characters".into()
        }
        _ => return None,
    };
    Some((format!("`{}` is no value of {name}", excerpt(value)), Some(format!("it takes {wanted}"))))
}

fn refused(name: &str) -> (String, Option<String>) {
    let message = format!("the property `{}` cannot be set", excerpt(name));
    let reason = ELSEWHERE.iter().find(|(start, _)| name.starts_with(start)).map(|(_, reason)| (*reason).to_owned());
    let allowed = || suggestion(name, ALLOWED.iter().map(|(allowed, _)| *allowed), "allowed are");
    (message, reason.or_else(allowed))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn takes_what_is_in_bounds() {
        for (name, value) in [
            ("fetch.max.bytes", "1048576"),
            ("socket.keepalive.enable", "true"),
            ("client.rack", "eu-1a"),
            ("ssl.endpoint.identification.algorithm", "none"),
        ] {
            assert_eq!(problem(name, value), None, "{name}={value}");
        }
    }

    #[test]
    fn says_what_is_allowed_or_why_not() {
        let cases = [
            (
                "fetch.max.bytes",
                "1MB",
                "`1MB` is no value of fetch.max.bytes",
                "it takes a whole number between 1024 and 104857600",
            ),
            ("linger.ms", "-1", "`-1` is no value of linger.ms", "it takes a whole number between 0 and 5000"),
            (
                "socket.keepalive.enable",
                "yes",
                "`yes` is no value of socket.keepalive.enable",
                "it takes true or false",
            ),
            (
                "client.rack",
                "",
                "`` is no value of client.rack",
                "it takes a text of one line with at most 1024 characters",
            ),
            ("linger.mss", "1", "the property `linger.mss` cannot be set", "did you mean `linger.ms`?"),
            (
                "group.id",
                "x",
                "the property `group.id` cannot be set",
                "use `applicationId`; partitions are assigned by shard, not by group",
            ),
            (
                "ssl.key.location",
                "/x",
                "the property `ssl.key.location` cannot be set",
                "use `tls` of the connection, which refers to Secrets",
            ),
            (
                "plugin.library.paths",
                "/x",
                "the property `plugin.library.paths` cannot be set",
                "allowed are: `batch.size`, ",
            ),
        ];
        for (name, value, message, help) in cases {
            let (found, hint) = problem(name, value).unwrap();
            assert_eq!(found, message);
            assert!(hint.as_ref().unwrap().starts_with(help), "{name}: {hint:?}");
        }
    }

    #[test]
    fn lists_are_sorted_and_apart() {
        assert!(ALLOWED.is_sorted_by_key(|(name, _)| *name));
        assert!(ELSEWHERE.is_sorted_by_key(|(name, _)| *name));
    }
}
