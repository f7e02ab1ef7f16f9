//! One client connection: requests in; verdicts, fields of the answer and the identity out.
//!
//! A session holds at most one handshake and one identity, each of the scope that it began in. Any
//! Authorization field clears both before it is looked at, so that a failure leaves nobody.

mod answer;
mod bindings;
mod half_open;
mod handshake;
mod hooks;
mod request;
mod sign_in;

use std::sync::Arc;
use std::time::Duration;

use answer::Answer;
use bindings::Bindings;
pub use half_open::HalfOpen;
use half_open::Ticket;
use handshake::Handshake;
pub use hooks::Hooks;
pub use request::Request;

pub use crate::http::{Field, HeaderKind};

use crate::accounts::Notice;
use crate::config::{ChannelBindingMode, Config, Effective, Rules, Scope};
use crate::http::Authorization;
use crate::identity::Identity;
use crate::job::Job;
use crate::ntlm::{self, FileTime};
use crate::reason::Reason;
use crate::text::Text;

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
}

/// A step that waits for the accounts.
struct Suspended {
    job: Awaited,
    scope: Arc<Scope>,
    facts: Facts<Box<[u8]>>,
    next: Next,
}

/// What the step goes on with.
enum Next {
    /// Judging an AUTHENTICATE.
    Judge { handshake: Box<Handshake>, token: Box<[u8]>, rules: Rules },
    /// Serving who has signed in before.
    Serve,
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
    /// Whether the client can go on after a challenge.
    continuable: bool,
    /// Whether the connection stays open.
    persistent: bool,
    /// When it came.
    arrived: FileTime,
    /// How old the CHALLENGE was then.
    age: Duration,
}

impl Facts<&[u8]> {
    fn to_owned(&self) -> Facts<Box<[u8]>> {
        let Self { host, continuable, persistent, arrived, age } = *self;
        Facts { host: host.into(), continuable, persistent, arrived, age }
    }
}

/// One client connection.
pub struct Session {
    connection: Connection,
    poisoned: bool,
    hooks: &'static Hooks,
    handshake: Option<Ticket>,
    signed_in: Option<SignedIn>,
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
        self.suspended = None;
        self.answer.begin(request.proxy, &effective.scope);
        match request.authorization {
            Authorization::None => self.step_without_credentials(effective, request),
            Authorization::One(value) => match self.step_credentials(effective, request, value) {
                Ok(verdict) => verdict,
                Err(Reason::DuplicateHeader) => self.refuse_several(),
                Err(reason) => {
                    let continuable = self.obstacle(&effective.scope, request).is_none();
                    self.refuse(&effective.scope, reason, continuable, None)
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
        self.handshake = None;
        let lasts = self.signed_in.as_ref().is_some_and(|signed_in| signed_in.persistent);
        if !lasts || self.is_multiplexed(request) || request.is_shared(&scope.proxies) {
            self.signed_in = None;
        }
        let good = self.signed_in.as_mut().is_some_and(|signed_in| {
            signed_in.fresh = false;
            signed_in.is_good(scope, request.host)
        });
        if good && effective.rules.persist {
            return match scope.accounts.before_request() {
                None => self.serve(scope, self.obstacle(scope, request).is_none()),
                Some(job) => {
                    let facts = self.facts(scope, request, Duration::ZERO);
                    self.suspend(job, scope, &facts, Next::Serve)
                }
            };
        }
        self.challenge(scope, request)
    }

    /// Who has signed in on this connection, as the accounts have it now.
    fn serve(&mut self, scope: &Arc<Scope>, continuable: bool) -> Verdict {
        let generation = scope.accounts.generation();
        let known = self.signed_in.as_mut().is_some_and(|signed_in| {
            signed_in.generation == generation || {
                signed_in.generation = generation;
                signed_in.identity.renew(&scope.accounts)
            }
        });
        if known {
            return self.answer.finish(Verdict::Accepted, 0, Reason::SignedIn);
        }
        self.signed_in = None;
        self.refuse(scope, Reason::AccountChanged, continuable, None)
    }

    /// Nobody is known: a bare challenge, if one can work.
    fn challenge(&mut self, scope: &Arc<Scope>, request: &Request<'_>) -> Verdict {
        let shared = request.is_shared(&scope.proxies).then_some(Reason::Forwarded);
        match shared.or_else(|| self.obstacle(scope, request)) {
            Some(reason) => self.refuse(scope, reason, false, None),
            None => self.answer.challenge(scope, Reason::NoCredentials),
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
        self.suspended = Some(Box::new(Suspended {
            job: Awaited(Arc::new(job)),
            scope: scope.clone(),
            facts: facts.to_owned(),
            next,
        }));
        self.answer.wait()
    }

    fn facts<'a>(&self, scope: &Scope, request: &Request<'a>, age: Duration) -> Facts<&'a [u8]> {
        Facts {
            host: request.host,
            continuable: self.obstacle(scope, request).is_none(),
            persistent: request.persistent,
            arrived: (self.hooks.now)(),
            age,
        }
    }

    /// The same request, redirected inside the server: its token is spent. Who signed in with it is
    /// known in the scope of the sign-in, and who did so before it on this connection where a
    /// sign-in lasts; anywhere else there is nobody.
    fn step_again(&mut self, effective: &Effective, request: &Request<'_>) -> Verdict {
        let scope = &effective.scope;
        let shared = request.is_shared(&scope.proxies);
        let good = self.signed_in.as_ref().is_some_and(|signed_in| {
            signed_in.is_good(scope, request.host) && (signed_in.fresh || effective.rules.persist)
        });
        if good && !shared {
            self.suspended = None;
            if self.answer.verdict() != Verdict::Accepted {
                self.answer.begin(request.proxy, scope);
            }
            return self.serve(scope, self.obstacle(scope, request).is_none());
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

    /// How long to wait for the job; nothing if the step does not wait.
    pub fn timeout(&self) -> Duration {
        self.suspended.as_ref().map_or(Duration::ZERO, |suspended| suspended.scope.timeout)
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
                    Next::Judge { handshake, token, rules } => {
                        self.judge(handshake, &token, rules, &facts)
                    }
                    Next::Serve => self.serve(&scope, facts.continuable),
                };
                self.answer.notice(scope.accounts.take_notice());
                verdict
            }
            _ => {
                let claim = match &suspended.next {
                    Next::Judge { handshake, token, .. } => handshake.claim(token),
                    Next::Serve => None,
                };
                self.answer.give_up(Reason::BackendUnavailable, claim)
            }
        }
    }

    /// Refuses credentials. The client learns no more than the status; that a challenge cannot
    /// work on this connection makes it a 403. The challenges are bare, also after a token of SPNEGO:
    /// its "reject" would keep a client from asking for another password.
    fn refuse(
        &mut self,
        scope: &Arc<Scope>,
        reason: Reason,
        continuable: bool,
        claim: Option<ntlm::Claim>,
    ) -> Verdict {
        self.answer.refuse(scope, reason, continuable, claim)
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

    /// Why a challenge cannot lead anywhere: bindings are required and there is no TLS, or the
    /// connection closes. One of those that clients leave for HTTP/1.1 when they see NTLM counts as
    /// open.
    fn obstacle(&self, scope: &Scope, request: &Request<'_>) -> Option<Reason> {
        if scope.channel_binding == ChannelBindingMode::Require && !request.tls {
            Some(Reason::MissingChannelBinding)
        } else if !request.persistent && !self.is_multiplexed(request) {
            Some(Reason::NotPersistent)
        } else {
            None
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

    /// Who the client is, if the last verdict was to serve it.
    pub fn identity(&self) -> Option<&Identity> {
        match self.answer.verdict() {
            Verdict::Accepted => self.signed_in.as_ref().map(|signed_in| &signed_in.identity),
            _ => None,
        }
    }

    /// Why.
    pub fn reason(&self) -> Reason {
        self.answer.reason()
    }

    /// Why, in one sentence.
    pub fn detail(&self) -> &Text {
        self.answer.detail()
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
