//! The computations of NTLMv2, named as in MS-NLMP 3.3 and 3.4.

use hmac::{Hmac, KeyInit, Mac};
use md5::Md5;
use rc4::{Rc4, StreamCipher};
use zeroize::Zeroizing;

use crate::secret::Secret;

/// HMAC_MD5 (MS-NLMP 6).
pub type HmacMd5 = Hmac<Md5>;

/// A keyed HMAC_MD5, to be fed piece by piece.
pub fn hmac_md5(key: &Secret<16>) -> HmacMd5 {
    HmacMd5::new_from_slice(key.expose()).expect("HMAC takes keys of any length")
}

/// NTOWFv1 (3.3.1), the NT hash: MD4 of the password in UTF-16LE.
pub fn ntowf_v1(password: &str) -> Secret<16> {
    use md4::{Digest, Md4};
    // The exact size is reserved, so that no copy is left behind by growing.
    let mut bytes = Zeroizing::new(Vec::with_capacity(password.len() * 2));
    for unit in password.encode_utf16() {
        bytes.extend_from_slice(&unit.to_le_bytes());
    }
    Secret::new(Md4::digest(&bytes).into())
}

/// NTOWFv2 (3.3.2) from NTOWFv1: HMAC_MD5 of the upper-cased user and the domain as sent, both in
/// UTF-16LE and one after the other in `user_and_domain`.
pub fn ntowf_v2(ntowf_v1: &Secret<16>, user_and_domain: &[u8]) -> Secret<16> {
    Secret::new(finish(hmac_md5(ntowf_v1).chain_update(user_and_domain)))
}

/// NTProofStr (3.3.2): HMAC_MD5 of ServerChallenge and blob under NTOWFv2. `key` is keyed with
/// NTOWFv2.
pub fn nt_proof_str(key: &HmacMd5, server_challenge: &[u8; 8], blob: &[u8]) -> Secret<16> {
    Secret::new(finish(key.clone().chain_update(server_challenge).chain_update(blob)))
}

/// SessionBaseKey (3.3.2), which is the KeyExchangeKey of NTLMv2 (3.4.5.1).
pub fn session_base_key(key: &HmacMd5, nt_proof_str: &[u8; 16]) -> Secret<16> {
    Secret::new(finish(key.clone().chain_update(nt_proof_str)))
}

/// RC4K (6) of 16 bytes: the ExportedSessionKey from its encrypted form.
pub fn rc4k(key: &Secret<16>, data: &[u8; 16]) -> Secret<16> {
    let mut out = Zeroizing::new(*data);
    rc4(key).apply_keystream(out.as_mut_slice());
    Secret::new(*out)
}

/// RC4Init (6).
pub(super) fn rc4(key: &Secret<16>) -> Rc4 {
    Rc4::new_from_slice(key.expose()).expect("RC4 takes keys of 16 bytes")
}

/// The MIC (3.1.5.1.2): HMAC_MD5 of the three messages under ExportedSessionKey, with the MIC's
/// own bytes in AUTHENTICATE taken as zero.
pub fn mic(
    exported_session_key: &Secret<16>,
    negotiate_and_challenge: &[u8],
    before: &[u8],
    after: &[u8],
) -> Secret<16> {
    Secret::new(finish(
        hmac_md5(exported_session_key)
            .chain_update(negotiate_and_challenge)
            .chain_update(before)
            .chain_update([0; 16])
            .chain_update(after),
    ))
}

fn finish(mac: HmacMd5) -> [u8; 16] {
    mac.finalize().into_bytes().into()
}
