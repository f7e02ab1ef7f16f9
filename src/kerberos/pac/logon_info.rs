//! KERB_VALIDATION_INFO (MS-PAC 2.5) in NDR (C706 14, MS-RPCE 2.2.6): read in one pass, bounded by
//! what there is.

use crate::reader::Reader;
use crate::sid::{Sid, SidSet, SidSetBuilder};

/// Bits of UserFlags.
mod user_flag {
    pub(super) const LOGON_GUEST: u32 = 0x01;
    pub(super) const LOGON_EXTRA_SIDS: u32 = 0x20;
    pub(super) const LOGON_RESOURCE_GROUPS: u32 = 0x200;
}

/// SE_GROUP_ENABLED
const ENABLED: u32 = 0x04;
/// SE_GROUP_USE_FOR_DENY_ONLY
const DENY_ONLY: u32 = 0x10;

/// A group, or what else a SID with attributes stands for.
#[derive(Clone, Copy)]
struct Attributed<T> {
    id: T,
    attributes: u32,
}

impl<T> Attributed<T> {
    /// Whether it counts for access.
    fn counts(&self) -> bool {
        self.attributes & (ENABLED | DENY_ONLY) == ENABLED
    }
}

/// What of it says who the user is and in which groups.
pub(super) struct LogonInfo {
    user_id: u32,
    primary_group_id: u32,
    groups: Vec<Attributed<u32>>,
    user_flags: u32,
    domain: Option<Sid>,
    extra: Vec<Attributed<Sid>>,
    resource_domain: Option<Sid>,
    resource_groups: Vec<Attributed<u32>>,
}

impl LogonInfo {
    /// From a buffer of a PAC.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let mut ndr = Ndr::begin(bytes)?;
        let fixed = Fixed::read(&mut ndr)?;
        fixed.names.iter().try_for_each(|name| ndr.skip_name(*name))?;
        let groups = ndr.groups(fixed.group_ids, fixed.group_count)?;
        fixed.server_names.iter().try_for_each(|name| ndr.skip_name(*name))?;
        let domain = ndr.sid(fixed.logon_domain_id)?;
        let extra = ndr.extra_sids(fixed.extra_sids, fixed.sid_count)?;
        let resource_domain = ndr.sid(fixed.resource_domain)?;
        let resource_groups = ndr.groups(fixed.resource_ids, fixed.resource_count)?;
        Some(Self {
            user_id: fixed.user_id,
            primary_group_id: fixed.primary_group_id,
            user_flags: fixed.user_flags,
            groups,
            domain,
            extra,
            resource_domain,
            resource_groups,
        })
    }

    fn has(&self, flag: u32) -> bool {
        self.user_flags & flag != 0
    }

    pub(super) fn is_guest(&self) -> bool {
        self.has(user_flag::LOGON_GUEST)
    }

    /// UserId in LogonDomainId; without a UserId, the first of ExtraSids.
    pub(super) fn user(&self) -> Option<Sid> {
        match self.user_id {
            0 if self.has(user_flag::LOGON_EXTRA_SIDS) => self.extra.first().map(|sid| sid.id),
            0 => None,
            rid => self.domain?.child(rid),
        }
    }

    /// The groups of the domain, those of other domains and from before, and those of the domain of
    /// this service. `None` if one has no domain.
    pub(super) fn groups(&self) -> Option<SidSet> {
        let rids = |groups: &[Attributed<u32>]| {
            let counting = groups.iter().filter(|group| group.counts()).map(|group| group.id);
            counting.collect::<Vec<_>>()
        };
        let mut set = SidSetBuilder::default();
        match self.domain {
            Some(domain) => {
                set.add_in(&domain, rids(&self.groups).into_iter());
                let primary = (self.primary_group_id != 0).then_some(self.primary_group_id);
                set.add_in(&domain, primary.into_iter());
            }
            None if self.groups.is_empty() => {}
            None => return None,
        }
        if self.has(user_flag::LOGON_EXTRA_SIDS) {
            let extra = self.extra.iter().filter(|sid| sid.counts());
            extra.for_each(|sid| set.add(&sid.id));
        }
        if self.has(user_flag::LOGON_RESOURCE_GROUPS) && !self.resource_groups.is_empty() {
            set.add_in(&self.resource_domain?, rids(&self.resource_groups).into_iter());
        }
        Some(set.finish())
    }
}

/// A pointer: null, or to what comes later in the stream.
type Pointer = u32;

/// The structure itself, before what its pointers point to.
struct Fixed {
    /// EffectiveName to HomeDirectoryDrive.
    names: [Pointer; 6],
    user_id: u32,
    primary_group_id: u32,
    group_count: u32,
    group_ids: Pointer,
    user_flags: u32,
    /// LogonServer and LogonDomainName.
    server_names: [Pointer; 2],
    logon_domain_id: Pointer,
    sid_count: u32,
    extra_sids: Pointer,
    resource_domain: Pointer,
    resource_count: u32,
    resource_ids: Pointer,
}

impl Fixed {
    fn read(ndr: &mut Ndr<'_>) -> Option<Self> {
        let reader = &mut ndr.0;
        // LogonTime to PasswordMustChange
        reader.take(6 * 8)?;
        let names = names(reader)?;
        // LogonCount, BadPasswordCount
        reader.take(2 * 2)?;
        let (user_id, primary_group_id) = (reader.u32()?, reader.u32()?);
        let (group_count, group_ids) = (reader.u32()?, reader.u32()?);
        let user_flags = reader.u32()?;
        // UserSessionKey
        reader.take(16)?;
        let server_names = self::names(reader)?;
        let logon_domain_id = reader.u32()?;
        // Reserved1, UserAccountControl, SubAuthStatus, LastSuccessfulILogon, LastFailedILogon,
        // FailedILogonCount, Reserved3
        reader.take(2 * 4 + 4 + 4 + 8 + 8 + 4 + 4)?;
        let (sid_count, extra_sids) = (reader.u32()?, reader.u32()?);
        let resource_domain = reader.u32()?;
        let (resource_count, resource_ids) = (reader.u32()?, reader.u32()?);
        Some(Self {
            names,
            user_id,
            primary_group_id,
            group_count,
            group_ids,
            user_flags,
            server_names,
            logon_domain_id,
            sid_count,
            extra_sids,
            resource_domain,
            resource_count,
            resource_ids,
        })
    }
}

/// The pointers of so many RPC_UNICODE_STRINGs (MS-DTYP 2.3.10).
fn names<const N: usize>(reader: &mut Reader<'_>) -> Option<[Pointer; N]> {
    let mut pointers = [0; N];
    for pointer in &mut pointers {
        let (length, maximum_length) = (reader.u16()?, reader.u16()?);
        *pointer = reader.u32()?;
        if length > maximum_length || (*pointer == 0 && length != 0) {
            return None;
        }
    }
    Some(pointers)
}

/// A stream of type serialization version 1 (MS-RPCE 2.2.6). All that is read has an alignment of
/// four bytes or less, or stands where eight are kept.
struct Ndr<'a>(Reader<'a>);

impl<'a> Ndr<'a> {
    fn begin(bytes: &'a [u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        // Version, Endianness, CommonHeaderLength; Filler is anything.
        reader.array::<4>().filter(|header| **header == [1, 0x10, 8, 0])?;
        reader.take(4)?;
        let length = usize::try_from(reader.u32()?).ok()?;
        reader.take(4)?;
        let mut reader = Reader::new(reader.take(length)?);
        // The top-level pointer.
        (reader.u32()? != 0).then_some(Self(reader))
    }

    /// The count of a conformant array, which is to be this.
    fn count(&mut self, count: u32) -> Option<usize> {
        self.0.u32().filter(|&max_count| max_count == count)?;
        usize::try_from(count).ok()
    }

    /// A conformant varying array of UTF-16.
    fn skip_name(&mut self, pointer: Pointer) -> Option<()> {
        if pointer == 0 {
            return Some(());
        }
        let (max_count, offset, actual_count) = (self.0.u32()?, self.0.u32()?, self.0.u32()?);
        if offset != 0 || actual_count > max_count {
            return None;
        }
        let bytes = usize::try_from(actual_count).ok()?.checked_mul(2)?;
        self.0.take(bytes)?;
        self.align(bytes)
    }

    /// To the next multiple of four.
    fn align(&mut self, bytes: usize) -> Option<()> {
        // The last name may end the stream without its padding.
        let padding = (4 - bytes % 4) % 4;
        self.0.take(padding.min(self.0.rest().len())).map(|_| ())
    }

    /// GROUP_MEMBERSHIPs (MS-PAC 2.2.2).
    fn groups(&mut self, pointer: Pointer, count: u32) -> Option<Vec<Attributed<u32>>> {
        if pointer == 0 {
            return (count == 0).then(Vec::new);
        }
        let count = self.count(count)?;
        let bytes = self.0.take(count.checked_mul(8)?)?;
        let mut reader = Reader::new(bytes);
        (0..count)
            .map(|_| Some(Attributed { id: reader.u32()?, attributes: reader.u32()? }))
            .collect()
    }

    /// RPC_SID (MS-DTYP 2.4.2.3).
    fn sid(&mut self, pointer: Pointer) -> Option<Option<Sid>> {
        match pointer {
            0 => Some(None),
            _ => self.rpc_sid().map(Some),
        }
    }

    fn rpc_sid(&mut self) -> Option<Sid> {
        let count = self.0.u32()?;
        let (sid, rest) = Sid::read(self.0.rest())?;
        self.0 = Reader::new(rest);
        (usize::try_from(count) == Ok(sid.sub_authorities().len())).then_some(sid)
    }

    /// KERB_SID_AND_ATTRIBUTES (MS-PAC 2.2.1).
    fn extra_sids(&mut self, pointer: Pointer, count: u32) -> Option<Vec<Attributed<Sid>>> {
        if pointer == 0 {
            return (count == 0).then(Vec::new);
        }
        let count = self.count(count)?;
        let bytes = self.0.take(count.checked_mul(8)?)?;
        let mut reader = Reader::new(bytes);
        (0..count)
            .map(|_| {
                let (pointer, attributes) = (reader.u32()?, reader.u32()?);
                let id = (pointer != 0).then(|| self.rpc_sid()).flatten()?;
                Some(Attributed { id, attributes })
            })
            .collect()
    }
}
