//! Security identifiers (MS-DTYP 2.4.2), and sets of them.

use std::collections::BTreeMap;
use std::fmt;

/// SubAuthority has no more than this (MS-DTYP 2.4.2.2).
const MOST_PARTS: usize = 15;

/// A security identifier: the same for the account, or the group, whatever it is called.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Sid {
    authority: [u8; 6],
    count: u8,
    /// Zero beyond `count`.
    parts: [u32; MOST_PARTS],
}

impl Sid {
    /// The null SID, S-1-0-0.
    pub const NOBODY: Self = Self { authority: [0; 6], count: 1, parts: [0; MOST_PARTS] };

    /// From IdentifierAuthority and the SubAuthority list; `None` if that is too long.
    pub fn new(authority: [u8; 6], sub_authorities: &[u32]) -> Option<Self> {
        let mut parts = [0; MOST_PARTS];
        parts.get_mut(..sub_authorities.len())?.copy_from_slice(sub_authorities);
        Some(Self { authority, count: sub_authorities.len() as u8, parts })
    }

    /// From a packet (MS-DTYP 2.4.2.2), and what follows it.
    pub fn read(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let (&[revision, count], rest) = bytes.split_first_chunk()?;
        let (&authority, rest) = rest.split_first_chunk()?;
        let (octets, rest) = rest.split_at_checked(4 * usize::from(count))?;
        if revision != 1 {
            return None;
        }
        let mut parts = [0; MOST_PARTS];
        for (part, octets) in
            parts.get_mut(..usize::from(count))?.iter_mut().zip(octets.chunks_exact(4))
        {
            *part = octets.iter().rev().fold(0, |value, &octet| value << 8 | u32::from(octet));
        }
        Some((Self { authority, count, parts }, rest))
    }

    /// From S-1-5-21-... (MS-DTYP 2.4.2.1).
    pub fn parse(text: &str) -> Option<Self> {
        let mut fields = text.strip_prefix("S-1-").or(text.strip_prefix("s-1-"))?.split('-');
        let authority = match fields.next()? {
            hex if hex.starts_with("0x") || hex.starts_with("0X") => {
                let digits = hex.get(2..).filter(|digits| digits.len() == 12)?;
                let is_hex = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
                u64::from_str_radix(digits, 16).ok().filter(|_| is_hex)?
            }
            decimal => number(decimal)?.into(),
        };
        let (mut parts, mut count) = ([0; MOST_PARTS], 0);
        for field in fields {
            *parts.get_mut(count)? = number(field)?;
            count += 1;
        }
        let [_, _, authority @ ..] = authority.to_be_bytes();
        Some(Self { authority, count: count as u8, parts })
    }

    /// IdentifierAuthority.
    pub fn authority(&self) -> [u8; 6] {
        self.authority
    }

    /// SubAuthority.
    pub fn sub_authorities(&self) -> &[u32] {
        &self.parts[..usize::from(self.count)]
    }

    /// The one with this relative identifier in the domain that `self` is.
    pub fn child(&self, rid: u32) -> Option<Self> {
        let mut child = *self;
        *child.parts.get_mut(usize::from(self.count))? = rid;
        child.count += 1;
        Some(child)
    }

    /// The domain, and the relative identifier in it.
    fn split(&self) -> Option<(Self, u32)> {
        let last = usize::from(self.count).checked_sub(1)?;
        let mut domain = *self;
        domain.parts[last] = 0;
        domain.count -= 1;
        Some((domain, self.parts[last]))
    }

    /// Whether it stands for nobody: Anonymous (S-1-5-7), or a Guest of some domain (RID 501).
    pub fn is_nobody(&self) -> bool {
        const NT_AUTHORITY: [u8; 6] = [0, 0, 0, 0, 0, 5];
        self.authority == NT_AUTHORITY
            && matches!(*self.sub_authorities(), [7] | [21, _, _, _, 501] | [32, 546])
    }
}

/// Digits only: Rust would take a sign, too.
fn number(text: &str) -> Option<u32> {
    text.parse().ok().filter(|_| text.bytes().all(|digit| digit.is_ascii_digit()))
}

/// S-1-5-21-... (MS-DTYP 2.4.2.1); authorities from 2^32 on are hexadecimal.
impl fmt::Display for Sid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let authority =
            self.authority.iter().fold(0_u64, |value, &byte| value << 8 | u64::from(byte));
        match u32::try_from(authority) {
            Ok(authority) => write!(f, "S-1-{authority}")?,
            Err(_) => write!(f, "S-1-0x{authority:012X}")?,
        }
        self.sub_authorities().iter().try_for_each(|part| write!(f, "-{part}"))
    }
}

impl fmt::Debug for Sid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// A set of security identifiers: a user's groups. Most are of one domain, which is told once; the
/// thousandth takes four bytes more than the others.
#[derive(Default, PartialEq, Eq, Hash)]
pub struct SidSet(Box<[(Sid, Box<[u32]>)]>);

impl SidSet {
    /// Whether it is one of them.
    pub fn contains(&self, sid: &Sid) -> bool {
        let Some((domain, rid)) = sid.split() else { return false };
        let of_domain = self.0.iter().find(|(known, _)| *known == domain);
        of_domain.is_some_and(|(_, rids)| rids.binary_search(&rid).is_ok())
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = Sid> {
        self.0.iter().flat_map(|(domain, rids)| rids.iter().filter_map(|&rid| domain.child(rid)))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.iter().map(|(_, rids)| rids.len()).sum()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for SidSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

impl FromIterator<Sid> for SidSet {
    fn from_iter<T: IntoIterator<Item = Sid>>(sids: T) -> Self {
        let mut set = SidSetBuilder::default();
        sids.into_iter().for_each(|sid| set.add(&sid));
        set.finish()
    }
}

/// A set in the making.
#[derive(Default)]
pub struct SidSetBuilder(BTreeMap<Sid, Vec<u32>>);

impl SidSetBuilder {
    /// Adds one. An identifier without a SubAuthority is nobody's group.
    pub fn add(&mut self, sid: &Sid) {
        if let Some((domain, rid)) = sid.split() {
            self.0.entry(domain).or_default().push(rid);
        }
    }

    /// Adds those of a domain with these relative identifiers.
    pub fn add_in(&mut self, domain: &Sid, rids: impl Iterator<Item = u32>) {
        if usize::from(domain.count) < MOST_PARTS {
            let of_domain = self.0.entry(*domain).or_default();
            of_domain.extend(rids);
        }
    }

    /// The set.
    pub fn finish(self) -> SidSet {
        let sorted = |(domain, mut rids): (Sid, Vec<u32>)| {
            rids.sort_unstable();
            rids.dedup();
            (domain, rids.into_boxed_slice())
        };
        SidSet(self.0.into_iter().filter(|(_, rids)| !rids.is_empty()).map(sorted).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sid(authority: u8, parts: &[u32]) -> Sid {
        Sid::new([0, 0, 0, 0, 0, authority], parts).unwrap()
    }

    #[test]
    fn one_is_written_as_administrators_know_it_and_read_back() {
        for (sid, text) in [
            (sid(5, &[21, 1, 2, 4_294_967_295, 500]), "S-1-5-21-1-2-4294967295-500"),
            (sid(1, &[0]), "S-1-1-0"),
            (sid(0, &[]), "S-1-0"),
            (Sid::new([1, 0, 0, 0, 0, 2], &[3]).unwrap(), "S-1-0x010000000002-3"),
            (sid(5, &[7; 15]), "S-1-5-7-7-7-7-7-7-7-7-7-7-7-7-7-7-7"),
        ] {
            assert_eq!(sid.to_string(), text);
            assert_eq!(Sid::parse(text), Some(sid));
            assert_eq!(Sid::parse(&text.to_ascii_lowercase()), Some(sid));
        }
    }

    #[test]
    fn what_is_nearly_one_is_none() {
        let long = format!("S-1-5{}", "-7".repeat(16));
        for text in [
            "",
            "S",
            "S-1-",
            "S-1",
            "S-2-5-21",
            "S-1-5-",
            "S-1-5--1",
            "S-1-5-+1",
            "S-1-5-4294967296",
            "S-1-5-21-x",
            " S-1-5-21",
            "S-1-5-21 ",
            "S-1-0x0000000000056",
            "S-1-0x5",
            &long,
            "S-1-0x+00000000005",
        ] {
            assert_eq!(Sid::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_packet_is_read_whole_or_not_at_all() {
        let packet = [1, 2, 0, 0, 0, 0, 0, 5, 32, 0, 0, 0, 0x20, 2, 0, 0, 9];
        assert_eq!(Sid::read(&packet), Some((sid(5, &[32, 544]), &[9][..])));
        for end in 0..16 {
            assert_eq!(Sid::read(&packet[..end]), None);
        }
        let mut other = packet;
        other[0] = 2;
        assert_eq!(Sid::read(&other), None);
        let mut long = vec![1, 16, 0, 0, 0, 0, 0, 5];
        long.extend([0; 64]);
        assert_eq!(Sid::read(&long), None);
    }

    #[test]
    fn nobody_is_anonymous_or_a_guest() {
        let sid = |parts: &[u32]| sid(5, parts);
        assert!(sid(&[7]).is_nobody() && sid(&[21, 1, 2, 3, 501]).is_nobody());
        assert!(sid(&[32, 546]).is_nobody());
        assert!(!sid(&[21, 1, 2, 3, 1501]).is_nobody() && !sid(&[11]).is_nobody());
        assert!(!Sid::new([0, 0, 0, 0, 0, 1], &[7]).unwrap().is_nobody());
    }

    #[test]
    fn a_set_has_what_was_put_in_once() {
        let (ours, theirs) = (sid(5, &[21, 1, 2, 3]), sid(5, &[21, 1, 2, 4]));
        let mut builder = SidSetBuilder::default();
        builder.add_in(&ours, [513, 1105, 513].into_iter());
        builder.add(&theirs.child(1105).unwrap());
        builder.add(&sid(5, &[32, 544]));
        builder.add(&sid(5, &[]));
        builder.add_in(&sid(5, &[7; 15]), [1].into_iter());
        let set = builder.finish();
        assert_eq!(set.len(), 4);
        for sid in set.iter() {
            assert!(set.contains(&sid), "{sid}");
        }
        let not_in = [
            ours,
            ours.child(1106).unwrap(),
            theirs.child(513).unwrap(),
            sid(5, &[]),
            sid(5, &[544]),
        ];
        for sid in not_in {
            assert!(!set.contains(&sid), "{sid}");
        }
        assert_eq!(set, set.iter().collect());
        assert!(SidSet::default().is_empty() && !set.is_empty());
    }
}
