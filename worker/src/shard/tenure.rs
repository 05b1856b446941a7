//! A shard's tenure at this process: whether it is to be prepared, owned or let go, and by which generation of the
//! assignment.
//!
//! Owned by whoever starts the shard's thread; the thread looks at it wherever it waits. A tenure that has ended never
//! comes back: another one begins with another thread.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::shared::StopFlag;

/// That a shard is this process's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Grant {
    /// The assignment's generation that says so; 0 for `millstream run`.
    pub generation: i64,
    /// Whether another worker is about to hand the shard over, so that its mark is worth waiting for.
    pub handed_over: bool,
    /// Whether the shard is known to have started: a header that is missing then is a loss, not a first start.
    pub started: bool,
}

/// A shard's tenure.
#[derive(Debug)]
pub struct Tenure {
    stop: Arc<StopFlag>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    grant: Option<Grant>,
    generation: i64,
}

impl Tenure {
    /// Owned from the start, until `stop` is asked.
    pub fn owner(stop: Arc<StopFlag>, grant: Grant) -> Arc<Self> {
        let state = State { grant: Some(grant), generation: grant.generation };
        Arc::new(Self { stop, state: Mutex::new(state) })
    }

    /// To be prepared, until it is granted or `stop` is asked.
    pub fn standby(stop: Arc<StopFlag>, generation: i64) -> Arc<Self> {
        Arc::new(Self { stop, state: Mutex::new(State { grant: None, generation }) })
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the shard this process's; one that is already stays as it is.
    pub fn grant(&self, grant: Grant) {
        let mut state = self.state();
        state.grant.get_or_insert(grant);
        state.generation = state.generation.max(grant.generation);
        drop(state);
        self.stop.wake();
    }

    /// Lets the shard go, by this generation of the assignment.
    pub fn end(&self, generation: i64) {
        let mut state = self.state();
        state.generation = state.generation.max(generation);
        drop(state);
        self.stop.ask();
    }

    /// The grant, once there is one.
    pub fn granted(&self) -> Option<Grant> {
        self.state().grant
    }

    /// Waits for the grant; None if the tenure ends before.
    pub fn wait_for_grant(&self) -> Option<Grant> {
        self.stop.wait_until(|| self.granted().is_some());
        self.granted().filter(|_| !self.asked())
    }

    /// The newest generation that this tenure follows; it stands in headers.
    pub fn generation(&self) -> i64 {
        self.state().generation
    }

    /// Whether the shard is to be let go.
    pub fn asked(&self) -> bool {
        self.stop.asked()
    }

    /// Sleeps for `time`, or until the shard is to be let go; whether it is.
    pub fn sleep(&self, time: Duration) -> bool {
        self.stop.sleep(time)
    }

    /// What ends the tenure.
    pub fn stop(&self) -> &Arc<StopFlag> {
        &self.stop
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn grant(generation: i64) -> Grant {
        Grant { generation, handed_over: true, started: true }
    }

    #[test]
    fn a_standby_waits_until_it_is_granted_the_shard() {
        let tenure = Tenure::standby(Arc::default(), 3);
        let waiting = {
            let tenure = Arc::clone(&tenure);
            std::thread::spawn(move || tenure.wait_for_grant())
        };
        assert_eq!((tenure.granted(), tenure.generation()), (None, 3));
        tenure.grant(grant(4));
        assert_eq!(waiting.join().unwrap(), Some(grant(4)));
        tenure.grant(grant(5));
        assert_eq!((tenure.granted(), tenure.generation()), (Some(grant(4)), 5));
        assert!(!tenure.asked());
    }

    #[test]
    fn an_end_is_noticed_by_all_who_wait_and_says_by_which_generation() {
        let tenure = Tenure::standby(Arc::default(), 3);
        let waiting = {
            let tenure = Arc::clone(&tenure);
            std::thread::spawn(move || tenure.wait_for_grant())
        };
        tenure.end(7);
        assert_eq!(waiting.join().unwrap(), None);
        assert!(tenure.sleep(Duration::from_mins(10)));
        assert_eq!(tenure.generation(), 7);
    }

    #[test]
    fn the_end_of_the_process_ends_every_tenure() {
        let process = StopFlag::default();
        let tenure = Tenure::owner(process.child(), Grant::default());
        assert!(!tenure.asked());
        process.ask();
        assert!(tenure.asked());
        assert!(Tenure::owner(process.child(), Grant::default()).asked());
    }
}
