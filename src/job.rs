//! What may block, cut out of a step: it owns all it needs and runs on any thread.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use parking_lot::Mutex;

/// What a job does, once. All that it holds is let go of when it has ended or will never begin.
pub(crate) type Work = Box<dyn FnOnce() + Send>;

/// Work for one session. Running it changes what it owns and nothing else; who waits for it, or
/// whether anyone still does, is not its concern.
pub struct Job {
    work: Mutex<Option<Work>>,
    audience: Audience,
    finished: AtomicBool,
}

/// Who is served by a job.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Audience {
    /// Whoever comes next, too.
    All,
    /// One step alone: accounts that have to be asked about every sign-in.
    One,
}

impl Job {
    /// A job to be run.
    pub(crate) fn new(audience: Audience, work: Work) -> Self {
        Self { work: Mutex::new(Some(work)), audience, finished: AtomicBool::new(false) }
    }

    /// Does the work, the first time it is called.
    pub fn run(&self) {
        let work = self.work.lock().take();
        if let Some(work) = work {
            work();
            self.finished.store(true, Ordering::Release);
        }
    }

    /// The step that asked for it waits no longer: work for it alone need not begin any more. What
    /// has begun ends by itself.
    pub(crate) fn abandon(&self) {
        if self.audience == Audience::One {
            let work = self.work.lock().take();
            drop(work);
        }
    }

    /// Whether the work is done.
    pub fn is_finished(&self) -> bool {
        self.finished.load(Ordering::Acquire)
    }
}

/// How many jobs of one kind there are that have not ended.
#[derive(Default)]
pub(crate) struct Jobs(Arc<AtomicUsize>);

impl Jobs {
    /// Leave for one more, unless there are `most` already.
    pub(crate) fn permit(&self, most: usize) -> Option<Permit> {
        let one_more = |count| (count < most).then_some(count + 1);
        self.0.fetch_update(Ordering::Acquire, Ordering::Relaxed, one_more).ok()?;
        Some(Permit(self.0.clone()))
    }
}

/// Leave for one job, given back when dropped: the work owns it.
pub(crate) struct Permit(Arc<AtomicUsize>);

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(jobs: &Jobs, work: impl FnOnce() + Send + 'static) -> Option<Job> {
        let permit = jobs.permit(1)?;
        Some(Job::new(
            Audience::One,
            Box::new(move || {
                let _permit = permit;
                work();
            }),
        ))
    }

    #[test]
    fn a_permit_is_held_until_the_work_has_ended() {
        let jobs = Jobs::default();
        let first = job(&jobs, || ()).expect("the first");
        assert!(job(&jobs, || ()).is_none());
        assert!(jobs.permit(2).is_some());
        first.run();
        assert!(first.is_finished());
        assert!(job(&jobs, || ()).is_some());
    }

    #[test]
    fn a_permit_outlasts_neither_a_panic_nor_a_job_that_never_runs() {
        let jobs = Jobs::default();
        let panics = job(&jobs, || panic!("on purpose")).expect("a permit");
        let run = std::panic::AssertUnwindSafe(|| panics.run());
        assert!(std::panic::catch_unwind(run).is_err());
        assert!(!panics.is_finished());
        drop(job(&jobs, || ()).expect("given back"));
        let abandoned = job(&jobs, || panic!("never")).expect("given back");
        abandoned.abandon();
        abandoned.run();
        assert!(!abandoned.is_finished());
        assert!(jobs.permit(1).is_some());
    }
}
