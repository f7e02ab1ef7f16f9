//! Where the accounts of a scope are, and what has to be asked there before a step can go on.

use std::sync::Arc;

use super::{Account, AccountName, Accounts, AccountsFile};
use crate::job::{Audience, Job};
use crate::secret::Secret;
use crate::watched::Notice;

/// Where accounts are. Equal ones are the same place.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Backend {
    /// A file.
    File(Arc<AccountsFile>),
    /// A file that takes its time.
    #[cfg(feature = "slow-accounts")]
    Slow(Arc<super::SlowFile>),
}

/// So many wait for the accounts that nobody else may.
pub(crate) struct Busy;

impl Backend {
    /// Whether every sign-in is a question to somebody else.
    pub(crate) fn asks(&self) -> bool {
        match self {
            Self::File(_) => false,
            #[cfg(feature = "slow-accounts")]
            Self::Slow(_) => true,
        }
    }

    /// What has to be asked before an AUTHENTICATE can be judged, unless `max_jobs` of that kind
    /// wait already.
    // Only who has to ask for every one of them looks at max_jobs.
    #[cfg_attr(not(feature = "slow-accounts"), expect(unused_variables))]
    pub(crate) fn before_sign_in(&self, max_jobs: usize) -> Result<Option<Job>, Busy> {
        match self {
            Self::File(_) => Ok(self.before_request()),
            #[cfg(feature = "slow-accounts")]
            Self::Slow(slow) => slow.ask(max_jobs).map(Some),
        }
    }

    /// What has to be asked before somebody who signed in earlier is served: the file's new
    /// contents, if it has changed. Whoever comes meanwhile goes on with the old ones.
    pub(crate) fn before_request(&self) -> Option<Job> {
        let reread = self.file().reread_if_changed()?;
        Some(Job::new(Audience::All, Box::new(move || reread.run())))
    }

    /// The number of what is known of the accounts: with another one, a sign-in is to be renewed.
    pub(crate) fn generation(&self) -> u64 {
        self.file().generation()
    }

    /// The account of a session as it is now, if who proved to be `account` still has proved that.
    pub(crate) fn renewed(&self, account: &Account) -> Option<Arc<Account>> {
        self.file().renewed(account)
    }

    /// Takes what an administrator has to be told.
    pub(crate) fn take_notice(&self) -> Option<Notice> {
        self.file().take_notice()
    }

    fn file(&self) -> &Arc<AccountsFile> {
        match self {
            Self::File(file) => file,
            #[cfg(feature = "slow-accounts")]
            Self::Slow(slow) => slow.file(),
        }
    }
}

impl Accounts for Backend {
    fn find(&self, name: &AccountName<'_>) -> Option<Arc<Account>> {
        self.file().find(name)
    }

    fn decoy(&self) -> &Secret<16> {
        self.file().decoy()
    }
}
