//! Strings on their way through the boundary.

use std::ffi::c_char;

use crate::text::Text;

/// A string. Those returned here are UTF-8 without NUL inside, never NULL, and
/// followed by a NUL that len does not count; they last until the next call
/// that takes the same object without const. Those passed in are copied.
#[allow(non_camel_case_types)]
#[repr(C)]
#[derive(Clone, Copy)]
pub struct auth_str {
    /// The first byte.
    pub data: *const c_char,
    /// The number of bytes.
    pub len: usize,
}

impl auth_str {
    /// "", with its NUL.
    pub(crate) const EMPTY: Self = Self { data: c"".as_ptr(), len: 0 };

    /// The bytes, none if `data` is NULL and `len` is 0.
    ///
    /// # Safety
    /// `data` points to `len` bytes that outlive the result, or is NULL.
    pub(crate) unsafe fn bytes<'a>(self) -> Option<&'a [u8]> {
        match (self.data.is_null(), self.len) {
            (true, 0) => Some(&[]),
            (true, _) => None,
            (false, len) if isize::try_from(len).is_ok() => {
                // SAFETY: the caller's promise; no object is larger than isize::MAX.
                Some(unsafe { std::slice::from_raw_parts(self.data.cast(), len) })
            }
            (false, _) => None,
        }
    }
}

impl Default for auth_str {
    fn default() -> Self {
        Self::EMPTY
    }
}

impl From<&Text> for auth_str {
    fn from(text: &Text) -> Self {
        Self { data: text.with_nul().as_ptr().cast(), len: text.as_str().len() }
    }
}

/// The bytes of `count` strings.
///
/// # Safety
/// `strings` points to `count` strings as [`auth_str::bytes`] wants them, or is NULL.
pub(crate) unsafe fn slices<'a>(strings: *const auth_str, count: usize) -> Option<Vec<&'a [u8]>> {
    /// More arguments or certificates than any caller can mean.
    const MOST: usize = 1024;
    if count == 0 {
        return Some(Vec::new());
    }
    if strings.is_null() || count > MOST {
        return None;
    }
    // SAFETY: the caller's promise.
    let strings = unsafe { std::slice::from_raw_parts(strings, count) };
    // SAFETY: the caller's promise.
    strings.iter().map(|string| unsafe { string.bytes() }).collect()
}
