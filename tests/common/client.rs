//! An NTLMv2 client (MS-NLMP 3.1.5), as obedient or as wrong as a test wants it. It computes with
//! nothing but the hashes, so that it shares no mistake with the library.

use std::cell::Cell;

use hmac::{Hmac, KeyInit, Mac};
use md4::{Digest, Md4};
use md5::Md5;
use rc4::{Rc4, StreamCipher};

use super::utf16le;

pub(crate) const UNICODE: u32 = 0x0000_0001;
pub(crate) const OEM: u32 = 0x0000_0002;
pub(crate) const REQUEST_TARGET: u32 = 0x0000_0004;
pub(crate) const SIGN: u32 = 0x0000_0010;
pub(crate) const SEAL: u32 = 0x0000_0020;
pub(crate) const NTLM: u32 = 0x0000_0200;
pub(crate) const ALWAYS_SIGN: u32 = 0x0000_8000;
pub(crate) const EXTENDED_SESSIONSECURITY: u32 = 0x0008_0000;
pub(crate) const VERSION: u32 = 0x0200_0000;
pub(crate) const KEY_128: u32 = 0x2000_0000;
pub(crate) const KEY_EXCH: u32 = 0x4000_0000;
pub(crate) const KEY_56: u32 = 0x8000_0000;

/// What every client offers.
const BASIC: u32 = REQUEST_TARGET | NTLM | ALWAYS_SIGN | EXTENDED_SESSIONSECURITY;

pub(crate) const NB_COMPUTER_NAME: u16 = 1;
pub(crate) const NB_DOMAIN_NAME: u16 = 2;
pub(crate) const FLAGS: u16 = 6;
pub(crate) const TIMESTAMP: u16 = 7;
pub(crate) const TARGET_NAME: u16 = 9;
pub(crate) const CHANNEL_BINDINGS: u16 = 10;

/// MsvAvFlags: the service name comes from an untrusted source.
pub(crate) const UNTRUSTED_SPN: u32 = 0x4;
/// MsvAvFlags: there is a MIC.
const HAS_MIC: u32 = 0x2;

const MIC_AT: usize = 72;

/// AV pairs, in order, without EOL.
pub(crate) type Pairs = Vec<(u16, Vec<u8>)>;

/// What becomes of the MIC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mic {
    /// No client of this kind makes one.
    None,
    /// Promised and there.
    Right,
    /// Promised, and the header has no room for it.
    Promised,
    /// Right, under the unwrapped key although neither SIGN nor SEAL was agreed upon.
    UnderUnwrappedKey,
}

/// A client and what it sends.
#[derive(Clone)]
pub(crate) struct Client {
    pub(crate) user: String,
    pub(crate) domain: String,
    pub(crate) password: String,
    /// User and domain as they go into NTOWFv2, if it is not by the book.
    pub(crate) hashed: Option<(String, String)>,
    /// NegotiateFlags of the NEGOTIATE.
    pub(crate) offer: u32,
    pub(crate) mic: Mic,
    /// MsvAvFlags besides the one of the MIC.
    pub(crate) av_flags: u32,
    pub(crate) bindings: Option<[u8; 16]>,
    pub(crate) service: Option<String>,
    /// What becomes of the AV pairs before they are hashed.
    pub(crate) tamper: fn(&mut Pairs),
    /// ExportedSessionKey of the last AUTHENTICATE.
    pub(crate) exported: Cell<[u8; 16]>,
}

impl Client {
    /// As Windows does it: Unicode, key exchange, MIC.
    pub(crate) fn new(domain: &str, user: &str, password: &str) -> Self {
        Self {
            user: user.into(),
            domain: domain.into(),
            password: password.into(),
            hashed: None,
            offer: BASIC | UNICODE | OEM | SIGN | SEAL | VERSION | KEY_128 | KEY_EXCH | KEY_56,
            mic: Mic::Right,
            av_flags: 0,
            bindings: None,
            service: None,
            tamper: |_| {},
            exported: Cell::default(),
        }
    }

    /// As curl does it: OEM strings, no key exchange, no MIC.
    pub(crate) fn plain(domain: &str, user: &str, password: &str) -> Self {
        Self { offer: BASIC | OEM, mic: Mic::None, ..Self::new(domain, user, password) }
    }

    /// NEGOTIATE_MESSAGE.
    pub(crate) fn negotiate(&self) -> Vec<u8> {
        [b"NTLMSSP\0", &1_u32.to_le_bytes()[..], &self.offer.to_le_bytes(), &[0; 16]].concat()
    }

    /// AUTHENTICATE_MESSAGE, in answer to a CHALLENGE.
    pub(crate) fn authenticate(&self, negotiate: &[u8], challenge: &[u8]) -> Vec<u8> {
        let flags = u32_at(challenge, 20);
        let server_challenge = &challenge[24..32];
        let pairs = self.pairs(challenge);
        let key = self.ntowf_v2();

        let time = pairs.iter().find(|(id, _)| *id == TIMESTAMP);
        let time = time.map_or(vec![0; 8], |(_, time)| time.clone());
        let fixed = [&[1, 1, 0, 0, 0, 0, 0, 0][..], &time, &[0xaa; 8], &[0; 4]].concat();
        let blob = [fixed, encode(&pairs), vec![0; 4]].concat();
        let proof = hmac_md5(&key, &[server_challenge, &blob]);
        let key_exchange_key = hmac_md5(&key, &[&proof]);

        let chosen = [0x55; 16];
        let exchanged = flags & KEY_EXCH != 0 && flags & (SIGN | SEAL) != 0;
        let wrapped = flags & KEY_EXCH != 0;
        let exported = match exchanged || self.mic == Mic::UnderUnwrappedKey {
            true => chosen,
            false => key_exchange_key,
        };
        self.exported.set(exported);
        let mut message = assemble(&Fields {
            flags,
            lm: &[0; 24],
            nt: &[&proof[..], &blob].concat(),
            domain: &self.text(flags, &self.domain),
            user: &self.text(flags, &self.user),
            session_key: if wrapped { rc4(&key_exchange_key, chosen) } else { Vec::new() },
            room_for_mic: matches!(self.mic, Mic::Right | Mic::UnderUnwrappedKey),
        });
        if matches!(self.mic, Mic::Right | Mic::UnderUnwrappedKey) {
            let mic = hmac_md5(&exported, &[negotiate, challenge, &message]);
            message[MIC_AT..][..16].copy_from_slice(&mic);
        }
        message
    }

    /// The signature (3.4.4.2) of a first message in either direction, with the key of the last
    /// AUTHENTICATE; RC4 only with KEY_EXCH.
    pub(crate) fn signature(&self, sender: &str, message: &[u8]) -> Vec<u8> {
        let other = if sender == "client" { "server" } else { "client" };
        let magic = |what: &str| {
            format!("session key to {sender}-to-{other} {what} key magic constant\0").into_bytes()
        };
        let key = |what: &str| -> [u8; 16] {
            Md5::digest([&self.exported.get()[..], &magic(what)].concat()).into()
        };
        let mut checksum = hmac_md5(&key("signing"), &[&[0; 4], message])[..8].to_vec();
        if self.offer & KEY_EXCH != 0 {
            let seal_key = Rc4::new_from_slice(&key("sealing"));
            seal_key.expect("16 bytes").apply_keystream(&mut checksum);
        }
        [&1_u32.to_le_bytes()[..], &checksum, &[0; 4]].concat()
    }

    /// The pairs of the CHALLENGE and the client's own.
    fn pairs(&self, challenge: &[u8]) -> Pairs {
        let mut pairs = target_info(challenge);
        let flags = self.av_flags | if self.mic == Mic::None { 0 } else { HAS_MIC };
        if flags != 0 {
            pairs.push((FLAGS, flags.to_le_bytes().to_vec()));
        }
        if let Some(bindings) = self.bindings {
            pairs.push((CHANNEL_BINDINGS, bindings.to_vec()));
        }
        if let Some(service) = &self.service {
            pairs.push((TARGET_NAME, utf16le(service)));
        }
        (self.tamper)(&mut pairs);
        pairs
    }

    fn ntowf_v2(&self) -> [u8; 16] {
        let by_the_book = (self.user.to_uppercase(), self.domain.clone());
        let (user, domain) = self.hashed.as_ref().unwrap_or(&by_the_book);
        let ntowf_v1: [u8; 16] = Md4::digest(utf16le(&self.password)).into();
        hmac_md5(&ntowf_v1, &[&utf16le(user), &utf16le(domain)])
    }

    fn text(&self, flags: u32, text: &str) -> Vec<u8> {
        if flags & UNICODE != 0 { utf16le(text) } else { text.as_bytes().to_vec() }
    }
}

/// What stands in an AUTHENTICATE.
pub(crate) struct Fields<'a> {
    pub(crate) flags: u32,
    pub(crate) lm: &'a [u8],
    pub(crate) nt: &'a [u8],
    pub(crate) domain: &'a [u8],
    pub(crate) user: &'a [u8],
    pub(crate) session_key: Vec<u8>,
    pub(crate) room_for_mic: bool,
}

/// AUTHENTICATE_MESSAGE (2.2.1.3) of these fields, its MIC zero.
pub(crate) fn assemble(fields: &Fields<'_>) -> Vec<u8> {
    let header = if fields.room_for_mic { MIC_AT + 16 } else { 64 };
    let mut message = [b"NTLMSSP\0", &3_u32.to_le_bytes()[..]].concat();
    let mut payload = Vec::new();
    let parts = [fields.lm, fields.nt, fields.domain, fields.user, b"", &fields.session_key];
    for part in parts {
        let len = u16::try_from(part.len()).expect("a short field").to_le_bytes();
        let offset = u32::try_from(header + payload.len()).expect("a short message");
        message.extend([len, len].concat());
        message.extend(offset.to_le_bytes());
        payload.extend_from_slice(part);
    }
    message.extend(fields.flags.to_le_bytes());
    message.resize(header, 0);
    message.extend(payload);
    message
}

/// TargetInfo of a CHALLENGE.
pub(crate) fn target_info(challenge: &[u8]) -> Pairs {
    let at = u32_at(challenge, 44) as usize;
    let mut rest = &challenge[at..][..usize::from(u16_at(challenge, 40))];
    let mut pairs = Vec::new();
    while u16_at(rest, 0) != 0 {
        let (value, next) = rest[4..].split_at(usize::from(u16_at(rest, 2)));
        pairs.push((u16_at(rest, 0), value.to_vec()));
        rest = next;
    }
    pairs
}

/// AV pairs and their EOL.
fn encode(pairs: &Pairs) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (id, value) in pairs {
        bytes.extend(id.to_le_bytes());
        bytes.extend(u16::try_from(value.len()).expect("a short value").to_le_bytes());
        bytes.extend(value);
    }
    bytes.extend([0; 4]);
    bytes
}

fn hmac_md5(key: &[u8; 16], parts: &[&[u8]]) -> [u8; 16] {
    let mut mac = Hmac::<Md5>::new_from_slice(key).expect("any length is fine");
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().into()
}

fn rc4(key: &[u8; 16], mut data: [u8; 16]) -> Vec<u8> {
    Rc4::new_from_slice(key).expect("16 bytes").apply_keystream(&mut data);
    data.to_vec()
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(bytes[at..at + 2].try_into().expect("2 bytes"))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("4 bytes"))
}
