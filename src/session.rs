//! One client connection: requests in; verdicts, fields of the answer and the identity out.
//!
//! A session holds at most one handshake and one identity, each of the scope that it began in. Any
//! Authorization field clears both before it is looked at, so that a failure leaves nobody.

mod answer;
mod bindings;
mod half_open;
mod handshake;
mod hooks;
mod offer;
mod request;
mod rules;
mod sign_in;
mod ticket;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use answer::{Answer, Subject};
use bindings::Bindings;
pub use half_open::HalfOpen;
use half_open::Ticket;
use handshake::Handshake;
pub use hooks::Hooks;
use offer::Offer;
pub use request::Request;
use rules::Asking;

pub use crate::http::{Field, HeaderKind};

use crate::accounts::{Backend, Reply};
use crate::authz::Authz;
use crate::config::{ChannelBindingMode, Config, Effective, Rules, Scope};
use crate::http::{Authorization, Scheme};
use crate::identity::{Identity, Nameless};
use crate::job::{Audience, Job, Jobs};
use crate::kerberos;
use crate::names::Escaped;
use crate::naming::Naming;
use crate::ntlm::FileTime;
use crate::reason::Reason;
use crate::spnego::Negotiation;
use crate::text::Text;
use crate::watched::Notice;

/// What to do with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Answer with the status: something is broken.
    Error = 0,
    /// Answer with the status: the client is to go on.
    Challenge = 1,
    /// Serve it.
    Accepted = 2,
    /// Answer with the status: the attempt was refused.
    Rejected = 3,
    /// Detach the job.
    Wait = 4,
}

/// What a session stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connection {
    /// An HTTP/1.x connection: one request after the other.
    Serial,
    /// One request of a connection that carries many at once.
    Multiplexed,
}

/// Somebody who proved an identity.
struct SignedIn {
    identity: Identity,
    scope: Arc<Scope>,
    /// The table of accounts that the identity was last seen in.
    generation: u64,
    /// Whether it outlasts the request.
    persistent: bool,
    /// Whether it was the request in hand that signed in.
    fresh: bool,
    /// The host that the client proved to mean, where it has to be that of every request.
    host: Option<Box<[u8]>>,
}

impl SignedIn {
    /// Whether the identity is good in this scope for a request to this host.
    fn is_good(&self, scope: &Arc<Scope>, host: &[u8]) -> bool {
        self.scope == *scope
            && self.host.as_deref().is_none_or(|proved| proved.eq_ignore_ascii_case(host))
    }

    /// Whether the rules let it outlast the request.
    fn may_last(&self, rules: &Rules) -> bool {
        if self.identity.is_kerberos() { rules.persist_kerberos } else { rules.persist }
    }
}

/// A step that waits for a job.
struct Suspended {
    job: Awaited,
    /// When it began to, on the clock that nobody sets.
    since: Duration,
    scope: Arc<Scope>,
    facts: Facts<Box<[u8]>>,
    next: Next,
}

/// What the step goes on with.
enum Next {
    /// Answering a NEGOTIATE.
    Challenge { scheme: Scheme, message: Box<[u8]>, negotiation: Option<Box<Negotiation>> },
    /// Judging an AUTHENTICATE, by the answer to a question if there was one.
    Judge { handshake: Box<Handshake>, token: Box<[u8]>, rules: Rules, reply: Option<Reply> },
    /// Judging a ticket.
    Accept { leg: ticket::Leg<Box<[u8]>>, rules: Rules },
    /// Serving who has signed in before.
    Serve { rules: Rules },
    /// Serving who has signed in, under the name that the system told.
    Name { rules: Rules, naming: Arc<Naming>, local_name: LocalName, entrance: Entrance },
    /// Serving who has signed in, if the rules let them in.
    LookUp { rules: Rules, entrance: Entrance },
    /// Saying whether rules let them in.
    Authorize { authz: Arc<Authz> },
}

/// The local name of somebody, when the system has told it; none if there is none.
type LocalName = Arc<OnceLock<Option<String>>>;

/// How somebody comes to be served.
enum Entrance {
    /// By signing in just now, with the token that ends the handshake, if there is one.
    New(Option<(Scheme, Vec<u8>)>),
    /// By having signed in before.
    Known,
}

/// A job that a step waits for.
struct Awaited(Arc<Job>);

impl Drop for Awaited {
    fn drop(&mut self) {
        self.0.abandon();
    }
}

/// What going on takes of the request.
struct Facts<H> {
    host: H,
    /// What the client can sign in with after a refusal.
    offer: Offer,
    /// Whether the connection stays open, and is the client's own.
    persistent: bool,
    /// When it came.
    arrived: FileTime,
    /// How old the CHALLENGE was then.
    age: Duration,
    /// When the step began to wait, if it has, on the clock that nobody sets.
    waits_since: Option<Duration>,
}

impl Facts<&[u8]> {
    fn to_owned(&self) -> Facts<Box<[u8]>> {
        let Self { host, offer, persistent, arrived, age, waits_since } = *self;
        Facts { host: host.into(), offer, persistent, arrived, age, waits_since }
    }
}

/// A request in hand, or what is kept of one.
trait Situation {
    fn offer(&self, session: &Session, scope: &Scope) -> Offer;

    fn facts(&self, session: &Session, scope: &Scope) -> Facts<&[u8]>;
}

impl Situation for Request<'_> {
    fn offer(&self, session: &Session, scope: &Scope) -> Offer {
        session.offer(scope, self)
    }

    fn facts(&self, session: &Session, scope: &Scope) -> Facts<&[u8]> {
        session.facts(scope, self, Duration::ZERO)
    }
}

impl<H: AsRef<[u8]>> Situation for Facts<H> {
    fn offer(&self, _: &Session, _: &Scope) -> Offer {
        self.offer
    }

    fn facts(&self, _: &Session, _: &Scope) -> Facts<&[u8]> {
        let Self { offer, persistent, arrived, age, waits_since, .. } = *self;
        Facts { host: self.host.as_ref(), offer, persistent, arrived, age, waits_since }
    }
}

/// One client connection.
pub struct Session {
    connection: Connection,
    poisoned: bool,
    hooks: &'static Hooks,
    handshake: Option<Ticket>,
    signed_in: Option<Box<SignedIn>>,
    suspended: Option<Box<Suspended>>,
    bindings: Bindings,
    answer: Answer,
}

impl Session {
    /// A session without a past.
    pub fn new(connection: Connection) -> Self {
        Self::with_hooks(connection, &hooks::SYSTEM)
    }

    /// The same with a test's clock and challenges.
    pub fn with_hooks(connection: Connection, hooks: &'static Hooks) -> Self {
        Self {
            connection,
            poisoned: false,
            hooks,
            handshake: None,
            signed_in: None,
            suspended: None,
            bindings: Bindings::None,
            answer: Answer::default(),
        }
    }

    /// Takes the next request.
    pub fn step(&mut self, config: &Config, request: &Request<'_>) -> Verdict {
        if self.poisoned {
            return self.fault(Reason::Internal, None);
        }
        let effective = match config.effective() {
            Ok(effective) => effective,
            Err(error) => return self.fault(Reason::BadConfig, Some(error)),
        };
        if request.again {
            return self.step_again(effective, request);
        }
        if self.suspended.is_some() {
            self.suspended = None;
        }
        self.answer.begin(request.proxy, &effective.scope);
        match request.authorization {
            Authorization::None => self.step_without_credentials(effective, request),
            Authorization::One(value) => match self.step_credentials(effective, request, value) {
                Ok(verdict) => verdict,
                Err(Reason::DuplicateHeader) => self.refuse_several(),
                Err(reason) => {
                    let offer = self.offer(&effective.scope, request);
                    self.refuse(&effective.scope, reason, offer, None)
                }
            },
            Authorization::Several => self.refuse_several(),
        }
    }

    /// More than one Authorization field: whose word counted, would be a guess.
    fn refuse_several(&mut self) -> Verdict {
        self.forget();
        self.answer.finish(Verdict::Rejected, 400, Reason::DuplicateHeader)
    }

    /// A request without credentials: who signed in on the connection before, or a challenge. It
    /// ends a half-done handshake, whose next message it is not.
    fn step_without_credentials(
        &mut self,
        effective: &Effective,
        request: &Request<'_>,
    ) -> Verdict {
        let scope = &effective.scope;
        if self.handshake.is_some() {
            self.handshake = None;
        }
        let lasts = self.signed_in.as_ref().is_some_and(|signed_in| signed_in.persistent);
        if !lasts || self.is_multiplexed(request) || request.is_shared(&scope.proxies) {
            self.signed_in = None;
        }
        let good = self.signed_in.as_mut().is_some_and(|signed_in| {
            signed_in.fresh = false;
            signed_in.is_good(scope, request.host) && signed_in.may_last(&effective.rules)
        });
        if !good {
            return self.challenge(scope, request);
        }
        let rules = &effective.rules;
        let by_ntlm = self.signed_in.as_ref().is_some_and(|known| !known.identity.is_kerberos());
        match scope.accounts.as_ref().filter(|_| by_ntlm).and_then(Backend::before_request) {
            None => self.serve(scope, rules, request, Entrance::Known),
            Some(job) => {
                let facts = self.facts(scope, request, Duration::ZERO);
                self.suspend(job, scope, &facts, Next::Serve { rules: rules.clone() })
            }
        }
    }

    /// Who has signed in on this connection, as the accounts have it now.
    fn serve(
        &mut self,
        scope: &Arc<Scope>,
        rules: &Rules,
        request: &impl Situation,
        entrance: Entrance,
    ) -> Verdict {
        if self.is_as_before(scope, rules) {
            return self.answer.finish(Verdict::Accepted, 0, Reason::SignedIn);
        }
        self.serve_anew(scope, rules, request, entrance)
    }

    /// The same where there is something to look at. It is called seldom, and out of the way of what
    /// is called often.
    #[inline(never)]
    fn serve_anew(
        &mut self,
        scope: &Arc<Scope>,
        rules: &Rules,
        request: &impl Situation,
        entrance: Entrance,
    ) -> Verdict {
        match self.check_signed_in(scope) {
            Ok(()) => self.admit(scope, rules, request, entrance),
            Err(reason) => {
                self.signed_in = None;
                let offer = request.offer(self, scope);
                self.refuse(scope, reason, offer, None)
            }
        }
    }

    /// Whether there is nothing new about who has signed in: what most requests find.
    #[inline]
    fn is_as_before(&self, scope: &Scope, rules: &Rules) -> bool {
        let (Some(signed_in), Some(accounts)) = (&self.signed_in, &scope.accounts) else {
            return false;
        };
        signed_in.generation == accounts.generation()
            && !signed_in.identity.is_kerberos()
            && signed_in.identity.is_named_by(&rules.naming, &scope.realm_map)
            && rules.authz.is_none()
    }

    fn check_signed_in(&mut self, scope: &Scope) -> Result<(), Reason> {
        let uptime = self.hooks.uptime;
        let signed_in = self.signed_in.as_mut().ok_or(Reason::AccountChanged)?;
        if let Some(ends) = signed_in.identity.ends() {
            return if uptime() < ends { Ok(()) } else { Err(Reason::TicketExpired) };
        }
        let accounts = scope.accounts.as_ref().ok_or(Reason::AccountChanged)?;
        let generation = accounts.generation();
        if signed_in.generation == generation {
            return Ok(());
        }
        signed_in.generation = generation;
        match signed_in.identity.renew(accounts) {
            true => Ok(()),
            false => Err(Reason::AccountChanged),
        }
    }

    /// Serves who is signed in, as soon as they have a name.
    fn admit(
        &mut self,
        scope: &Arc<Scope>,
        rules: &Rules,
        request: &impl Situation,
        entrance: Entrance,
    ) -> Verdict {
        let naming = &rules.naming;
        let Some(signed_in) = &mut self.signed_in else { return self.refuse_call() };
        match (signed_in.identity.name_by(naming, &scope.realm_map), naming) {
            (Ok(()), _) => self.let_in(scope, rules, request, entrance, Asking::Possible),
            (Err(Nameless::Ask(principal)), Some(naming)) => {
                let facts = request.facts(self, scope);
                self.ask_local_name(principal, naming, rules, scope, &facts, entrance)
            }
            (Err(_), _) => self.refuse_nameless(scope, entrance),
        }
    }

    fn ask_local_name(
        &mut self,
        principal: String,
        naming: &Arc<Naming>,
        rules: &Rules,
        scope: &Arc<Scope>,
        facts: &Facts<&[u8]>,
        entrance: Entrance,
    ) -> Verdict {
        /// Those of the process who wait for their names.
        static WAITING: OnceLock<Jobs> = OnceLock::new();
        let Some(permit) = WAITING.get_or_init(Jobs::default).permit(scope.max_jobs) else {
            self.signed_in = None;
            return self.answer.give_up(Reason::Busy, None);
        };
        let local_name = LocalName::default();
        let (naming, teller) = (naming.clone(), local_name.clone());
        let work = Box::new(move || {
            let _permit = permit;
            let _ = teller.set(kerberos::local_name(&principal));
        });
        let job = Job::new(Audience::One, work);
        let next = Next::Name { rules: rules.clone(), naming, local_name, entrance };
        self.suspend(job, scope, facts, next)
    }

    /// Goes on under the name that the system has told.
    fn take_name(
        &mut self,
        scope: &Arc<Scope>,
        rules: &Rules,
        naming: &Arc<Naming>,
        local_name: &LocalName,
        request: &impl Situation,
        entrance: Entrance,
    ) -> Verdict {
        match (&mut self.signed_in, local_name.get()) {
            (Some(signed_in), Some(Some(name))) => {
                signed_in.identity.set_local_name(naming, name.clone());
                self.let_in(scope, rules, request, entrance, Asking::Possible)
            }
            _ => self.refuse_nameless(scope, entrance),
        }
    }

    /// Somebody proved who it is, and is nobody here: no other credentials would do. The handshake
    /// ends all the same.
    fn refuse_nameless(&mut self, scope: &Scope, entrance: Entrance) -> Verdict {
        let who = self.signed_in.take().map(|signed_in| {
            let name = Escaped(signed_in.identity.name().as_str()).to_string();
            Subject::Ticket(format!("user \"{name}\""))
        });
        let verdict = self.refuse(scope, Reason::NoLocalName, Offer::NONE, who);
        if let Entrance::New(Some((scheme, token))) = entrance {
            self.answer.last_token(scheme, &token);
        }
        verdict
    }

    fn welcome(&mut self, entrance: Entrance) -> Verdict {
        let (Some(signed_in), Entrance::New(last_token)) = (&self.signed_in, entrance) else {
            return self.answer.finish(Verdict::Accepted, 0, Reason::SignedIn);
        };
        let verdict = self.answer.sign_in(&signed_in.identity, signed_in.persistent);
        if let Some((scheme, token)) = last_token {
            self.answer.last_token(scheme, &token);
        }
        verdict
    }

    /// Nobody is known: a bare challenge, if one can work.
    fn challenge(&mut self, scope: &Arc<Scope>, request: &Request<'_>) -> Verdict {
        let offer = self.offer(scope, request);
        match offer.is_none() {
            false => self.answer.challenge(scope, offer, Reason::NoCredentials),
            true => {
                let reason = self.connection_obstacle(scope, request);
                self.refuse(scope, reason.unwrap_or(Reason::NoCredentials), offer, None)
            }
        }
    }

    /// Puts the step off until `job` has run.
    fn suspend(
        &mut self,
        job: Job,
        scope: &Arc<Scope>,
        facts: &Facts<&[u8]>,
        next: Next,
    ) -> Verdict {
        let since = (self.hooks.uptime)();
        let mut facts = facts.to_owned();
        facts.waits_since.get_or_insert(since);
        let job = Awaited(Arc::new(job));
        self.suspended =
            Some(Box::new(Suspended { job, since, scope: scope.clone(), facts, next }));
        self.answer.wait()
    }

    fn facts<'a>(&self, scope: &Scope, request: &Request<'a>, age: Duration) -> Facts<&'a [u8]> {
        Facts {
            host: request.host,
            offer: self.offer(scope, request),
            persistent: request.persistent
                && !self.is_multiplexed(request)
                && !request.is_shared(&scope.proxies),
            arrived: (self.hooks.now)(),
            age,
            waits_since: None,
        }
    }

    /// The same request, redirected inside the server: its token is spent. Who signed in with it is
    /// known in the scope of the sign-in, and who did so before it on this connection where a
    /// sign-in lasts; anywhere else there is nobody.
    fn step_again(&mut self, effective: &Effective, request: &Request<'_>) -> Verdict {
        let scope = &effective.scope;
        let shared = request.is_shared(&scope.proxies);
        let good = self.signed_in.as_ref().is_some_and(|signed_in| {
            signed_in.is_good(scope, request.host)
                && (signed_in.fresh || signed_in.may_last(&effective.rules))
        });
        // A ticket is good for the request that shows it, whoever carries it here.
        let shared = shared
            && !self
                .signed_in
                .as_ref()
                .is_some_and(|signed_in| signed_in.fresh && signed_in.identity.is_kerberos());
        if good && !shared {
            // Who waits for a name has not been told of the end of the handshake.
            let entrance = match self.suspended.take().map(|suspended| suspended.next) {
                Some(Next::Name { entrance, .. } | Next::LookUp { entrance, .. }) => entrance,
                _ => Entrance::Known,
            };
            // Who was kept out elsewhere has ended the handshake, too.
            if self.answer.verdict() != Verdict::Accepted && !self.answer.reason().is_denial() {
                self.answer.begin(request.proxy, scope);
            }
            self.answer.forget_denial();
            self.answer.tell(None);
            return self.serve(scope, &effective.rules, request, entrance);
        }
        if self.answer.is_for(scope) && self.answer.verdict() != Verdict::Accepted {
            return self.answer.verdict();
        }
        self.suspended = None;
        self.handshake = None;
        self.answer.begin(request.proxy, scope);
        self.challenge(scope, request)
    }

    /// Hands out the job of a step that waits.
    pub fn detach(&self) -> Option<Arc<Job>> {
        self.suspended.as_ref().map(|suspended| suspended.job.0.clone())
    }

    /// How long to wait for the job; nothing if the step does not wait. A step that waits more than
    /// once waits no longer than others.
    pub fn timeout(&self) -> Duration {
        let Some(suspended) = &self.suspended else { return Duration::ZERO };
        let began = suspended.facts.waits_since.unwrap_or(suspended.since);
        let waited = suspended.since.saturating_sub(began);
        suspended.scope.timeout.saturating_sub(waited).max(Duration::from_millis(1))
    }

    /// Goes on with a step whose job has run; gives it up without one.
    pub fn resume(&mut self, job: Option<Arc<Job>>) -> Verdict {
        let Some(suspended) = self.suspended.take() else {
            return self.refuse_call();
        };
        match job {
            Some(job) if Arc::ptr_eq(&job, &suspended.job.0) && job.is_finished() => {
                let Suspended { scope, facts, next, .. } = *suspended;
                let verdict = match next {
                    Next::Challenge { scheme, message, negotiation } => {
                        self.challenge_domain(&scope, scheme, &message, negotiation, &facts)
                    }
                    Next::Judge { handshake, token, rules, reply } => {
                        let answer = reply.as_ref().and_then(|reply| reply.get());
                        self.judge(handshake, &token, &rules, &facts, answer)
                    }
                    Next::Accept { leg, rules } => self.accept(&scope, leg, &rules, &facts),
                    Next::Serve { rules } => self.serve(&scope, &rules, &facts, Entrance::Known),
                    Next::Name { rules, naming, local_name, entrance } => {
                        self.take_name(&scope, &rules, &naming, &local_name, &facts, entrance)
                    }
                    Next::LookUp { rules, entrance } => {
                        self.let_in(&scope, &rules, &facts, entrance, Asking::Over)
                    }
                    Next::Authorize { authz } => {
                        self.authorize_by(&scope, &authz, &facts, Asking::Over)
                    }
                };
                self.take_notices(&scope);
                verdict
            }
            _ => self.stop_waiting(*suspended),
        }
    }

    /// Goes on without what the job would have found out, or ends the step.
    fn stop_waiting(&mut self, suspended: Suspended) -> Verdict {
        let Suspended { since, scope, facts, next, .. } = suspended;
        let waited = (self.hooks.uptime)().saturating_sub(since);
        match (&next, &scope.accounts, &scope.group_names) {
            (Next::Challenge { .. } | Next::Judge { .. }, Some(accounts), _) => {
                accounts.gave_up(waited, scope.timeout);
            }
            (Next::LookUp { .. } | Next::Authorize { .. }, _, Some(names)) => {
                names.gave_up(waited, scope.timeout);
            }
            _ => {}
        }
        let verdict = match next {
            // What was found out before may do.
            Next::LookUp { rules, entrance } => {
                self.let_in(&scope, &rules, &facts, entrance, Asking::Over)
            }
            Next::Authorize { authz } => self.authorize_by(&scope, &authz, &facts, Asking::Over),
            Next::Judge { handshake, token, .. } => {
                let subject = handshake.claim(&token).map(Subject::User);
                self.answer.give_up(Reason::BackendUnavailable, subject)
            }
            Next::Name { .. } => {
                self.signed_in = None;
                self.answer.give_up(Reason::BackendUnavailable, None)
            }
            _ => self.answer.give_up(Reason::BackendUnavailable, None),
        };
        self.take_notices(&scope);
        verdict
    }

    /// Tells what an administrator should know of the files that sign-ins depend on.
    fn take_notices(&mut self, scope: &Scope) {
        let of_accounts = || scope.accounts.as_ref()?.take_notice();
        let of_kerberos = || scope.kerberos.as_ref()?.take_notice();
        let of_names = || scope.group_names.as_ref()?.take_notice();
        // One for each answer: the others have to wait for the next.
        self.answer.notice(of_accounts().or_else(of_kerberos).or_else(of_names));
    }

    /// Refuses credentials. The client learns no more than the status; that a challenge cannot
    /// work on this connection makes it a 403. The challenges are bare, also after NTLM in SPNEGO:
    /// its "reject" would keep a client from asking for another password.
    fn refuse(
        &mut self,
        scope: &Scope,
        reason: Reason,
        offer: Offer,
        subject: Option<Subject>,
    ) -> Verdict {
        self.answer.refuse(scope, reason, offer, subject)
    }

    /// Answers a call that makes no sense.
    pub fn refuse_call(&mut self) -> Verdict {
        self.fault(Reason::BadCall, None)
    }

    /// Signs nobody in any more.
    pub fn poison(&mut self) {
        self.poisoned = true;
        self.fault(Reason::Internal, None);
    }

    fn fault(&mut self, reason: Reason, detail: Option<String>) -> Verdict {
        self.forget();
        self.answer.fault(reason, detail)
    }

    fn forget(&mut self) {
        self.suspended = None;
        self.handshake = None;
        self.signed_in = None;
    }

    fn is_multiplexed(&self, request: &Request<'_>) -> bool {
        self.connection == Connection::Multiplexed || request.http_version >= 2000
    }

    /// Why nothing can lead anywhere: bindings are required, and there are none.
    fn obstacle(&self, scope: &Scope, request: &Request<'_>) -> Option<Reason> {
        let required = scope.channel_binding == ChannelBindingMode::Require;
        (required && !request.tls && scope.certificates.is_empty())
            .then_some(Reason::MissingChannelBinding)
    }

    /// Why a handshake of several tokens cannot: the connection is not the client's own, or closes.
    /// One of those that clients leave for HTTP/1.1 when they see NTLM counts as open.
    fn connection_obstacle(&self, scope: &Scope, request: &Request<'_>) -> Option<Reason> {
        if request.is_shared(&scope.proxies) {
            Some(Reason::Forwarded)
        } else if let Some(reason) = self.obstacle(scope, request) {
            Some(reason)
        } else if !request.persistent && !self.is_multiplexed(request) {
            Some(Reason::NotPersistent)
        } else {
            None
        }
    }

    /// What the client can sign in with.
    fn offer(&self, scope: &Scope, request: &Request<'_>) -> Offer {
        let kerberos = scope.kerberos.is_some() && scope.schemes.contains(&Scheme::Negotiate);
        Offer {
            kerberos: kerberos && self.obstacle(scope, request).is_none(),
            ntlm: scope.accounts.is_some() && self.connection_obstacle(scope, request).is_none(),
        }
    }

    /// Works out the connection's channel bindings, once.
    fn find_bindings(&mut self, scope: &Scope, request: &Request<'_>) {
        let unknown = matches!(self.bindings, Bindings::None);
        if scope.channel_binding != ChannelBindingMode::Off && request.tls && unknown {
            self.bindings = Bindings::of(request);
        }
    }

    /// The HTTP status, 0 to go on.
    pub fn status(&self) -> u16 {
        self.answer.status()
    }

    /// The index-th field of the answer.
    pub fn header(&self, index: usize) -> Option<&Field> {
        self.answer.field(index)
    }

    /// Who the client is, if the last verdict was to serve it, or that it may not come in.
    pub fn identity(&self) -> Option<&Identity> {
        self.client().map(|signed_in| &signed_in.identity)
    }

    fn client(&self) -> Option<&SignedIn> {
        let is_known =
            self.answer.verdict() == Verdict::Accepted || self.answer.reason().is_denial();
        self.signed_in.as_deref().filter(|_| is_known)
    }

    /// Why.
    pub fn reason(&self) -> Reason {
        self.answer.reason()
    }

    /// Why, in one sentence.
    pub fn detail(&self) -> &Text {
        self.answer.detail()
    }

    /// More about the last refusal, for who looks closer.
    pub fn more(&self) -> &Text {
        self.answer.more()
    }

    /// What an administrator should read once.
    pub fn notice(&self) -> &Notice {
        self.answer.told()
    }

    /// What the session holds for a half-done handshake beyond the client's own message, in bytes.
    pub fn held(&self) -> usize {
        size_of::<Self>() + self.handshake.as_ref().map_or(0, Ticket::held) + self.answer.held()
    }
}
