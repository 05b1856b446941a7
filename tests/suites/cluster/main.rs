//! Pipelines on a real Kubernetes: installed by the chart, run in real pods, hit by faults, judged by Kafka's own client.
//!
//! One cluster and one Kafka for all tests, which run one after another. Where no cluster can be had, the tests are
//! skipped with the reason; with `CI=true` that is a failure.

use std::process::ExitCode;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use libtest_mimic::{Arguments, Failed, Trial};
use millstream_tests::chaos::feed::{Feed, Input, bad};
use millstream_tests::client::Record;
use millstream_tests::kubernetes::Kubernetes;
use millstream_tests::site::{RELEASE, SYSTEM, Site, root};
use millstream_tests::{oracle, wait};

/// The guard for everything that takes seconds.
const GUARD: Duration = Duration::from_mins(3);

type Test = fn(&Site) -> Result<()>;

const TESTS: &[(&str, Test)] = &[
    ("from_nothing_to_a_running_pipeline", from_nothing),
    ("a_wrong_manifest_is_told_in_the_status", wrong_manifest),
    ("suspended_and_back", suspend),
    ("a_batch_comes_to_its_end_and_its_workers_go", batch),
    ("exactly_once_under_faults_of_pods_and_operator", faults),
    ("uninstalled_it_leaves_only_its_api", uninstall),
];

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // They share one cluster, and some disturb it.
    arguments.test_threads = Some(1);
    let skipped = Kubernetes::unavailable();
    if let Some(why) = &skipped {
        eprintln!("the tests on Kubernetes are skipped: {why}");
    }
    let trials = TESTS.iter().map(|(name, test)| {
        let test = *test;
        Trial::test(*name, move || run(test)).with_ignored_flag(skipped.is_some())
    });
    let conclusion = libtest_mimic::run(&arguments, trials.collect());
    end();
    conclusion.exit_code()
}

/// The site, started by the first test; taken away at the end, since statics are never dropped.
static SITE: OnceLock<std::sync::Mutex<Option<Result<Site, String>>>> = OnceLock::new();

fn run(test: Test) -> Result<(), Failed> {
    let start = || {
        let site = Site::start(1).and_then(|site| site.install().map(|_| site));
        std::sync::Mutex::new(Some(site.map_err(|error| format!("{error:#}"))))
    };
    let site = SITE.get_or_init(start).lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    match site.as_ref() {
        Some(Ok(site)) => test(site).map_err(|error| {
            let operator = site.kubernetes.describe(SYSTEM);
            Failed::from(format!("{error:#}\n{operator}"))
        }),
        Some(Err(why)) => Err(Failed::from(why.as_str())),
        None => Err(Failed::from("the site is gone")),
    }
}

fn end() {
    if let Some(site) = SITE.get() {
        drop(site.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take());
    }
}

/// README's way: the example of sensors, records in, results out, and the sentences of kubectl that explain it.
fn from_nothing(site: &Site) -> Result<()> {
    let namespace = "from-nothing";
    site.namespace(namespace)?;
    for topic in ["sensor_data", "flink_output", "sensor_data.dead"] {
        site.client.create_topic(topic, 4, &[])?;
    }
    let example = std::fs::read_to_string(root().join("deploy/examples/sensors/pipeline.yaml"))?;
    site.apply(namespace, &example.replace("localhost:9092", &site.kafka.bootstrap()))?;
    let readings = std::fs::read_to_string(root().join("deploy/examples/sensors/readings.csv"))?;
    let lines: Vec<&str> = readings.lines().filter(|line| !line.is_empty()).collect();
    site.client.write(lines.iter().map(|line| Record::new("sensor_data", *line)))?;
    site.wait_for(namespace, "sensors", "condition=Ready")?;
    let mut found = 0;
    wait::until_true("all readings to come out", GUARD, || {
        found = site.client.read("flink_output")?.len() + site.client.read("sensor_data.dead")?.len();
        Ok(found >= lines.len())
    })
    .with_context(|| site.kubernetes.describe(namespace))?;
    ensure!(found == lines.len(), "{found} records of {}", lines.len());
    let wide = site.kubernetes.kubectl(&["-n", namespace, "get", "msp", "-o", "wide"])?;
    ensure!(wide.contains("READY") && wide.contains("True") && wide.contains("LAG"), "{wide}");
    let described = site.kubernetes.kubectl(&["-n", namespace, "describe", "msp", "sensors"])?;
    for word in ["4 shards run on 1 workers", "Running", "Active Revision"] {
        ensure!(described.contains(word), "no `{word}` in {described}");
    }
    site.kubernetes.kubectl(&["-n", namespace, "scale", "msp/sensors", "--replicas=3"])?;
    spread(site, namespace, "sensors", 3)?;
    delete(site, namespace)
}

/// Waits until so many workers own shards, and each shard has an owner and no move is under way.
fn spread(site: &Site, namespace: &str, pipeline: &str, workers: usize) -> Result<()> {
    let what = format!("pipelineassignment/{pipeline}");
    let owners = || -> Vec<String> {
        let path = "{range .spec.shards[*]}{.owner}{\",\"}{.next}{\",\"}{.former}{\"\\n\"}{end}";
        // Right after the Pipeline there is no assignment yet.
        let text = site.kubernetes.get(namespace, &what, path).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    };
    wait::until_true(&format!("the shards to be spread over {workers} workers"), GUARD, || {
        let lines = owners();
        let settled = lines.iter().all(|line| line.ends_with(",,") && !line.starts_with(','));
        let different: std::collections::BTreeSet<&String> = lines.iter().collect();
        Ok(!lines.is_empty() && settled && different.len() == workers)
    })
    .with_context(|| site.kubernetes.describe(namespace))
}

fn delete(site: &Site, namespace: &str) -> Result<()> {
    site.kubernetes.kubectl(&["-n", namespace, "delete", "msp", "--all", "--timeout=60s"])?;
    wait::until_true("the workers to go with their Pipeline", GUARD, || {
        let pods = site.kubernetes.kubectl(&["-n", namespace, "get", "pods", "-o", "name"])?;
        Ok(pods.trim().is_empty())
    })
    .with_context(|| site.kubernetes.describe(namespace))?;
    site.kubernetes.kubectl(&["delete", "namespace", namespace, "--wait=false"]).map(drop)
}

const PASS: &str = "\
sources: [{name: in, kafka: {topics: [~in]}, format: {type: Raw}}]
sinks: [{name: out, kafka: {topic: ~out}, format: {type: Raw}}]
";

/// The status says what `millstream check` says; what runs goes on.
fn wrong_manifest(site: &Site) -> Result<()> {
    let namespace = "wrong-manifest";
    site.namespace(namespace)?;
    site.client.create_topic("wrong-manifest.in", 2, &[])?;
    site.client.create_topic("wrong-manifest.out", 2, &[])?;
    site.apply(namespace, &site.pipeline("p", PASS))?;
    site.wait_for(namespace, "p", "condition=Ready")?;
    let wrong = format!("{PASS}transforms: [{{name: t, filter: valeu = 'x'}}]\n");
    site.apply(namespace, &site.pipeline("p", &wrong))?;
    site.wait_for(namespace, "p", "condition=Stalled")?;
    let message = site.kubernetes.get(namespace, "msp/p", "{.status.conditions[?(@.type==\"Stalled\")].message}")?;
    ensure!(message.contains("unknown column `valeu`") && message.contains("did you mean `value`?"), "{message}");
    let reason = site.kubernetes.get(namespace, "msp/p", "{.status.conditions[?(@.type==\"Stalled\")].reason}")?;
    ensure!(reason == "InvalidManifest", "{reason}");
    site.client.write((0..10).map(|n| Record::new("wrong-manifest.in", format!("{n}"))))?;
    let records = site.client.read_until("wrong-manifest.out", 10, GUARD)?;
    ensure!(records.len() == 10, "{} records", records.len());
    let events = site.kubernetes.kubectl(&["-n", namespace, "get", "events.events.k8s.io"])?;
    ensure!(events.contains("InvalidManifest"), "{events}");
    delete(site, namespace)
}

/// `suspend: true` lets all workers go after a last checkpoint; `false` goes on where they stopped.
fn suspend(site: &Site) -> Result<()> {
    let namespace = "suspend";
    site.namespace(namespace)?;
    site.client.create_topic("suspend.in", 2, &[])?;
    site.client.create_topic("suspend.out", 2, &[])?;
    site.apply(namespace, &site.pipeline("p", PASS))?;
    site.wait_for(namespace, "p", "condition=Ready")?;
    site.client.write((0..100).map(|n| Record::new("suspend.in", format!("{n}"))))?;
    site.client.read_until("suspend.out", 100, GUARD)?;
    site.apply(namespace, &site.pipeline("p", &format!("{PASS}suspend: true\n")))?;
    site.wait_for(namespace, "p", "jsonpath={.status.conditions[0].reason}=Suspended")?;
    ensure!(site.kubernetes.pods(namespace, "millstream.dev/pipeline=p")?.is_empty(), "workers are left");
    site.client.write((100..200).map(|n| Record::new("suspend.in", format!("{n}"))))?;
    site.apply(namespace, &site.pipeline("p", PASS))?;
    site.wait_for(namespace, "p", "condition=Ready")?;
    let records = site.client.read_until("suspend.out", 200, GUARD)?;
    ensure!(records.len() == 200, "{} records", records.len());
    delete(site, namespace)
}

fn batch(site: &Site) -> Result<()> {
    let namespace = "batch";
    site.namespace(namespace)?;
    site.client.create_topic("batch.in", 3, &[])?;
    site.client.create_topic("batch.out", 3, &[])?;
    site.client.write((0..1000).map(|n| Record::new("batch.in", format!("{n}"))))?;
    site.apply(namespace, &site.pipeline("p", &format!("{PASS}mode: Batch\nreplicas: 2\n")))?;
    site.wait_for(namespace, "p", "condition=Complete")?;
    wait::until_true("the workers of a complete batch to go", GUARD, || {
        Ok(site.kubernetes.pods(namespace, "millstream.dev/pipeline=p")?.is_empty())
    })
    .with_context(|| site.kubernetes.describe(namespace))?;
    let records = site.client.read("batch.out")?;
    ensure!(records.len() == 1000, "{} records", records.len());
    let ready = site.kubernetes.get(namespace, "msp/p", "{.status.conditions[?(@.type==\"Complete\")].status}")?;
    ensure!(ready == "True", "Complete is {ready}");
    delete(site, namespace)
}

/// Records of the run under faults.
const RECORDS: u64 = 1_000_000;
/// Its shards, which are its partitions.
const SHARDS: i32 = 12;

const UNDER_FAULTS: &str = "\
sources:
  - name: input
    kafka: {topics: [~in]}
    format: {type: Csv}
    schema: [{name: source, type: int}, {name: sequence, type: bigint}, {name: amount, type: bigint}]
transforms: [{name: doubled, set: [{column: amount, expression: amount * 2}]}]
sinks: [{name: output, kafka: {topic: ~out}, format: {type: Csv}}]
errors: {policy: DeadLetter, deadLetter: {topic: ~dead}}
checkpoint: {interval: 250ms}
worker: {resources: {requests: {cpu: 10m, memory: 64Mi}, limits: {memory: 1Gi}}}
";

/// Lets something happen to the pipeline `p` of a namespace.
type Fault = fn(&Site, &str) -> Result<()>;

/// What happens to a pipeline of three workers, and how.
const FAULTS: &[(&str, Fault)] = &[
    ("a pod deleted gracefully", |site, namespace| {
        let pod = some_worker(site, namespace)?;
        site.kubernetes.kubectl(&["-n", namespace, "delete", "pod", &pod, "--wait=false"]).map(drop)
    }),
    ("a pod deleted by force", |site, namespace| {
        let pod = some_worker(site, namespace)?;
        site.kubernetes.kubectl(&["-n", namespace, "delete", "pod", &pod, "--grace-period=0", "--force"]).map(drop)
    }),
    ("a worker's process killed", |site, namespace| signal_worker(site, namespace, "-KILL")),
    ("a worker frozen, and continued behind the takeover", |site, namespace| {
        signal_worker(site, namespace, "-STOP")?;
        // Its kubelet kills it after the liveness probe has failed three times; until then it is a zombie.
        std::thread::sleep(Duration::from_secs(15));
        Ok(())
    }),
    ("the operator's leader killed", |site, _| {
        let leader = site.kubernetes.get(SYSTEM, &format!("lease/{RELEASE}"), "{.spec.holderIdentity}")?;
        site.kubernetes.kubectl(&["-n", SYSTEM, "delete", "pod", &leader, "--grace-period=0", "--force"]).map(drop)
    }),
    ("the API server frozen for ten seconds", |site, _| {
        site.kubernetes.freeze_api_server()?;
        std::thread::sleep(Duration::from_secs(10));
        site.kubernetes.thaw_api_server()
    }),
    ("the broker restarted", |site, _| {
        site.kafka.stop(0)?;
        site.kafka.start_node(0)
    }),
    ("replicas 3 to 1", |site, namespace| scale(site, namespace, 1)),
    ("replicas 1 to 4", |site, namespace| scale(site, namespace, 4)),
    ("replicas 4 to 3", |site, namespace| scale(site, namespace, 3)),
    ("a changed spec", |site, namespace| {
        let patch = r#"{"spec":{"checkpoint":{"interval":"300ms"}}}"#;
        site.kubernetes.kubectl(&["-n", namespace, "patch", "msp", "p", "--type=merge", "-p", patch]).map(drop)
    }),
];

fn faults(site: &Site) -> Result<()> {
    let namespace = "faults";
    site.namespace(namespace)?;
    let input = Input { topic: format!("{namespace}.in"), partitions: SHARDS, records: RECORDS };
    site.client.create_topic(&input.topic, SHARDS, &[])?;
    site.client.create_topic("faults.out", 5, &[])?;
    site.client.create_topic("faults.dead", 2, &[])?;
    site.apply(namespace, &site.pipeline("p", &format!("{UNDER_FAULTS}replicas: 3\n")))?;
    spread(site, namespace, "p", 3)?;
    let feed = Feed::start(&site.client, input.clone())?;
    for (number, (name, fault)) in FAULTS.iter().enumerate() {
        feed.allot(FAULTS.len() - number - 1);
        std::thread::sleep(Duration::from_secs(2));
        let start = Instant::now();
        fault(site, namespace).with_context(|| format!("fault {name}"))?;
        let workers = match *name {
            "replicas 3 to 1" => 1,
            "replicas 1 to 4" => 4,
            _ => 3,
        };
        spread(site, namespace, "p", workers).with_context(|| format!("after: {name}"))?;
        site.wait_for(namespace, "p", "condition=Ready").with_context(|| format!("after: {name}"))?;
        eprintln!("{:6.1} s  {name}", start.elapsed().as_secs_f64());
    }
    feed.finish()?;
    wait::until_true("all input to be processed", GUARD, || {
        let lag = site.kubernetes.get(namespace, "msp/p", "{.status.lag}")?;
        let out = site.client.watermarks("faults.out", 0)?;
        Ok(lag == "0" && out.1 > 0)
    })
    .with_context(|| site.kubernetes.describe(namespace))?;
    judge(site, &input)?;
    delete(site, namespace)
}

fn judge(site: &Site, input: &Input) -> Result<()> {
    let counts = input.counts();
    oracle::check(&site.kafka, &[&input.topic], &counts)?.demand_exactly_once().context("the test's own input")?;
    let dead = oracle::check(&site.kafka, &["faults.dead"], &counts)?.records;
    ensure!(dead >= bad(input.records), "{dead} dead letters, not {}", bad(input.records));
    let verdict = oracle::check(&site.kafka, &["faults.out", "faults.dead"], &counts)?;
    eprintln!(
        "{} records, {} faults: {} missing, {} duplicates, {} out of order",
        verdict.records,
        FAULTS.len(),
        verdict.missing,
        verdict.duplicates,
        verdict.out_of_order
    );
    verdict.demand_exactly_once()
}

fn some_worker(site: &Site, namespace: &str) -> Result<String> {
    let pods = site.kubernetes.pods(namespace, "millstream.dev/pipeline=p")?;
    pods.first().cloned().context("there is no worker")
}

fn signal_worker(site: &Site, namespace: &str, signal: &str) -> Result<()> {
    let pod = some_worker(site, namespace)?;
    // It may be the one that was killed a moment ago.
    let pid = wait::until("the worker's process", GUARD, || Ok(site.kubernetes.process_of(namespace, &pod).ok()))?;
    let status = std::process::Command::new("kill").args([signal, &pid.to_string()]).status()?;
    ensure!(status.success(), "kill {signal} {pid} failed");
    Ok(())
}

fn scale(site: &Site, namespace: &str, replicas: usize) -> Result<()> {
    let replicas = format!("--replicas={replicas}");
    site.kubernetes.kubectl(&["-n", namespace, "scale", "msp/p", &replicas]).map(drop)
}

/// The API and the Pipelines in it stay, as NOTES say; nothing else.
fn uninstall(site: &Site) -> Result<()> {
    site.kubernetes.helm(&["uninstall", RELEASE, "--namespace", SYSTEM, "--wait"])?;
    let crds = site.kubernetes.kubectl(&["get", "crd", "-o", "name"])?;
    ensure!(crds.contains("pipelines.millstream.dev"), "{crds}");
    let cluster = "clusterroles,clusterrolebindings";
    let left =
        site.kubernetes.kubectl(&["get", cluster, "-l", "app.kubernetes.io/instance=millstream", "-o", "name"])?;
    ensure!(left.trim().is_empty(), "{left}");
    let left = site.kubernetes.kubectl(&["-n", SYSTEM, "get", "deploy,svc,sa,role,rolebinding,pdb", "-o", "name"])?;
    ensure!(!left.contains("millstream"), "{left}");
    Ok(())
}
