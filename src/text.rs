//! Text that C can read in place: UTF-8 without a NUL inside, followed by one.

use std::fmt;
use std::sync::Arc;

/// Immutable text for both sides of the C boundary.
#[derive(Clone)]
pub struct Text(Terminated);

/// Text and its NUL.
#[derive(Clone)]
enum Terminated {
    Static(&'static str),
    Owned(String),
    Shared(Arc<str>),
}

impl Text {
    /// Nothing.
    pub const EMPTY: Self = Self(Terminated::Static("\0"));

    /// From text that ends in its NUL and has no other; the macro [`text!`](crate::text!) adds it.
    pub const fn from_static(terminated: &'static str) -> Self {
        let bytes = terminated.as_bytes();
        let mut at = 0;
        while at < bytes.len() {
            assert!((bytes[at] == 0) == (at + 1 == bytes.len()), "one NUL, at the end");
            at += 1;
        }
        assert!(!bytes.is_empty(), "one NUL, at the end");
        Self(Terminated::Static(terminated))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        let text = self.with_nul();
        &text[..text.len() - 1]
    }

    /// The text and its NUL.
    pub fn with_nul(&self) -> &str {
        match &self.0 {
            Terminated::Static(text) => text,
            Terminated::Owned(text) => text,
            Terminated::Shared(text) => text,
        }
    }

    /// The parts, which have no NUL inside, one after the other.
    pub(crate) fn concat(parts: &[&str]) -> Self {
        let mut text =
            String::with_capacity(parts.iter().map(|part| part.len()).sum::<usize>() + 1);
        parts.iter().for_each(|part| text.push_str(part));
        text.push('\0');
        Self(Terminated::Owned(text))
    }

    /// The same in memory that its clones share.
    pub(crate) fn shared(self) -> Self {
        Self(Terminated::Shared(self.with_nul().into()))
    }
}

/// A constant [`Text`].
#[macro_export]
#[doc(hidden)]
macro_rules! text {
    ($text:expr) => {
        $crate::text::Text::from_static(concat!($text, "\0"))
    };
}

/// A NUL inside ends the text: what came before it is what C would see.
impl From<String> for Text {
    fn from(mut text: String) -> Self {
        if let Some(nul) = text.find('\0') {
            text.truncate(nul);
        }
        text.reserve_exact(1);
        text.push('\0');
        Self(Terminated::Owned(text))
    }
}

impl Default for Text {
    fn default() -> Self {
        Self::EMPTY
    }
}

impl PartialEq for Text {
    fn eq(&self, other: &Self) -> bool {
        self.with_nul() == other.with_nul()
    }
}

impl Eq for Text {}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_str().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_always_terminated_once() {
        assert_eq!(Text::EMPTY.with_nul(), "\0");
        assert_eq!(Text::from(String::new()).with_nul(), "\0");
        assert_eq!(Text::from("a\0b".to_owned()).with_nul(), "a\0");
        assert_eq!(crate::text!("abc").as_str(), "abc");
    }
}
