//! Every rule and bound: what is admitted, what is refused, and with which words.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::admission::{problems, schema};

/// A Pipeline that uses most of what there is.
const PIPELINE: &str = r#"
apiVersion: millstream.dev/v1alpha1
kind: Pipeline
metadata: {name: sensor-cleaning, namespace: plant}
spec:
  connections:
    - name: main
      kafka:
        bootstrapServers: kafka-0.kafka:9092,[fd00::1]:9092
        tls: {ca: {secretRef: {name: cluster-ca, key: ca.crt}}, certificate: {secretRef: {name: user-cert}}}
        sasl: {mechanism: ScramSha512, secretRef: {name: user, usernameKey: username, passwordKey: password}}
        properties: {fetch.max.bytes: "1048576"}
  sources:
    - name: readings
      kafka: {topics: [sensor_data], startFrom: {position: Earliest}}
      format: {type: Csv, csv: {delimiter: ";"}}
      schema:
        - {name: sensor, type: string}
        - {name: kind, type: string}
        - {name: value, type: double}
        - {name: ts, type: timestamp}
      onDataLoss: Fail
  transforms:
    - name: clean
      filter: value IS NOT NULL AND value BETWEEN -50 AND 2000
    - name: tidy
      set:
        - {column: value, expression: "round(value, 1)"}
        - {column: kind, expression: "upper(kind)"}
  sinks:
    - name: cleaned
      from: [tidy]
      kafka: {topic: flink_output, keyColumn: sensor}
      format: {type: Json}
  delivery: ExactlyOnce
  checkpoint: {interval: 500ms}
  errors: {policy: DeadLetter, deadLetter: {topic: sensor_data.dead}}
  mode: Streaming
  shards: 12
  scaling: {minReplicas: 1, maxReplicas: 8, targetUtilizationPercent: 70, catchUp: 2m}
  suspend: false
  adopt: false
  deletionPolicy: Retain
  workerTimeout: 5s
  worker:
    resources: {requests: {cpu: 500m, memory: 128Mi}, limits: {memory: 256Mi}}
    labels: {team: plant}
    nodeSelector: {disk: ssd}
    tolerations: [{key: dedicated, operator: Exists}]
"#;

/// A change to the Pipeline: a JSON pointer below `spec` and the new value; null removes.
type Edit = (&'static str, Value);

fn pipeline() -> Value {
    serde_saphyr::from_str(PIPELINE).unwrap()
}

fn edited(edits: &[Edit]) -> Value {
    let mut pipeline = pipeline();
    for (pointer, value) in edits {
        let (parent, last) = pointer.rsplit_once('/').unwrap();
        match pipeline.pointer_mut(parent).unwrap_or_else(|| panic!("no {parent}")) {
            Value::Object(fields) if value.is_null() => drop(fields.remove(last)),
            Value::Object(fields) => drop(fields.insert(last.to_owned(), value.clone())),
            Value::Array(items) if last == "-" => items.push(value.clone()),
            Value::Array(items) => items[last.parse::<usize>().unwrap()] = value.clone(),
            other => panic!("cannot edit {other}"),
        }
    }
    pipeline
}

fn source(name: &str) -> Value {
    json!({"name": name, "kafka": {"topics": [format!("{name}-topic")]}, "format": {"type": "Raw"}})
}

fn sink(name: &str) -> Value {
    json!({"name": name, "kafka": {"topic": "out"}, "format": {"type": "Raw"}})
}

#[test]
fn the_example_is_admitted() {
    assert_eq!(problems(&schema("Pipeline"), &pipeline(), None), [""; 0]);
    assert_eq!(problems(&schema("Pipeline"), &pipeline(), Some(&pipeline())), [""; 0]);
}

#[test]
fn what_may_be_left_out_or_changed_is_admitted() {
    let cases: Vec<(&str, Vec<Edit>)> = vec![
        ("the only connection unnamed", vec![("/spec/connections/0/name", json!(null))]),
        (
            "two named connections",
            vec![("/spec/connections/-", json!({"name": "b", "kafka": {"bootstrapServers": "b:1"}}))],
        ),
        ("no transforms", vec![("/spec/transforms", json!(null)), ("/spec/sinks/0/from", json!(["readings"]))]),
        ("a second source", vec![("/spec/sources/-", source("more"))]),
        ("a second sink", vec![("/spec/sinks/-", sink("more"))]),
        ("a fixed number of workers", vec![("/spec/scaling", json!(null)), ("/spec/replicas", json!(3))]),
        ("scaled to nothing", vec![("/spec/scaling", json!(null)), ("/spec/replicas", json!(0))]),
        ("resting when idle", vec![("/spec/scaling/minReplicas", json!(0))]),
        (
            "everything with a default",
            vec![
                ("/spec/delivery", json!(null)),
                ("/spec/checkpoint", json!(null)),
                ("/spec/errors", json!(null)),
                ("/spec/mode", json!(null)),
                ("/spec/shards", json!(null)),
                ("/spec/scaling", json!(null)),
                ("/spec/workerTimeout", json!(null)),
                ("/spec/worker", json!(null)),
                ("/spec/sources/0/onDataLoss", json!(null)),
                ("/spec/sources/0/kafka/startFrom", json!(null)),
            ],
        ),
        ("the shortest interval", vec![("/spec/checkpoint/interval", json!("10ms"))]),
        ("the longest interval", vec![("/spec/checkpoint/interval", json!("5m"))]),
        ("an interval of two units", vec![("/spec/checkpoint/interval", json!("1m30s"))]),
        ("an interval with a fraction", vec![("/spec/checkpoint/interval", json!("1.5s"))]),
        (
            "a pattern of topics",
            vec![
                ("/spec/sources/0/kafka/topics", json!(null)),
                ("/spec/sources/0/kafka/topicPattern", json!("sensor_.*")),
            ],
        ),
        (
            "a time to start from",
            vec![(
                "/spec/sources/0/kafka/startFrom",
                json!({"position": "Timestamp", "timestamp": "2026-01-31T12:00:00Z"}),
            )],
        ),
        ("PLAIN over TLS", vec![("/spec/connections/0/kafka/sasl/mechanism", json!("Plain"))]),
        (
            "bytes as they are",
            vec![
                ("/spec/sources/0/format", json!({"type": "Raw", "raw": {"binary": true}})),
                ("/spec/sources/0/schema", json!(null)),
            ],
        ),
        (
            "a pattern of timestamps",
            vec![(
                "/spec/sources/0/format",
                json!({"type": "Json", "timestamps": {"encoding": "Pattern", "pattern": "%Y", "zone": "Europe/Berlin"}}),
            )],
        ),
        ("a tab between fields", vec![("/spec/sources/0/format/csv/delimiter", json!("\t"))]),
        ("SQL", vec![("/spec/transforms/0", json!({"name": "clean", "sql": "SELECT * FROM readings"}))]),
        ("an application id", vec![("/spec/applicationId", json!("plant.cleaning-2"))]),
    ];
    let schema = schema("Pipeline");
    for (case, edits) in cases {
        assert_eq!(problems(&schema, &edited(&edits), None), [""; 0], "{case}");
    }
}

/// Each with the beginning of what must be said: `path: message`, or `path: keyword` for the bounds of a schema.
fn refused() -> Vec<(Vec<Edit>, &'static str)> {
    let mut cases = names_and_numbers();
    cases.extend(kinds_and_steps());
    cases.extend(formats_and_positions());
    cases
}

fn names_and_numbers() -> Vec<(Vec<Edit>, &'static str)> {
    vec![
        (vec![("/metadata/name", json!("Sensor.Cleaning"))], "a Pipeline's name has at most 63"),
        (vec![("/metadata/name", json!("a".repeat(64)))], "a Pipeline's name has at most 63"),
        (vec![("/spec/connections", json!([]))], "spec.connections: minItems 1"),
        (vec![("/spec/sources", json!([]))], "spec.sources: minItems 1"),
        (vec![("/spec/sinks", json!([]))], "spec.sinks: minItems 1"),
        (vec![("/spec/sinks", json!(null))], "spec: required"),
        (vec![("/spec/sorces", json!([]))], "spec.sorces: unknown field"),
        (
            vec![("/spec/connections/-", json!({"kafka": {"bootstrapServers": "b:1"}}))],
            "spec: every connection needs a name where there are several",
        ),
        (
            vec![("/spec/connections/-", json!({"name": "main", "kafka": {"bootstrapServers": "b:1"}}))],
            "spec: every connection needs a name of its own",
        ),
        (vec![("/spec/sources/-", source("readings"))], "spec: every source and every sink needs a name of its own"),
        (vec![("/spec/sources/-", source("tidy"))], "spec: every transform needs a name of its own"),
        (vec![("/spec/sources/-", source("cleaned"))], "spec: every source and every sink needs a name of its own"),
        (vec![("/spec/sinks/-", sink("clean"))], "spec: every transform needs a name of its own"),
        (vec![("/spec/sinks/-", sink("cleaned"))], "spec: every source and every sink needs a name of its own"),
        (
            vec![("/spec/transforms/-", json!({"name": "tidy", "filter": "true"}))],
            "spec: every transform needs a name of its own",
        ),
        (vec![("/spec/sources/0/name", json!("sensor-data"))], "spec.sources[0].name: pattern"),
        (vec![("/spec/transforms/0/name", json!("1st"))], "spec.transforms[0].name: pattern"),
        (vec![("/spec/sinks/0/name", json!("x".repeat(64)))], "spec.sinks[0].name: maxLength 63"),
        (vec![("/spec/connections/0/name", json!("main cluster"))], "spec.connections[0].name: pattern"),
        (vec![("/spec/applicationId", json!("plant/cleaning"))], "spec.applicationId: pattern"),
        (vec![("/spec/applicationId", json!("x".repeat(151)))], "spec.applicationId: maxLength 150"),
        (vec![("/spec/replicas", json!(3))], "spec: replicas and scaling exclude each other"),
        (
            vec![("/spec/scaling/minReplicas", json!(9))],
            "spec.scaling: minReplicas must not be greater than maxReplicas",
        ),
        (vec![("/spec/scaling/maxReplicas", json!(null))], "spec.scaling: required"),
        (
            vec![("/spec/scaling/targetUtilizationPercent", json!(0))],
            "spec.scaling.targetUtilizationPercent: minimum 1",
        ),
        (
            vec![("/spec/scaling/targetUtilizationPercent", json!(101))],
            "spec.scaling.targetUtilizationPercent: maximum 100",
        ),
        (vec![("/spec/scaling/catchUp", json!("0s"))], "spec.scaling.catchUp: must be a duration between 1s and 24h"),
        (vec![("/spec/shards", json!(0))], "spec.shards: minimum 1"),
        (vec![("/spec/shards", json!("12"))], "spec.shards: must be of type"),
        (
            vec![("/spec/checkpoint/interval", json!("9ms"))],
            "spec.checkpoint.interval: must be a duration between 10ms and 5m",
        ),
        (
            vec![("/spec/checkpoint/interval", json!("5m1s"))],
            "spec.checkpoint.interval: must be a duration between 10ms and 5m",
        ),
        (
            vec![("/spec/checkpoint/interval", json!("1 s"))],
            "spec.checkpoint.interval: must be a duration between 10ms and 5m",
        ),
        (vec![("/spec/checkpoint/interval", json!("500"))], "spec.checkpoint.interval: pattern"),
        (vec![("/spec/checkpoint/interval", json!(500))], "spec.checkpoint.interval: must be of type"),
        (vec![("/spec/workerTimeout", json!("10ms"))], "spec.workerTimeout: must be a duration between 1s and 1h"),
        (vec![("/spec/delivery", json!("AtMostOnce"))], "spec.delivery: enum"),
    ]
}

fn kinds_and_steps() -> Vec<(Vec<Edit>, &'static str)> {
    vec![
        (vec![("/spec/connections/0/kafka", json!(null))], "spec.connections[0]: a connection has exactly one kind"),
        (vec![("/spec/sources/0/kafka", json!(null))], "spec.sources[0]: a source has exactly one kind"),
        (vec![("/spec/sinks/0/kafka", json!(null))], "spec.sinks[0]: a sink has exactly one kind"),
        (vec![("/spec/transforms/0/drop", json!(["ts"]))], "spec.transforms[0]: a transform has exactly one step"),
        (vec![("/spec/transforms/0/filter", json!(null))], "spec.transforms[0]: a transform has exactly one step"),
        (
            vec![(
                "/spec/transforms/0",
                json!({"name": "clean", "from": ["readings"], "sql": "SELECT * FROM readings"}),
            )],
            "spec.transforms[0]: from does not go with sql",
        ),
        (vec![("/spec/sinks/0/from", json!([]))], "spec.sinks[0].from: minItems 1"),
        (vec![("/spec/sinks/0/from", json!(["tidy", "tidy"]))], "spec.sinks[0].from: x-kubernetes-list-type"),
        (
            vec![("/spec/sources/0/kafka/topics", json!(["a", "a"]))],
            "spec.sources[0].kafka.topics: x-kubernetes-list-type",
        ),
        (vec![("/spec/sources/0/kafka/topics", json!(["a b"]))], "spec.sources[0].kafka.topics[0]: pattern"),
        (vec![("/spec/sources/0/kafka/topics", json!([".."]))], "spec.sources[0].kafka.topics[0]: pattern"),
        (vec![("/spec/sources/0/kafka/topics", json!([]))], "spec.sources[0].kafka: a source has either topics or"),
        (vec![("/spec/sources/0/kafka/topics", json!(null))], "spec.sources[0].kafka: a source has either topics or"),
        (
            vec![("/spec/sources/0/kafka/topicPattern", json!("s.*"))],
            "spec.sources[0].kafka: a source has either topics or",
        ),
        (vec![("/spec/sinks/0/kafka/topic", json!("x".repeat(250)))], "spec.sinks[0].kafka.topic: maxLength 249"),
        (
            vec![("/spec/connections/0/kafka/bootstrapServers", json!("kafka"))],
            "spec.connections[0].kafka.bootstrapServers: pattern",
        ),
        (
            vec![("/spec/connections/0/kafka/sasl/secretRef/name", json!("a/b"))],
            "spec.connections[0].kafka.sasl.secretRef.name: pattern",
        ),
        (
            vec![
                ("/spec/connections/0/kafka/tls", json!(null)),
                ("/spec/connections/0/kafka/sasl/mechanism", json!("Plain")),
            ],
            "spec.connections[0].kafka: the SASL mechanism Plain sends the password as it is",
        ),
    ]
}

fn formats_and_positions() -> Vec<(Vec<Edit>, &'static str)> {
    let at = "/spec/sources/0/format";
    vec![
        (vec![(at, json!({"type": "Csv", "raw": {}}))], "spec.sources[0].format: raw goes with type Raw only"),
        (vec![(at, json!({"type": "Json", "csv": {}}))], "spec.sources[0].format: csv goes with type Csv only"),
        (vec![(at, json!({"type": "Csv", "json": {}}))], "spec.sources[0].format: json goes with type Json only"),
        (
            vec![(at, json!({"type": "Raw", "timestamps": {}})), ("/spec/sources/0/schema", json!(null))],
            "spec.sources[0].format: timestamps does not go with type Raw",
        ),
        (vec![(at, json!({"type": "Avro"}))], "spec.sources[0].format.type: enum"),
        (vec![(at, json!({"csv": {}}))], "spec.sources[0].format: required"),
        (
            vec![("/spec/sources/0/schema", json!(null))],
            "spec.sources[0]: a source needs a schema unless its format is Raw",
        ),
        (
            vec![("/spec/sources/0/schema", json!([]))],
            "spec.sources[0]: a source needs a schema unless its format is Raw",
        ),
        (vec![(at, json!({"type": "Raw"}))], "spec.sources[0]: a source of format Raw has no schema"),
        (
            vec![(at, json!({"type": "Csv", "csv": {"delimiter": "\""}}))],
            "spec.sources[0].format.csv: delimiter and quote must differ",
        ),
        (
            vec![("/spec/sources/0/format/csv/delimiter", json!("||"))],
            "spec.sources[0].format.csv.delimiter: maxLength 1",
        ),
        (vec![("/spec/sources/0/format/csv/delimiter", json!("\n"))], "spec.sources[0].format.csv.delimiter: pattern"),
        (
            vec![(at, json!({"type": "Json", "timestamps": {"encoding": "Pattern"}}))],
            "spec.sources[0].format.timestamps: the encoding Pattern and pattern go together",
        ),
        (
            vec![(at, json!({"type": "Json", "timestamps": {"pattern": "%Y"}}))],
            "spec.sources[0].format.timestamps: the encoding Pattern and pattern go together",
        ),
        (
            vec![("/spec/sources/0/kafka/startFrom", json!({"position": "Timestamp"}))],
            "spec.sources[0].kafka.startFrom: the position Timestamp and timestamp go together",
        ),
        (
            vec![("/spec/sources/0/kafka/startFrom", json!({"timestamp": "2026-01-31T12:00:00Z"}))],
            "spec.sources[0].kafka.startFrom: the position Timestamp and timestamp go together",
        ),
        (
            vec![("/spec/sources/0/kafka/startFrom", json!({"position": "Timestamp", "timestamp": "yesterday"}))],
            "spec.sources[0].kafka.startFrom.timestamp: format",
        ),
        (vec![("/spec/errors/deadLetter", json!(null))], "spec.errors: the policy DeadLetter and deadLetter"),
        (vec![("/spec/errors/policy", json!("Skip"))], "spec.errors: the policy DeadLetter and deadLetter"),
    ]
}

#[test]
fn what_is_wrong_is_refused_with_these_words() {
    let schema = schema("Pipeline");
    for (edits, expected) in refused() {
        let found = problems(&schema, &edited(&edits), None);
        assert!(
            found.iter().any(|problem| problem.starts_with(expected)),
            "{edits:?}: {expected} is not in {found:#?}"
        );
    }
}

/// An edit before, an edit after, and what is said to the update.
fn updates() -> Vec<(Vec<Edit>, Vec<Edit>, Option<&'static str>)> {
    let id = |id: Value| vec![("/spec/applicationId", id)];
    let shards = |shards: Value| vec![("/spec/shards", shards)];
    let fixed = Some("spec: applicationId cannot be set, changed or removed later");
    let set = Some("spec: shards cannot be changed");
    vec![
        (id(json!("a")), id(json!("a")), None),
        (id(json!("a")), id(json!("b")), fixed),
        (id(json!("a")), vec![], fixed),
        (vec![], id(json!("a")), fixed),
        (shards(json!(null)), shards(json!(6)), None),
        (shards(json!(12)), shards(json!(6)), set),
        (shards(json!(12)), shards(json!(null)), None),
        (vec![], vec![("/spec/mode", json!("Batch"))], Some("spec: mode cannot be changed")),
        (vec![], vec![("/spec/mode", json!(null))], None),
        (vec![], vec![("/spec/delivery", json!("AtLeastOnce"))], None),
        (vec![], vec![("/spec/sources/-", source("more"))], None),
        (vec![], vec![("/spec/suspend", json!(true))], None),
    ]
}

#[test]
fn what_is_fixed_cannot_be_updated() {
    let schema = schema("Pipeline");
    for (before, after, expected) in updates() {
        let found = problems(&schema, &edited(&after), Some(&edited(&before)));
        match expected {
            None => assert_eq!(found, [""; 0], "{before:?} -> {after:?}"),
            Some(expected) => assert!(
                found.iter().any(|problem| problem.starts_with(expected)),
                "{before:?} -> {after:?}: {expected} is not in {found:#?}"
            ),
        }
    }
}

#[test]
fn an_assignment_goes_forward_only() {
    let schema = schema("PipelineAssignment");
    let assignment = |uid: &str, generation: i64| {
        json!({
            "apiVersion": "millstream.dev/v1alpha1", "kind": "PipelineAssignment", "metadata": {"name": "p"},
            "spec": {"pipelineUid": uid, "generation": generation, "shards": [{"shard": 0, "owner": "w-1"}]}
        })
    };
    let cases = [
        (assignment("u", 2), None),
        (assignment("u", 1), Some("spec: generation never goes back")),
        (assignment("v", 2), Some("spec: pipelineUid cannot be changed")),
    ];
    for (new, expected) in cases {
        let found = problems(&schema, &new, Some(&assignment("u", 2)));
        let begins = |expected: &str| found.len() == 1 && found[0].starts_with(expected);
        assert!(expected.map_or(found.is_empty(), begins), "{expected:?}: {found:?}");
    }
}

/// No rule goes untested: each is broken by one of the cases above.
#[test]
fn every_rule_of_a_pipeline_is_broken_by_some_case() {
    let schema = schema("Pipeline");
    let mut said = BTreeSet::new();
    for (edits, _) in refused() {
        said.extend(problems(&schema, &edited(&edits), None));
    }
    for (before, after, _) in updates() {
        said.extend(problems(&schema, &edited(&after), Some(&edited(&before))));
    }
    for message in crate::schema::rules(&schema).into_iter().map(|rule| rule["message"].as_str().unwrap().to_owned()) {
        assert!(said.iter().any(|said| said.ends_with(&message)), "no case breaks: {message}");
    }
}
