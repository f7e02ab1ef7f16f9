//! What is known of a connection's channel bindings.

use super::Request;
use crate::channel_binding::{EndPoint, Expected};
use crate::config::{ChannelBindingMode, Scope};

/// The bindings that a client on this connection can rightly send.
pub(super) enum Bindings {
    /// There are none: no TLS, or certificates for which none are defined.
    None,
    /// It has to be one of these. They are none over TLS with a certificate that the server could
    /// not tell: what cannot be compared is not right.
    OneOf(Box<[EndPoint]>),
}

impl Bindings {
    pub(super) fn of(request: &Request<'_>) -> Self {
        let certificates = request.certificates.iter();
        let end_points: Box<_> = certificates.filter_map(|der| EndPoint::of(der)).collect();
        match request.tls && (request.certificates.is_empty() || !end_points.is_empty()) {
            true => Self::OneOf(end_points),
            false => Self::None,
        }
    }

    /// What a client's bindings are compared with: those of this connection, and of what ends TLS
    /// in front of it.
    pub(super) fn expect(&self, scope: &Scope) -> Expected {
        let ours = match self {
            Self::None if scope.certificates.is_empty() => None,
            Self::None => Some(scope.certificates.to_vec()),
            Self::OneOf(ours) => Some([ours, &*scope.certificates].concat()),
        };
        match (scope.channel_binding, ours) {
            (ChannelBindingMode::Off, _) | (ChannelBindingMode::Allow, None) => Expected::Off,
            (ChannelBindingMode::Allow, Some(ours)) => Expected::Allow(ours),
            (ChannelBindingMode::Require, None) => Expected::Impossible,
            (ChannelBindingMode::Require, Some(ours)) => Expected::Require(ours),
        }
    }
}
