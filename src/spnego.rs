//! SPNEGO, the acceptor's side (RFC 4178, MS-SPNG): which mechanism a client's list comes to, and
//! whether the list that we saw is the list that the client sent.
//!
//! The mechanisms themselves are elsewhere: a [`Negotiation`] wraps and unwraps their tokens. The
//! client's list is not protected while it travels; what protects it is mechListMIC, made with the
//! mechanism's key when that is done.

mod token;

pub use token::{
    InitialToken, Malformed, MechType, MechTypes, NegState, NegTokenInit, NegTokenResp,
};

use crate::ntlm;
use crate::ntlm::flags::Flags;
use crate::ntlm::session_security::{Sender, SessionSecurity};
use crate::reason::Reason;
use crate::secret::Secret;

/// No client's list is longer. It is kept until its MIC has come.
const MAX_MECH_TYPES: usize = 1024;

/// What a mechanism signs with when it is done (GSS_GetMIC, GSS_VerifyMIC).
pub trait Integrity {
    /// That `mic` is the client's over `message`.
    fn verify(&self, message: &[u8], mic: &[u8]) -> Result<(), Reason>;

    /// Our own over `message`.
    fn sign(&self, message: &[u8]) -> Option<Vec<u8>>;

    /// Whether a signature cannot be changed along with its message.
    fn is_strong(&self) -> bool;
}

/// NTLM signs with the keys of its first message, and starts anew after that (MS-SPNG 3.2.5.1).
impl Integrity for ntlm::Proof {
    fn verify(&self, message: &[u8], mic: &[u8]) -> Result<(), Reason> {
        let ours = first_signature(self, Sender::Client, message);
        let mut mic = <[u8; 16]>::try_from(mic).map_err(|_| Reason::WrongMechListMic)?;
        if !self.flags().any(Flags::EXTENDED_SESSIONSECURITY) {
            // RandomPad, which receivers ignore (MS-NLMP 3.4.4.1).
            mic[4..8].copy_from_slice(&ours[4..8]);
        }
        match Secret::new(mic) == Secret::new(ours) {
            true => Ok(()),
            false => Err(Reason::WrongMechListMic),
        }
    }

    fn sign(&self, message: &[u8]) -> Option<Vec<u8>> {
        Some(first_signature(self, Sender::Server, message).into())
    }

    fn is_strong(&self) -> bool {
        self.flags().any(Flags::EXTENDED_SESSIONSECURITY)
    }
}

fn first_signature(proof: &ntlm::Proof, sender: Sender, message: &[u8]) -> [u8; 16] {
    SessionSecurity::new(proof.flags(), &proof.exported_session_key(), sender).sign(message)
}

/// What a finished NTLM handshake can sign with: nothing, if that was not agreed upon.
pub fn integrity(proof: &ntlm::Proof) -> Option<&dyn Integrity> {
    proof.flags().any(Flags::SIGN).then_some(proof)
}

/// The token for a client none of whose mechanisms will do.
pub fn reject() -> Vec<u8> {
    NegTokenResp { neg_state: Some(NegState::Reject), ..NegTokenResp::default() }.write()
}

/// A negotiation after the client's first token.
pub struct Negotiation {
    /// MechTypeList, as received.
    mech_types: Box<[u8]>,
    mech: MechType,
    /// Whether mechListMIC has to come.
    request_mic: bool,
    /// Whether the client knows which mechanism was chosen.
    answered: bool,
}

/// What ends a negotiation on our side.
pub enum Completion {
    /// The last token.
    Done(Vec<u8>),
    /// A token that asks for the client's signature.
    Asks(Vec<u8>),
}

/// What a client sent after its first token.
pub struct ClientToken<'a> {
    /// For the mechanism.
    pub response_token: &'a [u8],
    /// mechListMIC
    pub mech_list_mic: Option<&'a [u8]>,
}

impl Negotiation {
    /// Chooses the first mechanism of the client's list that is `offered`, which is in the order of
    /// our preference. Also gives the optimistic token, if it is for that mechanism.
    pub fn begin<'a>(
        init: &NegTokenInit<'a>,
        offered: &[MechType],
    ) -> Result<(Self, Option<&'a [u8]>), Reason> {
        let rank = |mech: MechType| {
            let mech = if mech == MechType::MsKrb5 { MechType::Krb5 } else { mech };
            offered.iter().position(|&offered| offered == mech)
        };
        let mut listed = init.mech_types.iter().enumerate();
        let (at, mech, rank) = listed
            .find_map(|(at, mech)| mech.and_then(|mech| Some((at, mech, rank(mech)?))))
            .ok_or(Reason::MechanismNotOffered)?;
        if init.mech_types.bytes().len() > MAX_MECH_TYPES {
            return Err(Reason::TooLarge);
        }
        let negotiation = Self {
            mech_types: init.mech_types.bytes().into(),
            mech,
            // Somebody may have taken from the list what we would rather have had, or what the
            // client would (RFC 4178 4.2.2, 5).
            request_mic: at != 0 || rank != 0,
            answered: false,
        };
        Ok((negotiation, init.mech_token.filter(|_| at == 0)))
    }

    /// The mechanism that was chosen.
    pub fn mech(&self) -> MechType {
        self.mech
    }

    /// The token that asks for the next; the mechanism's own is in it, if it has one by now.
    pub fn ask(&mut self, response_token: Option<&[u8]>) -> Vec<u8> {
        let state = match (self.answered, self.request_mic) {
            (false, true) => NegState::RequestMic,
            _ => NegState::AcceptIncomplete,
        };
        NegTokenResp { response_token, ..self.answer(state) }.write()
    }

    /// Takes a token after the first.
    pub fn read<'a>(&self, token: &'a [u8]) -> Result<ClientToken<'a>, Reason> {
        let resp = NegTokenResp::read(token)?;
        if resp.neg_state == Some(NegState::Reject) || resp.names_other(self.mech) {
            return Err(Reason::OutOfSequence);
        }
        let response_token = resp.response_token.ok_or(Malformed)?;
        Ok(ClientToken { response_token, mech_list_mic: resp.mech_list_mic })
    }

    /// Ends the negotiation when the mechanism is done, if the client's list is what it sent.
    /// `response_token` is the mechanism's last, and `integrity` is missing if its context cannot
    /// sign. A signature that was not asked for need not be there: the mechanism is the client's
    /// first choice and ours, and nothing better can have been taken from the list.
    pub fn complete(
        &mut self,
        last: &ClientToken<'_>,
        response_token: Option<&[u8]>,
        integrity: Option<&dyn Integrity>,
    ) -> Result<Completion, Reason> {
        let required = self.request_mic;
        let sent = last.mech_list_mic.filter(|&mic| {
            // Windows 2000 sends its token a second time.
            required || mic != last.response_token
        });
        let integrity = integrity.filter(|integrity| !required || integrity.is_strong());
        let sign = |integrity: &dyn Integrity, list: &[u8]| {
            integrity.sign(list).ok_or(Reason::KerberosRefused)
        };
        let (state, ours) = match (sent, integrity) {
            (Some(mic), Some(integrity)) => {
                integrity.verify(&self.mech_types, mic)?;
                (NegState::AcceptCompleted, Some(sign(integrity, &self.mech_types)?))
            }
            (Some(_), None) => return Err(Reason::WrongMechListMic),
            // A client of Kerberos may need our token before it can sign (RFC 4178 5 (c)).
            (None, Some(integrity)) if required && self.mech != MechType::Ntlmssp => {
                (NegState::AcceptIncomplete, Some(sign(integrity, &self.mech_types)?))
            }
            (None, _) if required => return Err(Reason::MissingMechListMic),
            (None, _) => (NegState::AcceptCompleted, None),
        };
        let answer = self.answer(state);
        let token = NegTokenResp { response_token, mech_list_mic: ours.as_deref(), ..answer };
        match state {
            NegState::AcceptCompleted => Ok(Completion::Done(token.write())),
            _ => Ok(Completion::Asks(token.write())),
        }
    }

    /// Takes the token with the client's signature that [`Completion::Asks`] for. Nothing answers
    /// it.
    pub fn conclude(&self, token: &[u8], integrity: Option<&dyn Integrity>) -> Result<(), Reason> {
        let resp = NegTokenResp::read(token)?;
        let rejects = resp.neg_state == Some(NegState::Reject);
        if rejects || resp.names_other(self.mech) || resp.response_token.is_some() {
            return Err(Reason::OutOfSequence);
        }
        let mic = resp.mech_list_mic.ok_or(Reason::MissingMechListMic)?;
        integrity.ok_or(Reason::WrongMechListMic)?.verify(&self.mech_types, mic)
    }

    /// The token that ends the negotiation in vain, with the mechanism's own about it.
    pub fn reject(&mut self, response_token: Option<&[u8]>) -> Vec<u8> {
        NegTokenResp { response_token, ..self.answer(NegState::Reject) }.write()
    }

    /// What is held, in bytes.
    pub fn held(&self) -> usize {
        size_of::<Self>() + self.mech_types.len()
    }

    /// An answer, of which only the first names the mechanism.
    fn answer(&mut self, state: NegState) -> NegTokenResp<'static> {
        if std::mem::replace(&mut self.answered, true) {
            return NegTokenResp { neg_state: Some(state), ..NegTokenResp::default() };
        }
        NegTokenResp::choosing(self.mech, state)
    }
}

impl From<Malformed> for Reason {
    fn from(_: Malformed) -> Self {
        Self::MalformedToken
    }
}
