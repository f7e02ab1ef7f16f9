//! Names of groups and their identifiers, remembered: a domain controller is asked for each once in
//! a while. An identifier is given to one group and never to another, so that an old one, too, is
//! nobody else's.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::is_name;
use super::library::{Context, Failure, TranslatedName};
use crate::accounts::group_names::{Remembered, Spelled, Wanted};
use crate::groups::{GroupName, Origin};
use crate::sid::{Sid, SidSet};
use crate::text::Text;

/// How long what was found is good without another look.
const KNOWN_FOR: Duration = Duration::from_secs(60 * 60);

/// How long it is remembered that there is nothing.
const UNKNOWN_FOR: Duration = Duration::from_secs(60);

/// So many are remembered.
const MOST: usize = 16_384;

/// What is known of groups.
#[derive(Default)]
pub(crate) struct NameCache {
    /// `DOMAIN\name`, by the identifiers.
    names: Mutex<HashMap<Sid, Known<Text>>>,
    /// The identifiers, by the names that rules have for groups.
    sids: Mutex<HashMap<GroupName, Known<Sid>>>,
}

struct Known<T> {
    found: Option<T>,
    until: Instant,
}

impl NameCache {
    /// What is remembered of the group that has this name.
    pub(crate) fn sid(&self, name: &GroupName) -> Option<Remembered<Sid>> {
        let sids = self.sids.lock();
        let known = sids.get(name)?;
        Some(Remembered { found: known.found, due: known.until <= Instant::now() })
    }

    /// The names that are remembered. `by` makes the origin of when some of them are due.
    pub(super) fn spell(
        &self,
        groups: &SidSet,
        by: impl FnOnce(Option<Instant>) -> Origin,
    ) -> Spelled {
        let now = Instant::now();
        let names = self.names.lock();
        let (mut spelled, mut due) = (Vec::with_capacity(groups.len()), Vec::new());
        let (mut lacks, mut first): (_, Option<Instant>) = (false, None);
        for sid in groups.iter() {
            let known = names.get(&sid);
            lacks |= known.is_none();
            match known.map(|known| known.until) {
                Some(until) if now < until => {
                    first = Some(first.map_or(until, |first| first.min(until)));
                }
                _ => due.push(sid),
            }
            spelled.extend(known.and_then(|known| known.found.clone()));
        }
        Spelled { names: spelled, due, lacks, by: by(first) }
    }

    /// Those groups whose names are to be looked up, be it once more.
    pub(super) fn due(&self, groups: &SidSet) -> Vec<Sid> {
        let (now, names) = (Instant::now(), self.names.lock());
        let is_due = |sid: &Sid| names.get(sid).is_none_or(|known| known.until <= now);
        groups.iter().filter(is_due).collect()
    }

    /// Takes what was found out about names.
    pub(super) fn learn(&self, found: impl Iterator<Item = (GroupName, Option<Sid>)>) {
        let mut sids = self.sids.lock();
        found.for_each(|(name, sid)| learn(&mut sids, name, sid));
    }

    /// Looks up what is wanted. A bare name is one of `own_domain`.
    pub(super) fn look_up(
        &self,
        wanted: &Wanted,
        context: &Context,
        own_domain: &str,
    ) -> Result<(), Failure> {
        for name in &wanted.names {
            self.learn([(name.clone(), find(name, context, own_domain)?)].into_iter());
        }
        let mut known = wanted.sids.is_empty();
        for sid in &wanted.sids {
            let found = context.group_name(sid)?;
            known |= found.is_some();
            learn(&mut self.names.lock(), *sid, found.as_ref().and_then(spelled));
        }
        // Nobody knows any of them, or nobody could be asked.
        if known { Ok(()) } else { context.ping_domain(own_domain) }
    }
}

/// The group that has this name; a bare name is one of `own_domain`.
pub(super) fn find(
    name: &GroupName,
    context: &Context,
    own_domain: &str,
) -> Result<Option<Sid>, Failure> {
    let (domain, bare) = name.as_str().split_once('\\').unwrap_or((own_domain, name.as_str()));
    let found = context.group_sid(domain, bare)?;
    if found.is_none() {
        // Nobody has it, or nobody could be asked.
        context.ping_domain(own_domain)?;
    }
    Ok(found)
}

/// That something is gone may mean that nobody could be asked just now: the old one stays.
fn learn<K: Eq + Hash, V>(known: &mut HashMap<K, Known<V>>, key: K, found: Option<V>) {
    let now = Instant::now();
    let until = now + if found.is_some() { KNOWN_FOR } else { UNKNOWN_FOR };
    if let Some(old) = known.get_mut(&key) {
        old.found = found.or(old.found.take());
        old.until = until;
        return;
    }
    if known.len() >= MOST {
        known.retain(|_, known| now < known.until);
    }
    if known.len() < MOST {
        known.insert(key, Known { found, until });
    }
}

/// `DOMAIN\name`.
fn spelled(TranslatedName { domain, name }: &TranslatedName) -> Option<Text> {
    let parts = [domain.as_str(), "\\", name];
    let parts = if is_name(domain) { &parts } else { &parts[2..] };
    is_name(name).then(|| Text::concat(parts).shared())
}
