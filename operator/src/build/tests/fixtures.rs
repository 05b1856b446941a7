//! Two Pipelines: one that leaves everything out, and one that says everything that matters here.

use millstream_crds::Pipeline;
use serde_json::{Value, json};

use super::super::{Owned, PullPolicy, WorkerSettings};

pub(super) const CA: &str = "-----BEGIN CERTIFICATE-----\nMIIBmillstream\n-----END CERTIFICATE-----\n";

pub(super) fn settings() -> WorkerSettings {
    let url = "https://millstream.millstream-system.svc:8443";
    WorkerSettings::new("millstream:0.1.0", PullPolicy::IfNotPresent, url, CA).unwrap()
}

pub(super) fn minimal() -> Value {
    json!({
        "apiVersion": "millstream.dev/v1alpha1",
        "kind": "Pipeline",
        "metadata": {"name": "upper-case", "namespace": "shop", "uid": "7c9e6679-7425-40de-944b-e07fc1f90ae7"},
        "spec": {
            "connections": [{"kafka": {"bootstrapServers": "kafka.kafka:9092"}}],
            "sources": [{"name": "lines", "kafka": {"topics": ["text"]}, "format": {"type": "Raw"}}],
            "sinks": [{"name": "output", "kafka": {"topic": "flink_output"}, "format": {"type": "Raw"}}],
        },
    })
}

pub(super) fn full() -> Value {
    json!({
        "apiVersion": "millstream.dev/v1alpha1",
        "kind": "Pipeline",
        "metadata": {
            "name": "sensor-cleaning-with-a-name-as-long-as-a-label-in-dns-may-be-63",
            "namespace": "plant",
            "uid": "3f333df6-90a4-4fda-8dd3-9485d27cee36",
            "generation": 4,
            "resourceVersion": "4711",
            "labels": {"team": "plant"},
        },
        "spec": {
            "applicationId": "plant.sensors",
            "connections": [
                {"name": "main", "kafka": {
                    "bootstrapServers": "kafka-0.kafka:9093,kafka-1.kafka:9093",
                    "tls": {
                        "ca": {"secretRef": {"name": "cluster-ca", "key": "ca.crt"}},
                        "certificate": {"secretRef": {"name": "user-cert"}},
                    },
                    "properties": {"fetch.max.bytes": "1048576"},
                }},
                {"name": "other", "kafka": {
                    "bootstrapServers": "other.kafka:9093",
                    "tls": {"ca": {"secretRef": {"name": "cluster-ca", "key": "ca.crt"}}},
                    "sasl": {"mechanism": "ScramSha512", "secretRef": {"name": "kafka.user"}},
                }},
            ],
            "sources": [{
                "name": "readings",
                "kafka": {"connection": "main", "topics": ["sensor_data"], "startFrom": {"position": "Latest"}},
                "format": {"type": "Csv", "csv": {"delimiter": ";"}},
                "schema": [{"name": "sensor", "type": "string"}, {"name": "value", "type": "double"}],
                "onDataLoss": "Earliest",
            }],
            "transforms": [
                {"name": "clean", "filter": "value IS NOT NULL"},
                {"name": "tidy", "set": [{"column": "value", "expression": "round(value, 1)"}]},
                {"name": "picked", "sql": "SELECT sensor, value\nFROM tidy"},
            ],
            "sinks": [{
                "name": "cleaned",
                "kafka": {"connection": "main", "topic": "flink_output", "keyColumn": "sensor"},
                "format": {"type": "Json"},
            }],
            "delivery": "AtLeastOnce",
            "checkpoint": {"interval": "30500ms"},
            "errors": {"policy": "DeadLetter", "deadLetter": {"connection": "main", "topic": "sensor_data.dead"}},
            "shards": 12,
            "scaling": {"minReplicas": 1, "maxReplicas": 8},
            "suspend": true,
            "deletionPolicy": "Delete",
            "workerTimeout": "7s",
            "worker": {
                "resources": {"requests": {"cpu": "500m"}, "limits": {"cpu": "2", "memory": "1Gi"}},
                "labels": {"team": "plant"},
                "annotations": {"example.com/contact": "plant@example.com"},
                "nodeSelector": {"disk": "fast"},
                "tolerations": [{"key": "dedicated", "value": "streams", "effect": "NoSchedule"}],
                "priorityClassName": "streams",
            },
        },
        "status": {"replicas": 3},
    })
}

pub(super) fn pipeline(manifest: Value) -> Pipeline {
    serde_json::from_value(manifest).unwrap()
}

pub(super) fn owned(manifest: Value) -> Owned {
    Owned::new(&pipeline(manifest), &settings()).unwrap()
}
