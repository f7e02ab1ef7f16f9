//! What a session takes from the system, and a test replaces.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::ntlm::FileTime;

/// The clock and the maker of ServerChallenge.
pub struct Hooks {
    /// The clock.
    pub now: fn() -> FileTime,
    /// The maker of ServerChallenge.
    pub server_challenge: fn() -> Option<[u8; 8]>,
}

pub(super) static SYSTEM: Hooks = Hooks { now, server_challenge };

fn now() -> FileTime {
    /// From 1601 to 1970, in units of 100 ns.
    const UNIX: u64 = 116_444_736_000_000_000;
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    FileTime(UNIX + u64::try_from(since.as_nanos() / 100).unwrap_or(u64::MAX / 2))
}

fn server_challenge() -> Option<[u8; 8]> {
    let mut challenge = [0; 8];
    getrandom::fill(&mut challenge).ok().map(|()| challenge)
}
