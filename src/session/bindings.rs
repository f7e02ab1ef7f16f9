//! What is known of a connection's channel bindings.

use super::Request;
use crate::channel_binding;
use crate::config::ChannelBindingMode;
use crate::ntlm::ChannelBindings;

/// The bindings that a client on this connection can rightly send.
pub(super) enum Bindings {
    /// There are none: no TLS, or certificates for which none are defined.
    None,
    /// It has to be one of these. They are none over TLS with a certificate that the server could
    /// not tell: what cannot be compared is not right.
    OneOf(Box<[[u8; 16]]>),
}

impl Bindings {
    pub(super) fn of(request: &Request<'_>) -> Self {
        let certificates = request.certificates.iter();
        let bindings: Box<_> =
            certificates.filter_map(|der| channel_binding::ntlm_binding(der)).collect();
        match request.tls && (request.certificates.is_empty() || !bindings.is_empty()) {
            true => Self::OneOf(bindings),
            false => Self::None,
        }
    }

    /// What a response is compared with.
    pub(super) fn expect(&self, mode: ChannelBindingMode) -> ChannelBindings<'_> {
        use ChannelBindingMode::{Allow, Off, Require};
        match (mode, self) {
            (Off, _) | (Allow, Self::None) => ChannelBindings::Off,
            (Allow, Self::OneOf(bindings)) => ChannelBindings::Allow(bindings),
            (Require, Self::None) => ChannelBindings::Impossible,
            (Require, Self::OneOf(bindings)) => ChannelBindings::Require(bindings),
        }
    }
}
