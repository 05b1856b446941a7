//! What the brokers' logs say about ids that the oracle objects to: in whose transactions they were written, and how
//! those ended.
//!
//! No consumer sees that. So the segments are read by Kafka's own tool, and all that the brokers have is kept, since the
//! cluster goes when its test does.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::cluster::Cluster;
use crate::installation::run;
use crate::oracle::Verdict;

/// The ids that are looked for.
const MOST_IDS: usize = 3;
/// The lines of a state topic's partition that are printed.
const MOST_HEADERS: usize = 40;

/// The verdict, unless it is an objection: then an error with what the logs say. `topics` are those that were judged,
/// `state` is the state topic.
pub fn demand_exactly_once(cluster: &Cluster, topics: &[&str], state: &str, verdict: &Verdict) -> Result<()> {
    let Err(objection) = verdict.demand_exactly_once() else { return Ok(()) };
    let evidence = gather(cluster, topics, state, verdict).unwrap_or_else(|error| format!("no evidence: {error:#}"));
    eprintln!("{evidence}");
    Err(objection.context(evidence))
}

fn gather(cluster: &Cluster, topics: &[&str], state: &str, verdict: &Verdict) -> Result<String> {
    let mut text = format!("the brokers' data and logs are kept in {}\n", keep(cluster)?.display());
    let ids = ids(&verdict.examples);
    let mut producers = BTreeSet::new();
    let mut places: Vec<(String, String)> = Vec::new();
    for partition in partitions(cluster, topics)? {
        let log = read(cluster, &partition, &|line| id_of(line).is_some_and(|id| ids.contains(id)))?;
        for (index, batch) in log.iter().enumerate() {
            for record in &batch.records {
                producers.insert(batch.producer.clone());
                let place = format!("{}: {} {}", name(&partition), end(&log[index..]), batch.line);
                places.push((id_of(record).unwrap_or_default().to_owned(), place));
            }
        }
    }
    for id in &ids {
        let _ = writeln!(text, "{id} was written to");
        places.iter().filter(|(of, _)| of == id).for_each(|(_, place)| {
            let _ = writeln!(text, "  {place}");
        });
    }
    for partition in partitions(cluster, &[state])? {
        let mut log = read(cluster, &partition, &|line| line.contains(" key: header "))?;
        log.retain(|batch| producers.contains(&batch.producer));
        for batch in log.iter().rev().take(MOST_HEADERS).rev() {
            let line = batch.marker.as_ref().unwrap_or(&batch.line);
            let _ = writeln!(text, "{}: {line}", name(&partition));
            batch.records.iter().for_each(|record| {
                let _ = writeln!(text, "  {record}");
            });
        }
    }
    Ok(text)
}

/// Copies what the brokers have to a place that stays.
fn keep(cluster: &Cluster) -> Result<PathBuf> {
    let kept = tempfile::Builder::new().prefix("millstream-evidence-").tempdir()?.keep();
    let mut copy = Command::new("cp");
    copy.arg("-r").arg(cluster.directory()).arg(&kept);
    let (said, done) = run(copy, "")?;
    ensure!(done, "cannot copy the brokers' data: {said}");
    Ok(kept)
}

/// The ids of some examples: `SOURCE,SEQUENCE`, which are what is behind the last `: ` or `missing ` begins with.
fn ids(examples: &[String]) -> BTreeSet<String> {
    let id = |example: &String| {
        let value = example.strip_prefix("missing ").or_else(|| example.rsplit(": ").next())?;
        Some(first_two(value)?.to_owned())
    };
    let all: BTreeSet<String> = examples.iter().filter_map(id).collect();
    let step = (all.len() / MOST_IDS).max(1);
    all.into_iter().step_by(step).take(MOST_IDS).collect()
}

/// The id that the value of a record begins with.
fn id_of(line: &str) -> Option<&str> {
    first_two(line.split_once(" payload: ")?.1)
}

fn first_two(value: &str) -> Option<&str> {
    let comma = value.find(',')?;
    let behind = value[comma + 1..].find(',').map_or(value.len(), |second| comma + 1 + second);
    let id = &value[..behind];
    id.bytes().all(|byte| byte == b',' || byte.is_ascii_digit()).then_some(id)
}

/// The directories of the topics' partitions on the first broker that has each.
fn partitions(cluster: &Cluster, topics: &[&str]) -> Result<Vec<PathBuf>> {
    let (mut seen, mut found) = (BTreeSet::new(), Vec::new());
    for node in fs::read_dir(cluster.directory())?.flatten() {
        let Ok(directories) = fs::read_dir(node.path().join("data")) else { continue };
        for directory in directories.flatten().map(|entry| entry.path()) {
            let is_wanted = name(&directory).rsplit_once('-').is_some_and(|(topic, _)| topics.contains(&topic));
            if is_wanted && seen.insert(name(&directory).to_owned()) {
                found.push(directory);
            }
        }
    }
    found.sort();
    Ok(found)
}

fn name(directory: &Path) -> &str {
    directory.file_name().and_then(|name| name.to_str()).unwrap_or_default()
}

/// A record batch as Kafka's tool prints it.
#[derive(Debug, PartialEq, Eq)]
struct Batch {
    line: String,
    producer: String,
    /// Of a marker: how the transaction ended.
    marker: Option<String>,
    /// The records that were looked for.
    records: Vec<String>,
}

/// How the transaction of the first batch ended, by the next marker of its producer.
fn end(log: &[Batch]) -> &str {
    let mut own = log.iter().filter(|batch| batch.producer == log[0].producer);
    own.find_map(|batch| batch.marker.as_deref()).unwrap_or("without a marker")
}

fn read(cluster: &Cluster, partition: &Path, wanted: &dyn Fn(&str) -> bool) -> Result<Vec<Batch>> {
    let mut segments: Vec<String> = fs::read_dir(partition)?
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|end| end == "log"))
        .map(|path| path.display().to_string())
        .collect();
    segments.sort();
    let mut command = cluster.installation().java("256m", "kafka.tools.DumpLogSegments");
    command.env("KAFKA_LOG_LEVEL", "ERROR").args(["--print-data-log", "--files", &segments.join(",")]);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
    let output = child.stdout.take().context("the tool has no output")?;
    let mut log = Vec::new();
    for line in BufReader::new(output).split(b'\n') {
        take(&String::from_utf8_lossy(&line?), wanted, &mut log);
    }
    ensure!(child.wait()?.success(), "kafka.tools.DumpLogSegments failed for {}", partition.display());
    Ok(log)
}

/// Takes a line: of a batch, or of a record in the batch before.
fn take(line: &str, wanted: &dyn Fn(&str) -> bool, log: &mut Vec<Batch>) {
    if line.starts_with("baseOffset: ") {
        let producer = word_behind(line, "producerId: ").unwrap_or_default().to_owned();
        log.push(Batch { line: line.to_owned(), producer, marker: None, records: Vec::new() });
        return;
    }
    let Some(batch) = log.last_mut().filter(|_| line.starts_with('|')) else { return };
    if let Some(kind) = word_behind(line, "endTxnMarker: ") {
        let offset = word_behind(line, "offset: ").unwrap_or_default();
        let epoch = word_behind(&batch.line, "producerEpoch: ").unwrap_or_default();
        batch.marker = Some(format!("{kind} at {offset} in epoch {epoch};"));
    } else if wanted(line) {
        batch.records.push(line.chars().take(400).collect());
    }
}

fn word_behind<'a>(line: &'a str, word: &str) -> Option<&'a str> {
    line.split_once(word)?.1.split(' ').next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_found_in_what_the_oracle_says() {
        let examples = ["duplicate: a.out-3 offset 14: 1,29,58", "missing 0,7", "foreign: a.out-1 offset 2: ?,8"];
        assert_eq!(ids(&examples.map(str::to_owned)), ["0,7", "1,29"].map(str::to_owned).into());
    }

    #[test]
    fn a_record_is_of_the_batch_before_it_and_ends_with_the_next_marker_of_its_producer() {
        let printed = "\
Dumping 0.log
baseOffset: 0 lastOffset: 1 count: 2 producerId: 7 producerEpoch: 2 isTransactional: true isControl: false
| offset: 0 CreateTime: 5 keySize: -1 valueSize: 6 sequence: 0 headerKeys: [] payload: 1,28,56
| offset: 1 CreateTime: 5 keySize: -1 valueSize: 6 sequence: 1 headerKeys: [] payload: 1,29,58
baseOffset: 2 lastOffset: 2 count: 1 producerId: 8 producerEpoch: 0 isTransactional: true isControl: true
| offset: 2 CreateTime: 5 keySize: 4 valueSize: 6 sequence: -1 headerKeys: [] endTxnMarker: COMMIT coordinatorEpoch: 0
baseOffset: 3 lastOffset: 3 count: 1 producerId: 7 producerEpoch: 3 isTransactional: true isControl: true
| offset: 3 CreateTime: 5 keySize: 4 valueSize: 6 sequence: -1 headerKeys: [] endTxnMarker: ABORT coordinatorEpoch: 0";
        let mut log = Vec::new();
        printed.lines().for_each(|line| take(line, &|line| id_of(line) == Some("1,29"), &mut log));
        assert_eq!((log.len(), log[0].records.len()), (3, 1));
        assert_eq!(end(&log), "ABORT at 3 in epoch 3;");
        assert_eq!(end(&log[1..]), "COMMIT at 2 in epoch 0;");
    }
}
