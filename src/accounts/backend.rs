//! Where the accounts of a scope are, and what has to be asked there before a step can go on.

use std::sync::Arc;
use std::time::Duration;

use super::winbind::{Besides, Reply};
use super::{Account, AccountsFile, Winbind};
use crate::config::Scope;
use crate::job::{Audience, Job};
use crate::ntlm::{self, Authority, Question, ServerNames};
use crate::reason::Reason;
use crate::watched::Notice;

/// Where accounts are. Equal ones are the same place.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Backend {
    /// A file.
    File(Arc<AccountsFile>),
    /// The domain of this computer, through winbindd.
    Winbind(Arc<Winbind>),
    /// A file that takes its time.
    #[cfg(feature = "slow-accounts")]
    Slow(Arc<super::SlowFile>),
}

/// Why nobody else may wait for the accounts.
pub(crate) enum Busy {
    /// So many do already.
    TooMany,
    /// Those who did had no answer.
    NoAnswers,
}

impl Busy {
    /// The reason of a refusal.
    pub(crate) fn reason(self) -> Reason {
        match self {
            Self::TooMany => Reason::Busy,
            Self::NoAnswers => Reason::NoAnswers,
        }
    }
}

/// What an AUTHENTICATE cannot be judged without.
pub(crate) enum Needed {
    /// Nothing: what is known will do.
    Nothing,
    /// What a job finds out for all.
    Job(Job),
    /// The answer to a question.
    Reply(Job, Reply),
}

impl Backend {
    /// Whether every sign-in is a question to somebody else.
    pub(crate) fn asks(&self) -> bool {
        match self {
            Self::File(_) => false,
            Self::Winbind(_) => true,
            #[cfg(feature = "slow-accounts")]
            Self::Slow(_) => true,
        }
    }

    /// The names that a CHALLENGE tells, where the accounts know them better than the
    /// configuration; the inner one is `None` as long as nobody has told them.
    pub(crate) fn names(&self) -> Option<Option<Arc<ServerNames>>> {
        match self {
            Self::Winbind(winbind) => Some(winbind.names()),
            _ => None,
        }
    }

    /// What has to be asked before a CHALLENGE can be made.
    pub(crate) fn before_challenge(&self, scope: &Scope) -> Result<Option<Job>, Busy> {
        match self {
            Self::Winbind(winbind) => winbind.before_challenge(scope.max_jobs, scope.timeout),
            _ => Ok(None),
        }
    }

    /// What has to be asked before an AUTHENTICATE can be judged. The question is about what only
    /// they who know the keys can tell: without one there is nothing to ask.
    pub(crate) fn before_sign_in(
        &self,
        scope: &Scope,
        question: Option<Question>,
        besides: Besides,
    ) -> Result<Needed, Busy> {
        match self {
            Self::File(_) => Ok(self.before_request().map_or(Needed::Nothing, Needed::Job)),
            Self::Winbind(winbind) => match question {
                Some(question) => {
                    let inquiry = winbind.ask(question, besides, scope.max_jobs, scope.timeout)?;
                    Ok(Needed::Reply(inquiry.job, inquiry.reply))
                }
                None => Ok(Needed::Nothing),
            },
            #[cfg(feature = "slow-accounts")]
            Self::Slow(slow) => slow.ask(scope.max_jobs).map(Needed::Job),
        }
    }

    /// Somebody who might have waited for `timeout` has given up.
    pub(crate) fn gave_up(&self, waited: Duration, timeout: Duration) {
        if let Self::Winbind(winbind) = self {
            winbind.gave_up(waited, timeout);
        }
    }

    /// What has to be asked before somebody who signed in earlier is served: the file's new
    /// contents, if it has changed. Whoever comes meanwhile goes on with the old ones.
    pub(crate) fn before_request(&self) -> Option<Job> {
        let reread = self.file()?.reread_if_changed()?;
        Some(Job::new(Audience::All, Box::new(move || reread.run())))
    }

    /// The number of what is known of the accounts: with another one, a sign-in is to be renewed.
    pub(crate) fn generation(&self) -> u64 {
        self.file().map_or(0, |file| file.generation())
    }

    /// The account of a session as it is now, if who proved to be `account` still has proved that.
    /// A domain is asked about sign-ins only.
    pub(crate) fn renewed(&self, account: &Arc<Account>) -> Option<Arc<Account>> {
        match self.file() {
            Some(file) => file.renewed(account),
            None => Some(account.clone()),
        }
    }

    /// Takes what an administrator has to be told.
    pub(crate) fn take_notice(&self) -> Option<Notice> {
        match self {
            Self::Winbind(winbind) => winbind.take_notice(),
            _ => self.file()?.take_notice(),
        }
    }

    /// Who judges a response: we, or who has been asked about it.
    pub(crate) fn authority<'a>(&'a self, answer: Option<&'a ntlm::Answer>) -> Authority<'a> {
        match self.file() {
            Some(file) => Authority::Hashes(file),
            None => Authority::Domain(answer),
        }
    }

    /// The file, if they are in one.
    pub(crate) fn file(&self) -> Option<&Arc<AccountsFile>> {
        match self {
            Self::File(file) => Some(file),
            Self::Winbind(_) => None,
            #[cfg(feature = "slow-accounts")]
            Self::Slow(slow) => Some(slow.file()),
        }
    }
}
