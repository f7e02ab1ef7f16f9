//! HTTP authentication (RFC 9110 11, RFC 4559, MS-NTHT): credentials in, fields of the answer out.

mod authorization;
mod fields;

pub use authorization::{Authorization, Credentials, MAX_TOKEN};
pub use fields::{Field, Fields, HeaderKind};

use crate::text;
use crate::text::Text;

/// An authentication scheme that carries our tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// RFC 4559.
    Negotiate,
    /// MS-NTHT.
    Ntlm,
}

impl Scheme {
    /// The name, which is also the whole of a bare challenge.
    pub fn name(self) -> &'static Text {
        static NEGOTIATE: Text = text!("Negotiate");
        static NTLM: Text = text!("NTLM");
        match self {
            Self::Negotiate => &NEGOTIATE,
            Self::Ntlm => &NTLM,
        }
    }
}

/// A host without the port behind it.
pub(crate) fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => host,
    }
}
