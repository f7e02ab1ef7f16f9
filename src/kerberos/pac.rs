//! The PAC of a ticket (MS-PAC): the groups of the client, as a domain controller tells them. It
//! counts only if it is signed with the key of this service: whoever has that key can write one.

mod logon_info;

use std::sync::Arc;

use super::krb5::{Client, TicketKey};
use crate::reader::Reader;
use crate::reason::Reason;
use crate::sid::{Sid, SidSet};
use logon_info::LogonInfo;

/// What a PAC tells.
#[derive(Debug)]
pub struct Authorization {
    /// The client.
    pub user: Sid,
    /// The groups that count for access.
    pub groups: SidSet,
}

/// A PAC as it came in an accepted ticket. Nobody has looked whether it is good yet: few have to.
pub struct SealedPac(Option<Sealed>);

struct Sealed {
    bytes: Box<[u8]>,
    authtime: i32,
    client: Client,
    key: Arc<TicketKey>,
}

impl SealedPac {
    /// From a ticket that was encrypted with this key.
    pub(super) fn new(bytes: &[u8], authtime: i32, client: Client, key: Arc<TicketKey>) -> Self {
        Self(Some(Sealed { bytes: bytes.into(), authtime, client, key }))
    }

    /// One that cannot be told from another, or cannot be found in its ticket.
    pub(super) fn unusable() -> Self {
        Self(None)
    }

    /// What it tells, if it was made for this ticket by who knows the service's key.
    pub fn open(&self) -> Result<Authorization, Reason> {
        let Sealed { bytes, authtime, client, key } = self.0.as_ref().ok_or(Reason::WrongPac)?;
        let pac = Pac::read(bytes).ok_or(Reason::WrongPac)?;
        // A checksum of another kind is none that this key makes.
        let fits = pac.server_checksum_type().is_some_and(|kind| is_checksum_of(kind, key.enctype));
        if !fits || !pac.is_of(*authtime) || !key.has_signed_pac(bytes, *authtime, client) {
            return Err(Reason::WrongPac);
        }
        pac.authorization()
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
        let mut buffers = Vec::with_capacity(count);
        for _ in 0..count {
            let (kind, size) = (reader.u32()?, usize::try_from(reader.u32()?).ok()?);
            let offset = usize::try_from(reader.u64()?).ok()?;
            let contents = bytes.get(offset..offset.checked_add(size)?)?;
            // Of two, one may be looked at by who verifies, and the other by us.
            if buffers.iter().any(|(known, _)| *known == kind) {
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
        Reader::new(self.buffer(buffer::SERVER_CHECKSUM)?).u32().map(|kind| kind as i32)
    }

    /// Whether PAC_CLIENT_INFO (MS-PAC 2.7) has the time of the ticket. Its name is compared by who
    /// verifies the signature.
    fn is_of(&self, authtime: i32) -> bool {
        let client_id = self.buffer(buffer::CLIENT_INFO).and_then(|info| Reader::new(info).u64());
        let Ok(seconds) = u64::try_from(authtime) else { return false };
        // FILETIME, from 1601.
        client_id == Some((seconds + 11_644_473_600) * 10_000_000)
    }

    fn authorization(&self) -> Result<Authorization, Reason> {
        let info = self.buffer(buffer::LOGON_INFO).ok_or(Reason::MissingPac)?;
        let info = LogonInfo::read(info).ok_or(Reason::WrongPac)?;
        let user = info.user().ok_or(Reason::WrongPac)?;
        let others = [self.requestor(), self.upn_sid()];
        for other in others {
            if other?.is_some_and(|other| other != user) {
                return Err(Reason::WrongPac);
            }
        }
        if info.is_guest() || user.is_nobody() {
            return Err(Reason::AnonymousRefused);
        }
        let groups = info.groups().ok_or(Reason::WrongPac)?;
        Ok(Authorization { user, groups })
    }

    /// PAC_REQUESTOR (MS-PAC 2.15).
    fn requestor(&self) -> Result<Option<Sid>, Reason> {
        let Some(requestor) = self.buffer(buffer::REQUESTOR) else { return Ok(None) };
        let sid = Sid::read(requestor).map(|(sid, _)| sid);
        sid.map(Some).ok_or(Reason::WrongPac)
    }

    /// Sid of UPN_DNS_INFO_EX (MS-PAC 2.10), if it is one.
    fn upn_sid(&self) -> Result<Option<Sid>, Reason> {
        let Some(info) = self.buffer(buffer::UPN_DNS_INFO) else { return Ok(None) };
        upn_sid(info).ok_or(Reason::WrongPac)
    }
}

/// `None` is malformed.
fn upn_sid(info: &[u8]) -> Option<Option<Sid>> {
    /// The structure is followed by SamName and Sid.
    const EXTENDED: u32 = 2;
    let mut reader = Reader::new(info);
    reader.take(8)?;
    if reader.u32()? & EXTENDED == 0 {
        return Some(None);
    }
    reader.take(4)?;
    let (len, offset) = (usize::from(reader.u16()?), usize::from(reader.u16()?));
    let (sid, rest) = Sid::read(info.get(offset..offset + len)?)?;
    rest.is_empty().then_some(Some(sid))
}

/// Reads what a signed PAC would tell: for the fuzzer, and for nothing else.
#[doc(hidden)]
pub fn decode_unverified(bytes: &[u8]) -> Result<Authorization, Reason> {
    Pac::read(bytes).ok_or(Reason::WrongPac)?.authorization()
}

#[cfg(test)]
mod tests;
