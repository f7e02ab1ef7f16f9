//! An accounts file: read once per process and path, looked up without a lock, read again as a job
//! when it has changed. A file that cannot be read any more leaves the last good table in place.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fs::{self, File};
use std::hash::{Hash, Hasher};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use zeroize::Zeroizing;

use super::entry::Line;
use super::{Account, AccountName, Accounts, Entry, EntryError};
use crate::job::{Jobs, Permit};
use crate::names;
use crate::secret::Secret;
use crate::text::Text;

/// The largest file read.
const MAX_SIZE: u64 = 256 << 20;

/// Room is made beforehand for no more accounts than this.
const MOST_EXPECTED: usize = 1 << 17;

/// How often a change is looked for.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Every file that some configuration uses.
static FILES: Mutex<Vec<Weak<AccountsFile>>> = Mutex::new(Vec::new());

/// The accounts of one file.
pub struct AccountsFile {
    path: PathBuf,
    table: ArcSwap<Table>,
    /// Counts the tables, so that a session sees at a glance whether its account may have changed.
    generation: AtomicU64,
    /// The file as it was when the table was read from it.
    read: Mutex<Stamp>,
    /// The file as it was when reading it was last tried.
    tried: Mutex<Stamp>,
    /// When the file is to be looked at next, in milliseconds since `opened`.
    look_again: AtomicU64,
    opened: Instant,
    /// Who reads it again right now: one at a time.
    readers: Jobs,
    /// What an administrator has to be told and has not been yet.
    notice: Mutex<Option<Notice>>,
}

/// What an administrator has to be told.
#[derive(Clone, Debug, Default)]
pub struct Notice {
    /// In one sentence, which begins with the file's name; "" is nothing.
    pub text: Text,
    /// Whether there is something to be done about it.
    pub warns: bool,
}

/// The right, and the duty, to read a changed file again.
pub(super) struct Reread {
    file: Arc<AccountsFile>,
    _permit: Permit,
}

impl Reread {
    /// Reads the file and swaps the table, or keeps the last good one; either leaves a notice.
    pub(super) fn run(&self) {
        self.file.reread();
    }
}

/// The file as a path names it now; any change, also of owner or mode, makes another stamp.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl From<&fs::Metadata> for Stamp {
    fn from(meta: &fs::Metadata) -> Self {
        Self {
            device: meta.dev(),
            inode: meta.ino(),
            size: meta.size(),
            modified: (meta.mtime(), meta.mtime_nsec()),
            changed: (meta.ctime(), meta.ctime_nsec()),
        }
    }
}

/// Opens the accounts of a file: the same for every configuration that names the path. A file that
/// changed since it was read is read again here and now; the error says what is wrong, with the
/// file's name and, where one is to blame, its line.
pub fn open(path: &Path) -> Result<Arc<AccountsFile>, String> {
    let mut files = FILES.lock();
    files.retain(|file| file.strong_count() > 0);
    let known = files.iter().filter_map(Weak::upgrade).find(|file| file.path == path);
    if let Some(file) = known {
        if Stamp::of(path) != *file.read.lock() {
            let (table, stamp) = Table::read(path)?;
            file.replace(table, stamp);
        }
        return Ok(file);
    }
    let (table, stamp) = Table::read(path)?;
    let file = Arc::new(AccountsFile {
        path: path.to_owned(),
        table: ArcSwap::from_pointee(table),
        generation: AtomicU64::new(0),
        read: Mutex::new(stamp),
        tried: Mutex::new(stamp),
        look_again: AtomicU64::new(0),
        opened: Instant::now(),
        readers: Jobs::default(),
        notice: Mutex::new(None),
    });
    files.push(Arc::downgrade(&file));
    Ok(file)
}

impl AccountsFile {
    /// The number of the table in use.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// The account of a session as it is now, if who proved to be `account` still has proved that.
    pub(crate) fn renewed(&self, account: &Account) -> Option<Arc<Account>> {
        let table = self.table.load();
        let found = table
            .find(account.domain().as_str().encode_utf16(), account.user().as_str().encode_utf16());
        found.filter(|found| account.still_is(found)).cloned()
    }

    /// Looks, at most once a second, whether the file has changed. One caller gets the work, the
    /// others go on with the table at hand.
    pub(super) fn reread_if_changed(self: &Arc<Self>) -> Option<Reread> {
        let now = u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX);
        let due = self.look_again.load(Ordering::Relaxed);
        let next = now.saturating_add(LOOK_EVERY.as_millis() as u64);
        let ours = now >= due
            && self
                .look_again
                .compare_exchange(due, next, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok();
        if !ours || !self.has_changed() {
            return None;
        }
        let permit = self.readers.permit(1)?;
        Some(Reread { file: self.clone(), _permit: permit })
    }

    /// Takes what an administrator has to be told.
    pub fn take_notice(&self) -> Option<Notice> {
        // Almost always there is none, and no session shall wait to learn that.
        self.notice.try_lock()?.take()
    }

    fn has_changed(&self) -> bool {
        Stamp::of(&self.path) != *self.tried.lock()
    }

    fn reread(&self) {
        // Taken before reading: what changes meanwhile is read once more.
        let before = Stamp::of(&self.path);
        let (text, warns) = match Table::read(&self.path) {
            Ok((table, stamp)) => {
                let count = table.accounts.len();
                self.replace(table, stamp);
                (format!("{}: read again, {count} accounts", names::Escaped(&self.name())), false)
            }
            Err(error) => {
                // Not to be tried again before the file changes once more.
                *self.tried.lock() = before;
                (format!("{error}; the accounts read before stay in use"), true)
            }
        };
        *self.notice.lock() = Some(Notice { text: text.into(), warns });
    }

    fn replace(&self, table: Table, stamp: Stamp) {
        self.table.store(Arc::new(table));
        *self.read.lock() = stamp;
        *self.tried.lock() = stamp;
        *self.notice.lock() = None;
        self.generation.fetch_add(1, Ordering::Release);
    }

    fn name(&self) -> String {
        self.path.to_string_lossy().into_owned()
    }
}

impl Stamp {
    /// What a path names now.
    fn of(path: &Path) -> Self {
        fs::metadata(path).map_or(Self::GONE, |meta| Self::from(&meta))
    }

    /// Of a path that names nothing, or nothing that can be seen.
    const GONE: Self = Self { device: 0, inode: 0, size: 0, modified: (0, 0), changed: (0, 0) };
}

impl Accounts for Arc<AccountsFile> {
    fn find(&self, name: &AccountName<'_>) -> Option<Arc<Account>> {
        self.table.load().find(name.domain.iter().copied(), name.user.iter().copied()).cloned()
    }

    fn decoy(&self) -> &Secret<16> {
        decoy()
    }
}

/// One random hash per process. It is made with the first table, which is before servers fork.
fn decoy() -> &'static Secret<16> {
    static DECOY: std::sync::OnceLock<Secret<16>> = std::sync::OnceLock::new();
    DECOY.get_or_init(|| {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).expect("the system has random bytes at start");
        Secret::new(bytes)
    })
}

impl PartialEq for AccountsFile {
    fn eq(&self, other: &Self) -> bool {
        self.path == other.path
    }
}

impl Eq for AccountsFile {}

impl Hash for AccountsFile {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.path.hash(state);
    }
}

/// What a file said at one time, by folded domain and user.
#[derive(Default)]
struct Table {
    accounts: HashMap<Box<[u16]>, Arc<Account>>,
}

/// What many accounts have in common, and share.
#[derive(Default)]
struct Shared<'a> {
    domains: HashMap<Cow<'a, str>, Text>,
    groups: HashMap<&'a str, Arc<[Text]>>,
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
                let list: Arc<[Text]> =
                    Entry::parse_groups(groups)?.into_iter().map(Text::from).collect();
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
        let cannot = |error: std::io::Error| {
            // Without the number that Rust adds for programmers.
            let error = error.to_string();
            let error = error.split(" (os error").next().unwrap_or_default();
            format!("{name}: cannot be read: {error}")
        };
        let file = open_regular(path).map_err(cannot)?;
        let meta = file.metadata().map_err(cannot)?;
        if !meta.is_file() {
            return Err(format!("{name}: is not a regular file"));
        }
        if meta.mode() & 0o006 != 0 {
            return Err(format!(
                "{name}: others can read or change it (mode {:04o}); its hashes are as good as \
                 passwords: chmod o-rw",
                meta.mode() & 0o7777
            ));
        }
        if meta.size() > MAX_SIZE {
            return Err(format!("{name}: is larger than {} MiB", MAX_SIZE >> 20));
        }
        // Room for all and a little more, so that growing leaves no copy of a hash behind.
        let room = usize::try_from(meta.size()).unwrap_or(0) + 1;
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
        Ok(Self { accounts })
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
