//! Accounts: who there is, and what proves that it is them.

mod backend;
mod entry;
mod file;
mod group_names;
#[cfg(feature = "slow-accounts")]
mod slow;
mod winbind;

use std::borrow::Cow;
use std::sync::Arc;

pub use backend::Backend;
pub(crate) use backend::{Busy, Needed};
pub use entry::{Entry, EntryError};
pub use file::{AccountsFile, open};
pub use group_names::{GroupNames, GroupNamesFile, open as open_group_names};
pub(crate) use group_names::{Remembered, Spelled, Wanted};
#[cfg(feature = "slow-accounts")]
pub use slow::SlowFile;
pub use winbind::Winbind;
pub(crate) use winbind::{Besides, Reply};

use crate::groups::Groups;
use crate::names::Name;
use crate::ntlm::ServerNames;
use crate::secret::Secret;
use crate::text::Text;

/// Knows accounts by their NT hashes.
pub trait Accounts {
    /// The account of that name.
    fn find(&self, name: &AccountName<'_>) -> Option<Arc<Account>>;

    /// A hash that no password has, for names without an account.
    fn decoy(&self) -> &Secret<16>;
}

/// One account, in the spelling of its database.
pub struct Account {
    name: Text,
    domain: Text,
    user: Text,
    groups: Arc<Groups>,
    nt_hash: Option<Secret<16>>,
}

impl Account {
    /// One that a domain controller knows.
    pub(crate) fn of_domain(domain: &str, user: &str, groups: Arc<Groups>) -> Self {
        Self {
            name: Text::concat(&[domain, "\\", user]),
            domain: domain.to_owned().into(),
            user: user.to_owned().into(),
            groups,
            nt_hash: None,
        }
    }

    /// `DOMAIN\user`.
    pub fn name(&self) -> &Text {
        &self.name
    }

    /// The domain.
    pub fn domain(&self) -> &Text {
        &self.domain
    }

    /// The user.
    pub fn user(&self) -> &Text {
        &self.user
    }

    /// The groups.
    pub fn groups(&self) -> &Arc<Groups> {
        &self.groups
    }

    /// Whether nobody can sign in to it with a hash.
    pub fn is_disabled(&self) -> bool {
        self.nt_hash.is_none()
    }

    pub(crate) fn nt_hash(&self) -> Option<&Secret<16>> {
        self.nt_hash.as_ref()
    }

    /// Whether two say the same of an account of a domain.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        (&self.name, &self.groups) == (&other.name, &other.groups)
    }

    /// Whether a sign-in to `self` still stands with what `other`, a later reading, says.
    pub(crate) fn still_is(&self, other: &Self) -> bool {
        self.name == other.name && self.nt_hash.is_some() && self.nt_hash == other.nt_hash
    }
}

impl From<Entry> for Account {
    fn from(entry: Entry) -> Self {
        Self {
            name: Text::concat(&[&entry.domain, "\\", &entry.user]),
            domain: entry.domain.into(),
            user: entry.user.into(),
            groups: Arc::new(Groups::named(entry.groups.into_iter().map(Text::from).collect())),
            nt_hash: entry.nt_hash,
        }
    }
}

/// The name under which an account is looked up.
pub struct AccountName<'a> {
    /// The domain, an own name of the server replaced by the default domain's.
    pub domain: Cow<'a, [u16]>,
    /// The user.
    pub user: &'a [u16],
}

impl<'a> AccountName<'a> {
    /// Works out which account a client means. With an empty domain `user@suffix` names the domain
    /// `suffix`, and `DOMAIN\user` whole in the user is taken apart at its one backslash; otherwise
    /// neither character is special to us, and a backslash is refused: `DOMAIN\user` has to name
    /// one account only. The proof is over the names as sent and not touched by this.
    pub fn resolve(domain: &'a Name, user: &'a Name, names: &ServerNames) -> Option<Self> {
        const BACKSLASH: u16 = b'\\' as u16;
        const AT: u16 = b'@' as u16;
        let (domain, user) = (domain.units(), user.units());
        let at = |mark: u16| user.iter().rposition(|&unit| unit == mark);
        let (domain, user) = match (domain, at(BACKSLASH), at(AT)) {
            ([], Some(mark), _) => (&user[..mark], &user[mark + 1..]),
            ([], None, Some(mark)) => (&user[mark + 1..], &user[..mark]),
            _ => (domain, user),
        };
        if user.is_empty() || domain.iter().chain(user).any(|&unit| unit == BACKSLASH) {
            return None;
        }
        let domain = match names.is_default(domain) {
            true => names.default_domain().encode_utf16().collect(),
            false => Cow::Borrowed(domain),
        };
        Some(Self { domain, user })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(domain: &str, user: &str) -> Option<(String, String)> {
        let names = ServerNames {
            nb_computer: "WEB1".into(),
            nb_domain: "DEMO".into(),
            dns_computer: "web1.demo.test".into(),
            dns_domain: "demo.test".into(),
            dns_tree: "demo.test".into(),
        };
        let (domain, user) = (Name::from_text(domain).unwrap(), Name::from_text(user).unwrap());
        AccountName::resolve(&domain, &user, &names).map(|name| {
            let text = |units: &[u16]| String::from_utf16(units).unwrap();
            (text(&name.domain), text(name.user))
        })
    }

    #[test]
    fn the_names_of_the_server_mean_the_default_domain() {
        let alice = Some(("DEMO".to_owned(), "alice".to_owned()));
        for (domain, user) in [
            ("", "alice"),
            ("DEMO", "alice"),
            ("demo", "alice"),
            ("Demo.Test", "alice"),
            ("", "alice@demo.test"),
            ("", "alice@DEMO"),
            ("", "DEMO\\alice"),
            ("", "demo.test\\alice"),
        ] {
            assert_eq!(resolve(domain, user), alice, "{domain} {user}");
        }
    }

    #[test]
    fn other_domains_stay_what_they_are() {
        for (domain, user) in [("OTHER", "alice"), ("", "OTHER\\alice"), ("", "alice@OTHER")] {
            assert_eq!(resolve(domain, user), Some(("OTHER".into(), "alice".into())));
        }
        assert_eq!(resolve("DEMO", "alice@x"), Some(("DEMO".into(), "alice@x".into())));
    }

    #[test]
    fn a_backslash_that_could_name_two_accounts_is_refused() {
        for (domain, user) in [
            ("DEMO", "A\\alice"),
            ("A\\B", "alice"),
            ("", "A\\B\\alice"),
            ("", "DEMO\\"),
            ("", "@x"),
        ] {
            assert_eq!(resolve(domain, user), None, "{domain} {user}");
        }
    }
}
