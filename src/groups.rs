//! The groups that somebody is in: by their names, as a file has them, or by their security
//! identifiers, as a domain has. What connections have in common, they share.

use std::any::Any;
use std::collections::HashMap;
use std::collections::hash_map::DefaultHasher;
use std::fmt::Write;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Instant;

use parking_lot::Mutex;

use crate::names;
use crate::sid::{Sid, SidSet};
use crate::text::Text;

/// The name of a group, ready to be looked for.
#[derive(Clone, Debug)]
pub struct GroupName {
    text: Arc<str>,
    hash: u64,
}

impl GroupName {
    /// From its text.
    pub fn new(text: &str) -> Self {
        Self { text: text.into(), hash: hash(text) }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it is this one, as Windows compares names.
    pub fn is(&self, other: &str) -> bool {
        names::same(self.text.encode_utf16(), other.encode_utf16())
    }
}

impl PartialEq for GroupName {
    fn eq(&self, other: &Self) -> bool {
        self.hash == other.hash && self.is(&other.text)
    }
}

impl Eq for GroupName {}

impl Hash for GroupName {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.hash.hash(state);
    }
}

/// FNV-1a of what is the same in equal names.
fn hash(name: &str) -> u64 {
    let step = |hash: u64, unit| (hash ^ u64::from(unit)).wrapping_mul(0x0100_0000_01b3);
    names::fold(name.encode_utf16()).fold(0xcbf2_9ce4_8422_2325, step)
}

/// The groups of one user, or of several that are in the same.
pub struct Groups {
    members_of: MembersOf,
    lists: Mutex<Vec<Written>>,
}

/// A list that was asked for.
struct Written {
    form: ListForm,
    by: Option<Origin>,
    list: Arc<List>,
}

/// What told the names of groups, and until when it is not asked again.
#[derive(Clone)]
pub struct Origin {
    source: Weak<dyn Any + Send + Sync>,
    until: Option<Instant>,
}

impl Origin {
    /// Of names that are good as long as nothing else is said, or not so long.
    pub fn new<T: Any + Send + Sync>(source: &Arc<T>, until: Option<Instant>) -> Self {
        let source: Weak<T> = Arc::downgrade(source);
        Self { source, until }
    }

    /// Whether this is what would be asked now.
    fn is_still(&self, now: &Self) -> bool {
        // No other can be at its address while this is held.
        std::ptr::addr_eq(self.source.as_ptr(), now.source.as_ptr())
            && self.until.is_none_or(|until| Instant::now() < until)
    }

    fn is_over(&self) -> bool {
        self.source.strong_count() == 0 || self.until.is_some_and(|until| until <= Instant::now())
    }
}

/// What groups are called.
pub struct Spelling {
    /// Each.
    pub names: Vec<Text>,
    /// What told them; `None` if it was the groups themselves.
    pub by: Option<Origin>,
    /// Whether that is all there is to tell: then it is not asked again.
    pub complete: bool,
}

enum MembersOf {
    Named {
        names: Box<[Text]>,
        /// Their hashes and places, in ascending order; made when a name is first looked for.
        index: OnceLock<Box<[(u64, u32)]>>,
    },
    Known {
        user: Sid,
        user_text: Text,
        groups: SidSet,
    },
}

/// What an application is told of somebody's groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListForm {
    /// Whether by their names, or by their identifiers.
    pub names: bool,
    /// How they are put together.
    pub form: Form,
    /// The longest list that is told, in bytes.
    pub limit: usize,
}

/// How a list is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Between commas, with percent-escapes.
    Comma,
    /// Between semicolons, likewise.
    Semicolon,
    /// As an array of JSON.
    Json,
}

impl Spelling {
    /// What the groups tell themselves.
    pub fn of_groups(names: Vec<Text>) -> Self {
        Self { names, by: None, complete: true }
    }
}

/// The groups as they are told.
#[derive(Default)]
pub struct List {
    /// Each of them.
    pub each: Box<[Text]>,
    /// All of them in one text; "" if it is too long.
    pub text: Text,
    /// How long that would be.
    pub len: usize,
}

impl Groups {
    /// Those of these names.
    pub fn named(names: Vec<Text>) -> Self {
        Self::of(MembersOf::Named { names: names.into(), index: OnceLock::new() })
    }

    /// Those of these identifiers, which are a user's of a domain.
    pub fn known(user: Sid, groups: SidSet) -> Self {
        Self::of(MembersOf::Known { user, user_text: user.to_string().into(), groups })
    }

    fn of(members_of: MembersOf) -> Self {
        Self { members_of, lists: Mutex::default() }
    }

    /// The same as other connections have, if one has.
    pub fn shared(self) -> Arc<Self> {
        /// Those in use, by their hashes.
        static ALL: Mutex<Option<HashMap<u64, Vec<Weak<Groups>>>>> = Mutex::new(None);
        /// So many hashes are remembered without a look at which are still in use.
        const MANY: usize = 1024;
        let mut hasher = DefaultHasher::new();
        self.hash(&mut hasher);
        let mut all = ALL.lock();
        let all = all.get_or_insert_default();
        if all.len() >= MANY && all.len() == all.capacity() {
            all.retain(|_, equal| equal.iter().any(|groups| groups.strong_count() > 0));
        }
        let equal = all.entry(hasher.finish()).or_default();
        equal.retain(|groups| groups.strong_count() > 0);
        if let Some(known) = equal.iter().filter_map(Weak::upgrade).find(|known| **known == self) {
            return known;
        }
        let groups = Arc::new(self);
        equal.push(Arc::downgrade(&groups));
        groups
    }

    /// Whether one of them has this name; `None` if only who knows the names can tell.
    pub fn has_name(&self, name: &GroupName) -> Option<bool> {
        let MembersOf::Named { names, index } = &self.members_of else { return None };
        let index = index.get_or_init(|| {
            let mut index: Box<[_]> =
                (0..).zip(names).map(|(at, name)| (hash(name.as_str()), at)).collect();
            index.sort_unstable();
            index
        });
        let from = index.partition_point(|(hash, _)| *hash < name.hash);
        let alike = index[from..].iter().take_while(|(hash, _)| *hash == name.hash);
        let mut alike = alike.filter_map(|(_, at)| names.get(*at as usize));
        Some(alike.any(|known| name.is(known.as_str())))
    }

    /// Whether the user, or one of the groups, has this identifier; those of a file have none.
    pub fn has_sid(&self, sid: &Sid) -> bool {
        match &self.members_of {
            MembersOf::Named { .. } => false,
            MembersOf::Known { user, groups, .. } => user == sid || groups.contains(sid),
        }
    }

    /// The identifier of the user; "" if there is none.
    pub fn user_sid(&self) -> &Text {
        static NONE: Text = Text::EMPTY;
        match &self.members_of {
            MembersOf::Named { .. } => &NONE,
            MembersOf::Known { user_text, .. } => user_text,
        }
    }

    /// The identifiers of the groups; those of a file have none.
    pub fn sids(&self) -> Option<&SidSet> {
        match &self.members_of {
            MembersOf::Named { .. } => None,
            MembersOf::Known { groups, .. } => Some(groups),
        }
    }

    /// The names of the groups, where they are what is known.
    pub fn names(&self) -> Option<&[Text]> {
        match &self.members_of {
            MembersOf::Named { names, .. } => Some(names),
            MembersOf::Known { .. } => None,
        }
    }

    /// The list in this form, where `by` would be asked for the names; `spell` asks.
    pub fn list<E>(
        &self,
        form: ListForm,
        by: Option<&Origin>,
        spell: impl FnOnce(&Self) -> Result<Spelling, E>,
    ) -> Result<Arc<List>, E> {
        let is_same = |known: &Option<Origin>, by: Option<&Origin>| match (known, by) {
            (Some(known), Some(by)) => known.is_still(by),
            (known, by) => known.is_none() && by.is_none(),
        };
        let made = |lists: &[Written], by| {
            let same = lists.iter().find(|known| known.form == form && is_same(&known.by, by));
            same.map(|known| known.list.clone())
        };
        if let Some(list) = made(&self.lists.lock(), by) {
            return Ok(list);
        }
        let Spelling { names, by, complete } = spell(self)?;
        let list = Arc::new(form.write(names));
        if !complete {
            return Ok(list);
        }
        let mut lists = self.lists.lock();
        lists.retain(|known| !known.by.as_ref().is_some_and(Origin::is_over));
        // Somebody else may have been faster.
        Ok(made(&lists, by.as_ref()).unwrap_or_else(|| {
            lists.push(Written { form, by, list: list.clone() });
            list
        }))
    }
}

impl PartialEq for Groups {
    fn eq(&self, other: &Self) -> bool {
        match (&self.members_of, &other.members_of) {
            (MembersOf::Named { names: a, .. }, MembersOf::Named { names: b, .. }) => a == b,
            (
                MembersOf::Known { user: a, groups: in_a, .. },
                MembersOf::Known { user: b, groups: in_b, .. },
            ) => a == b && in_a == in_b,
            _ => false,
        }
    }
}

impl Hash for Groups {
    fn hash<H: Hasher>(&self, state: &mut H) {
        match &self.members_of {
            MembersOf::Named { names, .. } => {
                names.iter().for_each(|name| name.as_str().hash(state));
            }
            MembersOf::Known { user, groups, .. } => (user, groups).hash(state),
        }
    }
}

impl ListForm {
    fn write(&self, each: Vec<Text>) -> List {
        let mut text = String::new();
        match self.form {
            Form::Comma => join(&each, ',', &mut text),
            Form::Semicolon => join(&each, ';', &mut text),
            Form::Json => write_json(&each, &mut text),
        }
        let len = text.len();
        let text = if len <= self.limit { Text::from(text) } else { Text::EMPTY };
        List { each: each.into(), text, len }
    }
}

fn join(each: &[Text], separator: char, out: &mut String) {
    for (at, name) in each.iter().enumerate() {
        if at > 0 {
            out.push(separator);
        }
        for letter in name.as_str().chars() {
            match letter {
                '%' => out.push_str("%25"),
                ',' if separator == ',' => out.push_str("%2C"),
                ';' if separator == ';' => out.push_str("%3B"),
                // There is none in what a domain or a file tells; a field must not have one.
                letter if letter.is_ascii_control() => {
                    let _ = write!(out, "%{:02X}", u32::from(letter));
                }
                letter => out.push(letter),
            }
        }
    }
}

/// RFC 8259.
fn write_json(each: &[Text], out: &mut String) {
    out.push('[');
    for (at, name) in each.iter().enumerate() {
        out.push_str(if at > 0 { ",\"" } else { "\"" });
        for letter in name.as_str().chars() {
            match letter {
                '"' | '\\' => {
                    out.push('\\');
                    out.push(letter);
                }
                letter if letter.is_control() => {
                    let _ = write!(out, "\\u{:04x}", u32::from(letter));
                }
                letter => out.push(letter),
            }
        }
        out.push('"');
    }
    out.push(']');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(names: &[&str]) -> Vec<Text> {
        names.iter().map(|name| Text::from((*name).to_owned())).collect()
    }

    #[test]
    fn a_name_is_found_as_windows_compares_it_and_nothing_like_it() {
        let many: Vec<_> = (0..1000).map(|number| format!("DEMO\\group-{number}")).collect();
        let mut names: Vec<&str> = many.iter().map(String::as_str).collect();
        names.push("Ärzte");
        let groups = Groups::named(texts(&names));
        for name in ["demo\\GROUP-0", "DEMO\\group-999", "ärzte"] {
            assert_eq!(groups.has_name(&GroupName::new(name)), Some(true), "{name}");
        }
        for name in ["group-0", "DEMO\\group-1000", "DEMO\\group-", "Arzte", "", "ärzte "] {
            assert_eq!(groups.has_name(&GroupName::new(name)), Some(false), "{name}");
        }
        assert!(!groups.has_sid(&Sid::parse("S-1-5-21-1-2-3-4").unwrap()));
    }

    #[test]
    fn identifiers_are_the_users_and_the_groups() {
        let sid = |text| Sid::parse(text).unwrap();
        let user = sid("S-1-5-21-1-2-3-1104");
        let groups = Groups::known(user, [sid("S-1-5-21-1-2-3-513")].into_iter().collect());
        assert!(groups.has_sid(&user) && groups.has_sid(&sid("S-1-5-21-1-2-3-513")));
        assert!(!groups.has_sid(&sid("S-1-5-21-1-2-3-512")));
        assert_eq!(groups.has_name(&GroupName::new("Domain Users")), None);
        assert_eq!(groups.user_sid().as_str(), "S-1-5-21-1-2-3-1104");
    }

    #[test]
    fn equal_ones_are_one_as_long_as_somebody_has_them() {
        let make = |rid: u32| {
            let domain = Sid::parse("S-1-5-21-1-2-3").unwrap();
            let groups = (rid..rid + 1000).filter_map(|rid| domain.child(rid)).collect();
            Groups::known(domain.child(500).unwrap(), groups).shared()
        };
        let (first, second, other) = (make(1000), make(1000), make(1001));
        assert!(Arc::ptr_eq(&first, &second) && !Arc::ptr_eq(&first, &other));
    }

    #[test]
    fn a_list_is_told_whole_or_not_at_all() {
        let list = |names: &[&str], form, limit| {
            let form = ListForm { names: true, form, limit };
            let groups = Groups::named(texts(names));
            let list = groups.list(form, None, |groups| {
                let names = groups.names().unwrap().to_vec();
                Ok::<_, ()>(Spelling::of_groups(names))
            });
            let list = list.unwrap();
            (list.text.as_str().to_owned(), list.len, list.each.len())
        };
        let whole = |text: &str, count| (text.to_owned(), text.len(), count);
        assert_eq!(list(&["a", "b c"], Form::Comma, 99), whole("a,b c", 2));
        assert_eq!(list(&["a,b;c%", "d"], Form::Comma, 99), whole("a%2Cb;c%25,d", 2));
        assert_eq!(list(&["a,b;c%", "d"], Form::Semicolon, 99), whole("a,b%3Bc%25;d", 2));
        assert_eq!(list(&["D\\a", "b\"c"], Form::Json, 99), whole(r#"["D\\a","b\"c"]"#, 2));
        assert_eq!(list(&[], Form::Json, 99), whole("[]", 0));
        assert_eq!(list(&[], Form::Comma, 99), whole("", 0));
        assert_eq!(list(&["aaaa", "bbbb"], Form::Comma, 8), (String::new(), 9, 2));
    }

    /// Names are those that would be found now, wherever the same groups have been told before.
    #[test]
    fn a_list_is_written_anew_where_names_come_from_elsewhere_or_are_old() {
        let groups = Groups::known(Sid::parse("S-1-5-21-1-2-3-1104").unwrap(), SidSet::default());
        let form = ListForm { names: true, form: Form::Comma, limit: 99 };
        let (one, other) = (Arc::new(1), Arc::new(2));
        let told = |source: &Arc<i32>, name: &str, until: Option<Instant>, complete| {
            let by = Origin::new(source, until);
            let list = groups.list(form, Some(&Origin::new(source, None)), |_| {
                let names = vec![Text::concat(&[name])];
                Ok::<_, ()>(Spelling { names, by: Some(by), complete })
            });
            list.unwrap().text.as_str().to_owned()
        };
        let later = Some(Instant::now() + std::time::Duration::from_secs(3600));
        assert_eq!(told(&one, "half", later, false), "half");
        assert_eq!(told(&one, "admins", later, true), "admins");
        assert_eq!(told(&one, "not asked", later, true), "admins");
        assert_eq!(told(&other, "users", Some(Instant::now()), true), "users");
        assert_eq!(told(&other, "others", None, true), "others");
        assert_eq!(told(&other, "not asked", None, true), "others");
        drop((one, other));
        let new = Arc::new(3);
        assert_eq!(told(&new, "new", None, true), "new");
        assert_eq!(groups.lists.lock().len(), 1);
    }
}
