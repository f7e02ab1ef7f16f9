//! Kerberos: a ticket signs in with one token, unless SPNEGO wants a signature besides.

use std::sync::Arc;

use super::answer::Subject;
use super::handshake::{Handshake, Mechanism, Stage, Ticket};
use super::sign_in::proved_host;
use super::{Entrance, Facts, Next, Request, Session, SignedIn, Verdict};
use crate::config::{Rules, Scope};
use crate::http::Scheme;
use crate::identity::Identity;
use crate::kerberos::{Proof, Refusal};
use crate::reason::Reason;
use crate::spnego::{ClientToken, Completion, Negotiation};

/// A token of Kerberos, and the negotiation that it came in, if it did in one.
pub(super) struct Leg<T> {
    pub(super) negotiation: Option<Box<Negotiation>>,
    pub(super) token: T,
    pub(super) mech_list_mic: Option<T>,
}

impl Leg<&[u8]> {
    fn into_owned(self) -> Leg<Box<[u8]>> {
        let Self { negotiation, token, mech_list_mic } = self;
        Leg { negotiation, token: token.into(), mech_list_mic: mech_list_mic.map(Box::from) }
    }
}

impl Session {
    /// A ticket: judged now, or when a keytab that has changed has been read.
    pub(super) fn show_ticket(
        &mut self,
        scope: &Arc<Scope>,
        request: &Request<'_>,
        rules: &Rules,
        leg: Leg<&[u8]>,
        facts: &Facts<&[u8]>,
    ) -> Result<Verdict, Reason> {
        let kerberos = scope.kerberos.as_ref().ok_or(Reason::MechanismNotOffered)?;
        if let Some(reason) = self.obstacle(scope, request) {
            return Err(reason);
        }
        self.find_bindings(scope, request);
        Ok(match kerberos.before_accept() {
            None => self.accept(scope, leg, rules, facts),
            Some(job) => {
                let next = Next::Accept { leg: leg.into_owned(), rules: rules.clone() };
                self.suspend(job, scope, facts, next)
            }
        })
    }

    /// Accepts a ticket, and signs in, asks for a signature, or refuses.
    pub(super) fn accept<T: AsRef<[u8]>, H: AsRef<[u8]>>(
        &mut self,
        scope: &Arc<Scope>,
        leg: Leg<T>,
        rules: &Rules,
        facts: &Facts<H>,
    ) -> Verdict {
        let Some(kerberos) = &scope.kerberos else { return self.refuse_call() };
        let Leg { negotiation, token, mech_list_mic } = leg;
        let host = std::str::from_utf8(facts.host.as_ref()).unwrap_or_default();
        let accepted = kerberos.accept(host, token.as_ref(), &self.bindings.expect(scope));
        self.answer.notice(kerberos.take_notice());
        let (proof, last_token, established) = match accepted {
            Ok(accepted) => accepted,
            Err(refusal) => return self.refuse_ticket(scope, negotiation, refusal, facts),
        };
        let Some(mut negotiation) = negotiation else {
            return self.welcome_ticket(scope, &proof, last_token, rules, facts);
        };
        let client = ClientToken {
            response_token: token.as_ref(),
            mech_list_mic: mech_list_mic.as_ref().map(AsRef::as_ref),
        };
        match negotiation.complete(&client, last_token.as_deref(), established.integrity()) {
            Ok(Completion::Done(token)) => {
                self.welcome_ticket(scope, &proof, Some(token), rules, facts)
            }
            Ok(Completion::Asks(token)) => {
                let ticket = Ticket { proof, established, host: proved_host(scope, facts) };
                let stage = Stage::Spnego(Box::new((*negotiation, Mechanism::Kerberos(ticket))));
                self.keep(scope, Scheme::Negotiate, stage, &token)
            }
            Err(reason) => self.refuse_user(scope, &proof, reason, facts),
        }
    }

    /// The client's signature of its list.
    pub(super) fn take_signature(
        &mut self,
        handshake: Handshake,
        token: &[u8],
        rules: &Rules,
        facts: &Facts<&[u8]>,
    ) -> Result<Verdict, Reason> {
        let Handshake { stage, scope, .. } = handshake;
        let Stage::Spnego(both) = stage else { return Err(Reason::OutOfSequence) };
        let (negotiation, Mechanism::Kerberos(Ticket { proof, established, host })) = *both else {
            return Err(Reason::OutOfSequence);
        };
        if host.is_some_and(|host| !host.eq_ignore_ascii_case(facts.host)) {
            return Ok(self.refuse_user(&scope, &proof, Reason::WrongServiceName, facts));
        }
        Ok(match negotiation.conclude(token, established.integrity()) {
            Ok(()) => self.welcome_ticket(&scope, &proof, None, rules, facts),
            Err(reason) => self.refuse_user(&scope, &proof, reason, facts),
        })
    }

    fn welcome_ticket<H: AsRef<[u8]>>(
        &mut self,
        scope: &Arc<Scope>,
        proof: &Proof,
        last_token: Option<Vec<u8>>,
        rules: &Rules,
        facts: &Facts<H>,
    ) -> Verdict {
        let uptime = (self.hooks.uptime)();
        self.signed_in = Some(Box::new(SignedIn {
            identity: Identity::from_kerberos(proof, Scheme::Negotiate, uptime),
            generation: 0,
            persistent: rules.persist_kerberos && facts.persistent,
            fresh: true,
            host: proved_host(scope, facts),
            scope: scope.clone(),
        }));
        let entrance = Entrance::New(last_token.map(|token| (Scheme::Negotiate, token)));
        self.admit(scope, rules, facts, entrance)
    }

    /// Refuses a ticket; what tells the client why has the framing of what it sent.
    fn refuse_ticket<H>(
        &mut self,
        scope: &Scope,
        negotiation: Option<Box<Negotiation>>,
        refusal: Refusal,
        facts: &Facts<H>,
    ) -> Verdict {
        let Refusal { reason, subject, token } = refusal;
        let subject = subject.map(Subject::Ticket);
        if reason.is_fault() {
            return self.answer.fault_about(reason, subject);
        }
        let token = match negotiation {
            None => token,
            Some(mut negotiation) => Some(negotiation.reject(token.as_deref())),
        };
        match token {
            None => self.refuse(scope, reason, facts.offer, subject),
            Some(token) => {
                self.answer.refuse_with_token(scope, reason, facts.offer, subject, &token)
            }
        }
    }

    /// Refuses somebody whose ticket was good.
    fn refuse_user<H>(
        &mut self,
        scope: &Scope,
        proof: &Proof,
        reason: Reason,
        facts: &Facts<H>,
    ) -> Verdict {
        let name = crate::names::Escaped(proof.principal().name().as_str());
        let subject = Some(Subject::Ticket(format!("user \"{name}\"")));
        match reason.is_fault() {
            true => self.answer.fault_about(reason, subject),
            false => self.refuse(scope, reason, facts.offer, subject),
        }
    }
}
