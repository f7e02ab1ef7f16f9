//! A circuit breaker: who keeps others waiting for nothing is not asked any more, but by one of them
//! at a time.

use std::sync::Arc;
use std::time::{Duration, Instant};

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
    /// When the last answer came in time.
    answered: Option<Instant>,
    open: bool,
    /// Who tries while it is open.
    trial: Option<Trial>,
    /// How many have tried.
    trials: u64,
}

struct Trial {
    number: u64,
    began: Instant,
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
    trial: Option<u64>,
}

impl Breaker {
    /// Leave to ask; while it is open there is one at a time, for as long as it may wait.
    pub(super) fn pass(self: &Arc<Self>, timeout: Duration) -> Option<Pass> {
        let mut state = self.0.lock();
        let mut number = None;
        if state.open {
            if state.trial.as_ref().is_some_and(|trial| trial.began.elapsed() < timeout) {
                return None;
            }
            state.trials += 1;
            number = Some(state.trials);
            state.trial = Some(Trial { number: state.trials, began: Instant::now() });
        }
        Some(Pass { breaker: self.clone(), trial: number })
    }

    /// Somebody has given up who might have waited for `timeout`. It counts when the time was over
    /// and nobody else had an answer meanwhile: whoever left early, had no thread to ask, or asked
    /// about a domain of its own, says nothing.
    pub(super) fn gave_up(&self, waited: Duration, timeout: Duration) -> Option<Change> {
        let mut state = self.0.lock();
        let answers = state.answered.is_some_and(|answered| answered.elapsed() < waited);
        if answers || waited < timeout / 10 * 9 {
            return None;
        }
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
        state.answered = Some(Instant::now());
        state.trial = None;
        std::mem::take(&mut state.open).then_some(Change::Closed)
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        let Some(number) = self.trial else { return };
        let mut state = self.breaker.0.lock();
        if state.trial.as_ref().is_some_and(|trial| trial.number == number) {
            state.trial = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(10);

    fn missed(breaker: &Breaker) -> Option<Change> {
        breaker.gave_up(TIMEOUT, TIMEOUT)
    }

    #[test]
    fn misses_in_a_row_open_it_and_one_answer_closes_it() {
        let breaker = Arc::new(Breaker::default());
        assert_eq!([missed(&breaker), missed(&breaker)], [None, None]);
        assert_eq!(breaker.pass(TIMEOUT).expect("closed").answered(), None);
        breaker.forget_the_answer();
        assert_eq!([missed(&breaker), missed(&breaker)], [None, None]);
        let early = breaker.pass(TIMEOUT).expect("closed");
        assert_eq!(missed(&breaker), Some(Change::Opened));
        assert_eq!(missed(&breaker), None);
        let trial = breaker.pass(TIMEOUT).expect("the one that tries");
        assert!(breaker.pass(TIMEOUT).is_none());
        drop(trial);
        let trial = breaker.pass(TIMEOUT).expect("the next");
        // One from before it opened does not make room for another.
        drop(early);
        assert!(breaker.pass(TIMEOUT).is_none());
        assert_eq!(trial.answered(), Some(Change::Closed));
        let closed = || breaker.pass(TIMEOUT).expect("closed");
        let _both = (closed(), closed());
    }

    #[test]
    fn who_tries_keeps_others_out_for_as_long_as_it_may_wait() {
        let breaker = Arc::new(Breaker::default());
        breaker.0.lock().open = true;
        let endless = breaker.pass(TIMEOUT).expect("the first");
        assert!(breaker.pass(TIMEOUT).is_none());
        let next = breaker.pass(Duration::ZERO).expect("its time is over");
        // What comes late of it is nothing to the next.
        drop(endless);
        assert!(breaker.pass(TIMEOUT).is_none());
        drop(next);
        let endless = breaker.pass(TIMEOUT).expect("the last");
        assert_eq!(breaker.pass(Duration::ZERO).expect("another").answered(), Some(Change::Closed));
        breaker.0.lock().open = true;
        let _first = breaker.pass(TIMEOUT).expect("opened anew, it knows of nobody");
        drop(endless);
        assert!(breaker.pass(TIMEOUT).is_none());
    }

    #[test]
    fn who_could_not_ask_or_left_early_has_missed_nothing() {
        let breaker = Arc::new(Breaker::default());
        for _ in 0..5 {
            assert_eq!(breaker.gave_up(Duration::ZERO, TIMEOUT), None);
            assert_eq!(breaker.gave_up(TIMEOUT / 2, TIMEOUT), None);
        }
        // While others have answers, there is nothing wrong with the domain.
        breaker.pass(TIMEOUT).expect("closed").answered();
        for _ in 0..5 {
            assert_eq!(missed(&breaker), None);
        }
        assert_eq!(breaker.0.lock().misses, 0);
        breaker.forget_the_answer();
        assert_eq!([missed(&breaker), missed(&breaker)], [None, None]);
        assert_eq!(missed(&breaker), Some(Change::Opened));
    }

    impl Breaker {
        /// As if it had come long ago.
        fn forget_the_answer(&self) {
            self.0.lock().answered = None;
        }
    }
}
