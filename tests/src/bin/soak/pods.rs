//! `soak --cluster`: a pipeline in pods, rounds of faults, and the pauses of all rounds as a table.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use millstream_tests::outage::pauses::percentile;
use millstream_tests::outage::{self, FAULTS, Fault, Moves, Report};
use millstream_tests::site::Site;
use serde::{Deserialize, Serialize};

use super::{Arguments, note, noted};

/// A round, as it is noted. All times are in milliseconds.
#[derive(Debug, Serialize, Deserialize)]
struct Round {
    records: u64,
    missing: u64,
    duplicates: u64,
    out_of_order: u64,
    faults: Vec<Noted>,
}

/// A fault of a round.
#[derive(Debug, Serialize, Deserialize)]
struct Noted {
    name: String,
    settled: u64,
    affected: Vec<u64>,
    others: Vec<u64>,
    quiet: Vec<u64>,
    forced: usize,
}

impl Round {
    fn new(report: &Report) -> Self {
        let millis = |values: &[Duration]| values.iter().map(|value| value.as_millis() as u64).collect();
        let faults = report.survived.iter().map(|survived| Noted {
            name: survived.name.to_owned(),
            settled: survived.settled.as_millis() as u64,
            affected: millis(&survived.affected),
            others: millis(&survived.others),
            quiet: millis(&survived.quiet),
            forced: survived.forced,
        });
        let verdict = &report.verdict;
        Self {
            records: verdict.records,
            missing: verdict.missing,
            duplicates: verdict.duplicates,
            out_of_order: verdict.out_of_order,
            faults: faults.collect(),
        }
    }
}

/// All rounds of one fault.
#[derive(Debug, Default)]
struct Row {
    settled: Vec<Duration>,
    affected: Vec<Duration>,
    others: Vec<Duration>,
    forced: usize,
}

impl Row {
    fn of(rounds: &[Round], name: &str) -> Self {
        let mut row = Self::default();
        let millis = |values: &[u64]| values.iter().copied().map(Duration::from_millis).collect::<Vec<_>>();
        for fault in rounds.iter().flat_map(|round| &round.faults).filter(|fault| fault.name == name) {
            row.settled.push(Duration::from_millis(fault.settled));
            row.affected.extend(millis(&fault.affected));
            row.others.extend(millis(&fault.others));
            row.forced += fault.forced;
        }
        row
    }

    /// The shards that the fault concerned: those that changed hands, or all where none is to or none did.
    fn samples(&self, moves: Moves) -> usize {
        match self.affected.len() {
            affected @ 1.. if moves == Moves::Expected => affected,
            affected => affected + self.others.len(),
        }
    }

    fn line(&self, name: &str) -> String {
        let of = |values: &[Duration]| {
            if values.is_empty() {
                return "0 | | |".to_owned();
            }
            let at = |share| percentile(values, share).as_secs_f64();
            format!("{} | {:.2} | {:.2} |", values.len(), at(0.5), at(0.99))
        };
        let settled = percentile(&self.settled, 0.5).as_secs_f64();
        format!("| {name} | {} {} {} | {settled:.1} |", of(&self.affected), of(&self.others), self.forced)
    }
}

const HEAD: &str = "\
| fault | taken over | pause p50, s | p99, s | others | pause p50, s | p99, s | by force | settled p50, s |
| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |";

/// Goes on behind the rounds that are noted, until each fault has concerned so many shards.
pub fn soak(arguments: &Arguments) -> Result<()> {
    if let Some(text) = &arguments.only {
        return chosen(arguments, text);
    }
    let notes = arguments.directory.join("cluster.jsonl");
    let mut rounds: Vec<Round> = noted(&notes)?;
    if !is_enough(&rounds, arguments.samples) {
        let site = installed()?;
        while !is_enough(&rounds, arguments.samples) {
            let faults = next_round(&rounds, arguments.samples);
            let round = run(&site, arguments, rounds.len() + 1, &faults)?;
            note(&notes, &round)?;
            rounds.push(round);
            println!("{}", table(&rounds));
        }
    }
    println!("{}", table(&rounds));
    Ok(())
}

/// Some faults only, until they have concerned so many shards.
fn chosen(arguments: &Arguments, text: &str) -> Result<()> {
    let those: Vec<Fault> = FAULTS.iter().filter(|fault| fault.name.contains(text)).copied().collect();
    let names: Vec<_> = FAULTS.iter().map(|fault| fault.name).collect();
    ensure!(!those.is_empty(), "there is no fault with \"{text}\" in its name; there are:\n{}", names.join("\n"));
    let faults: Vec<Fault> = those.iter().cycle().take(FAULTS.len()).copied().collect();
    let enough =
        |rounds: &[Round]| those.iter().all(|it| Row::of(rounds, it.name).samples(it.moves) >= arguments.samples);
    let site = installed()?;
    let mut rounds = Vec::new();
    while !enough(&rounds) {
        rounds.push(run(&site, arguments, rounds.len() + 1, &faults)?);
        println!("{}", table(&rounds));
    }
    Ok(())
}

/// All faults first, then those that have concerned too few shards so far. Each once a round: a shard whose worker's
/// process ends again and again within minutes is suspected of it and quarantined, which no fault here is about.
fn next_round(rounds: &[Round], samples: usize) -> Vec<Fault> {
    let lacks = |fault: &Fault| Row::of(rounds, fault.name).samples(fault.moves) < samples;
    // Each number of replicas begins where the one before ended, and the last one leaves as many as the others need.
    let scales = |fault: &Fault| fault.name.starts_with("replicas");
    let scaling = FAULTS.iter().any(|fault| scales(fault) && lacks(fault));
    FAULTS.iter().filter(|it| if scales(it) { scaling } else { lacks(it) }).copied().collect()
}

fn installed() -> Result<Site> {
    let site = Site::start(1)?;
    site.install()?;
    Ok(site)
}

fn run(site: &Site, arguments: &Arguments, number: usize, faults: &[Fault]) -> Result<Round> {
    let report = outage::run(site, &format!("soak-{number}"), arguments.records, faults);
    if let Err(error) = &report
        && arguments.keep
    {
        eprintln!("round {number}: {error:#}\neverything is left as it is: end this with ctrl-c when you have seen it");
        loop {
            std::thread::park();
        }
    }
    Ok(Round::new(&report.with_context(|| format!("round {number}"))?))
}

fn is_enough(rounds: &[Round], samples: usize) -> bool {
    FAULTS.iter().all(|fault| Row::of(rounds, fault.name).samples(fault.moves) >= samples)
}

fn table(rounds: &[Round]) -> String {
    let mut lines = vec![HEAD.to_owned()];
    let rows = FAULTS.iter().map(|fault| (fault.name, Row::of(rounds, fault.name)));
    lines.extend(rows.filter(|(_, row)| !row.settled.is_empty()).map(|(name, row)| row.line(name)));
    let quiet: Vec<Duration> = rounds
        .iter()
        .flat_map(|round| &round.faults)
        .flat_map(|fault| &fault.quiet)
        .map(|millis| Duration::from_millis(*millis))
        .collect();
    let at = |share| percentile(&quiet, share).as_secs_f64();
    lines.push(format!(
        "\nwithout faults: pause p50 {:.2} s, p99 {:.2} s ({} samples)",
        at(0.5),
        at(0.99),
        quiet.len()
    ));
    let sum = |of: fn(&Round) -> u64| rounds.iter().map(of).sum::<u64>();
    lines.push(format!(
        "{} rounds, {} records: {} missing, {} twice, {} out of order",
        rounds.len(),
        sum(|round| round.records),
        sum(|round| round.missing),
        sum(|round| round.duplicates),
        sum(|round| round.out_of_order)
    ));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(faults: &[(&str, usize)]) -> Round {
        let noted = |(name, shards): &(&str, usize)| Noted {
            name: (*name).to_owned(),
            settled: 1,
            affected: vec![1; *shards],
            others: Vec::new(),
            quiet: Vec::new(),
            forced: 0,
        };
        let faults = faults.iter().map(noted).collect();
        Round { records: 1, missing: 0, duplicates: 0, out_of_order: 0, faults }
    }

    #[test]
    fn later_rounds_are_of_what_lacks_samples() {
        let names = |faults: Vec<Fault>| faults.iter().map(|fault| fault.name).collect::<Vec<_>>();
        let all = names(FAULTS.to_vec());
        assert_eq!(names(next_round(&[], 5)), all);
        let but = |lacking: &str| {
            let each: Vec<_> = all.iter().map(|name| (*name, if *name == lacking { 4 } else { 5 })).collect();
            names(next_round(&[round(&each)], 5))
        };
        assert_eq!(but("a changed spec"), ["a changed spec"]);
        let scaling = ["replicas 3 to 1", "replicas 1 to 4", "replicas 4 to 2", "replicas 2 to 3"];
        assert_eq!(but("replicas 2 to 3"), scaling);
    }
}
