//! DER (X.690) as far as tokens and certificates need it: definite lengths, one level at a time,
//! nothing copied. Lengths that are longer than they need to be are tolerated; clients send them.

/// One element: its identifier octet and its contents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Element<'a> {
    /// The identifier octet. Tags above 30 are not used by what is read here.
    pub tag: u8,
    /// The contents octets.
    pub contents: &'a [u8],
}

/// INTEGER, OBJECT IDENTIFIER, SEQUENCE and the context-specific constructed tag 0.
pub mod tag {
    #![allow(missing_docs)]
    pub const OID: u8 = 0x06;
    pub const SEQUENCE: u8 = 0x30;
    pub const CONTEXT_0: u8 = 0xa0;
}

/// Reads the element that `bytes` begin with, and what follows it.
pub fn read(bytes: &[u8]) -> Option<(Element<'_>, &[u8])> {
    let (&tag, rest) = bytes.split_first()?;
    if tag & 0x1f == 0x1f {
        return None;
    }
    let (&first, rest) = rest.split_first()?;
    let (len, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81..=0x84 => {
            let (octets, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (octets.iter().fold(0, |len, &octet| len << 8 | usize::from(octet)), rest)
        }
        _ => return None,
    };
    let (contents, rest) = rest.split_at_checked(len)?;
    Some((Element { tag, contents }, rest))
}

/// The contents of an element of this tag, and what follows it.
pub fn expect(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    read(bytes)
        .filter(|(element, _)| element.tag == tag)
        .map(|(element, rest)| (element.contents, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_definite_and_within_what_is_there() {
        assert_eq!(expect(&[6, 1, 7, 9], tag::OID), Some((&[7][..], &[9][..])));
        assert_eq!(expect(&[6, 0x81, 1, 7], tag::OID), Some((&[7][..], &[][..])));
        assert_eq!(expect(&[6, 0x84, 0, 0, 0, 1, 7], tag::OID), Some((&[7][..], &[][..])));
        for bad in [
            &[][..],
            &[6],
            &[6, 1],
            &[6, 0x80, 0, 0],
            &[6, 0x85, 0, 0, 0, 0, 1, 7],
            &[6, 0x84, 0xff, 0xff, 0xff, 0xff, 7],
            &[6, 0xff, 7],
            &[0x1f, 1, 7],
        ] {
            assert_eq!(read(bad), None, "{bad:02x?}");
        }
        assert_eq!(expect(&[4, 1, 7], tag::OID), None);
    }
}
