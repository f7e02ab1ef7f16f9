//! What users are called: one name for one user, whichever mechanism proved who it is, where the
//! configuration says which realm is which domain. A name whose realm or domain is not known to be
//! another's stays whole.

use std::sync::Arc;

use crate::names;
use crate::text::Text;

/// How names are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NameFormat {
    /// With realm or domain.
    Full,
    /// Without the realm, if it is one of these.
    Short(Vec<String>),
    /// `DOMAIN\user`, if the realm's domain is known.
    Domain,
    /// The name that the local system has.
    Local,
}

/// In which case names are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameCase {
    /// As they come.
    Keep,
    /// In lower case.
    Lower,
}

/// Which realm is which domain. Each is there once.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct RealmMap(Vec<(String, String)>);

impl RealmMap {
    /// From realms and domains; the error says which is there twice.
    pub fn new(pairs: Vec<(String, String)>) -> Result<Self, String> {
        for (at, (realm, domain)) in pairs.iter().enumerate() {
            for (other_realm, other_domain) in &pairs[..at] {
                if realm == other_realm {
                    return Err(format!("the realm \"{realm}\" is there twice"));
                }
                if domain.eq_ignore_ascii_case(other_domain) {
                    return Err(format!("the domain \"{domain}\" is there twice"));
                }
            }
        }
        Ok(Self(pairs))
    }

    /// The domain that a realm is.
    pub fn domain(&self, realm: &str) -> Option<&str> {
        self.0.iter().find(|pair| pair.0 == realm).map(|pair| &*pair.1)
    }

    fn realm(&self, domain: &str) -> Option<&str> {
        self.0.iter().find(|pair| pair.1.eq_ignore_ascii_case(domain)).map(|pair| &*pair.0)
    }
}

/// Who somebody is, as the mechanism has it.
#[derive(Clone, Copy)]
pub enum Original<'a> {
    /// A principal of Kerberos: user and realm.
    Kerberos(&'a str, &'a str),
    /// An account: domain and user.
    Ntlm(&'a str, &'a str),
}

impl<'a> Original<'a> {
    /// Realm and user, where they are known and mean the same as what was proved.
    fn principal(self, map: &'a RealmMap) -> Option<(&'a str, &'a str)> {
        match self {
            Self::Kerberos(user, realm) => Some((user, realm)),
            Self::Ntlm(domain, user) if is_plain(user) => Some((user, map.realm(domain)?)),
            Self::Ntlm(..) => None,
        }
    }

    /// Whether a name, `DOMAIN\\user` or `user@REALM`, is theirs, as Windows compares names; realms
    /// are what they are.
    pub fn is_called(self, name: &str, map: &RealmMap) -> bool {
        let same = |a: &str, b: &str| names::same(a.encode_utf16(), b.encode_utf16());
        if let Some((domain, user)) = name.split_once('\\') {
            return match self {
                Self::Ntlm(own, is) => same(own, domain) && same(is, user),
                Self::Kerberos(is, realm) => {
                    map.domain(realm).is_some_and(|own| same(own, domain))
                        && is_plain(is)
                        && same(is, user)
                }
            };
        }
        let Some((user, realm)) = name.rsplit_once('@') else { return false };
        self.principal(map).is_some_and(|(is, own)| own == realm && same(is, user))
    }

    /// All of it, as principal if that is known.
    fn full(self, map: &'a RealmMap) -> String {
        match (self.principal(map), self) {
            (Some((user, realm)), _) => format!("{user}@{realm}"),
            (None, Self::Ntlm(domain, user)) => format!("{domain}\\{user}"),
            (None, Self::Kerberos(user, realm)) => format!("{user}@{realm}"),
        }
    }
}

/// A letter in lower case, unless another is its capital: two names stay two.
fn lower(letter: char) -> char {
    let (mut lower, mut upper) = (letter.to_lowercase(), letter.to_uppercase());
    match (lower.next(), lower.next(), upper.next(), upper.next()) {
        (Some(small), None, Some(capital), None)
            if capital == letter && small.to_uppercase().eq([letter]) =>
        {
            small
        }
        _ => letter,
    }
}

/// Whether a user's name has nothing that takes a principal or `DOMAIN\user` apart.
fn is_plain(user: &str) -> bool {
    !user.contains(['/', '@', '\\'])
}

/// What users are called.
#[derive(Debug, PartialEq, Eq)]
pub struct Naming {
    format: NameFormat,
    case: NameCase,
}

/// A name, or what it takes to find it.
#[derive(Debug, PartialEq, Eq)]
pub enum Name {
    /// The name.
    Known(Text),
    /// The local system has to be asked about this principal.
    Ask(String),
    /// There is none.
    Unknown,
}

impl Naming {
    /// From what is configured; `None` if that is not to change what mechanisms say, unless
    /// realms are mapped.
    pub fn new(format: Option<&NameFormat>, case: Option<NameCase>) -> Option<Arc<Self>> {
        let naming = Self {
            format: format.cloned().unwrap_or(NameFormat::Full),
            case: case.unwrap_or(NameCase::Keep),
        };
        (naming != Self::DEFAULT).then(|| Arc::new(naming))
    }

    const DEFAULT: Self = Self { format: NameFormat::Full, case: NameCase::Keep };

    /// The name of somebody; without a naming, the full one.
    pub fn name(naming: Option<&Self>, original: Original<'_>, map: &RealmMap) -> Name {
        let naming = naming.unwrap_or(&Self::DEFAULT);
        let name = match &naming.format {
            NameFormat::Full => original.full(map),
            NameFormat::Short(realms) => match original.principal(map) {
                Some((user, realm)) if is_plain(user) && realms.iter().any(|one| one == realm) => {
                    user.to_owned()
                }
                _ => original.full(map),
            },
            NameFormat::Domain => match original {
                // In the spelling of the map.
                Original::Ntlm(domain, user) => {
                    let known = map.realm(domain).and_then(|realm| map.domain(realm));
                    format!("{}\\{user}", known.unwrap_or(domain))
                }
                Original::Kerberos(user, realm) => match map.domain(realm) {
                    Some(domain) if is_plain(user) => format!("{domain}\\{user}"),
                    _ => original.full(map),
                },
            },
            NameFormat::Local => {
                let principal = original.principal(map);
                let ask = |(user, realm)| Name::Ask(format!("{user}@{realm}"));
                return principal.map_or(Name::Unknown, ask);
            }
        };
        Name::Known(naming.write(name))
    }

    /// A name in its case.
    pub fn write(&self, name: String) -> Text {
        match self.case {
            NameCase::Keep => name.into(),
            NameCase::Lower => name.chars().map(lower).collect::<String>().into(),
        }
    }
}

impl RealmMap {
    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(format: NameFormat, case: NameCase, original: Original<'_>) -> Name {
        let pair = |realm: &str, domain: &str| (realm.to_owned(), domain.to_owned());
        let map = RealmMap::new(vec![pair("DEMO.TEST", "DEMO"), pair("CORP.TEST", "Corp")]);
        let naming = Naming { format, case };
        Naming::name(Some(&naming), original, &map.unwrap())
    }

    fn known(name: &str) -> Name {
        Name::Known(name.to_owned().into())
    }

    #[test]
    fn one_user_has_one_name_whichever_mechanism_proved_it() {
        let short = || NameFormat::Short(vec!["DEMO.TEST".to_owned()]);
        for (format, wanted) in [
            (NameFormat::Full, known("alice@DEMO.TEST")),
            (short(), known("alice")),
            (NameFormat::Domain, known("DEMO\\alice")),
            (NameFormat::Local, Name::Ask("alice@DEMO.TEST".to_owned())),
        ] {
            for original in
                [Original::Kerberos("alice", "DEMO.TEST"), Original::Ntlm("DEMO", "alice")]
            {
                assert_eq!(name(format.clone(), NameCase::Keep, original), wanted, "{format:?}");
            }
        }
        let alice = Original::Kerberos("Alice", "DEMO.TEST");
        assert_eq!(name(NameFormat::Domain, NameCase::Lower, alice), known("demo\\alice"));
        let alice = Original::Ntlm("demo", "alice");
        assert_eq!(name(NameFormat::Domain, NameCase::Keep, alice), known("DEMO\\alice"));
    }

    #[test]
    fn somebody_is_called_by_the_names_of_both_mechanisms_where_they_are_mapped() {
        let map = RealmMap::new(vec![("DEMO.TEST".to_owned(), "DEMO".to_owned())]).unwrap();
        let (kerberos, ntlm) =
            (Original::Kerberos("alice", "DEMO.TEST"), Original::Ntlm("DEMO", "alice"));
        for name in ["DEMO\\alice", "demo\\ALICE", "alice@DEMO.TEST", "Alice@DEMO.TEST"] {
            assert!(kerberos.is_called(name, &map) && ntlm.is_called(name, &map), "{name}");
        }
        for name in
            ["alice", "DEMO\\bob", "OTHER\\alice", "alice@demo.test", "alice@DEMO", "\\alice"]
        {
            assert!(!kerberos.is_called(name, &map) && !ntlm.is_called(name, &map), "{name}");
        }
        let none = RealmMap::default();
        assert!(
            !kerberos.is_called("DEMO\\alice", &none) && !ntlm.is_called("alice@DEMO.TEST", &none)
        );
        let odd = Original::Kerberos("DEMO\\\\alice", "DEMO.TEST");
        assert!(!odd.is_called("DEMO\\alice", &map));
    }

    #[test]
    fn a_realm_that_is_not_listed_stays() {
        let short = |realms: &[&str]| {
            NameFormat::Short(realms.iter().map(|&realm| realm.to_owned()).collect())
        };
        for (realms, realm) in [
            (&["DEMO.TEST"][..], "DEMO.TEST.EVIL"),
            (&["DEMO.TEST"], "EVIL.DEMO.TEST"),
            (&["DEMO.TEST"], "DEMO.TES"),
            (&["DEMO.TEST"], "demo.test"),
            (&["CORP.TEST"], "DEMO.TEST"),
        ] {
            let original = Original::Kerberos("alice", realm);
            let full = known(&format!("alice@{realm}"));
            assert_eq!(name(short(realms), NameCase::Keep, original), full);
        }
        let stranger = Original::Kerberos("alice", "OTHER.TEST");
        assert_eq!(name(NameFormat::Domain, NameCase::Keep, stranger), known("alice@OTHER.TEST"));
        let stranger = Original::Ntlm("OTHER", "alice");
        for format in [NameFormat::Full, short(&["DEMO.TEST"]), NameFormat::Domain] {
            assert_eq!(name(format, NameCase::Keep, stranger), known("OTHER\\alice"));
        }
        assert_eq!(name(NameFormat::Local, NameCase::Keep, stranger), Name::Unknown);
    }

    #[test]
    fn a_user_that_would_read_as_another_keeps_its_realm_or_domain() {
        let short = || NameFormat::Short(vec!["DEMO.TEST".to_owned()]);
        for user in ["alice/admin", "alice\\@CORP.TEST", "CORP\\\\alice"] {
            let original = Original::Kerberos(user, "DEMO.TEST");
            let full = known(&format!("{user}@DEMO.TEST"));
            for format in [NameFormat::Full, short(), NameFormat::Domain] {
                assert_eq!(name(format, NameCase::Keep, original), full);
            }
        }
        let original = Original::Ntlm("DEMO", "alice@CORP.TEST");
        for format in [NameFormat::Full, short(), NameFormat::Domain] {
            assert_eq!(name(format, NameCase::Keep, original), known("DEMO\\alice@CORP.TEST"));
        }
    }

    #[test]
    fn lower_case_makes_no_two_names_one() {
        let lower = |name: &str| name.chars().map(super::lower).collect::<String>();
        assert_eq!(lower("ÄRGER\\Zoë@DEMO.TEST"), "ärger\\zoë@demo.test");
        // The signs of kelvin and angstrom, and letters that are two in the other case.
        for same in ["\u{212a}", "\u{212b}", "\u{130}", "ß", "ŉ", "\u{1c5}"] {
            assert_eq!(lower(same), same);
        }
    }

    #[test]
    fn a_map_is_one_to_one() {
        let map = |pairs: &[(&str, &str)]| {
            let pair = |&(a, b): &(&str, &str)| (a.to_owned(), b.to_owned());
            RealmMap::new(pairs.iter().map(pair).collect())
        };
        assert!(map(&[("A", "X"), ("B", "Y")]).is_ok());
        assert!(map(&[("A", "X"), ("A", "Y")]).is_err());
        assert!(map(&[("A", "X"), ("B", "x")]).is_err());
    }
}
