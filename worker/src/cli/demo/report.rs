//! What a demo shows: some records of each topic, and how many there were.

use std::collections::BTreeMap;
use std::time::Duration;

use super::examples::Example;
use crate::cli::terminal::{Output, count};
use crate::cli::test::bytes;
use crate::kafka::mock::PlainRecord;
use crate::plan::CompiledPipeline;
use crate::plan::pipeline::ErrorPolicy;

/// How many records of a topic are shown.
const SHOWN: usize = 5;

/// What came out, by topic.
#[derive(Debug)]
pub(super) struct Report {
    outputs: Vec<TopicReport>,
    inputs: Vec<String>,
    /// Until the last record.
    elapsed: Duration,
    sent: usize,
}

#[derive(Debug, Default)]
struct TopicReport {
    topic: String,
    title: String,
    dead_letters: bool,
    lines: Vec<String>,
    count: usize,
    reasons: BTreeMap<String, usize>,
}

impl Report {
    /// Nothing has come yet.
    pub(super) fn of(pipeline: &CompiledPipeline) -> Self {
        let sink = |sink: &crate::plan::pipeline::Sink| TopicReport {
            topic: sink.topic.clone(),
            title: format!("{} (sink {})", sink.topic, sink.name),
            ..TopicReport::default()
        };
        let mut outputs: Vec<_> = pipeline.sinks.iter().map(sink).collect();
        if let ErrorPolicy::DeadLetter { topic, .. } = &pipeline.errors {
            let title = format!("{topic} (dead letters)");
            outputs.push(TopicReport { topic: topic.clone(), title, dead_letters: true, ..TopicReport::default() });
        }
        let inputs = pipeline.sources.iter().flat_map(super::topics_of).cloned().collect();
        Self { outputs, inputs, elapsed: Duration::ZERO, sent: 0 }
    }

    /// The topics to read.
    pub(super) fn topics(&self) -> Vec<&str> {
        self.outputs.iter().map(|output| output.topic.as_str()).collect()
    }

    /// Says what will happen, and with what.
    pub(super) fn introduce(
        &mut self,
        example: &Example,
        address: &str,
        samples: &[PlainRecord],
        output: &mut Output,
    ) -> std::io::Result<()> {
        let style = output.style();
        self.sent = samples.len();
        output.line(&format!("{}\n{}\n", style.heading(example.name), example.about()))?;
        output.line(&style.faint(&format!(
            "An embedded broker for trying out runs on {address}. It forgets everything when it ends, and it is no\n\
             proof of anything about faults: for that, use a real Kafka.\n"
        )))?;
        for topic in &self.inputs {
            let of_topic: Vec<_> = samples.iter().filter(|sample| sample.topic == *topic).collect();
            output.line(&format!("{}: {} in, such as", style.heading(topic), count(of_topic.len(), "record")))?;
            let lines = of_topic.iter().map(|sample| bytes(sample.value.as_deref()));
            for line in distinct(lines, SHOWN) {
                output.line(&format!("    {line}"))?;
            }
        }
        output.line("")?;
        output.flush()
    }

    /// Counts a record that came out after `elapsed`.
    pub(super) fn add(&mut self, record: &PlainRecord, elapsed: Duration) {
        self.elapsed = elapsed;
        let Some(output) = self.outputs.iter_mut().find(|output| output.topic == record.topic) else { return };
        output.count += 1;
        if output.dead_letters {
            *output.reasons.entry(header(record, "millstream.reason")).or_default() += 1;
        }
        let line = output.line(record);
        if output.lines.len() < SHOWN && !output.lines.contains(&line) {
            output.lines.push(line);
        }
    }

    /// How many records came out.
    pub(super) fn received(&self) -> usize {
        self.outputs.iter().map(|output| output.count).sum()
    }

    /// What came out.
    pub(super) fn summary(&self, finished: bool, output: &mut Output) -> std::io::Result<()> {
        let style = output.style();
        for topic in &self.outputs {
            let records = count(topic.count, "record");
            let reasons: Vec<_> = topic.reasons.iter().map(|(reason, n)| format!("{n} {reason}")).collect();
            let reasons = if reasons.is_empty() { String::new() } else { format!(" ({})", reasons.join(", ")) };
            let such_as = if topic.lines.is_empty() { "" } else { ", such as" };
            output.line(&format!("{}: {records} out{reasons}{such_as}", style.heading(&topic.title)))?;
            for line in &topic.lines {
                output.line(&format!("    {line}"))?;
            }
        }
        if finished {
            let seconds = self.elapsed.as_secs_f64();
            let sent = count(self.sent, "record");
            output.line(&format!("\n{sent} processed, the last result after {seconds:.1} s."))?;
        }
        output.flush()
    }

    /// Says how to go on while everything keeps running.
    pub(super) fn invite(&self, example: &Example, address: &str, output: &mut Output) -> std::io::Result<()> {
        let input = self.inputs.first().map_or("", String::as_str);
        let result = self.outputs.first().map_or("", |output| output.topic.as_str());
        output.line(&format!(
            "\nIt keeps running until Ctrl+C, for any Kafka client, with bootstrap server {address}:\n\
             \x20   kcat -P -b {address} -t {input}        write lines into the pipeline\n\
             \x20   kcat -C -b {address} -t {result}        read what came out\n\
             The manifest: millstream demo {} --manifest\n",
            example.name
        ))
    }

    /// Shows a record that came while everything keeps running.
    pub(super) fn show(&self, record: &PlainRecord, output: &mut Output) -> std::io::Result<()> {
        let Some(topic) = self.outputs.iter().find(|output| output.topic == record.topic) else { return Ok(()) };
        let heading = output.style().heading(&topic.topic);
        output.line(&format!("{heading}: {}", topic.line(record)))
    }
}

impl TopicReport {
    fn line(&self, record: &PlainRecord) -> String {
        let value = bytes(record.value.as_deref());
        if self.dead_letters {
            let (reason, message) = (header(record, "millstream.reason"), header(record, "millstream.message"));
            return format!("{value}    {reason}: {message}");
        }
        match &record.key {
            Some(key) => format!("{}  {value}", bytes(Some(key))),
            None => value,
        }
    }
}

/// The first lines that differ from each other.
fn distinct(lines: impl Iterator<Item = String>, most: usize) -> Vec<String> {
    let mut found = Vec::new();
    for line in lines {
        if found.len() == most {
            break;
        }
        if !found.contains(&line) {
            found.push(line);
        }
    }
    found
}

fn header(record: &PlainRecord, name: &str) -> String {
    let found = record.headers.iter().find(|(key, _)| key == name);
    found.map_or_else(String::new, |(_, value)| bytes(value.as_deref()))
}
