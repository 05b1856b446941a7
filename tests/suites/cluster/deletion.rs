//! A Pipeline with `deletionPolicy: Delete` takes its state topic and its group with it, and nothing else.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use millstream_tests::client::{Client, Record};
use millstream_tests::site::Site;
use millstream_tests::wait;
use rdkafka::producer::Producer;

/// The guard for everything that takes seconds.
const GUARD: Duration = Duration::from_mins(3);

const NAMESPACE: &str = "deletion";
const STATE: &str = "deletion.p.state";
const INPUT: &str = "deletion.in";
const OUTPUT: &str = "deletion.out";
const RECORDS: usize = 100;

const PASS: &str = "\
sources: [{name: in, kafka: {topics: [~in], startFrom: {position: Earliest}}, format: {type: Raw}}]
sinks: [{name: out, kafka: {topic: ~out}, format: {type: Raw}}]
";

/// The topics go with the Pipeline, which begins anew without `adopt`; a zombie is fenced; `Retain` keeps everything.
pub fn deleted_with_its_topics(site: &Site) -> Result<()> {
    site.namespace(NAMESPACE)?;
    for topic in [INPUT, OUTPUT] {
        site.client.create_topic(topic, 2, &[])?;
    }
    site.client.write((0..RECORDS).map(|n| Record::new(INPUT, format!("{n}"))))?;
    runs_and_goes(site)?;
    begins_anew(site)?;
    fences_a_zombie(site)?;
    keeps_what_is_retained(site)?;
    site.kubernetes.kubectl(&["delete", "namespace", NAMESPACE, "--wait=false"]).map(drop)
}

fn runs_and_goes(site: &Site) -> Result<()> {
    apply(site, "deletionPolicy: Delete")?;
    site.wait_for(NAMESPACE, "p", "condition=Ready")?;
    ensure!(finalizers(site)?.contains("millstream.dev/internal-topics"), "no finalizer: {}", finalizers(site)?);
    site.client.read_until(OUTPUT, RECORDS, GUARD)?;
    ensure!(site.client.partitions(STATE)? == 2, "no state topic");
    delete(site)?;
    is_cleared(site)?;
    ensure!(site.client.read(INPUT)?.len() == RECORDS, "the input was touched");
    ensure!(site.client.read(OUTPUT)?.len() == RECORDS, "the output was touched");
    wait::until_true("the event", GUARD, || {
        let events = site.kubernetes.kubectl(&["-n", NAMESPACE, "get", "events.events.k8s.io"])?;
        Ok(events.contains("InternalTopicsDeleted"))
    })
}

fn begins_anew(site: &Site) -> Result<()> {
    apply(site, "deletionPolicy: Delete")?;
    site.wait_for(NAMESPACE, "p", "condition=Ready")?;
    let records = site.client.read_until(OUTPUT, 2 * RECORDS, GUARD)?;
    ensure!(records.len() == 2 * RECORDS, "{} records", records.len());
    Ok(())
}

/// What a worker on a lost node has open is aborted, and cannot be committed any more.
fn fences_a_zombie(site: &Site) -> Result<()> {
    apply(site, "deletionPolicy: Delete\nsuspend: true")?;
    site.wait_for(NAMESPACE, "p", "jsonpath={.status.conditions[0].reason}=Suspended")?;
    let zombie = site.client.open_transaction("deletion.p.0", [Record::new(OUTPUT, "of a zombie")])?;
    delete(site)?;
    is_cleared(site)?;
    ensure!(zombie.commit_transaction(GUARD).is_err(), "a zombie could commit");
    let records = site.client.read(OUTPUT)?.len();
    ensure!(records == 2 * RECORDS, "{records} records");
    Ok(())
}

fn keeps_what_is_retained(site: &Site) -> Result<()> {
    apply(site, "deletionPolicy: Delete")?;
    site.wait_for(NAMESPACE, "p", "condition=Ready")?;
    apply(site, "deletionPolicy: Retain")?;
    wait::until_true("the finalizer to be taken off", GUARD, || Ok(finalizers(site)?.is_empty()))?;
    delete(site)?;
    ensure!(site.client.partitions(STATE)? == 2, "the state topic is gone");
    Ok(())
}

fn apply(site: &Site, spec: &str) -> Result<()> {
    site.apply(NAMESPACE, &site.pipeline("p", &format!("{PASS}{spec}\n")))
}

fn finalizers(site: &Site) -> Result<String> {
    site.kubernetes.get(NAMESPACE, "msp/p", "{.metadata.finalizers}")
}

/// Deletes the Pipeline as a user would, and waits until its workers are gone.
fn delete(site: &Site) -> Result<()> {
    let described = || site.kubernetes.describe(NAMESPACE);
    site.kubernetes.kubectl(&["-n", NAMESPACE, "delete", "msp", "p", "--timeout=120s"]).with_context(described)?;
    wait::until_true("the workers to go with their Pipeline", GUARD, || {
        let pods = site.kubernetes.kubectl(&["-n", NAMESPACE, "get", "pods", "-o", "name"])?;
        Ok(pods.trim().is_empty())
    })
    .with_context(described)
}

fn is_cleared(site: &Site) -> Result<()> {
    let client: &Client = &site.client;
    wait::until_true("the state topic to be gone", GUARD, || Ok(client.partitions(STATE)? == 0))?;
    let offsets = client.group_offsets("deletion.p", INPUT)?;
    ensure!(offsets.is_empty(), "the group has offsets: {offsets:?}");
    Ok(())
}
