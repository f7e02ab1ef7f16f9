//! A request, as the server describes it.

use crate::config::Network;
use crate::http::Authorization;

/// What a step takes of a request.
pub struct Request<'a> {
    /// The Authorization fields.
    pub authorization: Authorization<'a>,
    /// The host that the client asked for.
    pub host: &'a [u8],
    /// 1000 * major + minor.
    pub http_version: u32,
    /// Whether client and settings allow another request on the connection.
    pub persistent: bool,
    /// Whether the connection uses TLS.
    pub tls: bool,
    /// Whether a Via, Forwarded or X-Forwarded-For field is there.
    pub forwarded: bool,
    /// Whether the server is a proxy here.
    pub proxy: bool,
    /// Whether this client request was stepped before.
    pub again: bool,
    /// The TCP peer.
    pub peer: &'a [u8],
    /// The server certificates that the client may have been shown, in DER.
    pub certificates: &'a [&'a [u8]],
}

impl Request<'_> {
    /// Whether a proxy may be sending requests of several clients on this connection.
    pub(super) fn is_shared(&self, proxies: &[Network]) -> bool {
        self.forwarded && {
            let peer = std::str::from_utf8(self.peer).unwrap_or_default();
            !proxies.iter().any(|proxy| proxy.contains(peer))
        }
    }
}
