//! What an established context signs, and whether its signatures can be trusted.

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

impl Integrity for Established {
    fn verify(&self, message: &[u8], mic: &[u8]) -> Result<(), Reason> {
        verify_warily(mic, |mic| self.context.verify_mic(message, mic))
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

/// The length of a MIC token's header (RFC 4121 4.2.6.1), behind which its checksum stands.
const HEADER: usize = 16;

/// TOK_ID of a MIC token.
const TOK_ID: [u8; 2] = [4, 4];

/// Versions of the library have taken signatures that were wrong: each that counts is shown to it
/// with a bit of its checksum changed, too. What one sign-in shows says nothing about others, whose
/// signatures may be checked by other code. Tokens of RFC 1964, which only RC4 and DES use, may be
/// followed by anything.
fn verify_warily(mic: &[u8], verify: impl Fn(&[u8]) -> Verdict) -> Result<(), Reason> {
    if !mic.starts_with(&TOK_ID) || mic.len() <= HEADER {
        return Err(Reason::WrongMechListMic);
    }
    let mut changed = mic.to_vec();
    if let Some(last) = changed.last_mut() {
        *last ^= 1;
    }
    match (verify(&changed), verify(mic)) {
        (Verdict::Wrong, Verdict::Right) => Ok(()),
        // Who has the key may have made the changed one right.
        (Verdict::Wrong, _) | (_, Verdict::Wrong) => Err(Reason::WrongMechListMic),
        _ => Err(Reason::UntrustedMic),
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    const RIGHT: &[u8] = b"\x04\x04 the rest is 14 and a checksum";

    /// A library that knows one signature and whether it has been shown.
    fn library(careful: bool) -> impl Fn(&[u8]) -> Verdict {
        let seen = Cell::new(false);
        move |mic| match mic == RIGHT || !careful {
            false => Verdict::Wrong,
            true if seen.replace(true) => Verdict::OutOfSequence,
            true => Verdict::Right,
        }
    }

    #[test]
    fn a_library_that_takes_wrong_signatures_is_trusted_with_none() {
        assert_eq!(verify_warily(RIGHT, library(false)), Err(Reason::UntrustedMic));
        // Its check turned round: what is right is wrong.
        let turned = |mic: &[u8]| if mic == RIGHT { Verdict::Wrong } else { Verdict::Right };
        assert!(verify_warily(RIGHT, turned).is_err());
        assert!(verify_warily(b"\x04\x04 forged, with a checksum", turned).is_err());
    }

    #[test]
    fn a_library_that_refuses_them_is_asked_about_each() {
        assert_eq!(verify_warily(RIGHT, library(true)), Ok(()));
        for wrong in
            [&b""[..], b"\x04\x04", b"\x04\x04 another with a checksum", b"\x01\x01 of RFC 1964"]
        {
            assert_eq!(verify_warily(wrong, library(true)), Err(Reason::WrongMechListMic));
        }
        let library = library(true);
        library(RIGHT);
        assert_eq!(verify_warily(RIGHT, library), Err(Reason::WrongMechListMic));
    }

    #[test]
    fn what_one_client_signs_ruins_nobody_elses_sign_in() {
        let mut almost = RIGHT.to_vec();
        *almost.last_mut().unwrap() ^= 1;
        assert_eq!(verify_warily(&almost, library(true)), Err(Reason::WrongMechListMic));
        assert_eq!(verify_warily(RIGHT, library(true)), Ok(()));
    }
}
