//! What an established context signs, and whether its signatures can be trusted.

use std::sync::OnceLock;

use super::gss::Context;
use crate::reason::Reason;
use crate::spnego::Integrity;

/// An established context that can sign.
pub struct Established {
    context: Context,
    integrity: bool,
}

impl Established {
    pub(super) fn new(context: Context, flags: u32) -> Self {
        Self { context, integrity: flags & libgssapi_sys::GSS_C_INTEG_FLAG != 0 }
    }

    /// What signs, if client and library agreed to.
    pub fn integrity(&self) -> Option<&dyn Integrity> {
        self.integrity.then_some(self)
    }
}

/// Whether this process has seen its library refuse a signature that is wrong.
static TRUST: Trust = Trust(OnceLock::new());

impl Integrity for Established {
    fn verify(&self, message: &[u8], mic: &[u8]) -> Result<(), Reason> {
        TRUST.verify(mic, |mic| self.context.verify_mic(message, mic))
    }

    fn sign(&self, message: &[u8]) -> Option<Vec<u8>> {
        self.context.get_mic(message)
    }

    fn is_strong(&self) -> bool {
        true
    }
}

/// What the library says of a signature.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is right, and the next that was due.
    Right,
    /// It is right, and was not due.
    OutOfSequence,
    /// It is wrong.
    Wrong,
}

/// Versions of the library have taken signatures that were wrong: one that is right is shown to it
/// with a bit changed before any is trusted.
struct Trust(OnceLock<bool>);

impl Trust {
    fn verify(&self, mic: &[u8], verify: impl Fn(&[u8]) -> Verdict) -> Result<(), Reason> {
        let changed = match self.0.get() {
            Some(false) => return Err(Reason::UntrustedMic),
            Some(true) => Verdict::Wrong,
            None => verify(&with_a_bit_changed(mic)),
        };
        match (changed, verify(mic)) {
            // Who has the key may have made the changed one right, and proves nothing.
            (_, Verdict::Wrong) | (Verdict::Wrong, Verdict::OutOfSequence) => {
                Err(Reason::WrongMechListMic)
            }
            (Verdict::Wrong, Verdict::Right) => {
                let _ = self.0.set(true);
                Ok(())
            }
            _ => {
                let _ = self.0.set(false);
                Err(Reason::UntrustedMic)
            }
        }
    }
}

fn with_a_bit_changed(mic: &[u8]) -> Vec<u8> {
    let mut changed = mic.to_vec();
    if let Some(last) = changed.last_mut() {
        *last ^= 1;
    }
    changed
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    /// A library that knows one signature and whether it has been shown.
    fn library(careful: bool) -> impl Fn(&[u8]) -> Verdict {
        let seen = Cell::new(false);
        move |mic| match mic == b"signature" || !careful {
            false => Verdict::Wrong,
            true if seen.replace(true) => Verdict::OutOfSequence,
            true => Verdict::Right,
        }
    }

    #[test]
    fn a_library_that_takes_wrong_signatures_is_trusted_with_none() {
        let trust = Trust(OnceLock::new());
        for _ in 0..2 {
            assert_eq!(trust.verify(b"signature", library(false)), Err(Reason::UntrustedMic));
        }
        assert_eq!(trust.verify(b"signature", library(true)), Err(Reason::UntrustedMic));
    }

    #[test]
    fn a_library_that_refuses_them_is_asked_about_each() {
        let trust = Trust(OnceLock::new());
        assert_eq!(trust.verify(b"another", library(true)), Err(Reason::WrongMechListMic));
        assert_eq!(trust.verify(b"", library(true)), Err(Reason::WrongMechListMic));
        assert_eq!(trust.0.get(), None);
        assert_eq!(trust.verify(b"signature", library(true)), Ok(()));
        assert_eq!(trust.verify(b"signatvre", library(true)), Err(Reason::WrongMechListMic));
        let library = library(true);
        library(b"signature");
        assert_eq!(trust.verify(b"signature", library), Err(Reason::WrongMechListMic));
    }

    #[test]
    fn a_client_that_signs_what_comes_of_the_change_ruins_nobody_elses_sign_in() {
        let trust = Trust(OnceLock::new());
        let almost = with_a_bit_changed(b"signature");
        assert_eq!(trust.verify(&almost, library(true)), Err(Reason::WrongMechListMic));
        assert_eq!(trust.verify(b"signature", library(true)), Ok(()));
    }
}
