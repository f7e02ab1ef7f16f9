//! An accounts file: one line for each, found by domain and user.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use zeroize::Zeroizing;

use super::entry::Line;
use super::{Account, AccountName, Accounts, Entry, EntryError};
use crate::groups::{GroupName, Groups};
use crate::names;
use crate::secret::Secret;
use crate::text::Text;
use crate::watched::{self, Registry, Source, Stamp, Watched};

/// The largest file read.
const MAX_SIZE: u64 = 256 << 20;

/// Room is made beforehand for no more accounts than this.
const MOST_EXPECTED: usize = 1 << 17;

/// Every file that some configuration uses.
static FILES: Registry<AccountsPath> = Registry::new();

/// The accounts of one file.
pub type AccountsFile = Watched<AccountsPath>;

/// Where an accounts file is.
#[derive(PartialEq, Eq, Hash)]
pub struct AccountsPath(PathBuf);

/// Opens the accounts of a file: the same for every configuration that names the path. A file that
/// changed since it was read is read again here and now; the error says what is wrong, with the
/// file's name and, where one is to blame, its line.
pub fn open(path: &Path) -> Result<Arc<AccountsFile>, String> {
    FILES.open(AccountsPath(path.to_owned()))
}

impl Source for AccountsPath {
    type Value = Table;

    const NAME: &'static str = "the accounts";

    fn path(&self) -> &Path {
        &self.0
    }

    fn read(&self) -> Result<(Table, Stamp), String> {
        Table::read(&self.0)
    }

    fn extent(table: &Table) -> String {
        format!("{} accounts", table.accounts.len())
    }
}

impl AccountsFile {
    /// The account of a session as it is now, if who proved to be `account` still has proved that.
    pub(crate) fn renewed(&self, account: &Account) -> Option<Arc<Account>> {
        let table = self.value();
        let found = table
            .find(account.domain().as_str().encode_utf16(), account.user().as_str().encode_utf16());
        found.filter(|found| account.still_is(found)).cloned()
    }
}

impl AccountsFile {
    /// Whether some account is in a group of this name.
    pub(crate) fn has_group(&self, name: &GroupName) -> bool {
        let table = self.value();
        let names = table.group_names.get_or_init(|| {
            let each = table.groups.iter().filter_map(|groups| groups.names()).flatten();
            each.map(|name| GroupName::new(name.as_str())).collect()
        });
        names.contains(name)
    }

    /// The groups of an account, if there is such an account.
    pub(crate) fn groups(&self, domain: &str, user: &str) -> Option<Arc<Groups>> {
        let table = self.value();
        table.find(domain.encode_utf16(), user.encode_utf16()).map(|found| found.groups().clone())
    }
}

impl Accounts for Arc<AccountsFile> {
    fn find(&self, name: &AccountName<'_>) -> Option<Arc<Account>> {
        self.value().find(name.domain.iter().copied(), name.user.iter().copied()).cloned()
    }

    fn decoy(&self) -> &Secret<16> {
        decoy()
    }
}

/// One random hash per process. It is made with the first table, which is before servers fork.
fn decoy() -> &'static Secret<16> {
    static DECOY: OnceLock<Secret<16>> = OnceLock::new();
    DECOY.get_or_init(|| {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).expect("the system has random bytes at start");
        Secret::new(bytes)
    })
}

/// What a file said at one time, by folded domain and user.
#[derive(Default)]
pub struct Table {
    accounts: HashMap<Box<[u16]>, Arc<Account>>,
    /// Those that some account is in.
    groups: Vec<Arc<Groups>>,
    /// The names of these, once somebody asks.
    group_names: OnceLock<HashSet<GroupName>>,
}

/// What many accounts have in common, and share.
#[derive(Default)]
struct Shared<'a> {
    domains: HashMap<Cow<'a, str>, Text>,
    groups: HashMap<&'a str, Arc<Groups>>,
}

impl<'a> Shared<'a> {
    fn account(&mut self, line: Line<'a>) -> Result<Account, EntryError> {
        let Line { domain, user, nt_hash, groups } = line;
        let name = Text::concat(&[&domain, "\\", &user]);
        let domain = match self.domains.get(&domain) {
            Some(known) => known.clone(),
            None => {
                let text = Text::concat(&[&domain]).shared();
                self.domains.insert(domain, text.clone());
                text
            }
        };
        let groups = match self.groups.get(groups) {
            Some(known) => known.clone(),
            None => {
                let list = Entry::parse_groups(groups)?.into_iter().map(Text::from).collect();
                let list = Arc::new(Groups::named(list));
                self.groups.insert(groups, list.clone());
                list
            }
        };
        Ok(Account { name, domain, user: Text::concat(&[&user]), groups, nt_hash })
    }
}

impl Table {
    fn read(path: &Path) -> Result<(Self, Stamp), String> {
        let name = path.to_string_lossy();
        let name = names::Escaped(&name);
        let cannot = |error: std::io::Error| format!("{name}: {}", watched::unreadable(&error));
        let file = open_regular(path).map_err(cannot)?;
        let meta = file.metadata().map_err(cannot)?;
        watched::check_private(&meta, "its hashes are as good as passwords")
            .map_err(|error| format!("{name}: {error}"))?;
        if meta.len() > MAX_SIZE {
            return Err(format!("{name}: is larger than {} MiB", MAX_SIZE >> 20));
        }
        // Room for all and a little more, so that growing leaves no copy of a hash behind.
        let room = usize::try_from(meta.len()).unwrap_or(0) + 1;
        let mut bytes = Zeroizing::new(Vec::with_capacity(room));
        file.take(MAX_SIZE).read_to_end(&mut bytes).map_err(cannot)?;
        let table =
            Self::parse(&bytes).map_err(|(line, error)| format!("{name}:{line}: {error}"))?;
        decoy();
        Ok((table, Stamp::from(&meta)))
    }

    fn parse(bytes: &[u8]) -> Result<Self, (usize, String)> {
        let count = |bytes: &[u8]| bytes.iter().filter(|&&byte| byte == b'\n').count();
        let text = std::str::from_utf8(bytes)
            .map_err(|error| (count(&bytes[..error.valid_up_to()]) + 1, "is not UTF-8".into()))?;
        // Lines may be comments: room for very many is made when they turn out to be accounts.
        let mut accounts = HashMap::with_capacity((count(bytes) + 1).min(MOST_EXPECTED));
        let (mut shared, mut units) = (Shared::default(), Vec::new());
        for (at, line) in text.split('\n').enumerate() {
            let error = |error: String| (at + 1, error);
            let Some(line) = Line::parse(line).map_err(|wrong| error(wrong.to_string()))? else {
                continue;
            };
            units.clear();
            units.extend(key(line.domain.encode_utf16(), line.user.encode_utf16()));
            let account = shared.account(line).map_err(|wrong| error(wrong.to_string()))?;
            if let Some(first) = accounts.insert(units[..].into(), Arc::new(account)) {
                let name = names::Escaped(first.name().as_str());
                return Err(error(format!("\"{name}\" has a line above already")));
            }
        }
        let groups = shared.groups.into_values().collect();
        Ok(Self { accounts, groups, group_names: OnceLock::new() })
    }

    fn find(
        &self,
        domain: impl Iterator<Item = u16>,
        user: impl Iterator<Item = u16>,
    ) -> Option<&Arc<Account>> {
        let mut units = [0; 2 * names::MAX_UNITS + 1];
        let mut len = 0;
        for (slot, unit) in units.iter_mut().zip(key(domain, user)) {
            *slot = unit;
            len += 1;
        }
        self.accounts.get(&units[..len])
    }
}

/// The form under which a name is found. A backslash stands in neither part.
fn key(
    domain: impl Iterator<Item = u16>,
    user: impl Iterator<Item = u16>,
) -> impl Iterator<Item = u16> {
    names::fold(domain.chain([u16::from(b'\\')]).chain(user))
}

/// Does not wait for a writer where a FIFO stands in the file's place.
fn open_regular(path: &Path) -> std::io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    File::options().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path)
}
