//! Files that are read once per process and read again, as a job, when they have changed. What is
//! read from them is looked at without a lock; a file that cannot be read any more leaves the last
//! good reading in place.

use std::fs;
use std::hash::{Hash, Hasher};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use crate::job::{Jobs, Permit};
use crate::names::Escaped;
use crate::text::Text;

/// How often a change is looked for.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A file, and how it is read. Equal ones are read once for all.
pub trait Source: Eq + Hash {
    /// What is read from it.
    type Value;

    /// What the value is called, in a sentence about an earlier one: "the accounts".
    const NAME: &'static str;

    /// The file.
    fn path(&self) -> &Path;

    /// Reads it. The error says what is wrong, with the file's name.
    fn read(&self) -> Result<(Self::Value, Stamp), String>;

    /// How much there is: "3 accounts".
    fn extent(value: &Self::Value) -> String;

    /// What a new reading lacks for those who use it, in words behind the file's name.
    fn concern(&self, _: &Self::Value) -> Option<String> {
        None
    }
}

/// The value of a file, as it was when it was read last.
pub struct Watched<S: Source> {
    source: S,
    value: ArcSwap<S::Value>,
    /// Counts the readings, so that a session sees at a glance whether something may have changed.
    generation: AtomicU64,
    /// The file as it was when the value was read from it.
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

/// Everything of one kind that some configuration uses.
pub(crate) struct Registry<S: Source>(Mutex<Vec<Weak<Watched<S>>>>);

impl<S: Source> Registry<S> {
    pub(crate) const fn new() -> Self {
        Self(Mutex::new(Vec::new()))
    }

    /// Opens a file: the same for every configuration that names it. One that changed since it was
    /// read is read again here and now.
    pub(crate) fn open(&self, source: S) -> Result<Arc<Watched<S>>, String> {
        let mut all = self.0.lock();
        all.retain(|file| file.strong_count() > 0);
        let known = all.iter().filter_map(Weak::upgrade).find(|file| file.source == source);
        if let Some(file) = known {
            if Stamp::of(source.path()) != *file.read.lock() {
                let (value, stamp) = source.read()?;
                file.replace(value, stamp);
            }
            return Ok(file);
        }
        let (value, stamp) = source.read()?;
        let file = Arc::new(Watched {
            source,
            value: ArcSwap::from_pointee(value),
            generation: AtomicU64::new(0),
            read: Mutex::new(stamp),
            tried: Mutex::new(stamp),
            look_again: AtomicU64::new(0),
            opened: Instant::now(),
            readers: Jobs::default(),
            notice: Mutex::new(None),
        });
        all.push(Arc::downgrade(&file));
        Ok(file)
    }
}

/// The right, and the duty, to read a changed file again.
pub struct Reread<S: Source> {
    file: Arc<Watched<S>>,
    _permit: Permit,
}

impl<S: Source> Reread<S> {
    /// Reads the file and swaps the value, or keeps the last good one; either leaves a notice.
    pub(crate) fn run(&self) {
        self.file.reread();
    }
}

impl<S: Source> Watched<S> {
    /// The file, and how it is read.
    #[cfg(feature = "kerberos")]
    pub(crate) fn source(&self) -> &S {
        &self.source
    }

    /// What was read last.
    pub(crate) fn value(&self) -> arc_swap::Guard<Arc<S::Value>> {
        self.value.load()
    }

    /// The number of the reading in use.
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Looks, at most once a second, whether the file has changed. One caller gets the work, the
    /// others go on with what is at hand.
    pub(crate) fn reread_if_changed(self: &Arc<Self>) -> Option<Reread<S>> {
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
    pub(crate) fn take_notice(&self) -> Option<Notice> {
        // Almost always there is none, and no session shall wait to learn that.
        self.notice.try_lock()?.take()
    }

    fn has_changed(&self) -> bool {
        Stamp::of(self.source.path()) != *self.tried.lock()
    }

    fn reread(&self) {
        let path = self.source.path();
        // Taken before reading: what changes meanwhile is read once more.
        let before = Stamp::of(path);
        let (text, warns) = match self.source.read() {
            Ok((value, stamp)) => {
                let (extent, concern) = (S::extent(&value), self.source.concern(&value));
                self.replace(value, stamp);
                let name = path.to_string_lossy();
                let read = format!("{}: read again, {extent}", Escaped(&name));
                match concern {
                    None => (read, false),
                    Some(concern) => (format!("{read}; it {concern}"), true),
                }
            }
            Err(error) => {
                // Not to be tried again before the file changes once more.
                *self.tried.lock() = before;
                (format!("{error}; {} read before stay in use", S::NAME), true)
            }
        };
        *self.notice.lock() = Some(Notice { text: text.into(), warns });
    }

    fn replace(&self, value: S::Value, stamp: Stamp) {
        self.value.store(Arc::new(value));
        *self.read.lock() = stamp;
        *self.tried.lock() = stamp;
        *self.notice.lock() = None;
        self.generation.fetch_add(1, Ordering::Release);
    }
}

impl<S: Source> PartialEq for Watched<S> {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl<S: Source> Eq for Watched<S> {}

impl<S: Source> Hash for Watched<S> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.source.hash(state);
    }
}

/// The file as a path names it now; any change, also of owner or mode, makes another stamp.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
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

impl Stamp {
    /// What a path names now.
    fn of(path: &Path) -> Self {
        fs::metadata(path).map_or(Self::GONE, |meta| Self::from(&meta))
    }

    /// Of a path that names nothing, or nothing that can be seen.
    const GONE: Self = Self { device: 0, inode: 0, size: 0, modified: (0, 0), changed: (0, 0) };
}

/// That a file has what nobody else may see: a regular file, which others can neither read nor
/// change. `stake` says what they would have.
pub(crate) fn check_private(meta: &fs::Metadata, stake: &str) -> Result<(), String> {
    if !meta.is_file() {
        return Err("is not a regular file".to_owned());
    }
    match meta.mode() & 0o006 {
        0 => Ok(()),
        _ => Err(format!(
            "others can read or change it (mode {:04o}); {stake}: chmod o-rw",
            meta.mode() & 0o7777
        )),
    }
}

/// That a file is one which others can read, but not change. `stake` says what they could do.
pub(crate) fn check_unchangeable(meta: &fs::Metadata, stake: &str) -> Result<(), String> {
    if !meta.is_file() {
        return Err("is not a regular file".to_owned());
    }
    match meta.mode() & 0o002 {
        0 => Ok(()),
        _ => Err(format!(
            "others can change it (mode {:04o}); {stake}: chmod o-w",
            meta.mode() & 0o7777
        )),
    }
}

/// What the system says of a file that cannot be read, without the number that Rust adds for
/// programmers.
pub(crate) fn unreadable(error: &std::io::Error) -> String {
    let error = error.to_string();
    format!("cannot be read: {}", error.split(" (os error").next().unwrap_or_default())
}
