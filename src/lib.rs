//! Server side of HTTP `Negotiate` (RFC 4559) and `NTLM` (MS-NTHT) authentication.
//!
//! Dependencies point one way: [`ffi`], the C boundary, calls [`session`], which knows one client
//! connection; a session reads [`http`] fields and steps [`ntlm`], which asks [`accounts`]. What
//! all of them may do is a [`config`] that was read and checked beforehand.
//!
//! The header `include/negotiate_auth.h` is generated from [`ffi`].

#[cfg(all(feature = "slow-accounts", not(debug_assertions)))]
compile_error!("slow-accounts is for tests and never part of a release");

pub mod accounts;
pub mod authz;
pub mod channel_binding;
pub mod config;
pub mod der;
pub mod ffi;
pub mod groups;
pub mod http;
pub mod identity;
pub mod job;
#[cfg(feature = "kerberos")]
pub mod kerberos;
#[cfg(not(feature = "kerberos"))]
#[path = "kerberos/absent.rs"]
pub mod kerberos;
pub mod names;
pub mod naming;
pub mod ntlm;
pub mod reader;
pub mod reason;
pub mod secret;
pub mod session;
pub mod sid;
pub mod spnego;
pub mod text;
pub mod watched;

/// The version of the library.
pub const VERSION: &text::Text = &text!(env!("CARGO_PKG_VERSION"));
