//! The only room that knows a Kafka client.
