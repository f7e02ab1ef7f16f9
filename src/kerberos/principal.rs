//! A client's principal.

use crate::names;
use crate::text::Text;

/// The longest principal, in bytes.
const MAX: usize = 1024;

/// A client's principal: `alice@REALM`, with a backslash before every `/`, `@` and backslash that
/// is part of a name (RFC 1964 2.1.1).
#[derive(Clone)]
pub struct Principal {
    name: Text,
    user: Text,
    realm: Text,
}

impl Principal {
    /// From what the library displays; `None` if it has characters that names must not have.
    pub(super) fn read(display: &[u8]) -> Option<Self> {
        let name = std::str::from_utf8(display).ok().filter(|name| name.len() <= MAX)?;
        if !names::is_acceptable(name) {
            return None;
        }
        let (user, realm) = split(name)?;
        if user.is_empty() || realm.is_empty() {
            return None;
        }
        let text = |text: &str| Text::concat(&[text]);
        Some(Self { name: text(name), user: text(user), realm: text(realm) })
    }

    /// Whether two are displayed for the same principal. Control characters are displayed in more
    /// than one way.
    pub(super) fn are_same(one: &[u8], other: &[u8]) -> bool {
        match (Self::read(one), Self::read(other)) {
            (Some(one), Some(other)) => one.name == other.name,
            (None, None) => true,
            _ => false,
        }
    }

    /// All of it.
    pub fn name(&self) -> &Text {
        &self.name
    }

    /// What stands before the realm.
    pub fn user(&self) -> &Text {
        &self.user
    }

    /// The realm.
    pub fn realm(&self) -> &Text {
        &self.realm
    }

    /// Whether it stands for nobody (RFC 8062 3).
    pub(super) fn is_anonymous(&self) -> bool {
        self.user.as_str().eq_ignore_ascii_case("WELLKNOWN/ANONYMOUS")
    }
}

/// Takes the realm off, at the last `@` that is not part of a name. A name with control characters
/// is none.
fn split(name: &str) -> Option<(&str, &str)> {
    let mut escaped = false;
    let mut at = None;
    for (index, byte) in name.bytes().enumerate() {
        match byte {
            // The library writes control characters as letters here.
            b'/' | b'@' | b'\\' if escaped => escaped = false,
            _ if escaped => return None,
            b'\\' => escaped = true,
            b'@' => at = Some(index),
            _ => {}
        }
    }
    at.map(|at| (&name[..at], &name[at + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_realm_is_what_follows_the_last_bare_at() {
        let read = |name: &str| {
            let principal = Principal::read(name.as_bytes())?;
            Some((principal.user.as_str().to_owned(), principal.realm.as_str().to_owned()))
        };
        let both = |user: &str, realm: &str| Some((user.to_owned(), realm.to_owned()));
        assert_eq!(read("alice@DEMO.TEST"), both("alice", "DEMO.TEST"));
        assert_eq!(read("alice/admin@DEMO.TEST"), both("alice/admin", "DEMO.TEST"));
        assert_eq!(read("alice\\@other@DEMO.TEST"), both("alice\\@other", "DEMO.TEST"));
        assert_eq!(read("alice\\\\@DEMO.TEST"), both("alice\\\\", "DEMO.TEST"));
        for bad in [
            "alice",
            "alice@",
            "@DEMO.TEST",
            "a\u{7}@R",
            "a\u{202e}@R",
            "alice\\@R",
            "a\\nb@R",
            "a\\0@R",
        ] {
            assert_eq!(read(bad), None, "{bad}");
        }
        assert!(Principal::read(b"\xff@R").is_none());
        assert!(Principal::read(&[b'a'; 2000]).is_none());
    }
}
