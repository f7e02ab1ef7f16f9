//! For tests: the accounts of a file behind something that takes its time over every sign-in, as a
//! domain controller may.

use std::sync::{Arc, Weak};
use std::thread;
use std::time::Duration;

use parking_lot::Mutex;

use super::{AccountsFile, Busy};
use crate::job::{Audience, Job, Jobs};

/// Every one that some configuration uses.
static SLOW: Mutex<Vec<Weak<SlowFile>>> = Mutex::new(Vec::new());

/// A file whose every answer takes `delay`.
pub struct SlowFile {
    file: Arc<AccountsFile>,
    delay: Duration,
    jobs: Jobs,
}

impl SlowFile {
    /// The same for every configuration that names file and delay: those who wait are counted
    /// together.
    pub(crate) fn open(file: Arc<AccountsFile>, delay: Duration) -> Arc<Self> {
        let new = Self { file, delay, jobs: Jobs::default() };
        let mut all = SLOW.lock();
        all.retain(|slow| slow.strong_count() > 0);
        if let Some(known) = all.iter().filter_map(Weak::upgrade).find(|known| **known == new) {
            return known;
        }
        let new = Arc::new(new);
        all.push(Arc::downgrade(&new));
        new
    }

    pub(super) fn file(&self) -> &Arc<AccountsFile> {
        &self.file
    }

    /// One question.
    pub(super) fn ask(&self, max_jobs: usize) -> Result<Job, Busy> {
        let permit = self.jobs.permit(max_jobs).ok_or(Busy::TooMany)?;
        let (reread, delay) = (self.file.reread_if_changed(), self.delay);
        Ok(Job::new(
            Audience::One,
            Box::new(move || {
                let _permit = permit;
                thread::sleep(delay);
                if let Some(reread) = reread {
                    reread.run();
                }
            }),
        ))
    }
}

impl PartialEq for SlowFile {
    fn eq(&self, other: &Self) -> bool {
        (&self.file, self.delay) == (&other.file, other.delay)
    }
}

impl Eq for SlowFile {}

impl std::hash::Hash for SlowFile {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        (&self.file, self.delay).hash(state);
    }
}
