//! AV_PAIR lists (MS-NLMP 2.2.2.1): the TargetInfo of a CHALLENGE and its echo in a response.

use super::message::Malformed;
use crate::reader::Reader;

/// AvId. Ids that are not named here are carried and ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AvId(pub u16);

#[allow(missing_docs)] // The names are the specification's.
impl AvId {
    pub const EOL: Self = Self(0);
    pub const NB_COMPUTER_NAME: Self = Self(1);
    pub const NB_DOMAIN_NAME: Self = Self(2);
    pub const DNS_COMPUTER_NAME: Self = Self(3);
    pub const DNS_DOMAIN_NAME: Self = Self(4);
    pub const DNS_TREE_NAME: Self = Self(5);
    pub const FLAGS: Self = Self(6);
    pub const TIMESTAMP: Self = Self(7);
    pub const TARGET_NAME: Self = Self(9);
    pub const CHANNEL_BINDINGS: Self = Self(10);

    /// The length that the specification fixes for this pair's value.
    const fn fixed_len(self) -> Option<usize> {
        match self {
            Self::EOL => Some(0),
            Self::FLAGS => Some(4),
            Self::TIMESTAMP => Some(8),
            Self::CHANNEL_BINDINGS => Some(16),
            _ => None,
        }
    }
}

/// MsvAvFlags: a MIC is in the AUTHENTICATE message.
pub const AV_FLAG_MIC: u32 = 0x2;
/// MsvAvFlags: the service name comes from an untrusted source.
pub const AV_FLAG_UNTRUSTED_SPN: u32 = 0x4;

/// More pairs than any client sends; bounds what a crafted list can cost.
const MOST_PAIRS: usize = 32;

/// A list that ended in EOL and named no id twice.
#[derive(Clone, Copy)]
pub struct AvPairs<'a> {
    /// The pairs before EOL, all of them whole.
    bytes: &'a [u8],
}

impl<'a> AvPairs<'a> {
    /// Reads up to EOL; what follows is not looked at.
    pub fn read(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        let mut seen = 0_u64;
        for _ in 0..=MOST_PAIRS {
            let before = Self { bytes: &bytes[..bytes.len() - reader.rest().len()] };
            let (id, value) = next_pair(&mut reader).ok_or(Malformed)?;
            if id.fixed_len().is_some_and(|fixed| fixed != value.len()) {
                return Err(Malformed);
            }
            if id == AvId::EOL {
                return Ok(before);
            }
            // The ids that there are fit into a word.
            let bit = 1_u64.checked_shl(u32::from(id.0)).unwrap_or(0);
            if seen & bit != 0 || bit == 0 && before.get(id).is_some() {
                return Err(Malformed);
            }
            seen |= bit;
        }
        Err(Malformed)
    }

    /// The value of a pair.
    pub fn get(&self, id: AvId) -> Option<&'a [u8]> {
        self.iter().find(|pair| pair.0 == id).map(|pair| pair.1)
    }

    /// The pairs, in order, without EOL.
    pub fn iter(&self) -> impl Iterator<Item = (AvId, &'a [u8])> + use<'a> {
        let mut reader = Reader::new(self.bytes);
        std::iter::from_fn(move || next_pair(&mut reader))
    }

    /// MsvAvFlags, 0 if absent.
    pub fn flags(&self) -> u32 {
        self.get(AvId::FLAGS).and_then(|value| value.try_into().ok()).map_or(0, u32::from_le_bytes)
    }

    /// Whether every pair of `sent` is here with the same bytes: the response was made for that
    /// CHALLENGE and not for one of another server. Most clients keep the order.
    pub fn echo(&self, sent: &AvPairs<'_>) -> bool {
        let mut ours = self.iter();
        sent.iter().all(|pair| ours.next() == Some(pair) || self.get(pair.0) == Some(pair.1))
    }
}

fn next_pair<'a>(reader: &mut Reader<'a>) -> Option<(AvId, &'a [u8])> {
    let id = AvId(reader.u16()?);
    let len = usize::from(reader.u16()?);
    Some((id, reader.take(len)?))
}

/// Appends one pair; values are at most 65,535 bytes, longer ones are cut by their maker.
pub fn write(out: &mut Vec<u8>, id: AvId, value: &[u8]) {
    let len = u16::try_from(value.len()).unwrap_or(0);
    out.extend_from_slice(&id.0.to_le_bytes());
    out.extend_from_slice(&len.to_le_bytes());
    out.extend_from_slice(&value[..usize::from(len)]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_without_its_end_is_malformed() {
        assert!(AvPairs::read(&[]).is_err());
        assert!(AvPairs::read(&[1, 0, 2, 0, b'A', 0]).is_err());
        assert!(AvPairs::read(&[0, 0, 1, 0, 0]).is_err());
        assert!(AvPairs::read(&[0, 0, 0, 0, 0xff]).is_ok());
    }

    #[test]
    fn a_pair_that_comes_twice_or_has_the_wrong_length_is_malformed() {
        assert!(AvPairs::read(&[99, 0, 0, 0, 99, 0, 0, 0, 0, 0, 0, 0]).is_err());
        assert!(AvPairs::read(&[6, 0, 2, 0, 2, 0, 0, 0, 0, 0]).is_err());
        let mut many = [1_u16, 2, 3].map(|id| [id as u8, 0, 0, 0]).concat();
        many.extend((100..140_u8).flat_map(|id| [id, 0, 0, 0]));
        many.extend([0; 4]);
        assert!(AvPairs::read(&many).is_err());
    }
}
