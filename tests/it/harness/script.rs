//! Where an origin pauses or breaks off while it answers.

use std::sync::{Arc, Condvar, Mutex};
use std::time::Instant;

use super::{DEADLINE, lock};

/// A point that an origin does not pass before the test lets it.
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

    /// Lets everybody pass, now and later.
    pub fn open(&self) {
        self.change(|state| state.open = true);
    }

    /// Waits until an origin stands at the gate for the `count`th time.
    #[track_caller]
    pub fn await_reached(&self, count: usize) {
        assert!(self.wait(|state| state.reached >= count), "the origin never got to the gate {count} times");
    }

    /// Called by an origin: false means that the test is over.
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
            let Some(left) = deadline.checked_duration_since(Instant::now()) else { return false };
            state = self.state.1.wait_timeout(state, left).expect("nobody panics with a lock").0;
        }
        true
    }
}

/// What happens at a place of an answer.
#[derive(Clone)]
pub enum Stop {
    /// Waits for the test.
    Gate(Gate),
    /// Closes the connection.
    Cut,
    /// Resets the connection: what the peer has not read yet is lost.
    Reset,
    /// Says nothing more, and keeps the connection until the peer gives up.
    Stall,
}
