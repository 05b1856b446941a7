//! Pipelines on a real Kubernetes: installed by the chart, run in real pods, hit by faults, judged by Kafka's own client.
//!
//! One cluster and one Kafka for all tests, which run one after another. Where no cluster can be had, the tests are
//! skipped with the reason; with `CI=true` that is a failure.

mod chart;
mod deletion;
mod quarantine;
mod visible;

use std::process::ExitCode;
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use libtest_mimic::{Arguments, Failed, Trial};
use millstream_tests::client::Record;
use millstream_tests::kubernetes::{Kubernetes, is_existing};
use millstream_tests::outage::{self, FAULTS};
use millstream_tests::site::{RELEASE, SYSTEM, Site, root};
use millstream_tests::wait;

/// The guard for everything that takes seconds.
const GUARD: Duration = Duration::from_mins(3);

/// The test that makes everything fail.
const FAULTY: &str = "exactly_once_under_faults_of_pods_and_operator";

type Test = fn(&Site) -> Result<()>;

const TESTS: &[(&str, Test)] = &[
    ("from_nothing_to_a_running_pipeline", from_nothing),
    ("a_wrong_manifest_is_told_in_the_status", wrong_manifest),
    ("suspended_and_back", suspend),
    ("a_batch_comes_to_its_end_and_its_workers_go", batch),
    ("what_the_user_sees", visible::what_the_user_sees),
    ("an_image_that_cannot_be_pulled_is_told", visible::image_cannot_be_pulled),
    ("the_chart_in_all_variants", chart::the_chart_in_all_variants),
    (FAULTY, faults),
    ("a_shard_that_takes_its_workers_down_is_quarantined", quarantine::quarantine),
    ("a_deleted_pipeline_takes_its_topics_along", deletion::deleted_with_its_topics),
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
        // What makes nodes, the API server or processes of pods fail needs a cluster of the test's own.
        let spared = is_existing() && *name == FAULTY;
        Trial::test(*name, move || run(test)).with_ignored_flag(skipped.is_some() || spared)
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
    site.spread(namespace, "sensors", 3)?;
    moves_are_told(site, namespace)?;
    site.delete(namespace)
}

/// What was moved stands in events, and in the metrics of the operator that leads.
fn moves_are_told(site: &Site, namespace: &str) -> Result<()> {
    let leader = site.kubernetes.get(SYSTEM, &format!("lease/{RELEASE}"), "{.spec.holderIdentity}")?;
    let page = format!("/api/v1/namespaces/{SYSTEM}/pods/{leader}:8080/proxy/metrics");
    let (mut events, mut metrics) = (String::new(), String::new());
    let told = wait::until_true("the moves to be told", GUARD, || {
        events = site.kubernetes.kubectl(&["-n", namespace, "get", "events.events.k8s.io", "-o", "wide"])?;
        metrics = site.kubernetes.kubectl(&["get", "--raw", &page])?;
        let noted = ["NoOwner", "shards 0, 1, 2, 3 had no owner", "Load", "has less to do"];
        let counted = [
            "millstream_operator_move_duration_seconds_count{reason=\"NoOwner\"}",
            "millstream_operator_move_duration_seconds_count{reason=\"Load\"}",
            "millstream_operator_reconcile_step_duration_seconds_count{step=\"apply\"}",
            "millstream_operator_api_requests_total{code=\"ok\",resource=\"pipelines\",verb=\"patch\"}",
            "millstream_operator_data_loss_seconds{namespace=\"from-nothing\",pipeline=\"sensors\"} inf",
        ];
        Ok(noted.iter().all(|word| events.contains(word)) && counted.iter().all(|series| metrics.contains(series)))
    });
    told.with_context(|| format!("{events}\n{metrics}"))
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
    site.delete(namespace)
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
    site.delete(namespace)
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
    site.delete(namespace)
}

/// Records of the run under faults.
const RECORDS: u64 = 1_000_000;

fn faults(site: &Site) -> Result<()> {
    let report = outage::run(site, "faults", RECORDS, FAULTS)?;
    for survived in &report.survived {
        eprintln!("{survived}");
    }
    Ok(())
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
