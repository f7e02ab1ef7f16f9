//! For tests: the accounts of a file behind something that takes its time over every sign-in, as a
//! domain controller may.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::{AccountsFile, Busy};
use crate::job::{Audience, Job};

/// A file whose every answer takes `delay`.
pub struct SlowFile {
    file: Arc<AccountsFile>,
    delay: Duration,
}

impl SlowFile {
    pub(crate) fn new(file: Arc<AccountsFile>, delay: Duration) -> Self {
        Self { file, delay }
    }

    pub(super) fn file(&self) -> &Arc<AccountsFile> {
        &self.file
    }

    /// One question.
    pub(super) fn ask(&self, max_jobs: usize) -> Result<Job, Busy> {
        let permit = self.file.waiting.permit(max_jobs).ok_or(Busy)?;
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
