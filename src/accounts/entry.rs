//! One line of an accounts file: `DOMAIN\user:NT-hash[:groups[:attributes]]`.
//!
//! Reading is strict, since a line that is taken for another one lets the wrong person in: every
//! name is checked after its escapes are undone, and nothing is trimmed. Writing gives back what
//! reading gave. No message holds a part of the line, because any part may be a misplaced hash.

use std::borrow::Cow;
use std::fmt;

use zeroize::Zeroizing;

use crate::names::MAX_UNITS;
use crate::secret::Secret;

/// An account, as one line of the file has it.
#[derive(Clone, PartialEq, Eq)]
pub struct Entry {
    /// The domain, in the spelling that applications see.
    pub domain: String,
    /// The user name, in the spelling that applications see.
    pub user: String,
    /// NTOWFv1 of the password (MS-NLMP 3.3.1), or `None` if the account is disabled.
    pub nt_hash: Option<Secret<16>>,
    /// The groups, in the order of the line.
    pub groups: Vec<String>,
}

impl Entry {
    /// Reads a line without its newline; a carriage return before that is part of the newline.
    /// `None` is a comment or a blank line.
    pub fn parse(line: &str) -> Result<Option<Self>, EntryError> {
        let Some(Line { domain, user, nt_hash, groups }) = Line::parse(line)? else {
            return Ok(None);
        };
        let groups = Self::parse_groups(groups)?;
        Ok(Some(Self { domain: domain.into(), user: user.into(), nt_hash, groups }))
    }

    /// Reads groups as a line has them: separated by commas, with escapes. "" is none.
    pub fn parse_groups(list: &str) -> Result<Vec<String>, EntryError> {
        if list.is_empty() {
            return Ok(Vec::new());
        }
        list.split(',').map(|group| parse_name(group, Part::Group).map(Cow::into_owned)).collect()
    }

    /// Says whether a line can hold this entry: what passes is read back equal from
    /// [`Entry::to_line`].
    pub fn check(&self) -> Result<(), EntryError> {
        check_name(&self.domain, Part::Domain)?;
        check_name(&self.user, Part::User)?;
        self.groups.iter().try_for_each(|group| check_name(group, Part::Group))
    }

    /// The line, without a newline.
    pub fn to_line(&self) -> Zeroizing<String> {
        // Room for the longest escapes, so that the text never moves and leaves a copy behind.
        let names: usize = self.groups.iter().map(|group| 3 * group.len() + 1).sum();
        let room = 3 * (self.domain.len() + self.user.len()) + names + 2 * 16 + 4;
        let mut line = Zeroizing::new(String::with_capacity(room));
        if let Some(rest) = self.domain.strip_prefix('#') {
            line.push_str("%23");
            escape(&mut line, rest, ":%", Edges::End);
        } else {
            escape(&mut line, &self.domain, ":%", Edges::Both);
        }
        line.push('\\');
        escape(&mut line, &self.user, ":%", Edges::Both);
        line.push(':');
        match &self.nt_hash {
            Some(hash) => hash.expose().iter().for_each(|&byte| push_hex(&mut line, byte)),
            None => line.push('!'),
        }
        for (index, group) in self.groups.iter().enumerate() {
            line.push(if index == 0 { ':' } else { ',' });
            escape(&mut line, group, ",:%", Edges::Both);
        }
        debug_assert!(line.len() <= room);
        line
    }
}

/// A line taken apart, without a copy of what needs none.
pub(super) struct Line<'a> {
    pub(super) domain: Cow<'a, str>,
    pub(super) user: Cow<'a, str>,
    pub(super) nt_hash: Option<Secret<16>>,
    /// Still to be read by [`Entry::parse_groups`].
    pub(super) groups: &'a str,
}

impl<'a> Line<'a> {
    pub(super) fn parse(line: &'a str) -> Result<Option<Self>, EntryError> {
        let line = line.strip_suffix('\r').unwrap_or(line);
        if line.starts_with(BYTE_ORDER_MARK) {
            return Err(EntryError::ByteOrderMark);
        }
        let start = line.trim_start_matches([' ', '\t']);
        if start.is_empty() || start.starts_with('#') {
            return Ok(None);
        }
        let (account, rest) = cut(line, b':');
        let (domain, Some(user)) = cut(account, b'\\') else {
            return Err(EntryError::NoDomain);
        };
        let (hash, rest) = cut(rest.ok_or(EntryError::NoHash)?, b':');
        let (groups, attributes) = cut(rest.unwrap_or(""), b':');
        let line = Self {
            domain: parse_name(domain, Part::Domain)?,
            user: parse_name(user, Part::User)?,
            nt_hash: parse_hash(hash)?,
            groups,
        };
        match attributes {
            None | Some("") => Ok(Some(line)),
            Some(_) => Err(EntryError::Attribute),
        }
    }
}

/// Why a line is not an entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum EntryError {
    /// The line starts with U+FEFF, which editors hide.
    ByteOrderMark,
    /// No backslash ends a domain.
    NoDomain,
    /// No colon ends the user name.
    NoHash,
    /// Neither 32 hexadecimal digits nor an exclamation mark.
    BadHash,
    /// Something follows the groups.
    Attribute,
    /// Nothing where a name should be.
    Empty(Part),
    /// Longer than [`MAX_UNITS`].
    TooLong(Part),
    /// A character that cannot be told from another, or that could write a second line.
    Character(Part, char),
    /// A second backslash: which one ends the domain?
    Backslash(Part),
    /// A `%` without two hexadecimal digits of a printable ASCII character.
    Escape(Part),
    /// A space that a reader cannot see, unless escaped.
    Space(Part),
}

impl fmt::Display for EntryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::ByteOrderMark => {
                f.write_str("the line starts with a byte order mark; save the file without one")
            }
            Self::NoDomain => f.write_str(r"the line does not start with DOMAIN\user:"),
            Self::NoHash => f.write_str("there is no colon and NT hash after the user name"),
            Self::BadHash => f.write_str(
                "the field after the user name is neither an NT hash of 32 hexadecimal digits \
                 nor ! (a colon in a name is written %3A)",
            ),
            Self::Attribute => f.write_str("there is an unknown attribute after the groups"),
            Self::Empty(part) => write!(f, "{part} is empty"),
            Self::TooLong(part) => {
                write!(f, "{part} is longer than {MAX_UNITS} UTF-16 code units")
            }
            Self::Character(part, c) => {
                write!(
                    f,
                    "{part} has the character U+{:04X}, which is refused in names",
                    u32::from(c)
                )
            }
            Self::Backslash(part) => write!(f, "{part} has a backslash"),
            Self::Escape(part) => write!(
                f,
                "{part} has a % that is not followed by the two hexadecimal digits of a \
                 printable ASCII character (% itself is written %25)"
            ),
            Self::Space(part) => {
                write!(f, "{part} starts or ends with a space; if that is meant, write it %20")
            }
        }
    }
}

impl std::error::Error for EntryError {}

/// A named part of an entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Part {
    /// Before the backslash.
    Domain,
    /// After the backslash.
    User,
    /// One of the third field.
    Group,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Domain => "the domain",
            Self::User => "the user name",
            Self::Group => "a group",
        })
    }
}

const BYTE_ORDER_MARK: char = '\u{feff}';

/// A field and what follows its `end`, an ASCII character. Fields are short: a search that is made
/// for long ones takes longer.
fn cut(line: &str, end: u8) -> (&str, Option<&str>) {
    match line.bytes().position(|byte| byte == end) {
        Some(at) => (&line[..at], Some(&line[at + 1..])),
        None => (line, None),
    }
}

fn parse_hash(text: &str) -> Result<Option<Secret<16>>, EntryError> {
    if text == "!" {
        return Ok(None);
    }
    let digits: &[u8; 32] = text.as_bytes().try_into().map_err(|_| EntryError::BadHash)?;
    let mut hash = Zeroizing::new([0; 16]);
    for (byte, pair) in hash.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = from_hex(pair).ok_or(EntryError::BadHash)?;
    }
    Ok(Some(Secret::new(*hash)))
}

fn parse_name(text: &str, part: Part) -> Result<Cow<'_, str>, EntryError> {
    let name = unescape(text, part)?;
    check_name(&name, part)?;
    Ok(name)
}

/// Checks a name as it is when its escapes are undone.
fn check_name(name: &str, part: Part) -> Result<(), EntryError> {
    if name.is_empty() {
        return Err(EntryError::Empty(part));
    }
    // As almost all are.
    let is_plain = |byte| matches!(byte, b' '..=b'~') && byte != b'\\';
    if name.len() <= MAX_UNITS && name.bytes().all(is_plain) {
        return Ok(());
    }
    let mut units = 0;
    for c in name.chars() {
        if is_refused(c) {
            return Err(EntryError::Character(part, c));
        }
        if c == '\\' && part != Part::Group {
            return Err(EntryError::Backslash(part));
        }
        units += c.len_utf16();
    }
    if units > MAX_UNITS {
        return Err(EntryError::TooLong(part));
    }
    Ok(())
}

/// What no client may send in a name, and what would break or hide a line of this file.
fn is_refused(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
        || matches!(c, '\u{2028}' | '\u{2029}' | BYTE_ORDER_MARK)
}

/// Undoes the escapes of one name.
fn unescape(text: &str, part: Part) -> Result<Cow<'_, str>, EntryError> {
    if text.starts_with(' ') || text.ends_with(' ') {
        return Err(EntryError::Space(part));
    }
    if !text.bytes().any(|byte| byte == b'%') {
        return Ok(Cow::Borrowed(text));
    }
    let mut pieces = text.split('%');
    let mut name = String::with_capacity(text.len());
    name.push_str(pieces.next().unwrap_or(""));
    for piece in pieces {
        let (digits, rest) = piece.split_at_checked(2).ok_or(EntryError::Escape(part))?;
        match from_hex(digits.as_bytes()) {
            Some(byte @ b' '..=b'~') => name.push(char::from(byte)),
            _ => return Err(EntryError::Escape(part)),
        }
        name.push_str(rest);
    }
    Ok(Cow::Owned(name))
}

/// At which ends of a name a space needs an escape.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Edges {
    Both,
    End,
}

/// Appends `name` with escapes for the characters of `special` and for spaces that a reader would
/// not see.
fn escape(line: &mut String, name: &str, special: &str, edges: Edges) {
    for (index, c) in name.char_indices() {
        let first = index == 0 && edges == Edges::Both;
        let last = index + c.len_utf8() == name.len();
        if special.contains(c) || (c == ' ' && (first || last)) {
            line.push('%');
            // Only ASCII is ever special.
            push_hex(line, u8::try_from(c).unwrap_or(b'?'));
        } else {
            line.push(c);
        }
    }
}

fn push_hex(line: &mut String, byte: u8) {
    for digit in [byte >> 4, byte & 15] {
        line.push(char::from(if digit < 10 { b'0' + digit } else { b'a' + digit - 10 }));
    }
}

/// The value of exactly two hexadecimal digits.
fn from_hex(pair: &[u8]) -> Option<u8> {
    match *pair {
        [high, low] => Some(digit(high)? << 4 | digit(low)?),
        _ => None,
    }
}

fn digit(c: u8) -> Option<u8> {
    match c {
        b'0'..=b'9' => Some(c - b'0'),
        b'a'..=b'f' => Some(c - b'a' + 10),
        b'A'..=b'F' => Some(c - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::{Name, NameError};

    const HASH: &str = "0123456789abcdef0123456789ABCDEF";

    fn entry(line: &str) -> Entry {
        match Entry::parse(line) {
            Ok(Some(entry)) => entry,
            Ok(None) => panic!("{line:?} was taken for a comment"),
            Err(error) => panic!("{line:?}: {error}"),
        }
    }

    fn error(line: &str) -> EntryError {
        match Entry::parse(line) {
            Err(error) => error,
            Ok(_) => panic!("{line:?} was accepted"),
        }
    }

    #[test]
    fn a_line_has_domain_user_hash_and_groups() {
        let alice = entry(&format!(r"DEMO\Alice:{HASH}:staff,web admins"));
        assert_eq!((&*alice.domain, &*alice.user), ("DEMO", "Alice"));
        assert_eq!(alice.groups, ["staff", "web admins"]);
        let bytes = [0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef];
        let hash = alice.nt_hash.as_ref().map(|hash| *hash.expose());
        assert_eq!(hash, Some([bytes, bytes].concat().try_into().unwrap()));
    }

    #[test]
    fn groups_and_attributes_may_be_absent_or_empty() {
        for rest in ["", ":", "::"] {
            assert!(entry(&format!(r"DEMO\alice:{HASH}{rest}")).groups.is_empty());
        }
        assert_eq!(entry(&format!(r"DEMO\alice:{HASH}:staff:")).groups, ["staff"]);
    }

    #[test]
    fn an_exclamation_mark_disables_the_account() {
        let bob = entry(r"DEMO\bob:!:staff");
        assert!(bob.nt_hash.is_none());
        assert_eq!(bob.groups, ["staff"]);
        assert_eq!(error(&format!(r"DEMO\bob:!{HASH}")), EntryError::BadHash);
    }

    #[test]
    fn comments_and_blank_lines_are_no_entries() {
        for line in ["", " ", "\t \t", "\r", "#", "# note\r", "  # indented", "#DEMO\\a:!"] {
            assert!(matches!(Entry::parse(line), Ok(None)), "{line:?}");
        }
    }

    #[test]
    fn one_carriage_return_belongs_to_the_newline() {
        assert_eq!(entry("DEMO\\bob:!:staff\r").groups, ["staff"]);
        assert_eq!(entry("DEMO\\bob:!\r").user, "bob");
        assert_eq!(error("DEMO\\bob:!\r\r"), EntryError::BadHash);
        let group = EntryError::Character(Part::Group, '\r');
        assert_eq!(error("DEMO\\bob:!:staff\r\r"), group);
    }

    #[test]
    fn names_may_hold_what_people_are_called() {
        for user in ["o'brien, pat", "web01$", "jörg müller", "王", "a@b", "x#y", "\u{10428}", "a!"]
        {
            assert_eq!(entry(&format!(r"DEMO\{user}:!")).user, user);
        }
    }

    #[test]
    fn escapes_stand_for_what_would_end_a_field() {
        let odd = entry(r"%23a%3ab\%20c%25d%20:!:a%2Cb,%3a,x%25,DEMO\all,%5c");
        assert_eq!((&*odd.domain, &*odd.user), ("#a:b", " c%d "));
        assert_eq!(odd.groups, ["a,b", ":", "x%", r"DEMO\all", "\\"]);
    }

    #[test]
    fn a_bad_line_is_refused_with_its_reason() {
        use EntryError as E;
        use Part::{Domain, Group, User};
        let long = "x".repeat(257);
        let clefs = "\u{1d11e}".repeat(129);
        for (line, reason) in [
            ("\u{feff}# saved by an editor", E::ByteOrderMark),
            ("alice", E::NoDomain),
            ("alice:!", E::NoDomain),
            (r"alice:!:DEMO\staff", E::NoDomain),
            (r"DEMO\alice", E::NoHash),
            (r"DEMO\alice:", E::BadHash),
            (r"DEMO\alice::staff", E::BadHash),
            (r"DEMO\alice: !", E::BadHash),
            (r"DEMO\alice:! ", E::BadHash),
            (r"DEMO\alice:0123456789abcdef0123456789abcde", E::BadHash),
            (r"DEMO\alice:0123456789abcdef0123456789abcdef0", E::BadHash),
            (r"DEMO\alice:0123456789abcdef0123456789abcdeg", E::BadHash),
            (r"DEMO\alice:0123456789abcdef0123456789abcd\u{e9}", E::BadHash),
            (r"DEMO\a:b:!", E::BadHash),
            (r"DEMO\alice:!:staff:expires=1", E::Attribute),
            (r"DEMO\alice:!:::", E::Attribute),
            (r"\alice:!", E::Empty(Domain)),
            (r"DEMO\:!", E::Empty(User)),
            (r"DEMO\alice:!:,", E::Empty(Group)),
            (r"DEMO\alice:!:a,,b", E::Empty(Group)),
            (&format!(r"{long}\alice:!"), E::TooLong(Domain)),
            (&format!(r"DEMO\{long}:!"), E::TooLong(User)),
            (&format!(r"DEMO\{clefs}:!"), E::TooLong(User)),
            (&format!(r"DEMO\alice:!:{long}"), E::TooLong(Group)),
            ("DEMO\\ali\0ce:!", E::Character(User, '\0')),
            ("DE\u{1b}MO\\alice:!", E::Character(Domain, '\u{1b}')),
            ("DEMO\\alice:!:a\tb", E::Character(Group, '\t')),
            ("DEMO\\a\u{202e}b:!", E::Character(User, '\u{202e}')),
            ("DEMO\\a\u{85}b:!", E::Character(User, '\u{85}')),
            (r"DEMO\dev\alice:!", E::Backslash(User)),
            (r"DEMO%5Cdev\alice:!", E::Backslash(Domain)),
            (r"DEMO\100%:!", E::Escape(User)),
            (r"DEMO\a%4:!", E::Escape(User)),
            (r"DEMO\a%zz:!", E::Escape(User)),
            (r"DEMO\a%+1:!", E::Escape(User)),
            (r"DEMO\a%00:!", E::Escape(User)),
            (r"DEMO\a%0Ab:!", E::Escape(User)),
            (r"DEMO\a%C3%A9:!", E::Escape(User)),
            ("DEMO\\a%é:!", E::Escape(User)),
            (" DEMO\\alice:!", E::Space(Domain)),
            (r"DEMO\ alice:!", E::Space(User)),
            (r"DEMO\alice :!", E::Space(User)),
            (r"DEMO\alice:!:a, b", E::Space(Group)),
        ] {
            assert_eq!(error(line), reason, "{line:?}");
        }
    }

    #[test]
    fn names_may_have_256_code_units() {
        let (long, clefs) = ("x".repeat(256), "\u{1d11e}".repeat(128));
        assert_eq!(entry(&format!(r"{clefs}\{long}:!:{long}")).user, long);
    }

    #[test]
    fn whatever_the_protocol_refuses_in_names_is_refused_here() {
        for c in (0..=0x10ffff).filter_map(char::from_u32) {
            if Name::from_text(c.encode_utf8(&mut [0; 4])).err() == Some(NameError::Character) {
                assert!(is_refused(c), "U+{:04X}", u32::from(c));
            }
        }
    }

    #[test]
    fn no_reason_shows_a_part_of_the_line() {
        for line in [
            format!(r"DEMO\alice {HASH}"),
            format!("alice:{HASH}"),
            format!(r"DEMO\alice::staff:{HASH}"),
            format!(r"DEMO\alice:{HASH}0"),
            format!(r"DEMO\alice:!:staff:{HASH}"),
            format!(r"DEMO\%{HASH}%:!"),
            format!(r"DEMO\a\{HASH}:!"),
            format!("DEMO\\{HASH}\u{7f}:!"),
            format!(r"DEMO\a:!: {HASH}"),
        ] {
            let error = error(&line);
            for text in [error.to_string(), format!("{error:?}")] {
                assert!(!text.contains("012345") && !text.contains("alice"), "{text}");
            }
        }
    }

    #[test]
    fn a_written_line_is_the_shortest_that_reads_back() {
        for line in [
            r"DEMO\bob:!",
            r"DEMO\o'brien, pat:!:staff,DEMO\web admins",
            r"%23x\#y%3a%25:!:#,%2c,%20,%20a%20",
            r"%20%3a\%20 %20:0123456789abcdef0123456789abcdef",
        ] {
            assert_eq!(entry(line).to_line().as_str(), line);
        }
    }

    /// A small generator of its own, so that a failure repeats.
    struct Dice(u64);

    impl Dice {
        fn below(&mut self, limit: usize) -> usize {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            usize::try_from(self.0 >> 33).unwrap() % limit
        }

        /// Up to `longest` letters, mostly such as a name may have.
        fn text(&mut self, longest: usize) -> String {
            let letters = if self.below(4) == 0 { LETTERS } else { &LETTERS[..FINE] };
            let length = self.below(longest + 1);
            (0..length).map(|_| letters[self.below(letters.len())]).collect()
        }
    }

    const FINE: usize = 14;
    const LETTERS: &[char] = &[
        'a',
        'F',
        '0',
        '9',
        ' ',
        '#',
        '%',
        ':',
        ',',
        '!',
        '\'',
        'é',
        '王',
        '\u{10428}',
        '\\',
        '\t',
        '\r',
        '\n',
        '\0',
        '\u{feff}',
        '\u{202e}',
    ];

    #[test]
    fn what_passes_the_check_reads_back_equal() {
        let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
        let mut passed = 0;
        for round in 0..50_000 {
            let length = 1 + round % 6;
            let groups = dice.below(3);
            let entry = Entry {
                domain: dice.text(length),
                user: dice.text(length),
                nt_hash: (round % 2 == 0).then(|| Secret::new([dice.below(256) as u8; 16])),
                groups: (0..groups).map(|_| dice.text(length)).collect(),
            };
            let line = entry.to_line();
            let same = matches!(Entry::parse(&line), Ok(Some(read)) if read == entry);
            assert_eq!(same, entry.check().is_ok(), "{:?}", line.as_str());
            passed += usize::from(same);
        }
        assert!(passed > 10_000, "{passed}");
    }

    #[test]
    fn any_line_is_an_answer_and_any_entry_can_be_written_again() {
        let mut dice = Dice(0x2545_f491_4f6c_dd1d);
        let mut entries = 0;
        for _ in 0..200_000 {
            let domain = dice.text(3);
            let hash = ["!", HASH, "x"][dice.below(3)];
            let line = match dice.below(2) {
                0 => dice.text(12),
                _ => format!("a{domain}\\{}:{hash}{}", dice.text(3), dice.text(8)),
            };
            if let Ok(Some(entry)) = Entry::parse(&line) {
                entries += 1;
                assert!(entry.check().is_ok(), "{line:?}");
                assert!(Entry::parse(&entry.to_line()) == Ok(Some(entry)), "{line:?}");
            }
        }
        assert!(entries > 2_000, "{entries}");
    }
}
