//! What a client can sign in with.

use crate::http::Scheme;

/// Which mechanisms can lead anywhere on a connection.
#[derive(Clone, Copy)]
pub(super) struct Offer {
    pub(super) kerberos: bool,
    pub(super) ntlm: bool,
}

impl Offer {
    /// Nothing can.
    pub(super) const NONE: Self = Self { kerberos: false, ntlm: false };

    pub(super) fn is_none(self) -> bool {
        !self.kerberos && !self.ntlm
    }

    /// Whether a challenge of this scheme can.
    pub(super) fn has(self, scheme: Scheme) -> bool {
        match scheme {
            Scheme::Negotiate => self.kerberos || self.ntlm,
            Scheme::Ntlm => self.ntlm,
        }
    }
}
