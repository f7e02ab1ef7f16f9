//! Who may come in: the rules of a place, and what they say of somebody who has signed in.

use std::fmt;
use std::sync::Arc;

use crate::groups::{GroupName, ListForm};
use crate::names;
use crate::reason::Reason;
use crate::sid::Sid;

/// What follows for somebody who has signed in.
#[derive(Debug, Default)]
pub struct Authz {
    /// Who may come in; everybody without it.
    pub require: Option<Arc<Require>>,
    /// What is told of the groups, if anything is.
    pub list: Option<ListForm>,
}

/// Who may come in: whom some of the rules let in, or all.
#[derive(Clone, Debug, Default)]
pub struct Require {
    every: bool,
    rules: Vec<Rule>,
}

/// One rule: one line of a configuration.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Where it stands.
    place: Option<Arc<str>>,
    among: Among,
    what: What,
}

/// How much of what a rule names has to be true.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Among {
    One,
    All,
    None,
}

/// What a rule asks for.
#[derive(Clone, Debug)]
enum What {
    ValidUser,
    User(Vec<String>),
    Group(Vec<GroupName>),
    Sid(Vec<Sid>),
}

/// What is true of somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Truth {
    /// It is.
    Yes,
    /// It is not.
    No,
    /// Somebody has to be asked first.
    Due,
    /// It cannot be told, for this reason.
    Unknown(Reason),
}

/// Somebody who has signed in.
pub trait Somebody {
    /// Whether they are called so.
    fn is_user(&self, name: &str) -> bool;

    /// Whether they are in this group.
    fn is_in(&self, group: &GroupName) -> Truth;

    /// Whether there is such a group. Asked about groups that they are not in.
    fn knows(&self, group: &GroupName) -> bool;

    /// Whether this is theirs, or that of one of their groups.
    fn has_sid(&self, sid: &Sid) -> Truth;
}

impl Require {
    /// From the words of one line.
    pub fn read(words: &[&str], place: Option<Arc<str>>) -> Result<Self, String> {
        match *words {
            ["all"] => Ok(Self { every: true, rules: Vec::new() }),
            ["all", ref words @ ..] => Rule::read(words, Among::All, place).map(Self::from),
            ["not", ref words @ ..] => Rule::read(words, Among::None, place).map(Self::from),
            _ => Rule::read(words, Among::One, place).map(Self::from),
        }
    }

    /// With those of a later line.
    pub fn and(mut self, later: &Self) -> Result<Self, String> {
        if self.every && later.every {
            return Err("\"all\" by itself is there twice".to_owned());
        }
        self.every |= later.every;
        self.rules.extend_from_slice(&later.rules);
        Ok(self)
    }

    /// That there is a rule, and not only a word about all of them.
    pub fn check(&self) -> Result<(), String> {
        match self.rules.is_empty() {
            false => Ok(()),
            true => Err("\"all\" is about the lines beside it, and there are none".to_owned()),
        }
    }

    /// Whether somebody may come in.
    pub fn judge(&self, who: &impl Somebody) -> Truth {
        combine(self.every, self.rules.iter().map(|rule| rule.judge(who)))
    }

    /// The groups that rules name, and where they do.
    pub fn groups(&self) -> impl Iterator<Item = (&GroupName, Option<&Arc<str>>)> {
        self.rules.iter().flat_map(|rule| {
            let groups = match &rule.what {
                What::Group(groups) => groups.as_slice(),
                _ => &[],
            };
            groups.iter().map(|group| (group, rule.place.as_ref()))
        })
    }

    /// The rules that do not let somebody in, for a log: those that had to.
    pub fn failing<'a>(&'a self, who: &'a impl Somebody) -> impl fmt::Display + 'a {
        Failing { require: self, who }
    }
}

impl From<Rule> for Require {
    fn from(rule: Rule) -> Self {
        Self { every: false, rules: vec![rule] }
    }
}

/// Whether it is true of one of them, or of every one. What is decided without them is not left
/// to those that cannot be told.
fn combine(every: bool, each: impl Iterator<Item = Truth>) -> Truth {
    let (decisive, neutral) = if every { (Truth::No, Truth::Yes) } else { (Truth::Yes, Truth::No) };
    let mut result = neutral;
    for truth in each {
        match truth {
            truth if truth == decisive => return decisive,
            Truth::Due => result = Truth::Due,
            Truth::Unknown(_) if result != Truth::Due => result = truth,
            _ => {}
        }
    }
    result
}

impl Rule {
    fn read(words: &[&str], among: Among, place: Option<Arc<str>>) -> Result<Self, String> {
        let (kind, names) = words.split_first().ok_or("needs an argument")?;
        let what = match *kind {
            "valid-user" if names.is_empty() && among == Among::One => What::ValidUser,
            "valid-user" => return Err("valid-user stands by itself".to_owned()),
            "user" => What::User(names.iter().map(|&name| name.to_owned()).collect()),
            "group" => What::Group(names.iter().map(|name| GroupName::new(name)).collect()),
            "sid" => What::Sid(names.iter().map(|name| sid(name)).collect::<Result<_, _>>()?),
            kind => {
                let kind = names::Escaped(kind);
                return Err(format!(
                    "\"{kind}\" is not one of valid-user, user, group, sid, all, not"
                ));
            }
        };
        if names.is_empty() && !matches!(what, What::ValidUser) {
            return Err(format!("{kind} needs a name"));
        }
        if let Some(bad) = names.iter().find(|name| !names::is_acceptable(name)) {
            return Err(format!("\"{}\" is no name", names::Escaped(bad)));
        }
        Ok(Self { place, among, what })
    }

    fn judge(&self, who: &impl Somebody) -> Truth {
        let is = |is: bool| if is { Truth::Yes } else { Truth::No };
        match &self.what {
            What::ValidUser => Truth::Yes,
            What::User(names) => self.among.judge(names.iter().map(|name| is(who.is_user(name)))),
            What::Group(groups) => {
                self.among.judge(groups.iter().map(|group| self.is_in(who, group)))
            }
            What::Sid(sids) => self.among.judge(sids.iter().map(|sid| who.has_sid(sid))),
        }
    }

    /// Who is to be in none of the groups is not let in by one that is spelled wrong.
    fn is_in(&self, who: &impl Somebody, group: &GroupName) -> Truth {
        match who.is_in(group) {
            Truth::No if self.among == Among::None && !who.knows(group) => {
                Truth::Unknown(Reason::NotAllowed)
            }
            truth => truth,
        }
    }
}

impl Among {
    fn judge(self, each: impl Iterator<Item = Truth>) -> Truth {
        match (self, combine(self == Self::All, each)) {
            (Self::None, Truth::Yes) => Truth::No,
            (Self::None, Truth::No) => Truth::Yes,
            (_, truth) => truth,
        }
    }
}

fn sid(text: &str) -> Result<Sid, String> {
    let sid = Sid::parse(text).filter(|sid| !sid.sub_authorities().is_empty());
    sid.ok_or_else(|| format!("\"{}\" is no SID, such as S-1-5-32-544", names::Escaped(text)))
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<String> = match &self.what {
            What::ValidUser => Vec::new(),
            What::User(names) => names.clone(),
            What::Group(groups) => groups.iter().map(|one| one.as_str().to_owned()).collect(),
            What::Sid(sids) => sids.iter().map(ToString::to_string).collect(),
        };
        f.write_str(match self.among {
            Among::One => "",
            Among::All => "all ",
            Among::None => "not ",
        })?;
        f.write_str(match self.what {
            What::ValidUser => "valid-user",
            What::User(_) => "user",
            What::Group(_) => "group",
            What::Sid(_) => "sid",
        })?;
        names.iter().try_for_each(|name| match name.contains(' ') {
            true => write!(f, " \"{}\"", names::Escaped(name)),
            false => write!(f, " {}", names::Escaped(name)),
        })
    }
}

struct Failing<'a, W> {
    require: &'a Require,
    who: &'a W,
}

impl<W: Somebody> fmt::Display for Failing<'_, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let failing = self.require.rules.iter().filter(|rule| rule.judge(self.who) != Truth::Yes);
        for (at, rule) in failing.enumerate() {
            write!(f, "{}{rule}", if at > 0 { ", " } else { "" })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Alice of the groups staff and admins; nobody knows who is in "secret", and "late" is due.
    struct Alice;

    const ALICE: &str = "S-1-5-21-1-2-3-1104";

    impl Somebody for Alice {
        fn is_user(&self, name: &str) -> bool {
            name == "alice"
        }

        fn is_in(&self, group: &GroupName) -> Truth {
            match group.as_str() {
                "staff" | "admins" => Truth::Yes,
                "secret" => Truth::Unknown(Reason::MissingPac),
                "late" => Truth::Due,
                _ => Truth::No,
            }
        }

        fn knows(&self, group: &GroupName) -> bool {
            group.as_str() == "guests"
        }

        fn has_sid(&self, sid: &Sid) -> Truth {
            if sid.to_string() == ALICE { Truth::Yes } else { Truth::No }
        }
    }

    fn require(lines: &[&str]) -> Result<Require, String> {
        let mut all: Option<Require> = None;
        for line in lines {
            let words: Vec<_> = line.split(' ').collect();
            let read = Require::read(&words, None)?;
            all = Some(match all {
                None => read,
                Some(all) => all.and(&read)?,
            });
        }
        let all = all.unwrap_or_default();
        all.check().map(|()| all)
    }

    #[test]
    fn one_of_the_lines_lets_in_or_every_one_has_to() {
        let unknown = Truth::Unknown(Reason::MissingPac);
        for (lines, truth) in [
            (&["valid-user"][..], Truth::Yes),
            (&["user alice"], Truth::Yes),
            (&["user bob"], Truth::No),
            (&["user bob alice"], Truth::Yes),
            (&["group other staff"], Truth::Yes),
            (&["all group other staff"], Truth::No),
            (&["all group admins staff"], Truth::Yes),
            (&["sid S-1-5-21-1-2-3-1105", "sid S-1-5-21-1-2-3-1104"], Truth::Yes),
            (&["user bob", "group staff"], Truth::Yes),
            (&["all", "user bob", "group staff"], Truth::No),
            (&["user alice", "group other staff", "all"], Truth::Yes),
            // What is decided needs nobody's answer.
            (&["group secret", "user alice"], Truth::Yes),
            (&["group late", "user alice"], Truth::Yes),
            (&["all", "group late", "user bob"], Truth::No),
            (&["all", "group secret", "user bob"], Truth::No),
            // Nobody is let in, or kept out, by what is not known.
            (&["group secret"], unknown),
            (&["group secret", "user bob"], unknown),
            (&["all", "group secret", "user alice"], unknown),
            (&["group secret late"], Truth::Due),
            (&["group late secret"], Truth::Due),
            (&["not group staff"], Truth::No),
            (&["not group guests staff"], Truth::No),
            (&["not group guests"], Truth::Yes),
            (&["not user bob"], Truth::Yes),
            (&["not user bob alice"], Truth::No),
            (&["not sid S-1-5-21-1-2-3-1104"], Truth::No),
            (&["not sid S-1-5-21-1-2-3-1105"], Truth::Yes),
            (&["all", "not user bob", "group staff"], Truth::Yes),
            (&["all", "not group guests", "group other"], Truth::No),
            (&["not group guests", "user bob"], Truth::Yes),
            // Who may be in a group may be kept out for it.
            (&["not group secret"], unknown),
            (&["not group late"], Truth::Due),
            (&["not group secret staff"], Truth::No),
            (&["all", "not group secret", "user alice"], unknown),
            // A group that does not exist keeps everybody out, as a wrong name does elsewhere.
            (&["not group gusts"], Truth::Unknown(Reason::NotAllowed)),
            (&["all", "not group guests gusts", "user alice"], Truth::Unknown(Reason::NotAllowed)),
        ] {
            assert_eq!(require(lines).unwrap().judge(&Alice), truth, "{lines:?}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_an_error() {
        for lines in [
            &["valid-user alice"][..],
            &["all valid-user"],
            &["all"],
            &["all", "user alice", "all"],
            &["user"],
            &["all group"],
            &["not"],
            &["not valid-user"],
            &["not group"],
            &["not all group staff"],
            &["all not group staff"],
            &["not not group staff"],
            &["sid alice"],
            &["sid S-1-5"],
            &["alice"],
            &["group a\u{202e}b"],
        ] {
            assert!(require(lines).is_err(), "{lines:?}");
        }
    }

    #[test]
    fn a_log_tells_which_rules_failed() {
        let failing = |lines: &[&str]| require(lines).unwrap().failing(&Alice).to_string();
        assert_eq!(failing(&["user bob", "group x"]), "user bob, group x");
        assert_eq!(failing(&["all", "user alice", "all group x staff"]), "all group x staff");
        assert_eq!(failing(&["all", "user alice", "not group x staff"]), "not group x staff");
        let spaced = Require::read(&["group", "Domain Admins", "a\"b"], None).unwrap();
        let failing = spaced.failing(&Alice).to_string();
        assert_eq!(failing, r#"group "Domain Admins" a\x22b"#);
    }
}
