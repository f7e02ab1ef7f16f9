//! Names of groups, remembered: a domain controller is asked for each once in a while.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::library::{Context, Failure};
use crate::names;
use crate::sid::Sid;
use crate::text::Text;

/// How long a name is remembered.
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

impl GroupNames {
    /// The names of groups, as far as they have some. Who cannot be asked is asked no further.
    pub(super) fn of(&self, context: &Context, sids: &[Sid]) -> Vec<Text> {
        let now = Instant::now();
        let mut names = Vec::with_capacity(sids.len());
        for sid in sids {
            match self.known(sid, now) {
                Some(name) => names.extend(name),
                None => match context.group_name(sid) {
                    Ok(found) => names.extend(self.remember(sid, found, now)),
                    Err(Failure::NotAvailable) => break,
                    Err(_) => {}
                },
            }
        }
        names
    }

    fn known(&self, sid: &Sid, now: Instant) -> Option<Option<Text>> {
        let known = self.0.lock();
        known.get(sid).filter(|known| now < known.until).map(|known| known.name.clone())
    }

    fn remember(&self, sid: &Sid, found: Option<(String, String)>, now: Instant) -> Option<Text> {
        let acceptable = |(domain, name): &(String, String)| {
            !name.is_empty() && names::is_acceptable(domain) && names::is_acceptable(name)
        };
        let name = found.filter(acceptable).map(|(domain, name)| {
            let parts = [domain.as_str(), "\\", &name];
            Text::concat(if domain.is_empty() { &parts[2..] } else { &parts }).shared()
        });
        let until = now + if name.is_some() { KNOWN_FOR } else { UNKNOWN_FOR };
        let mut known = self.0.lock();
        if known.len() >= MOST {
            known.retain(|_, known| now < known.until);
        }
        if known.len() < MOST {
            known.insert(sid.clone(), Known { name: name.clone(), until });
        }
        name
    }
}
