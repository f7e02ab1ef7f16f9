//! Sessions as a server drives them: what the requests of one connection come to.

mod common;

#[path = "session/accounts.rs"]
mod accounts;
#[path = "session/connection.rs"]
mod connection;
#[path = "session/redirect.rs"]
mod redirect;
#[path = "session/refusal.rs"]
mod refusal;
#[path = "session/rules.rs"]
mod rules;
#[path = "session/sign_in.rs"]
mod sign_in;
#[path = "session/spnego.rs"]
mod spnego;
#[cfg(feature = "slow-accounts")]
#[path = "session/waiting.rs"]
mod waiting;
