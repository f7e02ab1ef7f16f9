//! A circuit breaker: who keeps others waiting for nothing is not asked any more, but by one of them
//! at a time.

use std::sync::Arc;

use parking_lot::Mutex;

/// So many deadlines missed one after the other open it.
const MOST_MISSES: u32 = 3;

/// Closed while answers come, open after deadlines that were missed one after the other.
#[derive(Default)]
pub(super) struct Breaker(Mutex<State>);

#[derive(Default)]
struct State {
    /// Deadlines that were missed since the last answer.
    misses: u32,
    open: bool,
    /// Whether somebody tries while it is open.
    tried: bool,
}

/// What has become of the breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// Nobody is asked any more.
    Opened,
    /// Everybody is.
    Closed,
}

/// Leave to ask.
pub(super) struct Pass {
    breaker: Arc<Breaker>,
    is_trial: bool,
}

impl Breaker {
    /// Leave to ask; while it is open there is one at a time.
    pub(super) fn pass(self: &Arc<Self>) -> Option<Pass> {
        let mut state = self.0.lock();
        let is_trial = state.open;
        if is_trial && state.tried {
            return None;
        }
        state.tried |= is_trial;
        Some(Pass { breaker: self.clone(), is_trial })
    }

    /// Somebody waited until the deadline.
    pub(super) fn missed(&self) -> Option<Change> {
        let mut state = self.0.lock();
        state.misses = state.misses.saturating_add(1);
        if state.open || state.misses < MOST_MISSES {
            return None;
        }
        state.open = true;
        Some(Change::Opened)
    }
}

impl Pass {
    /// There was an answer, and in time.
    pub(super) fn answered(self) -> Option<Change> {
        let mut state = self.breaker.0.lock();
        state.misses = 0;
        std::mem::take(&mut state.open).then_some(Change::Closed)
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        if self.is_trial {
            self.breaker.0.lock().tried = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn misses_in_a_row_open_it_and_one_answer_closes_it() {
        let breaker = Arc::new(Breaker::default());
        assert_eq!([breaker.missed(), breaker.missed()], [None, None]);
        assert_eq!(breaker.pass().expect("closed").answered(), None);
        assert_eq!([breaker.missed(), breaker.missed()], [None, None]);
        let early = breaker.pass().expect("closed");
        assert_eq!(breaker.missed(), Some(Change::Opened));
        assert_eq!(breaker.missed(), None);
        let trial = breaker.pass().expect("the one that tries");
        assert!(breaker.pass().is_none());
        drop(trial);
        let trial = breaker.pass().expect("the next");
        // One from before it opened does not make room for another.
        drop(early);
        assert!(breaker.pass().is_none());
        assert_eq!(trial.answered(), Some(Change::Closed));
        let _both = (breaker.pass().expect("closed"), breaker.pass().expect("closed"));
    }
}
