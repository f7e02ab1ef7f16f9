//! Rules about somebody who has signed in: whether they may come in, and what is told of their
//! groups. Rules are those of the place, and are looked at for each anew.

use std::cell::{OnceCell, RefCell};
use std::fmt::Write;
use std::sync::Arc;

use super::{Entrance, Next, Session, Situation, Verdict};
use crate::accounts::{Besides, GroupNames, Remembered, Spelled, Wanted};
use crate::authz::{Authz, Require, Somebody, Truth};
use crate::config::{Config, Rules, Scope};
use crate::groups::{GroupName, Groups, List, ListForm, Spelling};
use crate::identity::Identity;
use crate::names::Escaped;
use crate::reason::Reason;
use crate::sid::{Sid, SidSet};
use crate::text::Text;
use crate::watched::Notice;

/// So many groups are told in a log.
const MOST_LOGGED: usize = 64;

/// What an application is told of somebody's groups.
pub(super) struct Told {
    groups: Arc<Groups>,
    list: Arc<List>,
}

/// Whether somebody can still be asked before the rules are judged.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Asking {
    Possible,
    /// What is known by now has to do.
    Over,
}

/// Somebody, as rules look at them.
struct Visitor<'a> {
    identity: &'a Identity,
    scope: &'a Scope,
    asking: Asking,
    groups: OnceCell<Result<Arc<Groups>, Reason>>,
    /// The names that are to be looked up.
    due: RefCell<Vec<GroupName>>,
}

impl Somebody for Visitor<'_> {
    fn is_user(&self, name: &str) -> bool {
        self.identity.is_called(name, &self.scope.realm_map)
    }

    fn is_in(&self, name: &GroupName) -> Truth {
        let groups = match self.groups() {
            Ok(groups) => groups,
            Err(reason) => return Truth::Unknown(*reason),
        };
        if let Some(is_in) = groups.has_name(name) {
            return truth(is_in);
        }
        // Nobody is in what nobody knows.
        let Some(names) = &self.scope.group_names else { return Truth::No };
        match (names.sid(name), self.asking) {
            (Some(Remembered { found, due: false }), _)
            | (Some(Remembered { found: found @ Some(_), .. }), Asking::Over) => {
                truth(found.is_some_and(|sid| groups.has_sid(&sid)))
            }
            (_, Asking::Possible) => {
                self.due.borrow_mut().push(name.clone());
                Truth::Due
            }
            (_, Asking::Over) => Truth::Unknown(Reason::BackendUnavailable),
        }
    }

    fn knows(&self, name: &GroupName) -> bool {
        match self.groups().map(|groups| groups.sids()) {
            Ok(None) => self.scope.members.as_ref().is_some_and(|file| file.has_group(name)),
            Ok(Some(_)) => {
                let names = self.scope.group_names.as_ref();
                names.and_then(|names| names.sid(name)).is_some_and(|known| known.found.is_some())
            }
            Err(_) => false,
        }
    }

    fn has_sid(&self, sid: &Sid) -> Truth {
        match self.groups() {
            Ok(groups) => truth(groups.has_sid(sid)),
            Err(reason) => Truth::Unknown(*reason),
        }
    }
}

impl<'a> Visitor<'a> {
    fn new(identity: &'a Identity, scope: &'a Scope, asking: Asking) -> Self {
        Self { identity, scope, asking, groups: OnceCell::new(), due: RefCell::default() }
    }

    fn groups(&self) -> Result<&Arc<Groups>, &Reason> {
        self.groups.get_or_init(|| self.identity.groups(self.scope)).as_ref()
    }

    /// The groups whose names have to be looked up for a list: that is done at once with the rest.
    fn unspelled(&self, form: ListForm) -> Vec<Sid> {
        let names = self.scope.group_names.as_ref().filter(|_| form.names);
        let sids = self.groups().ok().and_then(|groups| groups.sids());
        names.zip(sids).map(|(names, sids)| names.spell(sids).due).unwrap_or_default()
    }

    /// The line of a log about who may not come in.
    fn denial(&self, require: &Require, reason: Reason) -> String {
        let name = Escaped(self.identity.name().as_str());
        match reason {
            Reason::NotAllowed => {
                format!("user \"{name}\": no rule lets the user in: {}", require.failing(self))
            }
            reason => format!("user \"{name}\": {}", reason.sentence().as_str()),
        }
    }

    /// The groups, for a log: their names as far as they are remembered.
    fn told_in_log(&self) -> Option<String> {
        let groups = self.groups().ok()?;
        let name = Escaped(self.identity.name().as_str());
        let mut line = format!("user \"{name}\" is in ");
        let each = match (groups.sids(), &self.scope.group_names) {
            (Some(sids), Some(names)) => {
                let spelled = names.spell(sids);
                let mut known = spelled.names;
                known.extend(spelled.due.iter().map(|sid| sid.to_string().into()));
                known
            }
            _ => spell_sids(groups),
        };
        for (at, group) in each.iter().take(MOST_LOGGED).enumerate() {
            let separator = if at > 0 { ", " } else { "" };
            let _ = write!(line, "{separator}\"{}\"", Escaped(group.as_str()));
        }
        match each.len() {
            0 => line.push_str("no group"),
            many if many > MOST_LOGGED => {
                let _ = write!(line, " and {} more groups", many - MOST_LOGGED);
            }
            _ => {}
        }
        Some(line)
    }
}

fn truth(is: bool) -> Truth {
    if is { Truth::Yes } else { Truth::No }
}

/// The groups by their identifiers; those of a file by their names, which is all they have.
fn spell_sids(groups: &Groups) -> Vec<Text> {
    match (groups.names(), groups.sids()) {
        (Some(names), _) => names.to_vec(),
        (None, Some(sids)) => sids.iter().map(|sid| sid.to_string().into()).collect(),
        (None, None) => Vec::new(),
    }
}

/// What is asked at once with whether somebody may sign in.
pub(super) fn besides(scope: &Scope, rules: &Rules) -> Besides {
    let (Some(authz), Some(names)) = (&rules.authz, &scope.group_names) else {
        return Besides::default();
    };
    let is_due = |name: &&GroupName| names.sid(name).is_none_or(|known| known.due);
    let groups = authz.require.iter().flat_map(|require| require.groups());
    let groups = groups.map(|(name, _)| name).filter(is_due).cloned().collect();
    Besides { groups, spelled: authz.list.is_some_and(|list| list.names) }
}

impl Session {
    /// Lets in who has signed in and has a name, if the rules do.
    pub(super) fn let_in(
        &mut self,
        scope: &Arc<Scope>,
        rules: &Rules,
        request: &impl Situation,
        entrance: Entrance,
        asking: Asking,
    ) -> Verdict {
        let Some(authz) = &rules.authz else { return self.welcome(entrance) };
        if let (Some(names), Asking::Possible) = (&scope.group_names, asking) {
            if let Some(job) = names.before_use() {
                let next = Next::LookUp { rules: rules.clone(), entrance };
                let facts = request.facts(self, scope);
                return self.suspend(job, scope, &facts, next);
            }
        }
        match self.look(scope, authz, asking) {
            Look::Allowed(told) => {
                self.answer.allow();
                self.answer.tell(told);
                self.welcome(entrance)
            }
            Look::Denied(reason, detail, more) => self.deny(reason, detail, more, entrance),
            Look::Due(wanted) => {
                let names = scope.group_names.as_ref();
                let job = names.map(|names| names.look_up(wanted, scope.max_jobs, scope.timeout));
                match job {
                    Some(Ok(Some(job))) => {
                        let next = Next::LookUp { rules: rules.clone(), entrance };
                        let facts = request.facts(self, scope);
                        self.suspend(job, scope, &facts, next)
                    }
                    // What was found long ago is better than nothing.
                    _ => self.let_in(scope, rules, request, entrance, Asking::Over),
                }
            }
        }
    }

    /// Says whether rules let in who has signed in, whatever those of the place say.
    pub fn authorize(&mut self, rules: &Config) -> Verdict {
        let (Some(_), Some(signed_in)) = (self.client(), &self.signed_in) else {
            return self.answer.finish(Verdict::Rejected, 403, Reason::NotAllowed);
        };
        let scope = signed_in.scope.clone();
        let Some(require) = rules.require() else { return self.refuse_call() };
        let authz = Arc::new(Authz { require: Some(require.clone()), list: None });
        let facts = super::Facts {
            host: Box::<[u8]>::default(),
            offer: super::Offer::NONE,
            persistent: false,
            arrived: (self.hooks.now)(),
            age: std::time::Duration::ZERO,
            waits_since: None,
        };
        self.authorize_by(&scope, &authz, &facts, Asking::Possible)
    }

    pub(super) fn authorize_by(
        &mut self,
        scope: &Arc<Scope>,
        authz: &Arc<Authz>,
        request: &impl Situation,
        asking: Asking,
    ) -> Verdict {
        match self.look(scope, authz, asking) {
            Look::Allowed(_) => self.answer.allow(),
            Look::Denied(reason, detail, more) => self.deny(reason, detail, more, Entrance::Known),
            Look::Due(wanted) => {
                let names = scope.group_names.as_ref();
                match names.map(|names| names.look_up(wanted, scope.max_jobs, scope.timeout)) {
                    Some(Ok(Some(job))) => {
                        let facts = request.facts(self, scope);
                        self.suspend(job, scope, &facts, Next::Authorize { authz: authz.clone() })
                    }
                    _ => self.authorize_by(scope, authz, request, Asking::Over),
                }
            }
        }
    }

    /// What the rules say of who has signed in.
    fn look(&mut self, scope: &Scope, authz: &Authz, asking: Asking) -> Look {
        let Some(signed_in) = &self.signed_in else {
            return Look::Denied(Reason::NotAllowed, String::new(), None);
        };
        let visitor = Visitor::new(&signed_in.identity, scope, asking);
        if let Some(require) = &authz.require {
            let reason = match require.judge(&visitor) {
                Truth::Yes => None,
                Truth::No => Some(Reason::NotAllowed),
                Truth::Unknown(reason) => Some(reason),
                Truth::Due => {
                    let sids = authz.list.map(|form| visitor.unspelled(form)).unwrap_or_default();
                    return Look::Due(Wanted { names: visitor.due.take(), sids });
                }
            };
            if let Some(reason) = reason {
                let detail = visitor.denial(require, reason);
                return Look::Denied(reason, detail, visitor.told_in_log());
            }
        }
        let Some(form) = authz.list else { return Look::Allowed(None) };
        let fresh = signed_in.fresh;
        let (told, concern) = match list(&visitor, form) {
            Ok(told) => told,
            Err(wanted) => return Look::Due(wanted),
        };
        if let Some(text) = concern.filter(|_| fresh) {
            self.answer.notice(Some(Notice { text: text.into(), warns: true }));
        }
        Look::Allowed(told)
    }

    /// Keeps somebody out who has signed in; the handshake has ended all the same.
    fn deny(
        &mut self,
        reason: Reason,
        detail: String,
        more: Option<String>,
        entrance: Entrance,
    ) -> Verdict {
        if reason.is_fault() {
            self.answer.give_up(reason, None);
            return self.answer.fault_in(detail);
        }
        if let (Some(signed_in), Entrance::New(last_token)) = (&self.signed_in, entrance) {
            self.answer.persistent_auth(signed_in.persistent);
            if let Some((scheme, token)) = last_token {
                self.answer.last_token(scheme, &token);
            }
        }
        self.answer.deny(reason, detail, more)
    }

    /// The user's security identifier; "" if it is not told.
    pub fn sid(&self) -> &Text {
        static NONE: Text = Text::EMPTY;
        self.told().map_or(&NONE, |told| told.groups.user_sid())
    }

    /// The index-th of the groups that are told; "" past the last.
    pub fn group(&self, index: usize) -> &Text {
        static NONE: Text = Text::EMPTY;
        self.told().and_then(|told| told.list.each.get(index)).unwrap_or(&NONE)
    }

    /// The list of groups; "" if it is not told.
    pub fn groups(&self) -> &Text {
        static NONE: Text = Text::EMPTY;
        self.told().map_or(&NONE, |told| &told.list.text)
    }

    fn told(&self) -> Option<&Told> {
        self.client().and_then(|_| self.answer.told_of_groups())
    }
}

/// What comes of a look at the rules.
enum Look {
    Allowed(Option<Told>),
    Denied(Reason, String, Option<String>),
    Due(Wanted),
}

/// What is told of the groups, and what an administrator should know about it; or what has to be
/// found out for that.
fn list(visitor: &Visitor<'_>, form: ListForm) -> Result<(Option<Told>, Option<String>), Wanted> {
    let name = Escaped(visitor.identity.name().as_str());
    let not_told = |why: &str| Some(format!("groups of user \"{name}\" are not told: {why}"));
    let groups = match visitor.groups() {
        Ok(groups) => groups.clone(),
        Err(reason) => return Ok((None, not_told(reason.name().as_str()))),
    };
    let names = visitor.scope.group_names.as_ref().filter(|_| form.names);
    let by = names.filter(|_| groups.sids().is_some()).map(GroupNames::origin);
    let list = groups.list(form, by.as_ref(), |groups| match (groups.sids(), names) {
        (Some(sids), Some(names)) => spell(names, sids, visitor.asking),
        (Some(_), None) if form.names => Ok(Spelling::of_groups(Vec::new())),
        _ => Ok(Spelling::of_groups(spell_sids(groups))),
    });
    let (list, concern) = match list {
        Ok(list) if list.len > form.limit => {
            let (count, len) = (list.each.len(), list.len);
            let why = format!("the list of {count} takes {len} bytes, more than groups_limit");
            (list, not_told(&why))
        }
        Ok(list) => (list, None),
        Err(Lacking::Due(wanted)) => return Err(wanted),
        Err(Lacking::Unknown(reason)) => (Arc::default(), not_told(reason.name().as_str())),
    };
    Ok((Some(Told { groups, list }), concern))
}

/// Why there is no list.
enum Lacking {
    /// This has to be looked up.
    Due(Wanted),
    /// It cannot be told, for this reason.
    Unknown(Reason),
}

/// The names of groups, unless some have yet to be found out.
fn spell(names: &GroupNames, sids: &SidSet, asking: Asking) -> Result<Spelling, Lacking> {
    let Spelled { names, due, lacks, by } = names.spell(sids);
    let complete = due.is_empty();
    match asking {
        Asking::Possible if !complete => Err(Lacking::Due(Wanted { names: Vec::new(), sids: due })),
        Asking::Over if lacks => Err(Lacking::Unknown(Reason::BackendUnavailable)),
        _ => Ok(Spelling { names, by: Some(by), complete }),
    }
}
