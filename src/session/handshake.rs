//! A half-done handshake: NTLM's, by itself or inside SPNEGO, or one of SPNEGO about Kerberos.

use std::sync::Arc;

use crate::config::Scope;
use crate::http::Scheme;
use crate::kerberos::{Established, Proof};
use crate::ntlm::{self, Challenged, Claim};
use crate::reason::Reason;
use crate::spnego::{ClientToken, MechType, Negotiation};

/// What a client may go on with.
pub(super) struct Handshake {
    pub(super) stage: Stage,
    pub(super) scheme: Scheme,
    pub(super) scope: Arc<Scope>,
}

/// How far a handshake has got, and in which framing: that never changes.
pub(super) enum Stage {
    /// NTLM by itself, after its CHALLENGE.
    Ntlm(Challenged),
    /// SPNEGO.
    Spnego(Box<(Negotiation, Mechanism)>),
}

/// How far the mechanism inside SPNEGO has got.
pub(super) enum Mechanism {
    /// It has yet to begin.
    Due,
    /// NTLM, after its CHALLENGE.
    Ntlm(Challenged),
    /// Kerberos is done, and the client's signature has to come.
    Kerberos(Ticket),
}

/// Who has shown a ticket and is not signed in before the client's list is known to be its own.
pub(super) struct Ticket {
    pub(super) proof: Proof,
    pub(super) established: Established,
    /// The host that it was shown to, where that counts.
    pub(super) host: Option<Box<[u8]>>,
}

impl Handshake {
    /// Whether it is one of this scheme and scope.
    pub(super) fn is_of(&self, scheme: Scheme, scope: &Arc<Scope>) -> bool {
        self.scheme == scheme && self.scope == *scope
    }

    /// Whether SPNEGO came to Kerberos.
    pub(super) fn is_for_kerberos(&self) -> bool {
        matches!(&self.stage, Stage::Spnego(both) if both.0.mech() != MechType::Ntlmssp)
    }

    /// Whether the client has but to sign its list.
    pub(super) fn awaits_signature(&self) -> bool {
        matches!(&self.stage, Stage::Spnego(both) if matches!(both.1, Mechanism::Kerberos(_)))
    }

    /// The CHALLENGE, if it has been sent.
    pub(super) fn challenged(&self) -> Option<&Challenged> {
        match &self.stage {
            Stage::Ntlm(challenged) => Some(challenged),
            Stage::Spnego(both) => match &both.1 {
                Mechanism::Ntlm(challenged) => Some(challenged),
                Mechanism::Due | Mechanism::Kerberos(_) => None,
            },
        }
    }

    /// The client's message in the token that goes on with this handshake.
    pub(super) fn unwrap<'a>(&self, token: &'a [u8]) -> Result<ClientToken<'a>, Reason> {
        match (&self.stage, token.starts_with(ntlm::SIGNATURE)) {
            (Stage::Ntlm(_), true) => {
                Ok(ClientToken { response_token: token, mech_list_mic: None })
            }
            (Stage::Spnego(both), false) => both.0.read(token),
            _ => Err(Reason::OutOfSequence),
        }
    }

    /// Who the AUTHENTICATE in this token says to be.
    pub(super) fn claim(&self, token: &[u8]) -> Option<Claim> {
        let message = self.unwrap(token).ok()?.response_token;
        let accounts = self.scope.accounts.as_ref();
        let of_domain = accounts.and_then(|accounts| accounts.names().flatten());
        let names = of_domain.as_deref().unwrap_or(&self.scope.names);
        self.challenged()?.claim(message, names)
    }

    /// What is held beyond the client's own bytes.
    pub(super) fn held(&self) -> usize {
        let negotiation = match &self.stage {
            Stage::Ntlm(_) => 0,
            Stage::Spnego(both) => size_of_val(&**both) + both.0.held(),
        };
        let challenged = self.challenged().map_or(0, |challenged| challenged.challenge().len());
        size_of::<Self>() + negotiation + challenged
    }
}
