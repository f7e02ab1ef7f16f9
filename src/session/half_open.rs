//! Half-done handshakes of a whole process. Each is freed when its session goes on or ends; those
//! that nobody goes on with are freed, once they are too old, by those that begin later.

use std::collections::BTreeMap;
use std::time::Duration;

use parking_lot::Mutex;

use super::Hooks;
use super::handshake::Handshake;
use crate::reason::Reason;

/// Many that grew old together are freed over several steps: none of them shall take long.
const MOST_AT_ONCE: usize = 64;

/// The handshakes, the one to expire next first.
// Boxed, because the nodes of the tree are half empty.
pub struct HalfOpen(Mutex<BTreeMap<Key, Box<Handshake>>>);

/// When a handshake expires, in microseconds of the clock; one that had company there, soon after.
type Key = u64;

impl HalfOpen {
    /// None.
    pub const fn new() -> Self {
        Self(Mutex::new(BTreeMap::new()))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.lock().len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn keep(&self, handshake: Box<Handshake>, now: Duration) -> Key {
        let mut expires = key(now.saturating_add(handshake.scope.handshake_lifetime));
        let mut old = Vec::new();
        let mut handshakes = self.0.lock();
        while old.len() < MOST_AT_ONCE {
            match handshakes.first_entry() {
                Some(first) if *first.key() < key(now) => old.push(first.remove()),
                _ => break,
            }
        }
        while handshakes.contains_key(&expires) {
            expires += 1;
        }
        handshakes.insert(expires, handshake);
        // Nobody has to wait for the old ones to be freed.
        drop(handshakes);
        drop(old);
        expires
    }

    fn remove(&self, key: Key) -> Option<Box<Handshake>> {
        self.0.lock().remove(&key)
    }
}

impl Default for HalfOpen {
    fn default() -> Self {
        Self::new()
    }
}

/// A session's right to its handshake, which ends with it.
pub(super) struct Ticket {
    hooks: &'static Hooks,
    key: Key,
}

impl Ticket {
    /// Keeps a handshake that begins now.
    pub(super) fn of(hooks: &'static Hooks, handshake: Handshake) -> Self {
        let key = hooks.half_open.keep(Box::new(handshake), (hooks.uptime)());
        Self { hooks, key }
    }

    /// The handshake and its age; an error if it was too old and has been freed.
    pub(super) fn redeem(self) -> Result<(Box<Handshake>, Duration), Reason> {
        let Self { hooks, key } = self;
        std::mem::forget(self);
        let handshake = hooks.half_open.remove(key).ok_or(Reason::Expired)?;
        let (lifetime, end) = (handshake.scope.handshake_lifetime, Duration::from_micros(key));
        let age = (lifetime + (hooks.uptime)()).saturating_sub(end);
        Ok((handshake, age))
    }

    /// What is held, in bytes.
    pub(super) fn held(&self) -> usize {
        let handshakes = self.hooks.half_open.0.lock();
        let handshake = handshakes.get(&self.key);
        handshake.map_or(0, |handshake| size_of::<Key>() + handshake.held())
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        drop(self.hooks.half_open.remove(self.key));
    }
}

fn key(time: Duration) -> Key {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX / 2)
}
