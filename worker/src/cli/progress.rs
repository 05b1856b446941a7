//! The progress line: one line on a terminal that says what the pipeline does, redrawn each second.
//!
//! Logs and the line share the terminal: whoever writes takes the line away first and puts it back after. On anything
//! but a terminal there is no line, only logs.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::terminal::Style;
use crate::metrics::Totals;
use crate::shard::{ShardState, ShardStatus};

/// Standard error with a line that stays at its end.
#[derive(Clone, Debug)]
pub(super) struct Screen {
    line: Option<Arc<Mutex<String>>>,
}

impl Screen {
    /// With a line if standard error is a terminal.
    pub(super) fn new() -> Self {
        let terminal = io::stderr().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb");
        Self { line: terminal.then(Arc::default) }
    }

    /// Without a line.
    pub(super) fn plain() -> Self {
        Self { line: None }
    }

    /// Whether there is a line to draw.
    pub(super) fn has_line(&self) -> bool {
        self.line.is_some()
    }

    /// Draws the line anew; an empty text takes it away.
    pub(super) fn draw(&self, text: &str) {
        let Some(line) = &self.line else { return };
        let mut line = line.lock().unwrap_or_else(PoisonError::into_inner);
        text.clone_into(&mut line);
        write(redrawn(&line).as_bytes());
    }

    /// Writes a log line above the line.
    pub(super) fn log(&self, text: &[u8]) {
        let Some(line) = &self.line else { return write(text) };
        let line = line.lock().unwrap_or_else(PoisonError::into_inner);
        write(&[b"\r\x1b[K", text, redrawn(&line).as_bytes()].concat());
    }
}

/// Takes the old line away and writes the new one; the terminal cuts it at its edge instead of wrapping it.
fn redrawn(line: &str) -> String {
    if line.is_empty() { "\r\x1b[K".into() } else { format!("\r\x1b[K\x1b[?7l{line}\x1b[?7h") }
}

/// A terminal that went away is no reason to stop a pipeline.
fn write(bytes: &[u8]) {
    let mut stderr = io::stderr().lock();
    let _ = stderr.write_all(bytes).and_then(|()| stderr.flush());
}

/// Makes the line's text out of totals, with rates over the last seconds.
#[derive(Debug)]
pub(super) struct Progress {
    pipeline: String,
    style: Style,
    samples: Vec<(Instant, Totals)>,
}

/// Over how long rates are taken.
const WINDOW: Duration = Duration::from_secs(3);

impl Progress {
    /// The line of a pipeline.
    pub(super) fn new(pipeline: &str, style: Style) -> Self {
        Self { pipeline: pipeline.to_owned(), style, samples: Vec::new() }
    }

    /// The text at a moment.
    pub(super) fn text(&mut self, now: Instant, totals: Totals, shards: &[ShardStatus]) -> String {
        self.samples.push((now, totals));
        self.samples.retain(|(at, _)| now.saturating_duration_since(*at) <= WINDOW);
        let (begin, first) = self.samples.first().copied().unwrap_or((now, totals));
        let seconds = now.saturating_duration_since(begin).as_secs_f64();
        let rate = |then: u64, now: u64| if seconds > 0.0 { now.saturating_sub(then) as f64 / seconds } else { 0.0 };
        let lag = totals.lag.map_or_else(|| "-".to_owned(), |lag| short(lag as f64));
        let dead = format!("{} bad", short(totals.dead_letters as f64));
        let dead = if totals.dead_letters > 0 { self.style.warning(&dead) } else { dead };
        format!(
            "{}  {}  in {}/s  out {}/s  lag {lag}  {dead}",
            self.style.heading(&self.pipeline),
            state(shards),
            short(rate(first.records_in, totals.records_in)),
            short(rate(first.records_out, totals.records_out)),
        )
    }
}

/// All shards' states in a few words.
pub(super) fn state(shards: &[ShardStatus]) -> String {
    let mut groups: BTreeMap<String, usize> = BTreeMap::new();
    for shard in shards {
        *groups.entry(shard.state.to_string()).or_default() += 1;
    }
    match (groups.len(), shards.first()) {
        (_, None) => "starting".into(),
        (1, Some(ShardStatus { state, .. })) => format!("{state} ({})", shards_word(shards.len())),
        _ => {
            let running = shards.iter().filter(|shard| shard.state == ShardState::Running).count();
            let other = shards.iter().find(|shard| shard.state != ShardState::Running);
            let other = other.map_or_else(String::new, |shard| format!(", shard {} {}", shard.shard, shard.state));
            format!("{running} of {} running{other}", shards_word(shards.len()))
        }
    }
}

fn shards_word(n: usize) -> String {
    super::terminal::count(n, "shard")
}

/// A number in at most five characters: `999`, `1.2k`, `12k`, `1.2M`.
pub(super) fn short(number: f64) -> String {
    const UNITS: [&str; 5] = ["", "k", "M", "G", "T"];
    let (mut number, mut unit) = (number, 0);
    while number.abs() >= 999.5 && unit + 1 < UNITS.len() {
        number /= 1000.0;
        unit += 1;
    }
    let digits = usize::from(unit > 0 && number.abs() < 9.95);
    format!("{number:.digits$}{}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(shard: u32, state: ShardState) -> ShardStatus {
        ShardStatus { shard, state, since: Instant::now(), checkpoint: None }
    }

    #[test]
    fn numbers_stay_short() {
        for (number, text) in [
            (0.0, "0"),
            (1.4, "1"),
            (999.4, "999"),
            (999.6, "1.0k"),
            (1234.0, "1.2k"),
            (9_960.0, "10k"),
            (123_456.0, "123k"),
            (999_600.0, "1.0M"),
            (1_250_000.0, "1.2M"),
            (-5.0, "-5"),
        ] {
            assert_eq!(short(number), text, "{number}");
        }
    }

    #[test]
    fn states_of_shards_are_summed_up() {
        use ShardState::{Running, Waiting};
        assert_eq!(state(&[]), "starting");
        assert_eq!(state(&[status(0, Running)]), "running (1 shard)");
        assert_eq!(state(&[status(0, Running), status(1, Running)]), "running (2 shards)");
        let mixed = [status(0, Running), status(1, Waiting("topic x is missing".into()))];
        assert_eq!(state(&mixed), "1 of 2 shards running, shard 1 waiting: topic x is missing");
    }

    #[test]
    fn rates_are_those_of_the_last_seconds() {
        let mut progress = Progress::new("p", Style::PLAIN);
        let begin = Instant::now();
        let totals = |n| Totals { records_in: n, records_out: n / 2, dead_letters: 0, lag: Some(7) };
        let running = [status(0, ShardState::Running)];
        let first = progress.text(begin, totals(0), &running);
        assert_eq!(first, "p  running (1 shard)  in 0/s  out 0/s  lag 7  0 bad");
        for second in 1..=10 {
            let n = if second < 8 { 0 } else { 2000 * (second - 7) };
            let text = progress.text(begin + Duration::from_secs(second), totals(n), &running);
            if second == 10 {
                assert_eq!(text, "p  running (1 shard)  in 2.0k/s  out 1.0k/s  lag 7  0 bad");
            }
        }
    }

    #[test]
    fn a_line_is_cut_and_not_wrapped() {
        assert_eq!(redrawn(""), "\r\x1b[K");
        assert_eq!(redrawn("x"), "\r\x1b[K\x1b[?7lx\x1b[?7h");
    }
}
