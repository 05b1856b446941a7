//! Named fault points: places at which a test can stop, kill or delay the process.
//!
//! Compiled out of releases: without the feature `fault-points`, [`point`] is an empty function. With it, the
//! environment variable `MILLSTREAM_FAULT` says what happens where, as `point=action[@n][,…]`: at the `n`-th passing
//! (default 1) of `point` the process is ended by SIGKILL (`kill`), stopped by SIGSTOP (`stop`), ended with code 70
//! (`exit`) or delayed (`delay:MILLISECONDS`).

/// The fault points of every shard, in the order in which it passes them.
pub const POINTS: &[&str] = &[
    "takeover.begin",
    "takeover.header-read",
    "takeover.before-init",
    "takeover.after-init",
    "takeover.header-read-again",
    "takeover.restored",
    "takeover.first-commit",
    "takeover.taken",
    "batch.before-write",
    "batch.after-write",
    "checkpoint.begin",
    "checkpoint.before-header",
    "checkpoint.after-header",
    "checkpoint.after-offsets",
    "checkpoint.before-commit",
    "checkpoint.after-commit",
    "abort.before",
    "abort.after",
    "release.before",
    "release.after",
];

/// Those on the wire: behind requests that are on their way, and behind answers. Passed where the client is our own.
pub const WIRE_POINTS: &[&str] = &[
    "wire.init-sent",
    "wire.fetch-answered",
    "wire.produce-sent",
    "wire.produce-answered",
    "wire.offsets-sent",
    "wire.end-sent",
    "wire.end-answered",
];

/// Passes a fault point.
#[cfg(not(feature = "fault-points"))]
#[inline(always)]
pub fn point(_name: &'static str) {}

#[cfg(feature = "fault-points")]
pub use armed::point;

#[cfg(feature = "fault-points")]
mod armed {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;

    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum Action {
        Kill,
        Stop,
        Exit,
        Delay(Duration),
    }

    #[derive(Debug)]
    struct Fault {
        point: String,
        action: Action,
        at: u64,
        passed: AtomicU64,
    }

    fn is_listed(name: &str) -> bool {
        super::POINTS.contains(&name) || super::WIRE_POINTS.contains(&name)
    }

    /// Passes a fault point, and does there what `MILLSTREAM_FAULT` says.
    pub fn point(name: &'static str) {
        debug_assert!(is_listed(name), "unlisted fault point {name}");
        for fault in faults().iter().filter(|fault| fault.point == name) {
            if fault.passed.fetch_add(1, Ordering::Relaxed) + 1 == fault.at {
                tracing::warn!(point = name, action = ?fault.action, "fault point");
                act(fault.action);
            }
        }
    }

    fn faults() -> &'static [Fault] {
        static FAULTS: OnceLock<Vec<Fault>> = OnceLock::new();
        FAULTS.get_or_init(|| {
            let text = std::env::var("MILLSTREAM_FAULT").unwrap_or_default();
            let parsed = text.split(',').filter(|part| !part.is_empty()).map(|part| parse(part).ok_or(part));
            parsed.collect::<Result<_, _>>().unwrap_or_else(|part| {
                // A fault that is never injected would let its test pass for nothing.
                tracing::error!(
                    "MILLSTREAM_FAULT: `{part}` is not point=kill|stop|exit|delay:MS[@n] with a known point"
                );
                std::process::abort()
            })
        })
    }

    fn parse(text: &str) -> Option<Fault> {
        let (point, rest) = text.split_once('=')?;
        let (action, at) = rest.split_once('@').unwrap_or((rest, "1"));
        let action = match action.split_once(':') {
            Some(("delay", millis)) => Action::Delay(Duration::from_millis(millis.parse().ok()?)),
            None if action == "kill" => Action::Kill,
            None if action == "stop" => Action::Stop,
            None if action == "exit" => Action::Exit,
            _ => return None,
        };
        is_listed(point).then_some(())?;
        Some(Fault { point: point.to_owned(), action, at: at.parse().ok()?, passed: AtomicU64::new(0) })
    }

    #[expect(clippy::disallowed_methods, reason = "an exit without destructors is what this fault is")]
    fn act(action: Action) {
        match action {
            Action::Kill => signal("-KILL"),
            Action::Stop => signal("-STOP"),
            Action::Exit => std::process::exit(70),
            Action::Delay(time) => std::thread::sleep(time),
        }
    }

    /// Sends a signal to this process by the `kill` program: no `unsafe` for the sake of tests.
    fn signal(signal: &str) {
        let _ = std::process::Command::new("kill").args([signal, &std::process::id().to_string()]).status();
        // The signal may arrive after `kill` has ended; nothing may happen in between.
        std::thread::sleep(Duration::from_millis(200));
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn faults_are_read_from_text() {
            let fault = parse("checkpoint.begin=delay:250@3").map(|f| (f.point, f.action, f.at));
            assert_eq!(fault, Some(("checkpoint.begin".into(), Action::Delay(Duration::from_millis(250)), 3)));
            assert_eq!(parse("abort.before=kill").map(|f| (f.action, f.at)), Some((Action::Kill, 1)));
            for wrong in ["", "nowhere=kill", "abort.before", "abort.before=explode", "abort.before=kill@x"] {
                assert!(parse(wrong).is_none(), "{wrong}");
            }
        }
    }
}
