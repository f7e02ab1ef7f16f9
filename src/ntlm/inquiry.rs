//! An AUTHENTICATE that a domain controller judges: what it is asked, and what it said.

use std::sync::Arc;

use crate::accounts::Account;
use crate::reason::Reason;
use crate::secret::Secret;

/// What a domain controller needs to judge an NTLMv2 response (MS-APDS 3.1.5.2). Only
/// [`Challenged::question`](super::Challenged::question) makes one, from a message that nothing
/// speaks against but what takes a key to see.
pub struct Question {
    /// DomainName, as sent.
    pub domain: String,
    /// UserName, as sent.
    pub user: String,
    /// Workstation, as sent.
    pub workstation: String,
    /// ServerChallenge.
    pub server_challenge: [u8; 8],
    /// NtChallengeResponse. LmChallengeResponse is not asked about: a domain controller that finds
    /// that one right would say so of a response whose AV_PAIRs nobody has signed.
    pub nt_response: Box<[u8]>,
    /// MsvAvNbComputerName and MsvAvNbDomainName of the CHALLENGE.
    pub told: (String, String),
}

/// The answer to a question: for this response, and for no other.
pub struct Answer {
    question: Question,
    verdict: Result<Vouched, Refused>,
}

/// Who the domain controller says it is.
pub struct Vouched {
    /// The account.
    pub account: Arc<Account>,
    /// SessionBaseKey.
    pub session_base_key: Secret<16>,
}

/// Why it lets nobody in.
#[derive(Clone)]
pub struct Refused {
    /// The reason.
    pub reason: Reason,
    /// In the words of who was asked; "" if there are none.
    pub said: String,
}

impl Answer {
    /// To this question.
    pub(crate) fn new(question: Question, verdict: Result<Vouched, Refused>) -> Self {
        Self { question, verdict }
    }

    /// What was said about this response to this challenge.
    pub(super) fn about(
        &self,
        server_challenge: &[u8; 8],
        nt_response: &[u8],
    ) -> Result<&Vouched, Reason> {
        let Question { server_challenge: asked, nt_response: about, .. } = &self.question;
        if (asked, &**about) != (server_challenge, nt_response) {
            return Err(Reason::Internal);
        }
        self.verdict.as_ref().map_err(|refused| refused.reason)
    }

    /// Why nobody was let in, in the words of who was asked.
    pub fn said(&self) -> &str {
        self.verdict.as_ref().err().map_or("", |refused| &refused.said)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::groups::Groups;
    use crate::sid::{Sid, SidSet};

    /// A domain controller's word is good for the response that it was asked about.
    #[test]
    fn an_answer_is_about_one_response_to_one_challenge() {
        let question = Question {
            domain: "DEMO".to_owned(),
            user: "alice".to_owned(),
            workstation: String::new(),
            server_challenge: [1; 8],
            nt_response: [2; 40].into(),
            told: Default::default(),
        };
        let sid = Sid::parse("S-1-5-21-1-2-3-1104").unwrap();
        let groups = Arc::new(Groups::known(sid, SidSet::default()));
        let account = Arc::new(Account::of_domain("DEMO", "alice", groups));
        let session_base_key = Secret::new([3; 16]);
        let answer = Answer::new(question, Ok(Vouched { account, session_base_key }));
        let vouched = answer.about(&[1; 8], &[2; 40]).expect("the one it is about");
        assert_eq!(vouched.account.name().as_str(), "DEMO\\alice");
        assert_eq!(vouched.account.groups().user_sid().as_str(), "S-1-5-21-1-2-3-1104");
        let mut other = [2; 40];
        other[39] ^= 1;
        for (challenge, response) in [([1; 8], &other[..]), ([9; 8], &[2; 40]), ([1; 8], &[2; 39])]
        {
            assert!(matches!(answer.about(&challenge, response), Err(Reason::Internal)));
        }
    }
}
