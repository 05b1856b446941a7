//! The oracle itself: it must see what it is there to see. A test of exactly-once is worth what its judge is worth.

use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use millstream_tests::client::Record;
use millstream_tests::cluster::Settings;
use millstream_tests::evidence;
use millstream_tests::oracle;
use millstream_tests::suite::{Case, Suite};

fn main() -> ExitCode {
    Suite::new(Settings::new())
        .test("oracle_accepts_each_id_once_in_order", accepts)
        .test("oracle_detects_a_loss", detects_loss)
        .test("oracle_detects_a_duplicate", detects_duplicate)
        .test("oracle_detects_a_swap", detects_swap)
        .test("oracle_detects_a_foreign_record", detects_foreign)
        .test("oracle_counts_no_aborted_record", ignores_aborted)
        .test("oracle_detects_an_open_transaction", detects_open)
        .test("the_logs_tell_whose_a_duplicate_is", evidence_of_a_duplicate)
        .run()
}

/// Ids of a source, as values that stand in one output partition.
fn ids(case: &Case<'_>, topic: &str, source: i32, sequences: impl IntoIterator<Item = u32>) -> Vec<Record> {
    let topic = case.topic(topic);
    sequences.into_iter().map(|n| Record::new(&topic, format!("{source},{n},text")).to(source % 2)).collect()
}

fn judge(case: &Case<'_>) -> Result<oracle::Verdict> {
    oracle::check(case.cluster, &[&case.topic("out"), &case.topic("dead")], &[100, 50])
}

/// Two topics with everything that is expected, but for what `sequences` says of source 0.
fn planted(case: &Case<'_>, sequences: impl IntoIterator<Item = u32>) -> Result<oracle::Verdict> {
    case.topics(&[("out", 2), ("dead", 2)])?;
    case.client.write(ids(case, "out", 0, sequences))?;
    case.client.write(ids(case, "out", 1, (0..50).filter(|n| n % 10 != 3)))?;
    case.client.write(ids(case, "dead", 1, (0..50).filter(|n| n % 10 == 3)))?;
    judge(case)
}

fn accepts(case: &Case<'_>) -> Result<()> {
    let verdict = planted(case, 0..100)?;
    ensure!(verdict.records == 150, "{verdict:?}");
    verdict.demand_exactly_once()
}

fn detects_loss(case: &Case<'_>) -> Result<()> {
    let verdict = planted(case, (0..100).filter(|n| *n != 42))?;
    ensure!((verdict.missing, verdict.duplicates, verdict.out_of_order) == (1, 0, 0), "{verdict:?}");
    ensure!(verdict.examples == ["missing 0,42"], "{verdict:?}");
    ensure!(verdict.demand_exactly_once().is_err());
    Ok(())
}

fn detects_duplicate(case: &Case<'_>) -> Result<()> {
    let verdict = planted(case, (0..100).chain([42]))?;
    ensure!((verdict.missing, verdict.duplicates, verdict.out_of_order) == (0, 1, 0), "{verdict:?}");
    ensure!(verdict.demand_exactly_once().is_err());
    Ok(())
}

fn detects_swap(case: &Case<'_>) -> Result<()> {
    let swapped = (0..100).map(|n| match n {
        42 => 43,
        43 => 42,
        other => other,
    });
    let verdict = planted(case, swapped)?;
    ensure!((verdict.missing, verdict.duplicates, verdict.out_of_order) == (0, 0, 1), "{verdict:?}");
    ensure!(verdict.demand_exactly_once().is_err());
    Ok(())
}

fn detects_foreign(case: &Case<'_>) -> Result<()> {
    let verdict = planted(case, 0..101)?;
    ensure!((verdict.missing, verdict.duplicates, verdict.foreign) == (0, 0, 1), "{verdict:?}");
    ensure!(verdict.demand_exactly_once().is_err());
    Ok(())
}

fn ignores_aborted(case: &Case<'_>) -> Result<()> {
    case.topics(&[("out", 2), ("dead", 2)])?;
    case.client.write_transaction(&case.topic("a"), false, ids(case, "out", 0, 0..100))?;
    case.client.write_transaction(&case.topic("b"), true, ids(case, "out", 0, 0..99))?;
    case.client.write_transaction(&case.topic("c"), false, ids(case, "out", 0, 99..100))?;
    case.client.write_transaction(&case.topic("d"), true, ids(case, "dead", 1, 0..50))?;
    let verdict = judge(case)?;
    ensure!((verdict.records, verdict.missing, verdict.duplicates) == (149, 1, 0), "{verdict:?}");
    Ok(())
}

fn detects_open(case: &Case<'_>) -> Result<()> {
    case.topics(&[("out", 2), ("dead", 2)])?;
    case.client.write(ids(case, "out", 0, 0..100))?;
    case.client.write(ids(case, "out", 1, 0..50))?;
    let writer = case.client.open_transaction(&case.topic("open"), ids(case, "out", 0, 0..1))?;
    let verdict = judge(case)?;
    drop(writer);
    ensure!((verdict.missing, verdict.duplicates, verdict.open) == (0, 0, 1), "{verdict:?}");
    ensure!(verdict.demand_exactly_once().is_err());
    Ok(())
}

fn evidence_of_a_duplicate(case: &Case<'_>) -> Result<()> {
    case.topics(&[("out", 2), ("dead", 2)])?;
    case.client.write_transaction(&case.topic("a"), true, ids(case, "out", 0, 0..100))?;
    case.client.write_transaction(&case.topic("b"), false, ids(case, "out", 0, 40..50))?;
    case.client.write_transaction(&case.topic("c"), true, ids(case, "out", 0, [42]))?;
    case.client.write_transaction(&case.topic("d"), true, ids(case, "dead", 1, 0..50))?;
    let (out, dead) = (case.topic("out"), case.topic("dead"));
    let judged = evidence::demand_exactly_once(case.cluster, &[&out, &dead], &case.topic("state"), &judge(case)?);
    let evidence = format!("{:#}", judged.err().context("a duplicate is none")?);
    let places: Vec<&str> = evidence.lines().filter(|line| line.starts_with(&format!("  {out}-0: "))).collect();
    let ends: Vec<bool> = places.iter().map(|place| place.contains(": COMMIT at ")).collect();
    ensure!(evidence.contains("\n0,42 was written to\n") && ends == [true, false, true], "{evidence}");
    // What was kept goes with the test, unless it failed.
    let kept = evidence.lines().find_map(|line| line.rsplit_once(" are kept in ")).context("nothing is kept")?.1;
    ensure!(std::fs::read_dir(kept)?.next().is_some(), "{kept}");
    Ok(std::fs::remove_dir_all(kept)?)
}
