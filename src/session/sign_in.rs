//! Credentials: the steps of a handshake, from a client's first token to a verdict.

use std::sync::Arc;

use super::half_open::Ticket;
use super::handshake::{Handshake, Stage};
use super::{Facts, Next, Request, Session, SignedIn, Verdict};
use crate::accounts::Busy;
use crate::config::{Effective, Rules, Scope, ServiceName};
use crate::http::{Credentials, MAX_TOKEN, Scheme};
use crate::identity::Identity;
use crate::ntlm::message::MessageType;
use crate::ntlm::{self, Challenged, Context, Policy, Proof, ServiceNames};
use crate::reason::Reason;
use crate::spnego::{self, ClientToken, InitialToken, MechType, NegTokenInit, Negotiation};

/// The mechanisms that SPNEGO chooses from, in the order of our preference.
const OFFERED: [MechType; 1] = [MechType::Ntlmssp];

/// The identifier octet of SPNEGO's tokens after the first.
const NEG_TOKEN_RESP: u8 = crate::der::tag::CONTEXT_1;

impl Session {
    /// A request with credentials: one token of a handshake.
    pub(super) fn step_credentials(
        &mut self,
        effective: &Effective,
        request: &Request<'_>,
        value: &[u8],
    ) -> Result<Verdict, Reason> {
        let handshake = self.handshake.take().map(Ticket::redeem);
        self.signed_in = None;
        let scope = &effective.scope;
        let credentials = Credentials::read(value);
        if request.is_shared(&scope.proxies) && !matches!(credentials, Err(Reason::DuplicateHeader))
        {
            return Ok(self.refuse(scope, Reason::Forwarded, false, None));
        }
        let credentials = credentials?;
        let scheme = credentials.scheme;
        if !scope.schemes.contains(&scheme) {
            return Err(Reason::SchemeNotOffered);
        }
        if self.is_multiplexed(request) {
            return Err(Reason::Multiplexed);
        }
        // Room for what a last group of base64 may add.
        let (mut small, mut large) = ([0; ntlm::MAX_MESSAGE + 2], Vec::new());
        let token = match is_spnego(&credentials) {
            false => credentials.decode(&mut small)?,
            true => decode_large(&credentials, &mut large)?,
        };
        match Token::read(scheme, token)? {
            Token::Negotiate => self.negotiate(scope, request, scheme, token, None),
            Token::Spnego(init) => self.begin_spnego(scope, request, &init),
            Token::Continuation => match handshake.transpose()? {
                Some((handshake, age)) if handshake.is_of(scheme, scope) => {
                    let facts = self.facts(scope, request, age);
                    self.go_on(handshake, token, effective.rules, request, &facts)
                }
                _ => Err(Reason::OutOfSequence),
            },
        }
    }

    /// SPNEGO's first token: its list comes to NTLM or to nothing.
    fn begin_spnego(
        &mut self,
        scope: &Arc<Scope>,
        request: &Request<'_>,
        init: &NegTokenInit<'_>,
    ) -> Result<Verdict, Reason> {
        let (mut negotiation, token) = Negotiation::begin(init, &OFFERED)?;
        if let Some(token) = token {
            return self.negotiate(scope, request, Scheme::Negotiate, token, Some(negotiation));
        }
        if let Some(reason) = self.obstacle(scope, request) {
            return Err(reason);
        }
        let answer = negotiation.ask(None);
        let stage = Stage::Spnego(Box::new((negotiation, None)));
        Ok(self.keep(scope, Scheme::Negotiate, stage, &answer))
    }

    /// NEGOTIATE: answered by a CHALLENGE.
    fn negotiate(
        &mut self,
        scope: &Arc<Scope>,
        request: &Request<'_>,
        scheme: Scheme,
        message: &[u8],
        negotiation: Option<Negotiation>,
    ) -> Result<Verdict, Reason> {
        if let Some(reason) = self.obstacle(scope, request) {
            return Err(reason);
        }
        let challenge = (self.hooks.server_challenge)();
        let Some(server_challenge) = challenge else {
            return Ok(self.fault(Reason::NoRandomness, None));
        };
        let now = (self.hooks.now)();
        let challenged = Challenged::answer(message, &scope.names, &server_challenge, Some(now))?;
        let Some(mut negotiation) = negotiation else {
            let verdict = self.answer.continue_with(scheme, challenged.challenge());
            self.begin_handshake(scope, scheme, Stage::Ntlm(challenged));
            return Ok(verdict);
        };
        let answer = negotiation.ask(Some(challenged.challenge()));
        let stage = Stage::Spnego(Box::new((negotiation, Some(challenged))));
        Ok(self.keep(scope, scheme, stage, &answer))
    }

    /// Sends `token` and keeps what the client's next is to be read with.
    fn keep(&mut self, scope: &Arc<Scope>, scheme: Scheme, stage: Stage, token: &[u8]) -> Verdict {
        self.begin_handshake(scope, scheme, stage);
        self.answer.continue_with(scheme, token)
    }

    fn begin_handshake(&mut self, scope: &Arc<Scope>, scheme: Scheme, stage: Stage) {
        let handshake = Handshake { stage, scheme, scope: scope.clone() };
        self.handshake = Some(Ticket::of(self.hooks, handshake));
    }

    /// The next token of a handshake that has begun.
    fn go_on(
        &mut self,
        handshake: Box<Handshake>,
        token: &[u8],
        rules: Rules,
        request: &Request<'_>,
        facts: &Facts<&[u8]>,
    ) -> Result<Verdict, Reason> {
        let ClientToken { response_token: message, mech_list_mic } = handshake.unwrap(token)?;
        match ntlm::message_type(message)? {
            MessageType::Authenticate if handshake.challenged().is_some() => {
                self.find_bindings(&handshake.scope, request);
                Ok(self.authenticate(handshake, token, rules, facts))
            }
            MessageType::Negotiate if mech_list_mic.is_none() => {
                let Handshake { stage, scheme, scope } = *handshake;
                match stage {
                    Stage::Spnego(both) if both.1.is_none() => {
                        self.negotiate(&scope, request, scheme, message, Some(both.0))
                    }
                    _ => Err(Reason::OutOfSequence),
                }
            }
            _ => Err(Reason::OutOfSequence),
        }
    }

    /// AUTHENTICATE: ends a handshake, now or when the accounts have been asked. They are not asked
    /// for what cannot be good.
    fn authenticate(
        &mut self,
        handshake: Box<Handshake>,
        token: &[u8],
        rules: Rules,
        facts: &Facts<&[u8]>,
    ) -> Verdict {
        let scope = handshake.scope.clone();
        if scope.accounts.asks() {
            if let Err(reason) = self.precheck(&handshake, token, facts) {
                return self.refuse_claim(&handshake, token, reason, facts.continuable);
            }
        }
        match scope.accounts.before_sign_in(scope.max_jobs) {
            Ok(None) => self.judge(handshake, token, rules, facts),
            Ok(Some(job)) => {
                let next = Next::Judge { handshake, token: token.into(), rules };
                self.suspend(job, &scope, facts, next)
            }
            Err(Busy) => self.answer.give_up(Reason::Busy, handshake.claim(token)),
        }
    }

    fn precheck(
        &self,
        handshake: &Handshake,
        token: &[u8],
        facts: &Facts<&[u8]>,
    ) -> Result<(), Reason> {
        let message = handshake.unwrap(token)?.response_token;
        let challenged = handshake.challenged().ok_or(Reason::OutOfSequence)?;
        challenged.precheck(message, &self.context(&handshake.scope, facts))
    }

    /// Compares the proof, and signs in or refuses.
    pub(super) fn judge<H: AsRef<[u8]>>(
        &mut self,
        mut handshake: Box<Handshake>,
        token: &[u8],
        rules: Rules,
        facts: &Facts<H>,
    ) -> Verdict {
        let generation = handshake.scope.accounts.generation();
        let result = self.prove(&mut handshake, token, facts);
        self.answer.notice(handshake.scope.accounts.take_notice());
        match result {
            Ok((proof, last_token)) => {
                let Handshake { scheme, scope, .. } = *handshake;
                let signed_in = SignedIn {
                    identity: Identity::from_ntlm(&proof, scheme),
                    generation,
                    persistent: rules.persist && facts.persistent,
                    fresh: true,
                    host: matches!(*scope.service_name, ServiceName::Host)
                        .then(|| facts.host.as_ref().into()),
                    scope,
                };
                let verdict = self.answer.sign_in(&signed_in.identity, signed_in.persistent);
                if let Some(token) = last_token {
                    self.answer.last_token(scheme, &token);
                }
                self.signed_in = Some(signed_in);
                verdict
            }
            Err(reason) => self.refuse_claim(&handshake, token, reason, facts.continuable),
        }
    }

    /// What the client proved, and the token that ends the negotiation, if there was one: the proof
    /// counts for nothing before the client's list of mechanisms is known to be its own.
    fn prove<H: AsRef<[u8]>>(
        &self,
        handshake: &mut Handshake,
        token: &[u8],
        facts: &Facts<H>,
    ) -> Result<(Proof, Option<Vec<u8>>), Reason> {
        let client: ClientToken<'_> = handshake.unwrap(token)?;
        let challenged = handshake.challenged().ok_or(Reason::OutOfSequence)?;
        let proof =
            challenged.verify(client.response_token, &self.context(&handshake.scope, facts))?;
        let last_token = match &mut handshake.stage {
            Stage::Ntlm(_) => None,
            Stage::Spnego(both) => {
                let integrity = spnego::integrity(&proof);
                Some(both.0.complete(&client, integrity)?)
            }
        };
        Ok((proof, last_token))
    }

    /// What an AUTHENTICATE is judged by.
    fn context<'a, H: AsRef<[u8]>>(&'a self, scope: &'a Scope, facts: &'a Facts<H>) -> Context<'a> {
        Context {
            accounts: &scope.accounts,
            names: &scope.names,
            policy: Policy { challenge_lifetime: scope.handshake_lifetime, ..Policy::default() },
            channel_bindings: self.bindings.expect(scope.channel_binding),
            service_names: match &*scope.service_name {
                ServiceName::Any => ServiceNames::Any,
                ServiceName::Host => {
                    ServiceNames::Host(std::str::from_utf8(facts.host.as_ref()).unwrap_or_default())
                }
                ServiceName::Hosts(hosts) => ServiceNames::Hosts(hosts),
            },
            now: facts.arrived,
            age: facts.age,
        }
    }

    /// Refuses an AUTHENTICATE; the log tells who it says to be.
    fn refuse_claim(
        &mut self,
        handshake: &Handshake,
        token: &[u8],
        reason: Reason,
        continuable: bool,
    ) -> Verdict {
        let claim = handshake.claim(token);
        self.refuse(&handshake.scope, reason, continuable, claim)
    }
}

/// A token, by what it is to a session.
enum Token<'a> {
    /// NTLM's NEGOTIATE by itself.
    Negotiate,
    /// SPNEGO's first.
    Spnego(NegTokenInit<'a>),
    /// One that goes on with a handshake.
    Continuation,
}

impl<'a> Token<'a> {
    fn read(scheme: Scheme, token: &'a [u8]) -> Result<Self, Reason> {
        match (scheme, token.first()) {
            (Scheme::Negotiate, Some(&NEG_TOKEN_RESP)) => return Ok(Self::Continuation),
            (Scheme::Negotiate, Some(first)) if *first != ntlm::SIGNATURE[0] => {}
            _ => {
                return Ok(match ntlm::message_type(token)? {
                    MessageType::Negotiate => Self::Negotiate,
                    MessageType::Authenticate => Self::Continuation,
                });
            }
        }
        match InitialToken::read(token)? {
            InitialToken::Spnego(init) => Ok(Self::Spnego(init)),
            InitialToken::Kerberos(_) => Err(Reason::MechanismNotOffered),
        }
    }
}

/// Whether the token may be larger than NTLM's are.
fn is_spnego(credentials: &Credentials<'_>) -> bool {
    credentials.scheme == Scheme::Negotiate && !credentials.begins_with(ntlm::SIGNATURE)
}

/// Decodes a token of SPNEGO, in whose first there may be one of Kerberos that is for nobody here.
fn decode_large<'a>(
    credentials: &Credentials<'_>,
    buffer: &'a mut Vec<u8>,
) -> Result<&'a [u8], Reason> {
    // The last group of base64 may add as much as this.
    if credentials.decoded_len() > MAX_TOKEN + 4 {
        return Err(Reason::TooLarge);
    }
    buffer.resize(credentials.decoded_len(), 0);
    match credentials.decode(buffer)? {
        token if token.len() > MAX_TOKEN => Err(Reason::TooLarge),
        token => Ok(token),
    }
}
