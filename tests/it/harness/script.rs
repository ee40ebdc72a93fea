//! Points at which an origin pauses or breaks off a response.

use std::sync::{Arc, Condvar, Mutex};
use std::time::Instant;

use super::{DEADLINE, lock};

/// A point at which an origin waits for the test.
#[derive(Clone, Default)]
pub struct Gate {
    state: Arc<(Mutex<State>, Condvar)>,
}

#[derive(Default)]
struct State {
    reached: usize,
    open: bool,
    abandoned: bool,
}

impl Gate {
    pub fn new() -> Self {
        Self::default()
    }

    /// Opens the gate for all present and future requests.
    pub fn open(&self) {
        self.change(|state| state.open = true);
    }

    /// Waits until requests have reached the gate `count` times.
    #[track_caller]
    pub fn await_reached(&self, count: usize) {
        assert!(
            self.wait(|state| state.reached >= count),
            "the origin did not reach the gate {count} times"
        );
    }

    /// Waits at the gate, for an origin. Returns false if the test is over.
    pub(super) fn pass(&self) -> bool {
        self.change(|state| state.reached += 1);
        self.wait(|state| state.open || state.abandoned) && !lock(&self.state.0).abandoned
    }

    pub(super) fn abandon(&self) {
        self.change(|state| state.abandoned = true);
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut lock(&self.state.0));
        self.state.1.notify_all();
    }

    fn wait(&self, done: impl Fn(&State) -> bool) -> bool {
        let deadline = Instant::now() + DEADLINE;
        let mut state = lock(&self.state.0);
        while !done(&state) {
            let Some(left) = deadline.checked_duration_since(Instant::now()) else {
                return false;
            };
            state = self
                .state
                .1
                .wait_timeout(state, left)
                .expect("no thread panicked with the lock")
                .0;
        }
        true
    }
}

/// Event at a point of a response.
#[derive(Clone)]
pub enum Stop {
    /// Waits for the test.
    Gate(Gate),
    /// Closes the connection.
    Cut,
    /// Resets the connection, so that unread data is lost at the peer.
    Reset,
    /// Sends nothing more, and keeps the connection open until the peer closes it.
    Stall,
}
