//! The PAC of a ticket (MS-PAC): the groups of the client, as a domain controller tells them. It
//! counts only if it is signed with the key of this service: whoever has that key can write one.

mod logon_info;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use super::krb5::{Client, TicketKey};
use crate::reader::Reader;
use crate::reason::Reason;
use crate::sid::{Sid, SidSet};
use logon_info::LogonInfo;

/// What a PAC tells.
#[derive(Debug, PartialEq, Eq)]
pub struct Authorization {
    /// The client.
    pub user: Sid,
    /// The groups that count for access.
    pub groups: SidSet,
}

/// A PAC as it came in an accepted ticket. Nobody has looked whether it is good yet: few have to.
pub struct SealedPac(Option<Sealed>);

struct Sealed {
    /// The PAC; after it, each after its length, the components of the client's name.
    bytes: Box<[u8]>,
    pac_len: usize,
    name_type: i32,
    authtime: i32,
    key: Arc<TicketKey>,
}

impl SealedPac {
    /// From a ticket that was encrypted with this key.
    pub(super) fn new(pac: &[u8], authtime: i32, client: &Client<'_>, key: Arc<TicketKey>) -> Self {
        let names = client.components.iter().map(|name| size_of::<u64>() + name.len());
        let mut bytes = Vec::with_capacity(pac.len() + names.sum::<usize>());
        bytes.extend_from_slice(pac);
        for name in &client.components {
            bytes.extend((name.len() as u64).to_le_bytes());
            bytes.extend_from_slice(name);
        }
        let (bytes, pac_len, name_type) = (bytes.into(), pac.len(), client.name_type);
        Self(Some(Sealed { bytes, pac_len, name_type, authtime, key }))
    }

    /// One that cannot be told from another, or cannot be found in its ticket.
    pub(super) fn unusable() -> Self {
        Self(None)
    }

    /// What it tells, if it was made for this ticket by who knows the service's key.
    pub fn open(&self) -> Result<Authorization, Reason> {
        self.0.as_ref().and_then(Sealed::verified).ok_or(Reason::WrongPac)?.authorization()
    }
}

impl Sealed {
    fn verified(&self) -> Option<Pac<'_>> {
        let (bytes, client) = self.split()?;
        let pac = Pac::read(bytes)?;
        // A checksum of another kind is none that this key makes.
        let is_right = is_checksum_of(pac.server_checksum_type()?, self.key.enctype)
            && pac.is_about(&client, self.authtime)
            && self.key.has_signed_pac(bytes, self.authtime, &client);
        is_right.then_some(pac)
    }

    fn split(&self) -> Option<(&[u8], Client<'_>)> {
        let mut reader = Reader::new(&self.bytes);
        let pac = reader.take(self.pac_len)?;
        let mut components = Vec::with_capacity(2);
        while !reader.rest().is_empty() {
            let len = usize::try_from(reader.u64()?).ok()?;
            components.push(reader.take(len)?);
        }
        Some((pac, Client { name_type: self.name_type, components }))
    }
}

/// Whether a checksum's type (MS-PAC 2.8) is the one of an encryption type (RFC 3961, RFC 4757,
/// RFC 8009).
fn is_checksum_of(kind: i32, enctype: i32) -> bool {
    matches!((kind, enctype), (15, 17) | (16, 18) | (19, 19) | (20, 20) | (-138, 23))
}

/// Types of buffers (MS-PAC 2.4).
mod buffer {
    pub(super) const LOGON_INFO: u32 = 1;
    pub(super) const SERVER_CHECKSUM: u32 = 6;
    pub(super) const CLIENT_INFO: u32 = 10;
    pub(super) const UPN_DNS_INFO: u32 = 12;
    pub(super) const REQUESTOR: u32 = 18;
}

/// More buffers than this has no PAC.
const MOST_BUFFERS: usize = 64;

/// PACTYPE (MS-PAC 2.3).
struct Pac<'a> {
    buffers: Vec<(u32, &'a [u8])>,
}

impl<'a> Pac<'a> {
    fn read(bytes: &'a [u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        let count = usize::try_from(reader.u32()?).ok().filter(|count| *count <= MOST_BUFFERS)?;
        reader.u32().filter(|&version| version == 0)?;
        let header_len = 8 + count * 16;
        let mut buffers = Vec::with_capacity(count);
        for _ in 0..count {
            let (kind, size) = (reader.u32()?, usize::try_from(reader.u32()?).ok()?);
            let offset = usize::try_from(reader.u64()?).ok()?;
            let contents = bytes.get(offset..offset.checked_add(size)?)?;
            // As who verifies wants it; of two, he might look at one and we at the other.
            let is_known = buffers.iter().any(|(known, _)| *known == kind);
            if offset % 8 != 0 || offset < header_len || is_known {
                return None;
            }
            buffers.push((kind, contents));
        }
        Some(Self { buffers })
    }

    fn buffer(&self, kind: u32) -> Option<&'a [u8]> {
        self.buffers.iter().find(|(of, _)| *of == kind).map(|(_, contents)| *contents)
    }

    /// SignatureType of the server's PAC_SIGNATURE_DATA (MS-PAC 2.8).
    fn server_checksum_type(&self) -> Option<i32> {
        let mut reader = Reader::new(self.buffer(buffer::SERVER_CHECKSUM)?);
        reader.array().map(|octets| i32::from_le_bytes(*octets))
    }

    /// Whether PAC_CLIENT_INFO (MS-PAC 2.7) has the time of the ticket and the name of its client.
    /// Who verifies the signature compares them, too, up to a NUL.
    fn is_about(&self, client: &Client<'_>, authtime: i32) -> bool {
        self.client_info().is_some_and(|(client_id, name)| {
            // FILETIME, from 1601. A ticket has whole seconds.
            let seconds = client_id / 10_000_000;
            let is_of_then = seconds.checked_sub(11_644_473_600) == u64::try_from(authtime).ok();
            let components = client.components.join(&b'/');
            let is_name = |components: &str| components.encode_utf16().eq(name);
            is_of_then && std::str::from_utf8(&components).is_ok_and(is_name)
        })
    }

    /// ClientId and Name.
    fn client_info(&self) -> Option<(u64, impl Iterator<Item = u16> + 'a)> {
        let mut reader = Reader::new(self.buffer(buffer::CLIENT_INFO)?);
        let (client_id, length) = (reader.u64()?, usize::from(reader.u16()?));
        let mut units = Reader::new(reader.take(length).filter(|_| length % 2 == 0)?);
        Some((client_id, std::iter::from_fn(move || units.u16())))
    }

    fn authorization(&self) -> Result<Authorization, Reason> {
        let info = self.buffer(buffer::LOGON_INFO).ok_or(Reason::MissingPac)?;
        let info = LogonInfo::read(info).ok_or(Reason::WrongPac)?;
        let user = info.user().filter(|user| self.is_about_user(user)).ok_or(Reason::WrongPac)?;
        if info.is_guest() || user.is_nobody() {
            return Err(Reason::AnonymousRefused);
        }
        let groups = info.groups().ok_or(Reason::WrongPac)?;
        Ok(Authorization { user, groups })
    }

    /// Whether the other buffers that say who the user is say the same: PAC_REQUESTOR (MS-PAC 2.15)
    /// and UPN_DNS_INFO.
    fn is_about_user(&self, user: &Sid) -> bool {
        let is_user = |sid: &[u8]| Sid::read(sid).is_some_and(|(sid, _)| sid == *user);
        let has_user = |info: &[u8]| upn_sid(info).is_some_and(|sid| sid.is_none_or(is_user));
        self.buffer(buffer::REQUESTOR).is_none_or(is_user)
            && self.buffer(buffer::UPN_DNS_INFO).is_none_or(has_user)
    }
}

/// Sid of UPN_DNS_INFO (MS-PAC 2.10), if it is an extended one. `None` is malformed.
fn upn_sid(info: &[u8]) -> Option<Option<&[u8]>> {
    /// Flags: the structure is followed by SamName and Sid.
    const EXTENDED: u32 = 2;
    let mut reader = Reader::new(info);
    // UpnLength, UpnOffset, DnsDomainNameLength, DnsDomainNameOffset
    reader.take(4 * 2)?;
    if reader.u32()? & EXTENDED == 0 {
        return Some(None);
    }
    // SamNameLength, SamNameOffset
    reader.take(2 * 2)?;
    let (len, offset) = (usize::from(reader.u16()?), usize::from(reader.u16()?));
    info.get(offset..offset + len).map(Some)
}

/// Reads what a signed PAC would tell: for the fuzzer, and for nothing else.
#[doc(hidden)]
pub fn decode_unverified(bytes: &[u8]) -> Result<Authorization, Reason> {
    Pac::read(bytes).ok_or(Reason::WrongPac)?.authorization()
}
