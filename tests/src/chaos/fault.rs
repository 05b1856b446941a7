//! What can happen to a pipeline, and the order in which it does.

use std::fmt;

use rand::RngExt;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;

/// Something that happens to a pipeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The process in charge is killed at a random time.
    Kill,
    /// The process in charge is frozen; another takes over; the frozen one goes on.
    Freeze,
    /// The process in charge is frozen for longer than the transaction timeout, and nobody takes over.
    Pause,
    /// Two more processes are started at once.
    Duel,
    /// A process is killed or frozen at a fault point of its own.
    Point {
        /// The point's name.
        point: &'static str,
        /// Frozen, not killed.
        stop: bool,
        /// The passing at which it happens.
        passing: u32,
    },
    /// A process is delayed at a fault point for longer than the transaction timeout.
    Timeout {
        /// The point's name.
        point: &'static str,
    },
    /// The broker is killed and started again.
    BrokerKilled,
    /// The broker is stopped in order and started again.
    BrokerRestarted,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kill => write!(f, "killed at a random time"),
            Self::Freeze => write!(f, "frozen, continued behind a takeover"),
            Self::Pause => write!(f, "frozen past the transaction timeout"),
            Self::Duel => write!(f, "two started at once"),
            Self::Point { point, stop, passing } => {
                write!(f, "{point}: {} at passing {passing}", if *stop { "frozen" } else { "killed" })
            }
            Self::Timeout { point } => write!(f, "{point}: delayed past the transaction timeout"),
            Self::BrokerKilled => write!(f, "broker killed"),
            Self::BrokerRestarted => write!(f, "broker restarted"),
        }
    }
}

/// The point that only a pipeline's very first start passes.
const FIRST: &str = "takeover.first-commit";

/// `count` faults, or more if that is needed for a kill and a freeze at each of `points`. Faults that take more than ten
/// seconds by their nature are few.
pub fn plan(points: &[&'static str], count: usize, rng: &mut StdRng) -> Vec<Fault> {
    let (first, others): (Vec<&str>, Vec<&str>) = points.iter().partition(|point| **point == FIRST);
    let mut rest: Vec<Fault> = others.iter().flat_map(|p| [at(p, false, rng), at(p, true, rng)]).collect();
    rest.extend([Fault::Pause, Fault::Duel, Fault::BrokerKilled, Fault::BrokerRestarted]);
    rest.extend(points.iter().find(|p| p.ends_with("before-commit")).map(|point| Fault::Timeout { point }));
    while first.len() * 2 + rest.len() < count {
        rest.push(random(points, rng));
    }
    rest.shuffle(rng);
    let starts = first.iter().flat_map(|point| [false, true].map(|stop| Fault::Point { point, stop, passing: 1 }));
    starts.chain(rest).collect()
}

/// A few faults of all kinds, always the same: for what is not the default.
pub fn few() -> Vec<Fault> {
    let point = |point, stop, passing| Fault::Point { point, stop, passing };
    vec![
        point("takeover.first-commit", false, 1),
        point("takeover.after-init", true, 1),
        point("checkpoint.before-commit", false, 3),
        point("checkpoint.before-commit", true, 5),
        point("checkpoint.after-commit", true, 4),
        point("abort.before", false, 1),
        point("abort.after", true, 1),
        Fault::Kill,
        Fault::Freeze,
        Fault::BrokerKilled,
        Fault::Timeout { point: "checkpoint.before-commit" },
        Fault::Duel,
    ]
}

fn at(point: &'static str, stop: bool, rng: &mut StdRng) -> Fault {
    // Each shard passes the points of takeover and release once, the others again and again.
    let passing = match point.split('.').next() {
        _ if point == "wire.init-sent" => rng.random_range(1..=2),
        Some("checkpoint" | "batch" | "wire") => rng.random_range(1..=8),
        Some("takeover" | "release") => rng.random_range(1..=2),
        _ => 1,
    };
    Fault::Point { point, stop, passing }
}

fn random(points: &[&'static str], rng: &mut StdRng) -> Fault {
    match rng.random_range(0..100) {
        0..25 => Fault::Kill,
        25..50 => Fault::Freeze,
        50..55 => Fault::Duel,
        55..57 => Fault::Pause,
        57..60 => Fault::BrokerKilled,
        60..62 => Fault::BrokerRestarted,
        _ => {
            let usual: Vec<&'static str> = points.iter().copied().filter(|p| *p != FIRST).collect();
            usual.get(rng.random_range(0..usual.len().max(1))).map_or(Fault::Kill, |p| at(p, rng.random(), rng))
        }
    }
}
