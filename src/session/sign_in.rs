//! Credentials: the steps of a handshake, from a client's first token to a verdict.

use std::sync::Arc;
use std::time::Duration;

use super::answer::Subject;
use super::half_open::Ticket;
use super::handshake::{Handshake, Mechanism, Stage};
use super::offer::Offer;
use super::rules::besides;
use super::ticket::Leg;
use super::{Entrance, Facts, Next, Request, Session, SignedIn, Verdict};
use crate::accounts::{Backend, Needed};
use crate::channel_binding::{EndPoint, Expected};
use crate::config::{Effective, Rules, Scope, ServiceName};
use crate::http::{Credentials, MAX_TOKEN, Scheme};
use crate::identity::Identity;
use crate::ntlm::message::MessageType;
use crate::ntlm::{
    self, Answer, Challenged, ChannelBindings, Context, Policy, Proof, Question, ServerNames,
    ServiceNames,
};
use crate::reason::Reason;
use crate::spnego::{
    self, ClientToken, Completion, InitialToken, MechType, NegTokenInit, Negotiation,
};

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
        let is_list = matches!(credentials, Err(Reason::DuplicateHeader));
        if (is_ntlm(&credentials) || scope.kerberos.is_none()) && !is_list {
            self.check_own_connection(scope, request)?;
        }
        let credentials = credentials?;
        let scheme = credentials.scheme;
        if !scope.schemes.contains(&scheme) {
            return Err(Reason::SchemeNotOffered);
        }
        // Room for what a last group of base64 may add.
        let (mut small, mut large) = ([0; ntlm::MAX_MESSAGE + 2], Vec::new());
        let token = match is_spnego(&credentials) {
            false => credentials.decode(&mut small)?,
            true => decode_large(&credentials, &mut large)?,
        };
        match Token::read(scheme, token)? {
            Token::Negotiate => self.negotiate(scope, request, scheme, token, None),
            Token::Spnego(init) => self.begin_spnego(effective, request, &init),
            Token::Kerberos(token) => {
                let facts = self.facts(scope, request, Duration::ZERO);
                let leg = Leg { negotiation: None, token, mech_list_mic: None };
                self.show_ticket(scope, request, &effective.rules, leg, &facts)
            }
            Token::Continuation => match handshake.transpose()? {
                Some((handshake, age)) if handshake.is_of(scheme, scope) => {
                    self.check_own_connection(scope, request)?;
                    let facts = self.facts(scope, request, age);
                    self.go_on(handshake, token, &effective.rules, request, &facts)
                }
                _ => Err(Reason::OutOfSequence),
            },
        }
    }

    /// That a handshake of several tokens has the connection for itself.
    fn check_own_connection(&self, scope: &Scope, request: &Request<'_>) -> Result<(), Reason> {
        if request.is_shared(&scope.proxies) {
            Err(Reason::Forwarded)
        } else if self.is_multiplexed(request) {
            Err(Reason::Multiplexed)
        } else {
            Ok(())
        }
    }

    /// SPNEGO's first token: its list comes to a mechanism or to nothing.
    fn begin_spnego(
        &mut self,
        effective: &Effective,
        request: &Request<'_>,
        init: &NegTokenInit<'_>,
    ) -> Result<Verdict, Reason> {
        let scope = &effective.scope;
        let (mut negotiation, token) = match Negotiation::begin(init, mechanisms(scope)) {
            Ok(begun) => begun,
            Err(reason) => {
                let offer = self.offer(scope, request);
                let reject = spnego::reject();
                return Ok(self.answer.refuse_with_token(scope, reason, offer, None, &reject));
            }
        };
        if let (Some(token), true) = (token, negotiation.mech() != MechType::Ntlmssp) {
            let facts = self.facts(scope, request, Duration::ZERO);
            let token = kerberos_token(token)?;
            let mech_list_mic = init.mech_list_mic;
            let leg = Leg { negotiation: Some(Box::new(negotiation)), token, mech_list_mic };
            return self.show_ticket(scope, request, &effective.rules, leg, &facts);
        }
        // No other mechanism is done with its first token, or there was none for it.
        if init.mech_list_mic.is_some() {
            return Err(Reason::OutOfSequence);
        }
        self.check_own_connection(scope, request)?;
        if let Some(token) = token {
            return self.negotiate(scope, request, Scheme::Negotiate, token, Some(negotiation));
        }
        if let Some(reason) = self.connection_obstacle(scope, request) {
            return Err(reason);
        }
        let answer = negotiation.ask(None);
        let stage = Stage::Spnego(Box::new((negotiation, Mechanism::Due)));
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
        let accounts = scope.accounts.as_ref().ok_or(Reason::MechanismNotOffered)?;
        if let Some(reason) = self.connection_obstacle(scope, request) {
            return Err(reason);
        }
        match accounts.before_challenge(scope) {
            Ok(None) => self.send_challenge(scope, scheme, message, negotiation),
            Ok(Some(job)) => {
                let facts = self.facts(scope, request, Duration::ZERO);
                let negotiation = negotiation.map(Box::new);
                let next = Next::Challenge { scheme, message: message.into(), negotiation };
                Ok(self.suspend(job, scope, &facts, next))
            }
            Err(busy) => {
                let verdict = self.answer.give_up(busy.reason(), None);
                self.answer.notice(accounts.take_notice());
                Ok(verdict)
            }
        }
    }

    /// The same when the domain has been asked for its names.
    pub(super) fn challenge_domain<H: AsRef<[u8]>>(
        &mut self,
        scope: &Arc<Scope>,
        scheme: Scheme,
        message: &[u8],
        negotiation: Option<Box<Negotiation>>,
        facts: &Facts<H>,
    ) -> Verdict {
        let negotiation = negotiation.map(|negotiation| *negotiation);
        match self.send_challenge(scope, scheme, message, negotiation) {
            Ok(verdict) => verdict,
            Err(reason) => self.refuse(scope, reason, facts.offer, None),
        }
    }

    fn send_challenge(
        &mut self,
        scope: &Arc<Scope>,
        scheme: Scheme,
        message: &[u8],
        negotiation: Option<Negotiation>,
    ) -> Result<Verdict, Reason> {
        let names = names(scope)?;
        let challenge = (self.hooks.server_challenge)();
        let Some(server_challenge) = challenge else {
            return Ok(self.fault(Reason::NoRandomness, None));
        };
        let now = (self.hooks.now)();
        let challenged = Challenged::answer(message, &names, &server_challenge, Some(now))?;
        let Some(mut negotiation) = negotiation else {
            let verdict = self.answer.continue_with(scheme, challenged.challenge());
            self.begin_handshake(scope, scheme, Stage::Ntlm(challenged));
            return Ok(verdict);
        };
        let answer = negotiation.ask(Some(challenged.challenge()));
        let stage = Stage::Spnego(Box::new((negotiation, Mechanism::Ntlm(challenged))));
        Ok(self.keep(scope, scheme, stage, &answer))
    }

    /// Sends `token` and keeps what the client's next is to be read with.
    pub(super) fn keep(
        &mut self,
        scope: &Arc<Scope>,
        scheme: Scheme,
        stage: Stage,
        token: &[u8],
    ) -> Verdict {
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
        rules: &Rules,
        request: &Request<'_>,
        facts: &Facts<&[u8]>,
    ) -> Result<Verdict, Reason> {
        if handshake.awaits_signature() {
            return self.take_signature(*handshake, token, rules, facts);
        }
        let ClientToken { response_token: message, mech_list_mic } = handshake.unwrap(token)?;
        if handshake.is_for_kerberos() {
            let token = kerberos_token(message)?;
            let Handshake { stage, scope, .. } = *handshake;
            let Stage::Spnego(both) = stage else { return Err(Reason::OutOfSequence) };
            let leg = Leg { negotiation: Some(Box::new(both.0)), token, mech_list_mic };
            return self.show_ticket(&scope, request, rules, leg, facts);
        }
        match ntlm::message_type(message)? {
            MessageType::Authenticate if handshake.challenged().is_some() => {
                self.find_bindings(&handshake.scope, request);
                Ok(self.authenticate(handshake, token, rules, facts))
            }
            MessageType::Negotiate if mech_list_mic.is_none() => {
                let Handshake { stage, scheme, scope } = *handshake;
                match stage {
                    Stage::Spnego(both) if matches!(both.1, Mechanism::Due) => {
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
        rules: &Rules,
        facts: &Facts<&[u8]>,
    ) -> Verdict {
        let scope = handshake.scope.clone();
        let Some(accounts) = &scope.accounts else { return self.refuse_call() };
        let mut question = None;
        if accounts.asks() {
            match self.question(&handshake, accounts, token, facts) {
                Ok(asked) => question = Some(asked),
                Err(reason) => {
                    return self.refuse_claim(&handshake, token, reason, facts.offer, None);
                }
            }
        }
        let (job, reply) = match accounts.before_sign_in(&scope, question, besides(&scope, rules)) {
            Ok(Needed::Nothing) => return self.judge(handshake, token, rules, facts, None),
            Ok(Needed::Job(job)) => (job, None),
            Ok(Needed::Reply(job, reply)) => (job, Some(reply)),
            Err(busy) => {
                let claim = handshake.claim(token).map(Subject::User);
                let verdict = self.answer.give_up(busy.reason(), claim);
                self.answer.notice(accounts.take_notice());
                return verdict;
            }
        };
        let next = Next::Judge { handshake, token: token.into(), rules: rules.clone(), reply };
        self.suspend(job, &scope, facts, next)
    }

    fn question(
        &self,
        handshake: &Handshake,
        accounts: &Backend,
        token: &[u8],
        facts: &Facts<&[u8]>,
    ) -> Result<Question, Reason> {
        let message = handshake.unwrap(token)?.response_token;
        let challenged = handshake.challenged().ok_or(Reason::OutOfSequence)?;
        let bindings = NtlmBindings::of(&self.bindings.expect(&handshake.scope));
        let names = names(&handshake.scope)?;
        let context = context(&handshake.scope, accounts, &names, &bindings, facts, None);
        challenged.question(message, &context)
    }

    /// Compares the proof, and signs in or refuses.
    pub(super) fn judge<H: AsRef<[u8]>>(
        &mut self,
        mut handshake: Box<Handshake>,
        token: &[u8],
        rules: &Rules,
        facts: &Facts<H>,
        answer: Option<&Answer>,
    ) -> Verdict {
        let scope = handshake.scope.clone();
        let Some(accounts) = &scope.accounts else { return self.refuse_call() };
        let generation = accounts.generation();
        let result = self.prove(&mut handshake, accounts, token, facts, answer);
        self.answer.notice(accounts.take_notice());
        match result {
            Ok((proof, last_token)) => {
                let scheme = handshake.scheme;
                self.signed_in = Some(Box::new(SignedIn {
                    identity: Identity::from_ntlm(&proof, scheme),
                    generation,
                    persistent: rules.persist && facts.persistent,
                    fresh: true,
                    host: proved_host(&scope, facts),
                    scope: scope.clone(),
                }));
                let entrance = Entrance::New(last_token.map(|token| (scheme, token)));
                self.admit(&scope, rules, facts, entrance)
            }
            Err(reason) => self.refuse_claim(&handshake, token, reason, facts.offer, answer),
        }
    }

    /// What the client proved, and the token that ends the negotiation, if there was one: the proof
    /// counts for nothing before the client's list of mechanisms is known to be its own.
    fn prove<H: AsRef<[u8]>>(
        &self,
        handshake: &mut Handshake,
        accounts: &Backend,
        token: &[u8],
        facts: &Facts<H>,
        answer: Option<&Answer>,
    ) -> Result<(Proof, Option<Vec<u8>>), Reason> {
        let client: ClientToken<'_> = handshake.unwrap(token)?;
        let challenged = handshake.challenged().ok_or(Reason::OutOfSequence)?;
        let bindings = NtlmBindings::of(&self.bindings.expect(&handshake.scope));
        let names = names(&handshake.scope)?;
        let context = context(&handshake.scope, accounts, &names, &bindings, facts, answer);
        let proof = challenged.verify(client.response_token, &context)?;
        let last_token = match &mut handshake.stage {
            Stage::Spnego(both) => {
                match both.0.complete(&client, None, spnego::integrity(&proof))? {
                    Completion::Done(token) => Some(token),
                    Completion::Asks(_) => return Err(Reason::MissingMechListMic),
                }
            }
            Stage::Ntlm(_) => None,
        };
        Ok((proof, last_token))
    }

    /// Refuses an AUTHENTICATE; the log tells who it says to be.
    fn refuse_claim(
        &mut self,
        handshake: &Handshake,
        token: &[u8],
        reason: Reason,
        offer: Offer,
        answer: Option<&Answer>,
    ) -> Verdict {
        let claim = handshake.claim(token).map(|claim| match answer.map(Answer::said) {
            None | Some("") => Subject::User(claim),
            Some(said) => Subject::UserOfDomain(claim, said.to_owned()),
        });
        self.refuse(&handshake.scope, reason, offer, claim)
    }
}

/// The host that a proof is good for, where that has to be the request's.
pub(super) fn proved_host<H: AsRef<[u8]>>(scope: &Scope, facts: &Facts<H>) -> Option<Box<[u8]>> {
    matches!(*scope.service_name, ServiceName::Host).then(|| facts.host.as_ref().into())
}

/// MsvAvChannelBindings that are right.
enum NtlmBindings {
    Off,
    Allow(Vec<[u8; 16]>),
    Require(Vec<[u8; 16]>),
    Impossible,
}

impl NtlmBindings {
    fn of(expected: &Expected) -> Self {
        let each = |end_points: &[EndPoint]| end_points.iter().map(|one| *one.ntlm()).collect();
        match expected {
            Expected::Off => Self::Off,
            Expected::Allow(end_points) => Self::Allow(each(end_points)),
            Expected::Require(end_points) => Self::Require(each(end_points)),
            Expected::Impossible => Self::Impossible,
        }
    }

    fn borrow(&self) -> ChannelBindings<'_> {
        match self {
            Self::Off => ChannelBindings::Off,
            Self::Allow(bindings) => ChannelBindings::Allow(bindings),
            Self::Require(bindings) => ChannelBindings::Require(bindings),
            Self::Impossible => ChannelBindings::Impossible,
        }
    }
}

/// The names of this server: those of the domain, where it is a member of one.
fn names(scope: &Scope) -> Result<Names<'_>, Reason> {
    match scope.accounts.as_ref().and_then(Backend::names) {
        Some(of_domain) => of_domain.ok_or(Reason::WinbindUnavailable).map(Names::Domain),
        None => Ok(Names::Own(&scope.names)),
    }
}

enum Names<'a> {
    Own(&'a ServerNames),
    Domain(Arc<ServerNames>),
}

impl std::ops::Deref for Names<'_> {
    type Target = ServerNames;

    fn deref(&self) -> &ServerNames {
        match self {
            Self::Own(names) => names,
            Self::Domain(names) => names,
        }
    }
}

/// What an AUTHENTICATE is judged by.
fn context<'a, H: AsRef<[u8]>>(
    scope: &'a Scope,
    accounts: &'a Backend,
    names: &'a ServerNames,
    bindings: &'a NtlmBindings,
    facts: &'a Facts<H>,
    answer: Option<&'a Answer>,
) -> Context<'a> {
    Context {
        authority: accounts.authority(answer),
        names,
        policy: Policy { challenge_lifetime: scope.handshake_lifetime, ..Policy::default() },
        channel_bindings: bindings.borrow(),
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

/// The mechanisms that SPNEGO chooses from, in the order of our preference.
fn mechanisms(scope: &Scope) -> &'static [MechType] {
    match (scope.kerberos.is_some(), scope.accounts.is_some()) {
        (true, true) => &[MechType::Krb5, MechType::Ntlmssp],
        (true, false) => &[MechType::Krb5],
        (false, true) => &[MechType::Ntlmssp],
        (false, false) => &[],
    }
}

/// A mechanism's token that has to be Kerberos' first.
fn kerberos_token(token: &[u8]) -> Result<&[u8], Reason> {
    match InitialToken::read(token)? {
        InitialToken::Kerberos(token) => Ok(token),
        InitialToken::Spnego(_) => Err(Reason::MalformedToken),
    }
}

/// A token, by what it is to a session.
enum Token<'a> {
    /// NTLM's NEGOTIATE by itself.
    Negotiate,
    /// SPNEGO's first.
    Spnego(NegTokenInit<'a>),
    /// Kerberos' by itself.
    Kerberos(&'a [u8]),
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
            InitialToken::Kerberos(token) => Ok(Self::Kerberos(token)),
        }
    }
}

/// Whether these are for NTLM by itself, as far as can be told without looking into the token, or
/// for nobody.
fn is_ntlm(credentials: &Result<Credentials<'_>, Reason>) -> bool {
    credentials.as_ref().is_ok_and(|credentials| !is_spnego(credentials))
}

/// Whether the token may be larger than NTLM's are.
fn is_spnego(credentials: &Credentials<'_>) -> bool {
    credentials.scheme == Scheme::Negotiate && !credentials.begins_with(ntlm::SIGNATURE)
}

/// Decodes a token of SPNEGO or Kerberos.
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
