//! The fields that an answer carries for us.

use crate::http::Scheme;
use crate::text;
use crate::text::Text;

/// When a field may be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderKind {
    /// Only if the final status is 401 or 407.
    Challenge,
    /// Whatever the status is.
    Always,
}

/// One field.
#[derive(Debug)]
pub struct Field {
    /// The field's name.
    pub name: &'static Text,
    /// The field's value.
    pub value: Text,
    /// When it may be sent.
    pub kind: HeaderKind,
}

/// The fields of one answer; they are few, and none take memory until they do.
#[derive(Debug, Default)]
pub struct Fields([Option<Field>; 4]);

impl Fields {
    /// The index-th field.
    pub fn get(&self, index: usize) -> Option<&Field> {
        self.0.get(index)?.as_ref()
    }

    /// Bare challenges, one field for each scheme (RFC 4559 4.1).
    pub fn challenges(&mut self, proxy: bool, schemes: impl Iterator<Item = Scheme>) {
        for scheme in schemes {
            self.push(challenge_name(proxy), scheme.name().clone(), HeaderKind::Challenge);
        }
    }

    /// A challenge with the mechanism's token, in the scheme that the client used.
    pub fn token(&mut self, proxy: bool, scheme: Scheme, token: &[u8]) {
        self.push(challenge_name(proxy), with_token(scheme, token), HeaderKind::Challenge);
    }

    /// The token that ends a handshake, in the same field (RFC 4559 4.1).
    pub fn last_token(&mut self, proxy: bool, scheme: Scheme, token: &[u8]) {
        self.push(challenge_name(proxy), with_token(scheme, token), HeaderKind::Always);
    }

    /// The answer belongs to one handshake and to no cache.
    pub fn no_store(&mut self) {
        self.push(const { &text!("Cache-Control") }, text!("no-store"), HeaderKind::Challenge);
    }

    /// Whether the identity stays with the connection (MS-N2HT 2.2.2).
    pub fn persistent_auth(&mut self, persistent: bool) {
        let value = if persistent { text!("true") } else { text!("false") };
        self.push(const { &text!("Persistent-Auth") }, value, HeaderKind::Always);
    }

    /// When to try again (RFC 9110 10.2.3), in seconds.
    pub fn retry_after(&mut self) {
        self.push(const { &text!("Retry-After") }, text!("5"), HeaderKind::Always);
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        // They stand in front.
        for field in self.0.iter_mut().take_while(|field| field.is_some()) {
            *field = None;
        }
    }

    fn push(&mut self, name: &'static Text, value: Text, kind: HeaderKind) {
        let free = self.0.iter_mut().find(|field| field.is_none());
        debug_assert!(free.is_some(), "no answer has so many fields");
        if let Some(free) = free {
            *free = Some(Field { name, value, kind });
        }
    }
}

fn with_token(scheme: Scheme, token: &[u8]) -> Text {
    use base64::Engine;
    let scheme = scheme.name().as_str();
    let mut value = String::with_capacity(scheme.len() + 2 + token.len().div_ceil(3) * 4);
    value.push_str(scheme);
    value.push(' ');
    base64::engine::general_purpose::STANDARD.encode_string(token, &mut value);
    value.into()
}

fn challenge_name(proxy: bool) -> &'static Text {
    static ORIGIN: Text = text!("WWW-Authenticate");
    static PROXY: Text = text!("Proxy-Authenticate");
    if proxy { &PROXY } else { &ORIGIN }
}
