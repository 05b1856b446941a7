//! Waiting with a guard: for what another process does in its own time.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// The time between two looks.
const PAUSE: Duration = Duration::from_millis(20);

/// Looks until `look` finds something, and fails after `guard` with a message that names `what`.
///
/// The guard is no measurement: it is chosen at ten times the goal or more, so that a busy machine does not matter.
pub fn until<T>(what: &str, guard: Duration, mut look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let start = Instant::now();
    loop {
        if let Some(found) = look()? {
            return Ok(found);
        }
        if start.elapsed() > guard {
            bail!("waited {} s in vain for {what}", guard.as_secs());
        }
        thread::sleep(PAUSE);
    }
}

/// Waits until `holds` says true.
pub fn until_true(what: &str, guard: Duration, mut holds: impl FnMut() -> Result<bool>) -> Result<()> {
    until(what, guard, || Ok(holds()?.then_some(())))
}
