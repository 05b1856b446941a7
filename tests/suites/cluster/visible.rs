//! What a person sees when something is wrong: `READY` of `kubectl get`, the conditions, and the events that tell them,
//! as golden files.
//!
//! A table of cases. Each is a Pipeline with one thing wrong, or one to which something happens once it is ready. They
//! are all applied at once, since most of their time is waiting, and then looked at one after another. What is looked at
//! is `golden/status/<case>.txt`, whole; of the events only those with the condition's reason, since how many others come
//! before depends on how busy the machine is.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use millstream_tests::client::{Client, Record};
use millstream_tests::cluster::{Cluster, PASSWORD, Settings, USER};
use millstream_tests::placeholders::Placeholders;
use millstream_tests::site::{RELEASE, SYSTEM, Site, root};
use millstream_tests::tls::Authority;
use millstream_tests::{golden, ports, wait};
use serde_json::{Value, json};

use super::GUARD;

const NAMESPACE: &str = "visible";
/// What is said may still change for a while once the reason is right, as a client tries again.
const TIMES: golden::Times = golden::Times { guard: GUARD, patience: Duration::from_secs(20) };

/// A Pipeline, what is done to it, and what is seen then.
struct Case {
    name: &'static str,
    /// The condition that becomes true.
    holds: &'static str,
    /// The reason that it has then; the rest stands in the file.
    reason: &'static str,
    connection: Connection,
    /// Topics that are there, each with one partition.
    topics: &'static [&'static str],
    /// The spec without its connections; `~name` stands for the topic `name` of the case.
    spec: String,
    /// What is done before it is applied.
    before: Option<Step>,
    /// What is done once it is ready.
    then: Option<Step>,
}

type Step = fn(&Scene<'_>, &Case) -> Result<()>;

/// Where its brokers are.
enum Connection {
    /// The site's, without credentials.
    Plain,
    /// Nobody listens there.
    Nobody,
    /// The secured ones, by TLS and SCRAM with these Secrets.
    Secured { ca: &'static str, user: &'static str },
}

/// The usual one, of a stream that is forwarded.
const COPY: &str = "\
sources: [{name: lines, kafka: {topics: [~in]}, format: {type: Raw}}]
sinks: [{name: out, kafka: {topic: ~out}, format: {type: Raw}}]
";
/// One that reads its records.
const NUMBERS: &str = "\
sources: [{name: numbers, kafka: {topics: [~in]}, format: {type: Csv}, schema: [{name: number, type: int}]}]
transforms: [{name: positive, filter: number > 0}]
sinks: [{name: out, kafka: {topic: ~out}, format: {type: Csv}}]
";

fn cases() -> Vec<Case> {
    [refused(), waiting_for_kafka(), pods(), shards()].into_iter().flatten().collect()
}

/// What is wrong in the spec.
fn refused() -> Vec<Case> {
    let with = |fields: &str| format!("{COPY}{fields}\n");
    vec![
        stalled("unknown-column", "InvalidManifest", &with("transforms: [{name: t, filter: valeu = 'x'}]")),
        stalled(
            "not-for-a-stream",
            "InvalidManifest",
            &with("transforms: [{name: t, sql: SELECT value FROM lines ORDER BY value}]"),
        ),
        stalled("too-complex", "ManifestTooComplex", &too_complex()),
        stalled(
            "not-for-a-pod",
            "InvalidSpec",
            &with(
                "worker: {labels: {team: a b}, tolerations: [{key: dedicated, operator: Sometimes}], resources: {limits: {memory: lots}}}",
            ),
        ),
        stalled("scaling", "NotSupported", &with("scaling: {minReplicas: 1, maxReplicas: 4}")),
    ]
}

/// What a worker needs of Kafka, and of Secrets to get there.
fn waiting_for_kafka() -> Vec<Case> {
    let unable = |name| stalled(name, "WorkerCannotStart", COPY);
    let secured = |name, ca, user| Case { connection: Connection::Secured { ca, user }, ..unable(name) };
    vec![
        Case { connection: Connection::Nobody, ..stalled("unreachable-broker", "BrokerUnreachable", COPY) },
        Case { topics: &["out"], ..unable("missing-source-topic") },
        Case {
            holds: "Reconciling",
            topics: &["in"],
            ..stalled("missing-sink-topic", "Waiting", &format!("{COPY}shards: 1\n"))
        },
        Case {
            before: Some(|scene, case| {
                let settings = [("cleanup.policy", "compact"), ("unclean.leader.election.enable", "false")];
                scene.site.client.create_topic(&topic(case, "state"), 3, &settings)
            }),
            ..stalled("other-shards", "WorkerCannotStart", &format!("{COPY}shards: 2\n"))
        },
        secured("missing-secret", "nowhere", "user"),
        secured("missing-secret-key", "ca", "user-without-password"),
        secured("wrong-password", "ca", "user-with-another-password"),
        secured("wrong-ca", "another-ca", "user"),
    ]
}

/// What stands in the way of pods.
fn pods() -> Vec<Case> {
    let worker = |name, fields: &str| stalled(name, "PodsCannotRun", &format!("{COPY}worker: {{{fields}}}\n"));
    vec![
        worker("no-node-fits", "nodeSelector: {example.com/disk: of-no-node}"),
        // Enough for the runtime to start it, and for nothing else.
        worker("too-little-memory", "resources: {limits: {memory: 10Mi}}"),
    ]
}

/// What ends a shard that has run, or would have.
fn shards() -> Vec<Case> {
    vec![
        stopped("poison-record", NUMBERS, |scene, case| {
            scene.site.client.write(["1", "x"].map(|value| Record::new(&topic(case, "in"), value)))
        }),
        stopped("lost-records", COPY, lose_records),
        stopped("foreign-pipeline", COPY, |scene, case| {
            scene.site.kubernetes.kubectl(&["-n", NAMESPACE, "delete", "msp", case.name, "--timeout=60s"])?;
            wait::until_true("what belonged to the Pipeline to go", GUARD, || {
                let selector = format!("millstream.dev/pipeline={}", case.name);
                let kinds = "deployments,pods,configmaps,pipelineassignments";
                let left = ["-n", NAMESPACE, "get", kinds, "-l", &selector, "-o", "name"];
                Ok(scene.site.kubernetes.kubectl(&left)?.trim().is_empty())
            })?;
            scene.apply(case)
        }),
        Case {
            connection: Connection::Secured { ca: "ca", user: "user" },
            before: Some(allow_all_but_writing),
            ..stopped("missing-acl", COPY, |scene, case| scene.client.write([Record::new(&topic(case, "in"), "x")]))
        },
        // A row becomes a thousand times what the worker's buffers are sized for, and there are many in a batch.
        Case {
            before: Some(|scene, case| scene.site.client.write((0..600).map(|_| Record::new(&topic(case, "in"), "x")))),
            ..stalled(
                "takes-its-worker-down",
                "ShardQuarantined",
                &format!(
                    "{COPY}transforms: [{{name: t, sql: \"SELECT repeat(value, 1000000) AS value FROM lines\"}}]\nworker: {{resources: {{limits: {{memory: 128Mi}}}}}}\n"
                ),
            )
        },
    ]
}

fn stopped(name: &'static str, spec: &str, then: Step) -> Case {
    Case { then: Some(then), ..stalled(name, "ShardStopped", spec) }
}

fn stalled(name: &'static str, reason: &'static str, spec: &str) -> Case {
    Case {
        name,
        holds: "Stalled",
        reason,
        connection: Connection::Plain,
        topics: &["in", "out"],
        spec: spec.to_owned(),
        before: None,
        then: None,
    }
}

fn topic(case: &Case, name: &str) -> String {
    format!("{NAMESPACE}.{}.{name}", case.name)
}

/// Each SELECT passes on what the one before has made and adds a thousand columns: what the compiler has to do grows with
/// the square of them, and so within all limits on texts.
fn too_complex() -> String {
    const COLUMNS: usize = 1000;
    let select = |step: usize| {
        let columns: String = (0..COLUMNS).fold(String::new(), |mut text, column| {
            let _ = write!(text, ", 1 c{}", step * COLUMNS + column);
            text
        });
        let from = step.checked_sub(1).map_or_else(|| "lines".to_owned(), |before| format!("t{before}"));
        format!("  - {{name: t{step}, sql: \"SELECT *{columns} FROM {from}\"}}\n")
    };
    let steps: String = (0..20).map(select).collect();
    format!("{}transforms:\n{steps}", COPY.replace("~out}, format: {type: Raw}", "~out}, format: {type: Json}"))
}

fn allow_all_but_writing(scene: &Scene<'_>, case: &Case) -> Result<()> {
    let (input, output, state) = (topic(case, "in"), topic(case, "out"), topic(case, "state"));
    let id = format!("{NAMESPACE}.{}", case.name);
    scene.secured.allow(&format!(
        "User:{USER} Topic LITERAL {input} Read,Describe\n\
         User:{USER} Topic LITERAL {output} Describe,DescribeConfigs\n\
         User:{USER} Topic LITERAL {state} Read,Write,Describe,DescribeConfigs,Create\n\
         User:{USER} TransactionalId PREFIXED {id}. Write,Describe\n\
         User:{USER} Group LITERAL {id} Read,Describe\n"
    ))
}

/// Deletes records that the pipeline has not read, since it was suspended.
fn lose_records(scene: &Scene<'_>, case: &Case) -> Result<()> {
    let (site, input) = (scene.site, topic(case, "in"));
    let records = || (0..5).map(|n| Record::new(&topic(case, "in"), format!("{n}")));
    let suspend = |suspend: bool| {
        let patch = json!({"spec": {"suspend": suspend}}).to_string();
        site.kubernetes.kubectl(&["-n", NAMESPACE, "patch", "msp", case.name, "--type=merge", "-p", &patch])
    };
    site.client.write(records())?;
    site.client.read_until(&topic(case, "out"), 5, GUARD)?;
    suspend(true)?;
    site.wait_for(NAMESPACE, case.name, "jsonpath={.status.conditions[0].reason}=Suspended")?;
    site.client.write(records())?;
    site.client.delete_records(&input, 0, 8)?;
    suspend(false).map(drop)
}

/// The site, and what only these cases need.
struct Scene<'a> {
    site: &'a Site,
    secured: Cluster,
    /// A client of the secured brokers that may do everything.
    client: Client,
    /// An address where nobody listens.
    nobody: String,
}

impl<'a> Scene<'a> {
    fn new(site: &'a Site) -> Result<Self> {
        let secured = Cluster::start(&Settings::new().secured().host(site.kubernetes.host()))?;
        let client = Client::new(&secured.bootstrap())?;
        let nobody = format!("{}:{}", site.kubernetes.host(), ports::free(1)?[0]);
        Ok(Self { site, secured, client, nobody })
    }

    /// The Secrets that connections name; `nowhere` is none of them.
    fn make_secrets(&self) -> Result<()> {
        let another = Authority::create(&self.secured.directory().join("another"))?;
        let ca = |authority: &Authority| {
            Ok::<_, std::io::Error>(json!({"ca.crt": std::fs::read_to_string(authority.ca())?}))
        };
        for (name, content) in [
            ("ca", ca(self.secured.authority()?)?),
            ("another-ca", ca(&another)?),
            ("user", json!({"username": USER, "password": PASSWORD})),
            ("user-with-another-password", json!({"username": USER, "password": "another"})),
            ("user-without-password", json!({"username": USER})),
        ] {
            let secret =
                json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": content});
            self.site.kubernetes.kubectl_with(&["-n", NAMESPACE, "apply", "-f", "-"], &secret.to_string())?;
        }
        Ok(())
    }

    fn make_topics(&self, case: &Case) -> Result<()> {
        let client =
            if matches!(case.connection, Connection::Secured { .. }) { &self.client } else { &self.site.client };
        case.topics.iter().try_for_each(|name| client.create_topic(&topic(case, name), 1, &[]))
    }

    fn apply(&self, case: &Case) -> Result<()> {
        self.site.apply(NAMESPACE, &self.manifest(case))
    }

    fn manifest(&self, case: &Case) -> String {
        let kafka = match case.connection {
            Connection::Plain => format!("bootstrapServers: '{}'", self.site.kafka.bootstrap()),
            Connection::Nobody => format!("bootstrapServers: '{}'", self.nobody),
            Connection::Secured { ca, user } => format!(
                "bootstrapServers: '{}', tls: {{ca: {{secretRef: {{name: {ca}, key: ca.crt}}}}}}, \
                 sasl: {{mechanism: ScramSha512, secretRef: {{name: {user}}}}}",
                self.secured.bootstrap_sasl()
            ),
        };
        let mut text = format!(
            "apiVersion: millstream.dev/v1alpha1\nkind: Pipeline\nmetadata: {{name: {}}}\nspec:\n  connections: [{{name: main, kafka: {{{kafka}}}}}]\n",
            case.name
        );
        // Many workers share a small machine.
        let worker = "worker: {resources: {requests: {cpu: 10m, memory: 32Mi}}}";
        let more = if case.spec.contains("worker: ") { "" } else { worker };
        for line in case.spec.lines().chain(more.lines()) {
            let _ = writeln!(text, "  {}", line.replace('~', &format!("~{}.", case.name)));
        }
        text
    }

    /// What a person sees of a case; None while the condition does not hold, or for another reason.
    fn look(&self, case: &Case) -> Result<Option<String>> {
        let view = View { site: self.site, namespace: NAMESPACE, pipeline: case.name };
        view.look(case.holds, case.reason, &self.placeholders(case))
    }

    fn placeholders(&self, case: &Case) -> Placeholders {
        Placeholders::of(case.name)
            .known(&self.site.kafka.bootstrap(), "broker")
            .known(&self.secured.bootstrap_sasl(), "broker")
            .known(&self.nobody, "broker")
    }

    /// What is to happen to a pipeline that is ready.
    fn let_happen(&self, case: &Case) -> Result<()> {
        let Some(then) = case.then else { return Ok(()) };
        self.site.wait_for(NAMESPACE, case.name, "condition=Ready")?;
        then(self, case)
    }

    fn check(&self, case: &Case) -> Result<()> {
        // As a person would wait.
        self.site.wait_for(NAMESPACE, case.name, &format!("condition={}", case.holds))?;
        golden::eventually(&file(case.name), TIMES, || self.look(case))
            .with_context(|| format!("{} is to be true for {}", case.holds, case.reason))
    }

    /// What is there instead, for people who look for the cause of a failure.
    fn instead(&self, case: &Case) -> String {
        let selector = format!("millstream.dev/pipeline={}", case.name);
        let sections: [&[&str]; 3] = [
            &["describe", "msp", case.name],
            &["get", "pods", "-l", &selector],
            &["logs", "-l", &selector, "--tail=10", "--ignore-errors"],
        ];
        let said = sections.iter().map(|section| {
            let all: Vec<&str> = ["-n", NAMESPACE].iter().chain(*section).copied().collect();
            self.site.kubernetes.kubectl(&all).unwrap_or_else(|error| format!("{error:#}\n"))
        });
        said.collect()
    }
}

/// A Pipeline as a person looks at it.
struct View<'a> {
    site: &'a Site,
    namespace: &'a str,
    pipeline: &'a str,
}

impl View<'_> {
    fn json(&self, arguments: &[&str]) -> Result<Value> {
        let all: Vec<&str> = ["-n", self.namespace, "get", "-o", "json"].iter().chain(arguments).copied().collect();
        Ok(serde_json::from_str(&self.site.kubernetes.kubectl(&all)?)?)
    }

    /// `READY`, the conditions and the events with the reason; None while the condition does not hold for it.
    fn look(&self, condition: &str, reason: &str, placeholders: &Placeholders) -> Result<Option<String>> {
        let pipeline = self.json(&["msp", self.pipeline])?;
        let conditions = pipeline["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let of = |of: &Value, field: &str| of[field].as_str().unwrap_or_default().to_owned();
        let holds = |one: &Value| {
            (of(one, "type"), of(one, "status"), of(one, "reason"))
                == (condition.to_owned(), "True".to_owned(), reason.to_owned())
        };
        if !conditions.iter().any(holds) {
            return Ok(None);
        }
        let mut text = format!("READY {}\n", self.ready()?);
        for one in &conditions {
            let [kind, status, reason, message] = ["type", "status", "reason", "message"].map(|field| of(one, field));
            let _ = writeln!(text, "\n{kind} {status} {reason}\n{message}");
        }
        let uid = pipeline["metadata"]["uid"].as_str().context("a Pipeline without a uid")?;
        let mut all = placeholders.put_into(&text);
        // The same may have been told several times, of other pods and at other times.
        let events = self.events(uid, reason)?.into_iter().map(|event| placeholders.put_into(&event));
        for event in events.collect::<BTreeSet<String>>() {
            let _ = writeln!(all, "\n{event}");
        }
        Ok(Some(all))
    }

    /// The column of `kubectl get`.
    fn ready(&self) -> Result<String> {
        let table = self.site.kubernetes.kubectl(&["-n", self.namespace, "get", "msp", self.pipeline, "-o", "wide"])?;
        let cells = |line: Option<&str>| line.and_then(|line| line.split_whitespace().nth(1)).map(str::to_owned);
        let mut lines = table.lines();
        let (head, cell) = (cells(lines.next()), cells(lines.next()));
        ensure!(head.as_deref() == Some("READY"), "the second column is not READY:\n{table}");
        cell.with_context(|| format!("no row in {table}"))
    }

    /// The events of an object that have this reason.
    fn events(&self, uid: &str, reason: &str) -> Result<Vec<String>> {
        let list = self.json(&["events", "--field-selector", &format!("involvedObject.uid={uid},reason={reason}")])?;
        let text = |event: &Value| {
            let of = |field: &str| event[field].as_str().unwrap_or_default();
            format!("Event {} {}\n{}", of("type"), of("reason"), of("message"))
        };
        Ok(list["items"].as_array().into_iter().flatten().map(text).collect())
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("suites/golden/status")
}

/// The release is upgraded to a worker's image that cannot be pulled: no Pipeline names one, the chart does. A new
/// Pipeline says so, one that runs goes on with what it has, and both have it when the upgrade is rolled back.
pub fn image_cannot_be_pulled(site: &Site) -> Result<()> {
    let (namespace, chart) = ("images", root().join("charts/millstream").display().to_string());
    site.namespace(namespace)?;
    for topic in ["in", "out"] {
        site.client.create_topic(&format!("{namespace}.{topic}"), 1, &[])?;
    }
    let manifest = |name: &str| site.pipeline(name, COPY);
    site.apply(namespace, &manifest("old"))?;
    site.wait_for(namespace, "old", "condition=Ready")?;
    // Nobody listens there.
    let image =
        "worker.image.repository=127.0.0.1:1/millstream,worker.image.tag=v1,worker.image.pullPolicy=IfNotPresent";
    let upgrade = ["upgrade", RELEASE, &chart, "--namespace", SYSTEM, "--reuse-values", "--set", image, "--wait"];
    site.kubernetes.helm(&upgrade)?;
    site.apply(namespace, &manifest("new"))?;
    site.wait_for(namespace, "new", "condition=Stalled")?;
    let view = View { site, namespace, pipeline: "new" };
    let placeholders = Placeholders::of("new");
    golden::eventually(&file(NO_IMAGE), TIMES, || view.look("Stalled", "PodsCannotRun", &placeholders))?;
    site.client.write((0..10).map(|n| Record::new(&format!("{namespace}.in"), format!("{n}"))))?;
    site.client.read_until(&format!("{namespace}.out"), 10, GUARD).context("the one that runs does not go on")?;
    site.kubernetes.helm(&["rollback", RELEASE, "--namespace", SYSTEM, "--wait"])?;
    site.wait_for(namespace, "new", "condition=Ready")?;
    site.wait_for(namespace, "old", "condition=Ready")?;
    let found = site.client.read_until(&format!("{namespace}.out"), 20, GUARD)?.len();
    ensure!(found == 20, "{found} records of two Pipelines that copy 10");
    site.delete(namespace)
}

/// Its file.
const NO_IMAGE: &str = "image-cannot-be-pulled";

fn file(case: &str) -> PathBuf {
    folder().join(format!("{case}.txt"))
}

/// Every file belongs to a case: one that nothing is compared with would say anything.
fn no_file_is_left(cases: &[Case]) -> Result<()> {
    for entry in std::fs::read_dir(folder())? {
        let path = entry?.path();
        let known = cases.iter().map(|case| case.name).chain([NO_IMAGE]).any(|name| file(name) == path);
        ensure!(known, "{} belongs to no case", path.display());
    }
    Ok(())
}

/// Applies all cases, lets happen what is to happen, and compares what is seen with the files.
pub fn what_the_user_sees(site: &Site) -> Result<()> {
    let (scene, cases) = (Scene::new(site)?, cases());
    site.namespace(NAMESPACE)?;
    scene.make_secrets()?;
    for case in &cases {
        scene.make_topics(case)?;
        case.before.map_or(Ok(()), |before| before(&scene, case)).with_context(|| case.name)?;
        scene.apply(case).with_context(|| case.name)?;
    }
    let happened: Vec<Result<()>> = cases.iter().map(|case| scene.let_happen(case)).collect();
    let mut wrong = String::new();
    for (case, happened) in cases.iter().zip(happened) {
        if let Err(error) = happened.and_then(|()| scene.check(case)) {
            let _ = writeln!(wrong, "--- {}: {error:#}\n{}", case.name, scene.instead(case));
        }
    }
    // What crashes again and again is not to run on beside other tests.
    let gone = site.delete(NAMESPACE);
    ensure!(wrong.is_empty(), "{wrong}");
    no_file_is_left(&cases)?;
    gone
}
