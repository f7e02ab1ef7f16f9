//! NTLM, the acceptor's side (MS-NLMP 3.2.5): NEGOTIATE in, CHALLENGE out, AUTHENTICATE in, and a
//! proof or a reason. Only NTLMv2 is understood.

pub mod av_pair;
pub mod crypto;
pub mod flags;
mod inquiry;
pub mod message;
mod server_names;
pub mod session_security;
mod verify;

use std::time::Duration;

pub use inquiry::{Answer, Question, Refused, Vouched};
pub use message::{MAX_MESSAGE, SIGNATURE};
pub use server_names::ServerNames;
pub use verify::{
    Authority, ChannelBindings, Claim, Context, MicPolicy, Policy, Proof, ServiceNames,
};

use crate::reason::Reason;
use message::{Challenge, ChallengeParts, Malformed, MessageType, Negotiate};

/// A point in time as NTLM counts it: units of 100 ns since 1601 (FILETIME).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FileTime(pub u64);

impl FileTime {
    /// The distance to another time.
    pub fn distance(self, other: Self) -> Duration {
        let units = self.0.abs_diff(other.0);
        Duration::new(units / 10_000_000, (units % 10_000_000) as u32 * 100)
    }
}

/// What a token is, for the one who routes it.
pub fn message_type(token: &[u8]) -> Result<MessageType, Reason> {
    if token.len() > MAX_MESSAGE {
        return Err(Reason::TooLarge);
    }
    Ok(MessageType::of(token)?)
}

/// A handshake between CHALLENGE and AUTHENTICATE: the bytes of both messages, which the MIC
/// covers. A challenge is answered once: the session lets go of it with the first answer.
pub struct Challenged {
    /// NEGOTIATE and CHALLENGE, one after the other.
    messages: Box<[u8]>,
    challenge_at: u16,
}

impl Challenged {
    /// Answers a NEGOTIATE (3.2.5.1.1). The timestamp is what makes clients send a MIC; only a
    /// test leaves it out.
    pub fn answer(
        negotiate: &[u8],
        names: &ServerNames,
        server_challenge: &[u8; 8],
        timestamp: Option<FileTime>,
    ) -> Result<Self, Reason> {
        if negotiate.len() > MAX_MESSAGE {
            return Err(Reason::TooLarge);
        }
        let offer = Negotiate::read(negotiate)?.flags;
        let flags = offer.answer(names.domain_joined()).ok_or(Reason::NoCommonCharset)?;
        let target_info = names.target_info(timestamp);
        let mut messages = Vec::new();
        let parts = ChallengeParts {
            flags,
            server_challenge,
            target_name: &names.target_name(flags),
            target_info: &target_info,
        };
        messages.reserve_exact(negotiate.len() + 56 + parts.target_name.len() + target_info.len());
        messages.extend_from_slice(negotiate);
        parts.write(&mut messages);
        Self::from_messages(messages, negotiate.len())
    }

    /// Takes up a handshake from its two messages, as a test recorded them.
    pub fn import(negotiate: &[u8], challenge: &[u8]) -> Result<Self, Reason> {
        Self::from_messages([negotiate, challenge].concat(), negotiate.len())
    }

    fn from_messages(messages: Vec<u8>, at: usize) -> Result<Self, Reason> {
        let challenge_at = u16::try_from(at).map_err(|_| Reason::TooLarge)?;
        Ok(Self { messages: messages.into(), challenge_at })
    }

    /// The CHALLENGE, to be sent.
    pub fn challenge(&self) -> &[u8] {
        &self.messages[usize::from(self.challenge_at)..]
    }

    /// What is held for this handshake beyond the client's own NEGOTIATE, in bytes.
    pub fn held(&self) -> usize {
        size_of::<Self>() + self.challenge().len()
    }

    /// Looks for what speaks against the AUTHENTICATE without any key, and works out what a domain
    /// controller would be asked about it.
    pub fn question(&self, token: &[u8], context: &Context<'_>) -> Result<Question, Reason> {
        if token.len() > MAX_MESSAGE {
            return Err(Reason::TooLarge);
        }
        let challenge = Challenge::read(self.challenge())?;
        verify::Attempt::read(&challenge, token, context)?.question(&challenge, context)
    }

    /// Judges the AUTHENTICATE (3.2.5.1.2).
    pub fn verify(&self, token: &[u8], context: &Context<'_>) -> Result<Proof, Reason> {
        if token.len() > MAX_MESSAGE {
            return Err(Reason::TooLarge);
        }
        verify::verify(self, &Challenge::read(self.challenge())?, token, context)
    }

    /// Who the AUTHENTICATE says to be, and which account that means, for the log: nothing in it is
    /// proved.
    pub fn claim(&self, token: &[u8], names: &ServerNames) -> Option<Claim> {
        Claim::read(&Challenge::read(self.challenge()).ok()?, token, names).ok()
    }
}

impl From<Malformed> for Reason {
    fn from(_: Malformed) -> Self {
        Self::MalformedToken
    }
}
