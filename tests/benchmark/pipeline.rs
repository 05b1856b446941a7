//! Pipelines to measure: their manifests, and runs of them.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use millstream::kafka::KafkaClient;
use millstream_tests::cluster::Cluster;
use millstream_tests::pipeline::{DONE, Millstream, Run};

use crate::jobs::{Compression, Job};
use crate::measure::{self, Cost, Ends};

/// Guards the end of a process that has ended already.
const END: Duration = Duration::from_secs(10);

/// What is promised about output, in the manifest's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// In transactions.
    ExactlyOnce,
    /// Without.
    AtLeastOnce,
}

/// A pipeline to run. Its name is that of the topic it writes.
#[derive(Clone, Debug)]
pub struct Pipeline<'a> {
    /// What it does.
    pub job: Job,
    /// The client that reads and writes for it.
    pub client: KafkaClient,
    /// The topic it reads.
    pub input: &'a str,
    /// The topic it writes.
    pub output: &'a str,
    /// The compression of what it writes.
    pub compression: Compression,
    /// `Streaming` or `Batch`.
    pub mode: &'a str,
    /// The number of shards.
    pub shards: u32,
    /// The checkpoint's interval.
    pub checkpoint: &'a str,
    /// What is promised.
    pub delivery: Delivery,
}

impl Pipeline<'_> {
    /// Starts it.
    pub fn start(&self, cluster: &Cluster) -> Result<Millstream> {
        let manifest = self.file(cluster, "yaml");
        fs::write(&manifest, self.manifest(&cluster.bootstrap()))?;
        Run::new(&manifest, self.file(cluster, "log")).start()
    }

    /// Runs it until it ends by itself, and gives what that has cost. `ends` are those of its output.
    pub fn run(&self, cluster: &Cluster, ends: &Ends) -> Result<Cost> {
        let mut program = self.start(cluster)?;
        let cost = measure::follow(program.id(), ends).with_context(|| program.output())?;
        let code = program.wait(END)?;
        ensure!(code == DONE, "exit code {code}: {}", program.output());
        Ok(cost)
    }

    fn file(&self, cluster: &Cluster, extension: &str) -> PathBuf {
        cluster.directory().join(format!("{}.{extension}", self.output))
    }

    fn manifest(&self, bootstrap: &str) -> String {
        let Self { job, client, input, output, compression, mode, shards, checkpoint, delivery } = self;
        let (source, transforms, sink) = job.chain();
        format!(
            "apiVersion: millstream.dev/v1alpha1
kind: Pipeline
metadata: {{name: {output}}}
spec:
  connections:
    - kafka: {{bootstrapServers: \"{bootstrap}\", client: {client:?}}}
  sources:
    - name: in
      kafka: {{topics: [{input}], startFrom: {{position: Earliest}}}}
      format: {source}{transforms}
  sinks:
    - name: out
      kafka: {{topic: {output}, compression: {compression:?}}}
      format: {sink}
  checkpoint: {{interval: {checkpoint}}}
  delivery: {delivery:?}
  mode: {mode}
  shards: {shards}
"
        )
    }
}
