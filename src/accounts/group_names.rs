//! Who knows which group has which security identifier: winbindd, or a file.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::{Busy, Winbind};
use crate::groups::{GroupName, Origin};
use crate::job::{Audience, Job};
use crate::names;
use crate::sid::{Sid, SidSet};
use crate::text::Text;
use crate::watched::{self, Notice, Registry, Source, Stamp, Watched};

/// The largest file read.
const MAX_SIZE: u64 = 64 << 20;

/// Where the names of groups are known. Equal ones are the same place.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum GroupNames {
    /// In the domain of this computer, through winbindd.
    Winbind(Arc<Winbind>),
    /// In a file.
    File(Arc<GroupNamesFile>),
}

/// What is remembered of a group.
pub(crate) struct Remembered<T> {
    /// What was found; `None` if there is nothing.
    pub(crate) found: Option<T>,
    /// Whether that was long ago.
    pub(crate) due: bool,
}

/// What groups are called.
pub(crate) struct Spelled {
    /// The names that are remembered; not every group has one.
    pub(crate) names: Vec<Text>,
    /// The groups that are to be looked up, be it once more.
    pub(crate) due: Vec<Sid>,
    /// Whether nobody has been asked about some of these yet.
    pub(crate) lacks: bool,
    /// Who told it, and for how long it is so.
    pub(crate) by: Origin,
}

/// What is to be found out.
#[derive(Default)]
pub(crate) struct Wanted {
    /// The identifiers of these.
    pub(crate) names: Vec<GroupName>,
    /// The names of these.
    pub(crate) sids: Vec<Sid>,
}

impl Wanted {
    /// Whether there is nothing.
    pub(crate) fn is_empty(&self) -> bool {
        self.names.is_empty() && self.sids.is_empty()
    }
}

impl GroupNames {
    /// The group that has this name; `None` if nobody has been asked for it yet.
    pub(crate) fn sid(&self, name: &GroupName) -> Option<Remembered<Sid>> {
        match self {
            Self::Winbind(winbind) => winbind.group_names().sid(name),
            Self::File(file) => {
                Some(Remembered { found: file.value().sids.get(name).copied(), due: false })
            }
        }
    }

    /// The names of groups, as far as they are known.
    pub(crate) fn spell(&self, groups: &SidSet) -> Spelled {
        match self {
            Self::Winbind(winbind) => winbind.spell(groups),
            Self::File(file) => {
                let table = file.value();
                let names = groups.iter().filter_map(|sid| table.names.get(&sid).cloned());
                let by = Origin::new(&table, None);
                Spelled { names: names.collect(), due: Vec::new(), lacks: false, by }
            }
        }
    }

    /// What would tell them now.
    pub(crate) fn origin(&self) -> Origin {
        match self {
            Self::Winbind(winbind) => Origin::new(winbind, None),
            Self::File(file) => Origin::new(&file.value(), None),
        }
    }

    /// What has to be done before they are asked: a file that has changed is read again.
    pub(crate) fn before_use(&self) -> Option<Job> {
        let Self::File(file) = self else { return None };
        let reread = file.reread_if_changed()?;
        Some(Job::new(Audience::All, Box::new(move || reread.run())))
    }

    /// Finds out what is wanted; there is nothing to be found out about a file.
    pub(crate) fn look_up(
        &self,
        wanted: Wanted,
        max_jobs: usize,
        timeout: Duration,
    ) -> Result<Option<Job>, Busy> {
        match self {
            Self::Winbind(winbind) => winbind.look_up(wanted, max_jobs, timeout).map(Some),
            Self::File(_) => Ok(None),
        }
    }

    /// Finds out which groups have these names, while a configuration is read: whoever answers
    /// slowly does not keep a server from starting.
    pub(crate) fn find_at_start(&self, names: Vec<GroupName>) {
        if let Self::Winbind(winbind) = self {
            winbind.find_at_start(names);
        }
    }

    /// Somebody who might have waited for `timeout` has given up.
    pub(crate) fn gave_up(&self, waited: Duration, timeout: Duration) {
        if let Self::Winbind(winbind) = self {
            winbind.gave_up(waited, timeout);
        }
    }

    /// Takes what an administrator has to be told.
    pub(crate) fn take_notice(&self) -> Option<Notice> {
        match self {
            Self::Winbind(winbind) => winbind.take_notice(),
            Self::File(file) => file.take_notice(),
        }
    }
}

/// Every file that some configuration uses.
static FILES: Registry<GroupNamesPath> = Registry::new();

/// The names of one file.
pub type GroupNamesFile = Watched<GroupNamesPath>;

/// Where a file of names is.
#[derive(PartialEq, Eq, Hash)]
pub struct GroupNamesPath(PathBuf);

/// Opens a file of names: the same for every configuration that names the path. The error says what
/// is wrong, with the file's name and line.
pub fn open(path: &Path) -> Result<Arc<GroupNamesFile>, String> {
    FILES.open(GroupNamesPath(path.to_owned()))
}

/// What a file said at one time.
#[derive(Debug, Default)]
pub struct Table {
    sids: HashMap<GroupName, Sid>,
    names: HashMap<Sid, Text>,
}

impl Source for GroupNamesPath {
    type Value = Table;

    const NAME: &'static str = "the names of groups";

    fn path(&self) -> &Path {
        &self.0
    }

    fn read(&self) -> Result<(Table, Stamp), String> {
        let name = self.0.to_string_lossy();
        let name = names::Escaped(&name);
        let cannot = |error: std::io::Error| format!("{name}: {}", watched::unreadable(&error));
        let meta = std::fs::metadata(&self.0).map_err(cannot)?;
        watched::check_unchangeable(&meta, "whoever changes it chooses who is in a group")
            .map_err(|error| format!("{name}: {error}"))?;
        if meta.len() > MAX_SIZE {
            return Err(format!("{name}: is larger than {} MiB", MAX_SIZE >> 20));
        }
        let text = std::fs::read(&self.0).map_err(cannot)?;
        let text = String::from_utf8(text).map_err(|_| format!("{name}: is not UTF-8"))?;
        let table = Table::parse(&text).map_err(|(line, error)| format!("{name}:{line}: {error}"));
        Ok((table?, Stamp::from(&meta)))
    }

    fn extent(table: &Table) -> String {
        format!("{} groups", table.names.len())
    }
}

impl Table {
    /// From lines of a SID and a name; blank ones, and those that begin with `#`, say nothing.
    fn parse(text: &str) -> Result<Self, (usize, String)> {
        let mut table = Self::default();
        for (at, line) in text.split('\n').enumerate() {
            let line = line.strip_suffix('\r').unwrap_or(line).trim_matches([' ', '\t']);
            if !line.is_empty() && !line.starts_with('#') {
                table.add(line).map_err(|error| (at + 1, error))?;
            }
        }
        Ok(table)
    }

    fn add(&mut self, line: &str) -> Result<(), String> {
        let (sid, name) = line.split_once([' ', '\t']).ok_or("is not a SID and a name")?;
        let name = name.trim_start_matches([' ', '\t']);
        let sid = Sid::parse(sid).ok_or("does not begin with a SID, such as S-1-5-32-544")?;
        if !names::is_acceptable(name) || name.encode_utf16().count() > names::MAX_UNITS {
            return Err("the name is too long, or has characters that names must not have".into());
        }
        match self.names.entry(sid) {
            Entry::Occupied(_) => return Err(format!("{sid} has a line above already")),
            Entry::Vacant(place) => place.insert(Text::concat(&[name]).shared()),
        };
        match self.sids.insert(GroupName::new(name), sid) {
            None => Ok(()),
            Some(_) => Err(format!("\"{}\" has a line above already", names::Escaped(name))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_sid_and_a_name() {
        let table = Table::parse(
            "# Groups\r\nS-1-5-21-1-2-3-1105 ADTEST\\web-admins\n\n  s-1-5-32-544\t Domain  Admins \n",
        )
        .unwrap();
        let sid = |name: &str| table.sids.get(&GroupName::new(name)).map(ToString::to_string);
        assert_eq!(sid("adtest\\WEB-ADMINS").as_deref(), Some("S-1-5-21-1-2-3-1105"));
        assert_eq!(sid("domain  admins").as_deref(), Some("S-1-5-32-544"));
        assert_eq!(sid("web-admins"), None);
        let name = &table.names[&Sid::parse("S-1-5-32-544").unwrap()];
        assert_eq!(name.as_str(), "Domain  Admins");
    }

    #[test]
    fn an_error_names_the_line() {
        for (text, line) in [
            ("S-1-5-32-544", 1),
            ("\nweb-admins S-1-5-32-544", 2),
            ("S-1-5-32-544 a\nS-1-5-32-544 b", 2),
            ("S-1-5-32-544 a\nS-1-5-32-545 b\nS-1-5-32-546 A", 3),
            ("S-1-5-32-544 a\u{7}b", 1),
        ] {
            assert_eq!(Table::parse(text).unwrap_err().0, line, "{text}");
        }
    }
}
