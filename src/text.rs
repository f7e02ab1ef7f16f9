//! Text that C can read in place: UTF-8 without a NUL inside, followed by one.

use std::borrow::Cow;
use std::fmt;

/// Immutable text for both sides of the C boundary.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Text(Option<Cow<'static, str>>);

impl Text {
    /// Nothing.
    pub const EMPTY: Self = Self(None);

    /// From text that ends in its NUL and has no other; the macro [`text!`](crate::text!) adds it.
    pub const fn from_static(terminated: &'static str) -> Self {
        let bytes = terminated.as_bytes();
        let mut at = 0;
        while at < bytes.len() {
            assert!((bytes[at] == 0) == (at + 1 == bytes.len()), "one NUL, at the end");
            at += 1;
        }
        assert!(!bytes.is_empty(), "one NUL, at the end");
        Self(Some(Cow::Borrowed(terminated)))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        self.0.as_deref().and_then(|text| text.strip_suffix('\0')).unwrap_or_default()
    }

    /// The text and its NUL.
    pub fn with_nul(&self) -> &str {
        self.0.as_deref().unwrap_or("\0")
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
        Self(Some(Cow::Owned(text)))
    }
}

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
