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

/// Identifier octets: universal ones, constructed context-specific ones, and that of RFC 2743 3.1.
pub mod tag {
    #![allow(missing_docs)]
    pub const INTEGER: u8 = 0x02;
    pub const BIT_STRING: u8 = 0x03;
    pub const OCTET_STRING: u8 = 0x04;
    pub const OID: u8 = 0x06;
    pub const ENUMERATED: u8 = 0x0a;
    pub const GENERALIZED_TIME: u8 = 0x18;
    pub const GENERAL_STRING: u8 = 0x1b;
    pub const SEQUENCE: u8 = 0x30;
    pub const INITIAL_CONTEXT_TOKEN: u8 = 0x60;
    pub const CONTEXT_0: u8 = 0xa0;
    pub const CONTEXT_1: u8 = 0xa1;
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

/// As [`expect`], of an element whose length has as few octets as DER wants.
pub fn strictly(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    expect(bytes, tag).filter(|(contents, rest)| bytes.len() - rest.len() == size(contents.len()))
}

/// The contents of the element of this tag that `bytes` are in DER, with nothing after it.
pub fn only(bytes: &[u8], tag: u8) -> Option<&[u8]> {
    strictly(bytes, tag).filter(|(_, rest)| rest.is_empty()).map(|(contents, _)| contents)
}

/// How long an element with `len` octets of contents is.
pub fn size(len: usize) -> usize {
    1 + length_octets(len) + len
}

/// Appends the identifier and length octets of an element with `len` octets of contents.
pub fn begin(out: &mut Vec<u8>, tag: u8, len: usize) {
    out.push(tag);
    let octets = length_octets(len) - 1;
    if octets > 0 {
        // At most eight of them.
        out.push(0x80 | octets as u8);
    }
    let bytes = len.to_be_bytes();
    out.extend_from_slice(&bytes[bytes.len() - octets.max(1)..]);
}

/// How many octets tell a length.
fn length_octets(len: usize) -> usize {
    match len {
        0..=0x7f => 1,
        _ => 1 + (usize::BITS - len.leading_zeros()).div_ceil(8) as usize,
    }
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

    #[test]
    fn strictly_there_is_one_way_to_tell_a_length() {
        assert_eq!(strictly(&[6, 1, 7, 9], tag::OID), Some((&[7][..], &[9][..])));
        assert_eq!(strictly(&[6, 0x81, 1, 7], tag::OID), None);
        assert_eq!(only(&[6, 1, 7], tag::OID), Some(&[7][..]));
        assert_eq!(only(&[6, 1, 7, 9], tag::OID), None);
        let mut long = Vec::new();
        begin(&mut long, tag::OID, 200);
        long.resize(long.len() + 200, 7);
        assert_eq!(only(&long, tag::OID), Some(&[7; 200][..]));
        long.splice(1..3, [0x82, 0, 200]);
        assert!(expect(&long, tag::OID).is_some() && only(&long, tag::OID).is_none());
    }

    #[test]
    fn what_is_written_is_as_long_as_foretold_and_is_read_back() {
        for len in [0, 1, 0x7f, 0x80, 0xff, 0x100, 0xffff, 0x1_0000] {
            let mut out = Vec::new();
            begin(&mut out, tag::OCTET_STRING, len);
            out.resize(out.len() + len, 7);
            assert_eq!(out.len(), size(len));
            assert_eq!(expect(&out, tag::OCTET_STRING), Some((&vec![7; len][..], &[][..])));
            // DER: as few octets as it takes.
            assert_eq!(
                out.len() - len,
                2 + usize::from(len > 0x7f) + usize::from(len > 0xff) + usize::from(len > 0xffff)
            );
        }
    }
}
