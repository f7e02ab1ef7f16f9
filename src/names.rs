//! User and domain names: bounded UTF-16, checked, compared as Windows compares them.

mod upcase;

use std::fmt::{self, Write};

/// The longest user or domain name taken, in UTF-16 code units.
pub const MAX_UNITS: usize = 256;

/// A name of at most [`MAX_UNITS`] UTF-16 code units without control characters, lone surrogates
/// or bidirectional overrides. It is neither normalised nor trimmed: "alice " is not "alice".
#[derive(Clone)]
pub struct Name(Box<[u16]>);

/// What makes a text no [`Name`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameError {
    /// An odd number of bytes where UTF-16 is due.
    OddLength,
    /// Longer than [`MAX_UNITS`].
    TooLong,
    /// A control character, lone surrogate, bidirectional control, or a byte outside ASCII in an
    /// OEM text.
    Character,
}

impl Name {
    /// From UTF-16LE bytes (MS-NLMP 2.2: Unicode strings).
    pub fn from_utf16le(bytes: &[u8]) -> Result<Self, NameError> {
        let pairs = bytes.chunks_exact(2);
        if !pairs.remainder().is_empty() {
            return Err(NameError::OddLength);
        }
        Self::from_units(pairs.len(), pairs.map(|pair| u16::from_le_bytes([pair[0], pair[1]])))
    }

    /// From OEM bytes. The client's code page is unknown, so only ASCII has one meaning.
    pub fn from_oem(bytes: &[u8]) -> Result<Self, NameError> {
        if !bytes.is_ascii() {
            return Err(NameError::Character);
        }
        Self::from_units(bytes.len(), bytes.iter().map(|&byte| u16::from(byte)))
    }

    /// From a Rust string.
    pub fn from_text(text: &str) -> Result<Self, NameError> {
        Self::from_units(text.encode_utf16().count(), text.encode_utf16())
    }

    fn from_units(count: usize, units: impl Iterator<Item = u16>) -> Result<Self, NameError> {
        if count > MAX_UNITS {
            return Err(NameError::TooLong);
        }
        let name = Self(units.collect());
        if acceptable(name.units()) { Ok(name) } else { Err(NameError::Character) }
    }

    /// The code units, as received.
    pub fn units(&self) -> &[u16] {
        &self.0
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Escapes what would break a line of a log; quotes and backslashes stay readable.
impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_escaped(f, char::decode_utf16(self.units().iter().copied()))
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

fn write_escaped(
    f: &mut fmt::Formatter<'_>,
    letters: impl Iterator<Item = Result<char, std::char::DecodeUtf16Error>>,
) -> fmt::Result {
    for letter in letters {
        match letter {
            Ok('"') => f.write_str("\\x22")?,
            Ok(letter) if is_plain(letter) => f.write_char(letter)?,
            Ok(letter) => write!(f, "\\u{{{:x}}}", u32::from(letter))?,
            Err(lone) => write!(f, "\\u{{{:x}}}", lone.unpaired_surrogate())?,
        }
    }
    Ok(())
}

/// Any text for a log line: control and bidirectional characters and quotes are escaped.
pub struct Escaped<'a>(pub &'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_escaped(f, self.0.chars().map(Ok))
    }
}

/// Neither a control character nor one that turns the direction of the text around it.
fn is_plain(letter: char) -> bool {
    !(letter.is_control()
        || is_bidi_control(u32::from(letter))
        || matches!(letter, '\u{200e}' | '\u{200f}' | '\u{61c}' | '\u{feff}')
        || is_line_break(letter))
}

fn is_bidi_control(code: u32) -> bool {
    matches!(code, 0x202a..=0x202e | 0x2066..=0x2069)
}

fn is_line_break(letter: char) -> bool {
    matches!(letter, '\u{2028}' | '\u{2029}')
}

/// Whether a text has none of the characters that no [`Name`] has.
pub fn is_acceptable(text: &str) -> bool {
    text.chars().all(|letter| !letter.is_control() && !is_bidi_control(u32::from(letter)))
}

fn acceptable(units: &[u16]) -> bool {
    let mut rest = units.iter().copied();
    while let Some(unit) = rest.next() {
        let fine = match unit {
            0..=0x1f | 0x7f..=0x9f | 0xdc00..=0xdfff => false,
            0xd800..=0xdbff => rest.next().is_some_and(|low| (0xdc00..=0xdfff).contains(&low)),
            _ => !is_bidi_control(u32::from(unit)),
        };
        if !fine {
            return false;
        }
    }
    true
}

/// The form under which names are equal: `Uppercase` of each unit as Windows does it.
pub fn fold(units: impl Iterator<Item = u16>) -> impl Iterator<Item = u16> {
    units.map(upcase::windows)
}

/// Whether two texts name the same, as Windows compares names.
pub fn same(a: impl Iterator<Item = u16>, b: impl Iterator<Item = u16>) -> bool {
    fold(a).eq(fold(b))
}

/// Whether a text is its own upper case, unit by unit.
pub fn is_upper(units: &[u16]) -> bool {
    units.iter().all(|&unit| upcase::simple(unit) == unit)
}

/// The ways in which clients upper-case a user for NTOWFv2 (MS-NLMP 3.3.2 says "Uppercase";
/// Windows maps unit by unit, many clients use Unicode's full mapping).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Uppercase {
    /// Unicode's simple mapping, unit by unit.
    Simple,
    /// The Windows table, where it differs.
    Windows,
    /// Unicode's full mapping, which may change the length.
    Full,
}

impl Uppercase {
    /// Appends `user`, mapped, to `out` as UTF-16LE.
    pub fn write(self, user: &[u16], out: &mut Vec<u8>) {
        let mut push = |unit: u16| out.extend_from_slice(&unit.to_le_bytes());
        match self {
            Self::Simple => user.iter().for_each(|&unit| push(upcase::simple(unit))),
            Self::Windows => user.iter().for_each(|&unit| push(upcase::windows(unit))),
            Self::Full => char::decode_utf16(user.iter().copied())
                .map(|letter| letter.unwrap_or(char::REPLACEMENT_CHARACTER))
                .flat_map(char::to_uppercase)
                .for_each(|letter| {
                    let mut units = [0; 2];
                    letter.encode_utf16(&mut units).iter().for_each(|&unit| push(unit));
                }),
        }
    }

    /// The mappings that differ for `user`, the most likely first.
    pub fn variants(user: &[u16]) -> impl Iterator<Item = Self> + '_ {
        let ascii = user.iter().all(|&unit| unit < 0x80);
        let differs = move |other: Self| {
            let (mut simple, mut mapped) = (Vec::new(), Vec::new());
            Self::Simple.write(user, &mut simple);
            other.write(user, &mut mapped);
            simple != mapped
        };
        [Self::Simple, Self::Full, Self::Windows]
            .into_iter()
            .filter(move |&mapping| mapping == Self::Simple || !ascii && differs(mapping))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Result<Name, NameError> {
        Name::from_text(text)
    }

    #[test]
    fn names_with_characters_that_could_mislead_a_reader_are_refused() {
        for bad in ["a\0", "a\rb", "\t", "\u{7f}", "\u{85}", "x\u{202e}y", "\u{2066}"] {
            assert_eq!(name(bad).err(), Some(NameError::Character), "{bad:?}");
        }
        assert_eq!(Name::from_utf16le(b"a\0b").err(), Some(NameError::OddLength));
        assert_eq!(Name::from_utf16le(&[0x00, 0xd8]).err(), Some(NameError::Character));
        assert_eq!(Name::from_utf16le(&[0x00, 0xdc]).err(), Some(NameError::Character));
        assert_eq!(Name::from_oem(b"m\xfcller").err(), Some(NameError::Character));
        assert_eq!(name(&"x".repeat(257)).err(), Some(NameError::TooLong));
        assert!(name(&"x".repeat(256)).is_ok());
        assert!(name("\u{10428}o'brien, pat").is_ok());
    }

    #[test]
    fn a_log_line_shows_a_name_without_obeying_it() {
        assert_eq!(name("o\"brien\u{2028}").unwrap().to_string(), "o\\x22brien\\u{2028}");
        assert_eq!(Escaped("a\nb\u{1b}[2J").to_string(), "a\\u{a}b\\u{1b}[2J");
    }

    #[test]
    fn ascii_has_one_mapping_and_special_letters_up_to_three() {
        let count = |text: &str| Uppercase::variants(name(text).unwrap().units()).count();
        assert_eq!(count("alice"), 1);
        assert_eq!(count("müller"), 1);
        assert_eq!(count("straße"), 2);
        assert_eq!(count("ıtest"), 2);
        assert_eq!(count("ıß"), 3);
    }

    #[test]
    fn comparison_ignores_case_and_nothing_else() {
        let same = |a: &str, b: &str| super::same(a.encode_utf16(), b.encode_utf16());
        assert!(same("Σίσυφος", "σίσυφοσ"));
        assert!(same("ALICE", "alice"));
        assert!(!same("alice", "alice "));
        assert!(!same("ıtest", "itest"));
    }
}
