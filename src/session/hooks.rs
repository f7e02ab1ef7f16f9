//! What a session takes from the system and the process, and a test replaces.

use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::HalfOpen;
use crate::ntlm::FileTime;

/// The clocks, the maker of ServerChallenge, and the handshakes of the process.
pub struct Hooks {
    /// The time of day.
    pub now: fn() -> FileTime,
    /// A clock that nobody sets.
    pub uptime: fn() -> Duration,
    /// The maker of ServerChallenge.
    pub server_challenge: fn() -> Option<[u8; 8]>,
    /// Where half-done handshakes are kept.
    pub half_open: HalfOpen,
}

pub(super) static SYSTEM: Hooks =
    Hooks { now, uptime, server_challenge, half_open: HalfOpen::new() };

fn uptime() -> Duration {
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed()
}

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
