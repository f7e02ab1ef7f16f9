//! KERB_VALIDATION_INFO (MS-PAC 2.5) in NDR (C706 14, MS-RPCE 2.2.6): read in one pass, bounded by
//! what there is. Nothing is copied.

use crate::reader::Reader;
use crate::sid::{Sid, SidSet, SidSetBuilder};

/// Bits of UserFlags.
mod user_flag {
    pub(super) const LOGON_GUEST: u32 = 0x01;
    pub(super) const LOGON_EXTRA_SIDS: u32 = 0x20;
    pub(super) const LOGON_RESOURCE_GROUPS: u32 = 0x200;
}

/// Whether a group with these attributes counts for access: SE_GROUP_ENABLED without
/// SE_GROUP_USE_FOR_DENY_ONLY.
fn counts(attributes: u32) -> bool {
    const ENABLED: u32 = 0x04;
    const DENY_ONLY: u32 = 0x10;
    attributes & (ENABLED | DENY_ONLY) == ENABLED
}

/// What of it says who the user is and in which groups.
pub(super) struct LogonInfo<'a> {
    user_id: u32,
    primary_group_id: u32,
    groups: Groups<'a>,
    user_flags: u32,
    domain: Option<Sid>,
    extra: ExtraSids<'a>,
    resource_domain: Option<Sid>,
    resource_groups: Groups<'a>,
}

impl<'a> LogonInfo<'a> {
    /// From a buffer of a PAC.
    pub(super) fn read(bytes: &'a [u8]) -> Option<Self> {
        let mut ndr = Ndr::begin(bytes)?;
        let fixed = Fixed::read(&mut ndr.0)?;
        fixed.names.into_iter().try_for_each(|name| ndr.skip(name))?;
        let groups = ndr.groups(fixed.group_ids)?;
        fixed.server_names.into_iter().try_for_each(|name| ndr.skip(name))?;
        let domain = ndr.sid(fixed.logon_domain_id)?;
        let extra = ndr.extra_sids(fixed.extra_sids)?;
        let resource_domain = ndr.sid(fixed.resource_domain)?;
        let resource_groups = ndr.groups(fixed.resource_ids)?;
        Some(Self {
            user_id: fixed.user_id,
            primary_group_id: fixed.primary_group_id,
            groups,
            user_flags: fixed.user_flags,
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
            0 => self.extra().next().map(|(sid, _)| sid),
            rid => self.domain?.child(rid),
        }
    }

    fn extra(&self) -> impl Iterator<Item = (Sid, u32)> + 'a {
        let extra = self.has(user_flag::LOGON_EXTRA_SIDS).then_some(self.extra);
        extra.into_iter().flat_map(ExtraSids::iter)
    }

    /// The groups of the domain, those of other domains and from before, and those of the domain of
    /// this service. `None` if one has no domain.
    pub(super) fn groups(&self) -> Option<SidSet> {
        let mut set = SidSetBuilder::default();
        let primary = (self.primary_group_id != 0).then_some(self.primary_group_id);
        match self.domain {
            Some(domain) => set.add_in(&domain, self.groups.counting().chain(primary)),
            None if self.groups.is_empty() => {}
            None => return None,
        }
        // The one that is the user is none of the groups.
        let others = self.extra().skip(usize::from(self.user_id == 0));
        others.filter(|&(_, attributes)| counts(attributes)).for_each(|(sid, _)| set.add(&sid));
        if self.has(user_flag::LOGON_RESOURCE_GROUPS) && !self.resource_groups.is_empty() {
            set.add_in(&self.resource_domain?, self.resource_groups.counting());
        }
        Some(set.finish())
    }
}

/// GROUP_MEMBERSHIPs (MS-PAC 2.2.2).
#[derive(Clone, Copy, Default)]
struct Groups<'a>(Pairs<'a>);

impl<'a> Groups<'a> {
    fn is_empty(self) -> bool {
        self.0.0.is_empty()
    }

    /// Those that count for access.
    fn counting(self) -> impl Iterator<Item = u32> + 'a {
        self.0.iter().filter_map(|(id, attributes)| counts(attributes).then_some(id))
    }
}

/// KERB_SID_AND_ATTRIBUTES (MS-PAC 2.2.1), and behind them the identifiers that they point to.
#[derive(Clone, Copy, Default)]
struct ExtraSids<'a> {
    each: Pairs<'a>,
    sids: &'a [u8],
}

impl<'a> ExtraSids<'a> {
    /// Each that could be read when it was looked at first, hence all.
    fn iter(self) -> impl Iterator<Item = (Sid, u32)> + 'a {
        let mut sids = Ndr(Reader::new(self.sids));
        self.each.iter().map_while(move |(_, attributes)| Some((sids.rpc_sid()?, attributes)))
    }
}

/// An array of what takes two u32 each: an identifier, or a pointer to one, and its attributes.
#[derive(Clone, Copy, Default)]
struct Pairs<'a>(&'a [u8]);

impl<'a> Pairs<'a> {
    fn iter(self) -> impl Iterator<Item = (u32, u32)> + 'a {
        let mut reader = Reader::new(self.0);
        std::iter::from_fn(move || Some((reader.u32()?, reader.u32()?)))
    }
}

/// A pointer: null, or to what comes later in the stream.
type Pointer = u32;

/// RPC_UNICODE_STRING (MS-DTYP 2.3.10)
#[derive(Clone, Copy, Default)]
struct Name {
    length: u16,
    buffer: Pointer,
}

impl Name {
    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let (length, maximum_length) = (reader.u16()?, reader.u16()?);
        let buffer = reader.u32()?;
        (length <= maximum_length && length % 2 == 0).then_some(Self { length, buffer })
    }

    fn read_all<const N: usize>(reader: &mut Reader<'_>) -> Option<[Self; N]> {
        let mut names = [Self::default(); N];
        for name in &mut names {
            *name = Self::read(reader)?;
        }
        Some(names)
    }
}

/// A pointer to an array, and before it how many there are.
#[derive(Clone, Copy)]
struct Counted {
    count: u32,
    array: Pointer,
}

impl Counted {
    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        Some(Self { count: reader.u32()?, array: reader.u32()? })
    }
}

/// The structure itself, before what its pointers point to.
struct Fixed {
    /// EffectiveName to HomeDirectoryDrive
    names: [Name; 6],
    user_id: u32,
    primary_group_id: u32,
    group_ids: Counted,
    user_flags: u32,
    /// LogonServer and LogonDomainName
    server_names: [Name; 2],
    logon_domain_id: Pointer,
    extra_sids: Counted,
    resource_domain: Pointer,
    resource_ids: Counted,
}

impl Fixed {
    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        // LogonTime to PasswordMustChange
        reader.take(6 * 8)?;
        let names = Name::read_all(reader)?;
        // LogonCount, BadPasswordCount
        reader.take(2 * 2)?;
        let (user_id, primary_group_id) = (reader.u32()?, reader.u32()?);
        let group_ids = Counted::read(reader)?;
        let user_flags = reader.u32()?;
        // UserSessionKey
        reader.take(16)?;
        let server_names = Name::read_all(reader)?;
        let logon_domain_id = reader.u32()?;
        // Reserved1, UserAccountControl, SubAuthStatus, LastSuccessfulILogon, LastFailedILogon,
        // FailedILogonCount, Reserved3
        reader.take(2 * 4 + 4 + 4 + 8 + 8 + 4 + 4)?;
        let extra_sids = Counted::read(reader)?;
        let resource_domain = reader.u32()?;
        let resource_ids = Counted::read(reader)?;
        Some(Self {
            names,
            user_id,
            primary_group_id,
            group_ids,
            user_flags,
            server_names,
            logon_domain_id,
            extra_sids,
            resource_domain,
            resource_ids,
        })
    }
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
        // ObjectBufferLength, and another Filler.
        let length = usize::try_from(reader.u32()?).ok()?;
        reader.take(4)?;
        let mut reader = Reader::new(reader.take(length)?);
        // The top-level pointer.
        (reader.u32()? != 0).then_some(Self(reader))
    }

    /// A conformant varying array of UTF-16.
    fn skip(&mut self, name: Name) -> Option<()> {
        let length = usize::from(name.length);
        if name.buffer == 0 {
            return (length == 0).then_some(());
        }
        let (max_count, offset, actual_count) = (self.0.u32()?, self.0.u32()?, self.0.u32()?);
        let fits = offset == 0 && actual_count <= max_count;
        if !fits || actual_count != u32::from(name.length / 2) {
            return None;
        }
        self.0.take(length)?;
        // To the next multiple of four; what ends the stream may go without.
        let padding = length % 4;
        self.0.take(padding.min(self.0.rest().len())).map(drop)
    }

    /// A conformant array.
    fn array(&mut self, counted: Counted) -> Option<Pairs<'a>> {
        if counted.array == 0 {
            return (counted.count == 0).then(Pairs::default);
        }
        self.0.u32().filter(|&max_count| max_count == counted.count)?;
        let size = usize::try_from(counted.count).ok()?.checked_mul(8)?;
        self.0.take(size).map(Pairs)
    }

    fn groups(&mut self, counted: Counted) -> Option<Groups<'a>> {
        self.array(counted).map(Groups)
    }

    fn extra_sids(&mut self, counted: Counted) -> Option<ExtraSids<'a>> {
        let each = self.array(counted)?;
        let sids = self.0.rest();
        for (pointer, _) in each.iter() {
            (pointer != 0).then(|| self.rpc_sid()).flatten()?;
        }
        Some(ExtraSids { each, sids })
    }

    /// A pointer to an RPC_SID.
    fn sid(&mut self, pointer: Pointer) -> Option<Option<Sid>> {
        match pointer {
            0 => Some(None),
            _ => self.rpc_sid().map(Some),
        }
    }

    /// RPC_SID (MS-DTYP 2.4.2.3)
    fn rpc_sid(&mut self) -> Option<Sid> {
        let count = self.0.u32()?;
        let (sid, rest) = Sid::read(self.0.rest())?;
        self.0 = Reader::new(rest);
        (usize::try_from(count) == Ok(sid.sub_authorities().len())).then_some(sid)
    }
}
