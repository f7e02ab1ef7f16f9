//! An accounts file on disk: read whole, replaced whole, one writer at a time.

use std::collections::HashMap;
use std::fmt;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::ops::Range;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use negotiate_auth::accounts::Entry;
use negotiate_auth::names;
use tempfile::NamedTempFile;
use zeroize::Zeroizing;

use crate::{Failure, Result, complain, report, sys};

/// The mode of a new file: the server's group may read it, others may not.
const NEW_MODE: u32 = 0o640;

/// What to do with an account's line.
pub(crate) enum Change {
    Put(Entry),
    Remove,
}

/// Where an accounts file is, or will be.
pub(crate) struct Store {
    /// As the user wrote it.
    shown: PathBuf,
    /// Behind all symbolic links.
    target: PathBuf,
    folder: PathBuf,
}

impl Store {
    /// Follows symbolic links, so that the file is replaced and not the link.
    pub(crate) fn locate(path: &Path) -> Result<Self> {
        let at = |what: String| Failure::at(path, what);
        let target = match path.canonicalize() {
            Ok(target) => target,
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(at(error.to_string()));
            }
            Err(_) if path.is_symlink() => {
                return Err(at("this symbolic link leads nowhere".to_owned()));
            }
            Err(_) => {
                let name =
                    path.file_name().ok_or_else(|| at("not the name of a file".to_owned()))?;
                let folder = match path.parent() {
                    Some(folder) if !folder.as_os_str().is_empty() => folder,
                    _ => Path::new("."),
                };
                let folder =
                    folder.canonicalize().map_err(|error| at(format!("its folder: {error}")))?;
                folder.join(name)
            }
        };
        let folder = target.parent().ok_or_else(|| at("not a regular file".to_owned()))?;
        Ok(Self { shown: path.to_owned(), folder: folder.to_owned(), target })
    }

    /// Something wrong with the file.
    pub(crate) fn failure(&self, what: impl fmt::Display) -> Failure {
        Failure::at(&self.shown, what)
    }

    /// The entry of an account. A file with a bad line has none to give.
    pub(crate) fn find(&self, account: &Entry) -> Result<Option<Entry>> {
        match self.open()? {
            Some(mut file) => {
                let text = self.read(&mut file)?;
                Ok(self.scan(&text, account)?.map(|found| found.entry))
            }
            None => Ok(None),
        }
    }

    /// Changes the line of an account to what `change` makes of its entry, and reports.
    pub(crate) fn edit(
        &self,
        account: &Entry,
        change: impl Fn(Option<&Entry>) -> Result<(Change, String)>,
    ) -> Result<()> {
        loop {
            let outcome = match self.open_locked()? {
                Some(mut file) => {
                    let text = self.read(&mut file)?;
                    let found = self.scan(&text, account)?;
                    let (change, done) = change(found.as_ref().map(|found| &found.entry))?;
                    self.replace(&file, &rewrite(&text, found.as_ref(), &change))?;
                    Some(done)
                }
                None => {
                    let (change, done) = change(None)?;
                    let made = self.create(&rewrite(b"", None, &change))?;
                    made.then_some(done)
                }
            };
            if let Some(done) = outcome {
                report(&done);
                return Ok(());
            }
        }
    }

    /// Opens the file; `None` if there is none.
    fn open(&self) -> Result<Option<File>> {
        // Opening a pipe must not wait for its other end.
        let opened =
            OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(&self.target);
        match opened {
            Ok(file) if self.metadata(&file)?.is_file() => Ok(Some(file)),
            Ok(_) => Err(self.failure("not a regular file")),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.failure(error)),
        }
    }

    /// Opens the file and locks it. A writer before us may have replaced it while we waited: then
    /// the lock is on a file that has no name any more.
    fn open_locked(&self) -> Result<Option<File>> {
        while let Some(file) = self.open()? {
            let busy = || complain(&format!("{}: waiting for its lock", self.shown.display()));
            sys::lock(&file, busy).map_err(|error| self.failure(format!("its lock: {error}")))?;
            let locked = self.metadata(&file)?;
            match fs::metadata(&self.target) {
                Ok(named) if (named.dev(), named.ino()) == (locked.dev(), locked.ino()) => {
                    return Ok(Some(file));
                }
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(self.failure(error));
                }
                _ => {}
            }
        }
        Ok(None)
    }

    fn metadata(&self, file: &File) -> Result<fs::Metadata> {
        file.metadata().map_err(|error| self.failure(error))
    }

    fn read(&self, file: &mut File) -> Result<Zeroizing<Vec<u8>>> {
        let length = usize::try_from(self.metadata(file)?.len()).unwrap_or(usize::MAX);
        let mut text = Zeroizing::new(Vec::new());
        // All at once, so that no half of it is left behind where the text grew.
        text.try_reserve_exact(length.saturating_add(1)).map_err(|error| self.failure(error))?;
        file.read_to_end(&mut text).map_err(|error| self.failure(error))?;
        Ok(text)
    }

    /// Checks every line, as a server does that reads the file, and finds the account's.
    fn scan(&self, text: &[u8], account: &Entry) -> Result<Option<Found>> {
        let wanted = key(account);
        let mut found = None;
        let mut lines = HashMap::new();
        let mut start = 0;
        for (index, line) in text.split_inclusive(|&byte| byte == b'\n').enumerate() {
            let number = index + 1;
            let refuse =
                |what: String| Failure::new(format!("{}:{number}: {what}", self.shown.display()));
            let range = start..start + line.len();
            start = range.end;
            let line = line.strip_suffix(b"\n").unwrap_or(line);
            let line = std::str::from_utf8(line).map_err(|_| refuse("is not UTF-8".to_owned()))?;
            let Some(entry) = Entry::parse(line).map_err(|error| refuse(error.to_string()))? else {
                continue;
            };
            let key = key(&entry);
            let is_wanted = key == wanted;
            if let Some(first) = lines.insert(key, number) {
                let Entry { domain, user, .. } = entry;
                return Err(refuse(format!(
                    r#""{domain}\{user}" is already there in line {first}"#
                )));
            }
            if is_wanted {
                found = Some(Found { range, entry });
            }
        }
        Ok(found)
    }

    /// Puts `text` in the place of `old`: everybody who opens the file finds the whole old text or
    /// the whole new one, with the same access as before.
    fn replace(&self, old: &File, text: &[u8]) -> Result<()> {
        let was = self.metadata(old)?;
        if was.nlink() > 1 {
            return Err(self.failure(format!(
                "it has {} names (hard links), and replacing it would change only one of them",
                was.nlink()
            )));
        }
        let new = self.temporary(text)?;
        let is = self.metadata(new.as_file())?;
        if (is.uid(), is.gid()) != (was.uid(), was.gid()) {
            fchown(new.as_file(), Some(was.uid()), Some(was.gid())).map_err(|error| {
                self.failure(format!(
                    "its owner and group, {}:{}, cannot be kept ({error}); run this as root or as \
                     its owner",
                    was.uid(),
                    was.gid()
                ))
            })?;
        }
        sys::copy_access(old, new.as_file())
            .map_err(|(name, error)| self.failure(format!("its {name} cannot be kept: {error}")))?;
        self.set_mode(&new, was.mode() & 0o7777)?;
        new.persist(&self.target).map_err(|error| self.failure(error.error))?;
        if was.mode() & 0o006 != 0 {
            complain(&format!(
                "{}: others can read or change it, so servers refuse it: chmod o-rw",
                self.shown.display()
            ));
        }
        self.sync_folder()
    }

    /// Makes the file; false if somebody else made it first.
    fn create(&self, text: &[u8]) -> Result<bool> {
        let new = self.temporary(text)?;
        self.set_mode(&new, NEW_MODE)?;
        match new.persist_noclobber(&self.target) {
            Ok(_) => {}
            Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => return Ok(false),
            Err(error) => return Err(self.failure(error.error)),
        }
        report(&format!("{}: new file, mode 0640", self.shown.display()));
        self.sync_folder()?;
        Ok(true)
    }

    /// A file with `text` beside the target, for us alone. It is gone if it does not take the
    /// target's place.
    fn temporary(&self, text: &[u8]) -> Result<NamedTempFile> {
        let beside = |error| self.failure(format!("its new text cannot be written: {error}"));
        let mut new = tempfile::Builder::new()
            .prefix(".negotiate-auth-")
            .tempfile_in(&self.folder)
            .map_err(beside)?;
        new.write_all(text).map_err(beside)?;
        Ok(new)
    }

    /// Sets the mode, whatever the umask is, and waits until all is on disk.
    fn set_mode(&self, new: &NamedTempFile, mode: u32) -> Result<()> {
        new.as_file()
            .set_permissions(Permissions::from_mode(mode))
            .and_then(|()| new.as_file().sync_all())
            .map_err(|error| self.failure(format!("its mode {mode:04o} cannot be set: {error}")))
    }

    fn sync_folder(&self) -> Result<()> {
        File::open(&self.folder)
            .and_then(|folder| folder.sync_all())
            .map_err(|error| self.failure(format!("written, but perhaps not yet on disk: {error}")))
    }
}

/// The line of an account.
struct Found {
    /// Where it is, its newline included.
    range: Range<usize>,
    entry: Entry,
}

/// What is equal for two spellings of one account.
fn key(entry: &Entry) -> Vec<u16> {
    let text = entry.domain.encode_utf16();
    let text = text.chain([u16::from(b'\\')]).chain(entry.user.encode_utf16());
    names::fold(text).collect()
}

/// The text with one line changed, removed or added, and every other byte as it was.
fn rewrite(text: &[u8], found: Option<&Found>, change: &Change) -> Zeroizing<Vec<u8>> {
    let end = text.len()..text.len();
    let range = found.map_or(end, |found| found.range.clone());
    let (before, old, after) = (&text[..range.start], &text[range.clone()], &text[range.end..]);
    let line = match change {
        Change::Put(entry) => entry.to_line(),
        Change::Remove => Zeroizing::default(),
    };
    let (join, newline) = match change {
        Change::Remove => ("", ""),
        Change::Put(_) if found.is_some() => ("", ending(old)),
        Change::Put(_) => (missing_newline(before), style(before)),
    };
    let length = before.len() + join.len() + line.len() + newline.len() + after.len();
    let mut new = Zeroizing::new(Vec::with_capacity(length));
    for part in [before, join.as_bytes(), line.as_bytes(), newline.as_bytes(), after] {
        new.extend_from_slice(part);
    }
    new
}

/// How a line ends.
fn ending(line: &[u8]) -> &'static str {
    match line {
        [.., b'\r', b'\n'] => "\r\n",
        [.., b'\n'] => "\n",
        [.., b'\r'] => "\r",
        _ => "",
    }
}

/// How a line that is added to `text` shall end: as the first one does.
fn style(text: &[u8]) -> &'static str {
    let first = text.split_inclusive(|&byte| byte == b'\n').next();
    match first.map(ending) {
        Some("\r\n") => "\r\n",
        _ => "\n",
    }
}

/// What the last line of `text` needs before another one can follow.
fn missing_newline(text: &[u8]) -> &'static str {
    match text.last() {
        None | Some(b'\n') => "",
        Some(b'\r') => "\n",
        Some(_) => style(text),
    }
}
