//! What a session says about the last request.

use std::fmt::Write;
use std::sync::Arc;

use super::Verdict;
use super::offer::Offer;
use super::rules::Told;
use crate::config::Scope;
use crate::http::{Field, Fields, Scheme};
use crate::identity::Identity;
use crate::names::Escaped;
use crate::ntlm::Claim;
use crate::reason::Reason;
use crate::text::Text;
use crate::watched::Notice;

/// Verdict, status, fields, reason and sentences, for accessors to read.
pub(super) struct Answer {
    verdict: Verdict,
    status: u16,
    reason: Reason,
    proxy: bool,
    fields: Fields,
    detail: Option<Text>,
    aside: Option<Box<Aside>>,
    /// The scope that was asked for.
    scope: Option<Arc<Scope>>,
}

/// What few answers have.
#[derive(Default)]
struct Aside {
    notice: Notice,
    /// More about a refusal.
    more: Text,
    /// What the application is told of groups.
    told: Option<Told>,
}

impl Default for Answer {
    /// Before the first request nothing is granted.
    fn default() -> Self {
        Self {
            verdict: Verdict::Error,
            status: 500,
            reason: Reason::BadCall,
            proxy: false,
            fields: Fields::default(),
            detail: None,
            aside: None,
            scope: None,
        }
    }
}

impl Answer {
    /// Forgets the request before.
    pub(super) fn begin(&mut self, proxy: bool, scope: &Arc<Scope>) {
        self.verdict = Verdict::Error;
        self.status = 500;
        self.reason = Reason::BadCall;
        self.proxy = proxy;
        self.fields.clear();
        self.detail = None;
        if self.aside.is_some() {
            self.aside = None;
        }
        // Most often it is the same, and counting who shares it costs more than to look.
        if !self.scope.as_ref().is_some_and(|known| Arc::ptr_eq(known, scope)) {
            self.scope = Some(scope.clone());
        }
    }

    /// Notes the outcome.
    pub(super) fn finish(&mut self, verdict: Verdict, status: u16, reason: Reason) -> Verdict {
        self.verdict = verdict;
        self.status = status;
        self.reason = reason;
        verdict
    }

    /// 401 with bare challenges.
    pub(super) fn challenge(&mut self, scope: &Scope, offer: Offer, reason: Reason) -> Verdict {
        self.bare_challenges(scope, offer);
        self.finish(Verdict::Challenge, self.challenge_status(), reason)
    }

    fn bare_challenges(&mut self, scope: &Scope, offer: Offer) {
        let schemes = scope.schemes.iter().copied().filter(|&scheme| offer.has(scheme));
        self.fields.challenges(self.proxy, schemes);
    }

    /// 401 with the mechanism's token, and no other challenge beside it (RFC 4559 4.1).
    pub(super) fn continue_with(&mut self, scheme: Scheme, token: &[u8]) -> Verdict {
        self.fields.token(self.proxy, scheme, token);
        self.fields.no_store();
        self.finish(Verdict::Challenge, self.challenge_status(), Reason::InProgress)
    }

    /// 401 with bare challenges, or 403 where none can work.
    pub(super) fn refuse(
        &mut self,
        scope: &Scope,
        reason: Reason,
        offer: Offer,
        subject: Option<Subject>,
    ) -> Verdict {
        self.detail = tell(subject, reason);
        self.bare_challenges(scope, offer);
        self.finish_refusal(reason, offer)
    }

    /// The same with a token that tells the client why, in the place of its scheme's challenge.
    pub(super) fn refuse_with_token(
        &mut self,
        scope: &Scope,
        reason: Reason,
        offer: Offer,
        subject: Option<Subject>,
        token: &[u8],
    ) -> Verdict {
        self.detail = tell(subject, reason);
        if !offer.is_none() {
            self.fields.token(self.proxy, Scheme::Negotiate, token);
            let others = scope.schemes.iter().copied();
            let others = others.filter(|&scheme| scheme != Scheme::Negotiate && offer.has(scheme));
            self.fields.challenges(self.proxy, others);
        }
        self.finish_refusal(reason, offer)
    }

    fn finish_refusal(&mut self, reason: Reason, offer: Offer) -> Verdict {
        if offer.is_none() {
            return self.finish(Verdict::Rejected, 403, reason);
        }
        self.fields.no_store();
        self.finish(Verdict::Rejected, self.challenge_status(), reason)
    }

    /// The client has proved who it is.
    pub(super) fn sign_in(&mut self, identity: &Identity, persistent: bool) -> Verdict {
        self.fields.persistent_auth(persistent);
        let bound = if identity.channel_bound() { ", bound to its TLS connection" } else { "" };
        let name = Escaped(identity.name().as_str());
        let (mechanism, scheme) = (identity.mechanism().as_str(), identity.scheme().as_str());
        self.detail =
            Some(format!("user \"{name}\" signed in by {mechanism} under {scheme}{bound}").into());
        self.finish(Verdict::Accepted, 0, Reason::SignedIn)
    }

    /// 403 for somebody who has signed in. The fields that say so stay.
    pub(super) fn deny(&mut self, reason: Reason, detail: String, more: Option<String>) -> Verdict {
        self.detail = Some(detail.into());
        if let Some(more) = more {
            self.aside.get_or_insert_default().more = more.into();
        }
        self.finish(Verdict::Rejected, 403, reason)
    }

    /// The same, and why.
    pub(super) fn fault_in(&mut self, detail: String) -> Verdict {
        self.detail = Some(detail.into());
        self.verdict
    }

    /// Another rule, or that of another place, may let in whom one had kept out.
    pub(super) fn forget_denial(&mut self) {
        if self.reason.is_denial() {
            self.detail = None;
        }
        if let Some(aside) = &mut self.aside {
            aside.more = Text::EMPTY;
        }
    }

    /// Lets somebody in.
    pub(super) fn allow(&mut self) -> Verdict {
        self.forget_denial();
        self.finish(Verdict::Accepted, 0, Reason::SignedIn)
    }

    /// Says whether a sign-in lasts.
    pub(super) fn persistent_auth(&mut self, persistent: bool) {
        self.fields.persistent_auth(persistent);
    }

    /// Sends the token that ends a negotiation, whatever becomes of the request.
    pub(super) fn last_token(&mut self, scheme: Scheme, token: &[u8]) {
        self.fields.last_token(self.proxy, scheme, token);
    }

    /// The step waits for its job.
    pub(super) fn wait(&mut self) -> Verdict {
        self.finish(Verdict::Wait, 503, Reason::BackendUnavailable)
    }

    /// 503: nobody waits for the accounts any more, or nobody may.
    pub(super) fn give_up(&mut self, reason: Reason, subject: Option<Subject>) -> Verdict {
        self.detail = tell(subject, reason);
        self.fields.clear();
        self.fields.retry_after();
        self.finish(Verdict::Error, 503, reason)
    }

    /// 500.
    pub(super) fn fault(&mut self, reason: Reason, detail: Option<String>) -> Verdict {
        *self = Self { proxy: self.proxy, ..Self::default() };
        self.detail = detail.map(Text::from);
        self.finish(Verdict::Error, 500, reason)
    }

    /// The same about somebody.
    pub(super) fn fault_about(&mut self, reason: Reason, subject: Option<Subject>) -> Verdict {
        self.detail = tell(subject, reason);
        self.finish(Verdict::Error, 500, reason)
    }

    /// Adds what an administrator has to be told.
    pub(super) fn notice(&mut self, notice: Option<Notice>) {
        if let Some(notice) = notice {
            self.aside.get_or_insert_default().notice = notice;
        }
    }

    /// Has the application told of groups, or of none.
    pub(super) fn tell(&mut self, told: Option<Told>) {
        match (told, &mut self.aside) {
            (None, None) => {}
            (told, aside) => aside.get_or_insert_default().told = told,
        }
    }

    pub(super) fn told_of_groups(&self) -> Option<&Told> {
        self.aside.as_ref().and_then(|aside| aside.told.as_ref())
    }

    /// Whether the request asked for that scope.
    pub(super) fn is_for(&self, scope: &Arc<Scope>) -> bool {
        self.scope.as_ref().is_some_and(|asked| asked == scope)
    }

    pub(super) fn verdict(&self) -> Verdict {
        self.verdict
    }

    pub(super) fn status(&self) -> u16 {
        self.status
    }

    pub(super) fn reason(&self) -> Reason {
        self.reason
    }

    pub(super) fn field(&self, index: usize) -> Option<&Field> {
        self.fields.get(index)
    }

    pub(super) fn detail(&self) -> &Text {
        self.detail.as_ref().unwrap_or(self.reason.sentence())
    }

    pub(super) fn more(&self) -> &Text {
        static NONE: Text = Text::EMPTY;
        self.aside.as_ref().map_or(&NONE, |aside| &aside.more)
    }

    pub(super) fn told(&self) -> &Notice {
        static NONE: Notice = Notice { text: Text::EMPTY, warns: false };
        self.aside.as_ref().map_or(&NONE, |aside| &aside.notice)
    }

    /// The memory that its texts hold.
    pub(super) fn held(&self) -> usize {
        let fields = (0..).map_while(|index| self.fields.get(index));
        fields.map(|field| field.value.with_nul().len()).sum::<usize>()
            + self.detail.as_ref().map_or(0, |detail| detail.with_nul().len())
    }

    fn challenge_status(&self) -> u16 {
        if self.proxy { 407 } else { 401 }
    }
}

/// Who or what a refusal is about, as far as the client says.
pub(super) enum Subject {
    /// A user of NTLM.
    User(Claim),
    /// The same, and what the domain said.
    UserOfDomain(Claim, String),
    /// A ticket.
    Ticket(String),
}

/// The reason's sentence, behind what it is about.
fn tell(subject: Option<Subject>, reason: Reason) -> Option<Text> {
    let subject = subject?;
    // With room for most names: growing would take time that tells reasons apart.
    let sentence = reason.sentence().as_str();
    let mut detail = String::with_capacity(sentence.len() + 80);
    let _ = match subject {
        Subject::User(claim) => write!(detail, "user {claim}: {sentence}"),
        Subject::UserOfDomain(claim, said) => {
            write!(detail, "user {claim} ({}): {sentence}", Escaped(&said))
        }
        Subject::Ticket(ticket) => write!(detail, "{ticket}: {sentence}"),
    };
    Some(detail.into())
}
