//! What may block, cut out of a step: it owns all it needs and runs on any thread.

use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

use crate::accounts::Reread;

/// Work for one session. Running it changes what it owns and nothing else; who waits for it, or
/// whether anyone still does, is not its concern.
pub struct Job {
    work: Mutex<Option<Reread>>,
    finished: AtomicBool,
}

impl Job {
    pub(crate) fn new(work: Reread) -> Self {
        Self { work: Mutex::new(Some(work)), finished: AtomicBool::new(false) }
    }

    /// Does the work, the first time it is called.
    pub fn run(&self) {
        let work = self.work.lock().take();
        if let Some(work) = work {
            work.run();
            self.finished.store(true, Ordering::Release);
        }
    }

    /// Whether the work is done.
    pub fn is_finished(&self) -> bool {
        self.finished.load(Ordering::Acquire)
    }
}
