//! Names of groups, remembered: a domain controller is asked for each once in a while.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::is_name;
use super::library::{Context, GroupName};
use crate::sid::Sid;
use crate::text::Text;

/// How long a name is good without another look.
const KNOWN_FOR: Duration = Duration::from_secs(60 * 60);

/// How long it is remembered that there is none.
const UNKNOWN_FOR: Duration = Duration::from_secs(60);

/// So many are remembered.
const MOST: usize = 16_384;

/// `DOMAIN\name` of groups, by their SIDs.
#[derive(Default)]
pub(super) struct GroupNames(Mutex<HashMap<Sid, Known>>);

struct Known {
    name: Option<Text>,
    until: Instant,
}

/// A group of somebody who signs in.
struct Group<'a> {
    sid: &'a Sid,
    /// Its name, as far as that is known.
    name: Option<Text>,
    /// Whether it is to be looked up.
    due: bool,
    /// Whether it has never been looked up.
    new: bool,
}

impl GroupNames {
    /// The names of groups, as far as they have some, and whether those are all. One that is to be
    /// looked up again keeps its old name where nobody can be asked.
    pub(super) fn of(&self, sids: &[Sid], context: &Context) -> (Vec<Text>, bool) {
        let now = Instant::now();
        let mut groups = self.known(sids, now);
        let due: Vec<&Sid> = groups.iter().filter(|group| group.due).map(|one| one.sid).collect();
        let mut complete = true;
        if !due.is_empty() {
            match context.group_names(&due) {
                Ok(found) => self.learn(&mut groups, &found, now),
                Err(_) => complete = !groups.iter().any(|group| group.new),
            }
        }
        (groups.into_iter().filter_map(|group| group.name).collect(), complete)
    }

    fn known<'a>(&self, sids: &'a [Sid], now: Instant) -> Vec<Group<'a>> {
        let known = self.0.lock();
        let group = |sid| {
            let known = known.get(sid);
            let name = known.and_then(|known| known.name.clone());
            let due = known.is_none_or(|known| known.until <= now);
            Group { sid, name, due, new: known.is_none() }
        };
        sids.iter().map(group).collect()
    }

    /// What was found about those that were due, in their order. That a name is gone may mean that
    /// nobody could be asked just now: the old one stays.
    fn learn(&self, groups: &mut [Group<'_>], found: &[Option<GroupName>], now: Instant) {
        let mut known = self.0.lock();
        for (group, found) in groups.iter_mut().filter(|group| group.due).zip(found) {
            let name = found.as_ref().and_then(spelled);
            let until = now + if name.is_some() { KNOWN_FOR } else { UNKNOWN_FOR };
            group.name = name.or(group.name.take());
            if known.len() >= MOST {
                known.retain(|_, known| now < known.until);
            }
            if known.len() < MOST {
                known.insert(group.sid.clone(), Known { name: group.name.clone(), until });
            }
        }
    }
}

/// `DOMAIN\name`.
fn spelled(GroupName { domain, name }: &GroupName) -> Option<Text> {
    let parts = [domain.as_str(), "\\", name];
    let parts = if is_name(domain) { &parts } else { &parts[2..] };
    is_name(name).then(|| Text::concat(parts).shared())
}
