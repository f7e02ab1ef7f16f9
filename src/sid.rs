//! Security identifiers (MS-DTYP 2.4.2).

use std::fmt;

/// A security identifier: the same for the account, or the group, whatever it is called.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Sid {
    authority: [u8; 6],
    sub_authorities: Box<[u32]>,
}

impl Sid {
    /// From IdentifierAuthority and the SubAuthority list.
    pub fn new(authority: [u8; 6], sub_authorities: &[u32]) -> Self {
        Self { authority, sub_authorities: sub_authorities.into() }
    }

    /// IdentifierAuthority.
    pub fn authority(&self) -> [u8; 6] {
        self.authority
    }

    /// SubAuthority.
    pub fn sub_authorities(&self) -> &[u32] {
        &self.sub_authorities
    }

    /// Whether it stands for nobody: Anonymous (S-1-5-7), or a Guest of some domain (RID 501).
    pub fn is_nobody(&self) -> bool {
        const NT_AUTHORITY: [u8; 6] = [0, 0, 0, 0, 0, 5];
        self.authority == NT_AUTHORITY
            && matches!(*self.sub_authorities, [7] | [21, _, _, _, 501] | [32, 546])
    }
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
        self.sub_authorities.iter().try_for_each(|part| write!(f, "-{part}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_written_as_administrators_know_it() {
        let sid = |authority: u8, parts: &[u32]| Sid::new([0, 0, 0, 0, 0, authority], parts);
        assert_eq!(
            sid(5, &[21, 1, 2, 4_294_967_295, 500]).to_string(),
            "S-1-5-21-1-2-4294967295-500"
        );
        assert_eq!(sid(1, &[0]).to_string(), "S-1-1-0");
        assert_eq!(sid(0, &[]).to_string(), "S-1-0");
        assert_eq!(Sid::new([1, 0, 0, 0, 0, 2], &[3]).to_string(), "S-1-0x010000000002-3");
    }

    #[test]
    fn nobody_is_anonymous_or_a_guest() {
        let sid = |parts: &[u32]| Sid::new([0, 0, 0, 0, 0, 5], parts);
        assert!(sid(&[7]).is_nobody() && sid(&[21, 1, 2, 3, 501]).is_nobody());
        assert!(sid(&[32, 546]).is_nobody());
        assert!(!sid(&[21, 1, 2, 3, 1501]).is_nobody() && !sid(&[11]).is_nobody());
        assert!(!Sid::new([0, 0, 0, 0, 0, 1], &[7]).is_nobody());
    }
}
