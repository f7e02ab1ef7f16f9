//! Signing and sealing after the handshake (MS-NLMP 3.4): what protects SPNEGO's mechanism list.

use hmac::Mac;
use md5::{Digest, Md5};
use rc4::{Rc4, StreamCipher};
use zeroize::Zeroizing;

use super::crypto::{hmac_md5, rc4};
use super::flags::Flags;
use crate::secret::Secret;

/// Who wrote a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sender {
    /// The initiator.
    Client,
    /// The acceptor.
    Server,
}

/// One direction's keys, cipher state and sequence number.
pub struct SessionSecurity {
    flags: Flags,
    sign_key: Secret<16>,
    cipher: Rc4,
    sequence: u32,
}

impl SessionSecurity {
    /// The state for messages of `sender`, before the first.
    pub fn new(flags: Flags, exported_session_key: &Secret<16>, sender: Sender) -> Self {
        Self {
            flags,
            sign_key: sign_key(exported_session_key, sender),
            cipher: rc4(&seal_key(flags, exported_session_key, sender)),
            sequence: 0,
        }
    }

    /// GSS_GetMIC (3.4.8): the signature of the next message. Without SIGN it is a dummy (3.4.4),
    /// which is evidence of nothing.
    pub fn sign(&mut self, message: &[u8]) -> [u8; 16] {
        if !self.flags.any(Flags::SIGN) {
            return signature(&[0; 12]);
        }
        let sequence = self.sequence.to_le_bytes();
        self.sequence = self.sequence.wrapping_add(1);
        let body = if self.flags.any(Flags::EXTENDED_SESSIONSECURITY) {
            self.checksum(&sequence, message)
        } else {
            self.crc(sequence, message)
        };
        signature(&body)
    }

    /// GSS_Wrap (3.4.6): encrypts the message in place and returns its signature.
    pub fn seal(&mut self, message: &mut [u8]) -> [u8; 16] {
        if self.flags.any(Flags::EXTENDED_SESSIONSECURITY) {
            // The checksum is over the plain text, and encrypted behind it.
            let mut sealed = Zeroizing::new(message.to_vec());
            self.cipher.apply_keystream(&mut sealed);
            let signature = self.sign(message);
            message.copy_from_slice(&sealed);
            signature
        } else {
            let plain = Zeroizing::new(message.to_vec());
            self.cipher.apply_keystream(message);
            self.sign(&plain)
        }
    }

    /// Checksum and SeqNum with extended session security (3.4.4.2).
    fn checksum(&mut self, sequence: &[u8; 4], message: &[u8]) -> [u8; 12] {
        let mac = hmac_md5(&self.sign_key).chain_update(sequence).chain_update(message);
        let mac = mac.finalize().into_bytes();
        let mut body = [0; 12];
        let (checksum, number) = body.split_at_mut(8);
        checksum.copy_from_slice(&mac[..8]);
        number.copy_from_slice(sequence);
        if self.flags.any(Flags::KEY_EXCH) {
            self.cipher.apply_keystream(checksum);
        }
        body
    }

    /// RandomPad, Checksum and SeqNum without it (3.4.4.1): the pad is encrypted and then zeroed.
    fn crc(&mut self, sequence: [u8; 4], message: &[u8]) -> [u8; 12] {
        let mut body = [0; 12];
        body[4..8].copy_from_slice(&crc32fast::hash(message).to_le_bytes());
        body[8..].copy_from_slice(&sequence);
        self.cipher.apply_keystream(&mut body);
        body[..4].fill(0);
        body
    }
}

/// NTLMSSP_MESSAGE_SIGNATURE (2.2.2.9): the version and what the computation gave.
fn signature(body: &[u8; 12]) -> [u8; 16] {
    let mut signature = [0; 16];
    signature[0] = 1;
    signature[4..].copy_from_slice(body);
    signature
}

/// SIGNKEY (3.4.5.2), meant for extended session security.
pub fn sign_key(exported_session_key: &Secret<16>, sender: Sender) -> Secret<16> {
    const CLIENT: &[u8] = b"session key to client-to-server signing key magic constant\0";
    const SERVER: &[u8] = b"session key to server-to-client signing key magic constant\0";
    let magic = match sender {
        Sender::Client => CLIENT,
        Sender::Server => SERVER,
    };
    derive(exported_session_key.expose(), magic)
}

/// SEALKEY (3.4.5.3). Without extended session security both directions share the session key
/// itself: LM_KEY and DATAGRAM, which shorten it, are never agreed upon.
pub fn seal_key(flags: Flags, exported_session_key: &Secret<16>, sender: Sender) -> Secret<16> {
    const CLIENT: &[u8] = b"session key to client-to-server sealing key magic constant\0";
    const SERVER: &[u8] = b"session key to server-to-client sealing key magic constant\0";
    if !flags.any(Flags::EXTENDED_SESSIONSECURITY) {
        return exported_session_key.clone();
    }
    let strength = match () {
        () if flags.any(Flags::KEY_128) => 16,
        () if flags.any(Flags::KEY_56) => 7,
        () => 5,
    };
    let magic = match sender {
        Sender::Client => CLIENT,
        Sender::Server => SERVER,
    };
    derive(&exported_session_key.expose()[..strength], magic)
}

fn derive(key: &[u8], magic: &[u8]) -> Secret<16> {
    Secret::new(Md5::new().chain_update(key).chain_update(magic).finalize().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_sign_the_signature_is_a_dummy() {
        let key = Secret::new([0x55; 16]);
        let flags = Flags::ALWAYS_SIGN | Flags::EXTENDED_SESSIONSECURITY | Flags::KEY_128;
        let mut unsigned = SessionSecurity::new(flags, &key, Sender::Client);
        let dummy = [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(unsigned.sign(b"mechanisms"), dummy);
        let mut signed = SessionSecurity::new(flags | Flags::SIGN, &key, Sender::Client);
        assert_ne!(signed.sign(b"mechanisms"), dummy);
    }
}
