//! Patterns and bounds that names and durations must keep.
//!
//! They stand in the schemas, where the API server enforces them, and are public so that the compiler enforces the
//! same ones where there is no API server.

use kube::core::{Message, Rule};

/// A node's name. It is a table's name in SQL and a part of topic names, so it is an identifier that needs no quotes.
pub const NODE: &str = "^[A-Za-z_][A-Za-z0-9_]*$";

/// The length of a node's name. With the longest application id, `<id>.exchange.<node>` is still a topic's name.
pub const NODE_LENGTH: u32 = 63;

/// A connection's name.
pub const CONNECTION: &str = "^[A-Za-z0-9]([A-Za-z0-9_-]*[A-Za-z0-9])?$";

/// A topic's name, as Kafka defines it; names of dots alone are not among them.
pub const TOPIC: &str = r"^\.*[A-Za-z0-9_-][A-Za-z0-9._-]*$";

/// The length of a topic's name, as Kafka defines it.
pub const TOPIC_LENGTH: u32 = 249;

/// An application id: the beginning of topic names, group names and transactional ids.
pub const APPLICATION_ID: &str = "^[A-Za-z0-9][A-Za-z0-9._-]*$";

/// The length of an application id, which leaves room for what is appended to it.
pub const APPLICATION_ID_LENGTH: u32 = 150;

/// `host:port`, several separated by commas; an IPv6 address in brackets.
pub const BOOTSTRAP_SERVERS: &str =
    r"^(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):[0-9]{1,5}(,(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):[0-9]{1,5})*$";

/// A Go duration: numbers with units, such as `500ms`, `1.5s` or `1m30s`.
pub const DURATION: &str = "^([0-9]+([.][0-9]+)?(ns|us|ms|s|m|h))+$";

/// The length of a duration.
pub const DURATION_LENGTH: u32 = 32;

/// A Secret's name: a DNS subdomain.
pub const SECRET: &str = r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$";

/// A key of a Secret.
pub const SECRET_KEY: &str = "^[A-Za-z0-9._-]+$";

/// One printable ASCII character or a tab.
pub const ASCII_CHARACTER: &str = r"^[\t -~]$";

/// The rule of a duration field: a Go duration within bounds, with an example in its message.
pub(crate) fn duration_between(least: &str, most: &str, example: &str) -> Rule {
    Rule::new(format!(
        "self.matches('{DURATION}') && duration(self) >= duration('{least}') && duration(self) <= duration('{most}')"
    ))
    .message(Message::Message(format!("must be a duration between {least} and {most}, such as {example}")))
}
