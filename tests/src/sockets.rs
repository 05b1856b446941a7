//! What the kernel counts on a process' sockets, as `ss` (iproute2) tells it.

use std::process::Command;

use anyhow::{Result, ensure};

use crate::installation::run;

/// The sum of a counter, such as `bytes_received`, over the open TCP connections of a process; `filter` is one of `ss`,
/// and empty for all.
pub fn sum(id: u32, counter: &str, filter: &[&str]) -> Result<u64> {
    let mut sockets = Command::new("ss");
    sockets.arg("-tinpHO").args(filter);
    let (told, done) = run(sockets, "")?;
    ensure!(done, "ss cannot tell: {told}");
    Ok(sum_of(&told, id, counter))
}

fn sum_of(told: &str, id: u32, counter: &str) -> u64 {
    let process = format!("pid={id},");
    let words = told.lines().filter(|line| line.contains(&process)).flat_map(str::split_whitespace);
    let values = words.filter_map(|word| word.strip_prefix(counter)?.strip_prefix(':')?.parse::<u64>().ok());
    values.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_process_and_the_counter_count() {
        let told = "ESTAB 0 0 127.0.0.1:1 127.0.0.1:2 users:((\"m\",pid=12,fd=3)) cubic data_segs_out:5 data_segs_in:7\n\
                    ESTAB 0 0 127.0.0.1:1 127.0.0.1:2 users:((\"m\",pid=121,fd=3)) cubic data_segs_out:9\n\
                    ESTAB 0 0 127.0.0.1:1 127.0.0.1:2 users:((\"m\",pid=12,fd=4)) cubic\n\
                    ESTAB 0 0 127.0.0.1:1 127.0.0.1:2 users:((\"m\",pid=12,fd=5)) cubic data_segs_out:1\n";
        assert_eq!(sum_of(told, 12, "data_segs_out"), 6);
        assert_eq!(sum_of(told, 12, "data_segs"), 0);
    }
}
