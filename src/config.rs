//! Options: text in, one immutable, shared configuration out.
//!
//! The table below is all there is to an option: the parsers in [`value`] give it its type, and a
//! test compares the table with the directives of both servers and with the manual. Inheriting
//! merges option by option and touches no file; configurations that come to the same scope share
//! it, so that a session knows its scope again whatever sections a request passed through.

mod scope;
mod value;

use std::path::Path;
use std::sync::{Arc, Weak};
use std::time::Duration;

use once_cell::sync::OnceCell;
use parking_lot::Mutex;

pub use scope::{Rules, Scope};
pub(crate) use value::MAX_DNS;
pub use value::{ChannelBindingMode, Mechanism, Network, ServiceName};

use crate::accounts::{Backend, GroupNames};
use crate::authz::Require;
use crate::channel_binding::EndPoint;
use crate::groups::Form;
use crate::http::Scheme;
use crate::kerberos::Keytab;
use crate::names::Escaped;
use crate::naming::{NameCase, NameFormat, RealmMap};
use crate::text;
use crate::text::Text;
use value::{Args, DomainNames, ReplayCacheMode};

/// What an option is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OptionKind {
    /// Who can sign in here, and how.
    Scope = 1,
    /// What follows from a sign-in.
    Rule = 2,
}

/// What there is to know about an option.
pub struct OptionInfo {
    /// Its key, as `auth_config_set` takes it and as directives end.
    pub key: Text,
    /// Its arguments, as a manual writes them.
    pub syntax: Text,
    /// Its default, as a manual writes it.
    pub default: Text,
    /// What it does, in one line.
    pub help: Text,
    /// What it is about.
    pub kind: OptionKind,
    set: Setter,
}

/// Reads the arguments and keeps the value, with its place.
type Setter = fn(&mut Settings, &Args<'_>, Option<Place>) -> Result<(), String>;

/// Where in the configuration, "file:line".
type Place = Arc<str>;

/// A value and the place in the configuration that gave it.
#[derive(Clone)]
struct Set<T> {
    value: T,
    place: Option<Place>,
}

macro_rules! options {
    ($($key:ident: $type:ty = $parse:path, $kind:ident,
       $syntax:literal, $default:literal, $help:literal $(, again $and:path)?;)*) => {
        /// The options that are set.
        #[derive(Clone, Default)]
        struct Settings {
            $($key: Option<Set<$type>>,)*
        }

        impl Settings {
            /// The options of `self`, and those of `parent` where `self` has none.
            fn or(&self, parent: &Self) -> Self {
                Self { $($key: self.$key.as_ref().or(parent.$key.as_ref()).cloned(),)* }
            }
        }

        /// Every option, in the order of the manual.
        static OPTIONS: &[OptionInfo] = &[$(OptionInfo {
            key: text!(stringify!($key)),
            syntax: text!($syntax),
            default: text!($default),
            help: text!($help),
            kind: OptionKind::$kind,
            set: |settings, args, place| {
                let value = match &settings.$key {
                    None => $parse(args)?,
                    Some(_earlier) => {
                        $(return $and(&_earlier.value, &$parse(args)?).map(|value| {
                            settings.$key = Some(Set { value, place });
                        });)?
                        #[allow(unreachable_code)]
                        return Err("is duplicate".to_owned());
                    }
                };
                settings.$key = Some(Set { value, place });
                Ok(())
            },
        },)*];
    };
}

options! {
    mechanisms: Arc<[Mechanism]> = value::mechanisms, Scope,
        "kerberos | ntlm ...", "those that are configured",
        "Mechanisms that may prove an identity: kerberos, which needs keytab, and ntlm, which needs accounts.";
    schemes: Arc<[Scheme]> = value::schemes, Scope,
        "negotiate | ntlm ...", "negotiate for kerberos, ntlm for ntlm",
        "HTTP authentication schemes to offer, in this order; under negotiate, Kerberos and NTLM are taken by themselves and in SPNEGO.";
    keytab: Arc<Keytab> = value::keytab, Scope,
        "PATH", "none",
        "The keytab with this server's keys for Kerberos, of which those for HTTP count; a relative path starts from the server's folder of configuration.";
    accounts: Backend = value::accounts, Scope,
        "file:PATH | winbind", "none",
        "Where the accounts for NTLM are: in a file (a relative path starts from the server's folder of configuration), or in the domain that winbindd belongs to.";
    group_names: Option<GroupNames> = value::group_names, Scope,
        "none | winbind | file:PATH", "winbind with accounts winbind, else none",
        "Who knows the names of groups that are told by their SIDs: the domain that winbindd belongs to, or a file with a SID and a name on each line.";
    realms_without_pac: Arc<[String]> = value::realms, Scope,
        "none | REALM ...", "none",
        "Realms of Kerberos whose tickets tell no groups: their users are in those that accounts have for them in a file.";
    domain: Arc<DomainNames> = value::domain, Scope,
        "NETBIOS [DNS]", "the computer's own name",
        "The domain that a name without a domain belongs to: its NetBIOS name and its DNS name.";
    channel_binding: ChannelBindingMode = value::channel_binding, Scope,
        "off | allow | require", "allow",
        "Whether a sign-in over TLS is bound to the server's certificate: not looked at, checked where the client sends it, or required.";
    service_name: Arc<ServiceName> = value::service_name, Scope,
        "any | host | NAME ...", "any",
        "The service that clients must mean: any, HTTP on the request's host, or HTTP on one of these hosts (a port may follow, which counts for NTLM).";
    realm_map: Arc<RealmMap> = value::realm_map, Scope,
        "REALM=DOMAIN ...", "none",
        "Realms of Kerberos and the NetBIOS names of their domains: what makes one user of two names.";
    replay_cache: ReplayCacheMode = value::replay_cache, Scope,
        "on | off [force] | DIRECTORY", "on",
        "Whether tickets that have been shown are remembered, and in which folder; off needs channel_binding require, or force.";
    allow_rc4: bool = value::on_off, Scope,
        "on | off", "off",
        "Whether tickets of Kerberos may use RC4, which is weak; DES is refused always.";
    certificates: Arc<[EndPoint]> = value::certificates, Scope,
        "FILE ...", "none",
        "Certificates, in PEM or DER, of what ends TLS in front of this server: a channel binding to one of them is right, too.";
    proxies: Arc<[Network]> = value::proxies, Scope,
        "none | ADDRESS[/BITS] | unix: ...", "none",
        "Proxies that never share a connection between clients; NTLM is refused through all others.";
    handshake_lifetime: Duration = value::handshake_lifetime, Scope,
        "TIME", "2m",
        "How long a challenge may be answered, from 1s to 1h.";
    timeout: Duration = value::timeout, Scope,
        "TIME", "10s",
        "How long a request waits for the accounts before it is answered 503, from 100ms to 10m.";
    max_jobs: usize = value::max_jobs, Scope,
        "NUMBER", "32",
        "How many requests of one process may wait for the accounts at once, from 1 to 1024; more are answered 503 at once.";
    persist: bool = value::on_off, Rule,
        "on | off", "on",
        "Whether an NTLM sign-in lasts as long as its connection; if off, it counts for one request.";
    persist_kerberos: bool = value::on_off, Rule,
        "on | off", "off",
        "Whether a Kerberos sign-in lasts as long as its connection and its ticket; if off, it counts for one request.";
    name_format: Arc<NameFormat> = value::name_format, Rule,
        "full | short REALM ... | domain | local", "full",
        "What users are called: with their realm or domain, without it where it is one of these realms, as DOMAIN\\user by realm_map, or by their local name.";
    name_case: NameCase = value::name_case, Rule,
        "keep | lower", "keep",
        "Whether names of users are written in lower case.";
    require: Arc<Require> = value::require, Rule,
        "valid-user | [all | not] user NAME ... | [all | not] group NAME ... | [all | not] sid SID ... | all", "valid-user",
        "Who may come in of those who have signed in: whom one of the lines lets in, by one of its names, after the word all by all of them, after not by none; all by itself makes every line needed.",
        again value::require_too;
    groups: Option<bool> = value::groups, Rule,
        "off | names | sids", "off",
        "What is told of a user's groups, and whether the user's SID is.";
    groups_form: Form = value::groups_form, Rule,
        "comma | semicolon | json", "comma",
        "How the list of a user's groups is written: between commas or semicolons, with percent-escapes, or as an array of JSON.";
    groups_limit: usize = value::groups_limit, Rule,
        "SIZE", "8k",
        "How long the list of a user's groups may be, from 1k to 64k; a longer one is not told at all.";
}

/// The index-th option of the table.
pub fn option(index: usize) -> Option<&'static OptionInfo> {
    OPTIONS.get(index)
}

/// Options in the making, or made: a shared configuration is read by any number of threads.
#[derive(Default)]
pub struct Config {
    base: Option<Arc<Path>>,
    options: Arc<Options>,
    error: Text,
    warning: Text,
}

/// Options as they are set at one time, and what they come to: worked out once for all that share
/// them.
#[derive(Default)]
struct Options {
    settings: Settings,
    effective: OnceCell<Effective>,
    /// What came of these as the child of others. A server that merges for every request has few
    /// parents for a child.
    merged: Mutex<Vec<(Weak<Options>, Arc<Options>)>>,
}

/// So many parents of a child are remembered.
const MOST_PARENTS: usize = 8;

impl Options {
    /// These options, and those of `parent` where these have none.
    fn with(&self, parent: &Arc<Self>) -> Arc<Self> {
        let mut merged = self.merged.lock();
        // A Weak keeps the address: nothing else can be there.
        let known = merged.iter().find(|(of, _)| of.as_ptr() == Arc::as_ptr(parent));
        if let Some((_, both)) = known {
            return both.clone();
        }
        let both =
            Arc::new(Self { settings: self.settings.or(&parent.settings), ..Self::default() });
        merged.retain(|(of, _)| of.strong_count() > 0);
        if merged.len() == MOST_PARENTS {
            merged.remove(0);
        }
        merged.push((Arc::downgrade(parent), both.clone()));
        both
    }
}

/// What a request is judged by.
pub struct Effective {
    /// Who can sign in here, and how. Equal scopes are one.
    pub scope: Arc<Scope>,
    /// What follows.
    pub rules: Rules,
}

/// Why nobody could sign in, and the place of the option that is to blame.
struct Unusable {
    error: String,
    blame: Option<Place>,
}

impl Config {
    /// Names the folder from which relative paths start.
    pub fn set_base(&mut self, directory: &[u8]) -> bool {
        use std::os::unix::ffi::OsStrExt;
        self.base = Some(Path::new(std::ffi::OsStr::from_bytes(directory)).into());
        true
    }

    /// Sets one option; `false` leaves all as it was but for the error.
    pub fn set(&mut self, key: &[u8], args: &[&[u8]], place: Option<&[u8]>) -> bool {
        let place: Option<Place> = place.map(|place| String::from_utf8_lossy(place).into());
        let result = self.try_set(key, args, place.clone());
        self.note(result.map_err(|error| at(place.as_deref(), &error)))
    }

    fn try_set(&mut self, key: &[u8], args: &[&[u8]], place: Option<Place>) -> Result<(), String> {
        let key = String::from_utf8_lossy(key);
        let option = OPTIONS
            .iter()
            .find(|option| option.key.as_str() == key)
            .ok_or_else(|| format!("there is no option \"{}\"", Escaped(&key)))?;
        let mut settings = self.options.settings.clone();
        Args::new(args, self.base.as_deref().unwrap_or(Path::new("")), place.clone())
            .and_then(|args| (option.set)(&mut settings, &args, place))
            .map_err(|error| format!("option \"{key}\": {error}"))?;
        self.options = Arc::new(Options { settings, ..Options::default() });
        Ok(())
    }

    /// Notes that a call made no sense.
    pub fn refuse_call(&mut self, error: &str) -> bool {
        self.note(Err(error.to_owned()))
    }

    fn note(&mut self, result: Result<(), String>) -> bool {
        let fine = result.is_ok();
        self.error = result.err().map_or(Text::EMPTY, Text::from);
        fine
    }

    /// The options of `child`, and those of `parent` where it has none.
    pub fn inherit(child: Option<&Self>, parent: Option<&Self>) -> Self {
        let options = match (child, parent) {
            (Some(child), Some(parent)) => child.options.with(&parent.options),
            (Some(only), None) | (None, Some(only)) => only.options.clone(),
            (None, None) => Arc::default(),
        };
        let base = child.or(parent).and_then(|config| config.base.clone());
        Self { base, options, error: Text::EMPTY, warning: Text::EMPTY }
    }

    /// The rules alone, of a configuration that has nothing else.
    pub(crate) fn require(&self) -> Option<&Arc<Require>> {
        self.options.settings.require.as_ref().map(|set| &set.value)
    }

    /// Whether somebody could sign in. An error that is about no one option is about `place`.
    pub fn check(&mut self, place: Option<&[u8]>) -> bool {
        let place = place.map(String::from_utf8_lossy);
        let result = self
            .resolve()
            .map(|_| ())
            .map_err(|Unusable { error, blame }| at(blame.as_deref().or(place.as_deref()), &error));
        let warning = match self.effective() {
            Ok(Effective { scope, rules: Rules { authz: Some(authz), .. } }) => {
                authz.require.as_ref().map(|require| scope.unknown_groups(require))
            }
            _ => None,
        };
        self.warning = warning.unwrap_or_default().into();
        self.note(result)
    }

    /// Whether somebody could sign in with these options and some of `inherited`, whichever those
    /// are that a request meets.
    pub fn check_section(&mut self, inherited: Option<&Self>, place: Option<&[u8]>) -> bool {
        let all = Self::inherit(Some(self), inherited);
        let place = place.map(String::from_utf8_lossy);
        let result = match (all.options.settings.check_mechanisms(), all.resolve()) {
            (Err(unusable), _) => Err(unusable),
            (Ok(()), Ok(_)) => Ok(()),
            // What does not go together need not come together.
            (Ok(()), Err(_)) => match self.options.settings.check_mechanisms() {
                Ok(()) => self.resolve().map(|_| ()),
                Err(_) => Ok(()),
            },
        };
        let result = result
            .map_err(|Unusable { error, blame }| at(blame.as_deref().or(place.as_deref()), &error));
        self.note(result)
    }

    /// Looks whether anybody could meet these rules in a place with those options.
    pub fn check_rules(&mut self, place: &Self) {
        let warning = match (self.require(), place.effective()) {
            (Some(require), Ok(effective)) => effective.scope.unknown_groups(require),
            // Whoever uses the place says what is wrong with it.
            _ => String::new(),
        };
        self.warning = warning.into();
    }

    /// What the last check found that is hardly meant.
    pub fn warning(&self) -> &Text {
        &self.warning
    }

    /// Why the last `set` or `check` failed.
    pub fn error(&self) -> &Text {
        &self.error
    }

    /// What requests are judged by; worked out once.
    #[inline(always)]
    pub fn effective(&self) -> Result<&Effective, String> {
        match self.options.effective.get() {
            Some(known) => Ok(known),
            None => self.work_out(),
        }
    }

    #[cold]
    fn work_out(&self) -> Result<&Effective, String> {
        self.resolve().map_err(|Unusable { error, blame }| at(blame.as_deref(), &error))
    }

    fn resolve(&self) -> Result<&Effective, Unusable> {
        self.options.effective.get_or_try_init(|| self.options.settings.resolve())
    }
}

/// An error, behind the place that it is about.
fn at(place: Option<&str>, error: &str) -> String {
    match place {
        Some(place) => format!("{place}: {error}"),
        None => error.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(config: &mut Config, key: &str, args: &[&str]) -> Result<(), String> {
        let args: Vec<_> = args.iter().map(|arg| arg.as_bytes()).collect();
        match config.set(key.as_bytes(), &args, Some(b"site.conf:7")) {
            true => Ok(()),
            false => Err(config.error().as_str().to_owned()),
        }
    }

    fn accounts(dir: &tempfile::TempDir, text: &str) -> String {
        use std::os::unix::fs::PermissionsExt;
        let path = dir.path().join("accounts");
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o640)).unwrap();
        format!("file:{}", path.display())
    }

    const ALICE: &str = "DEMO\\alice:fc525c9683e8fe067095ba2ddc971889\n";

    #[test]
    fn every_error_names_place_and_option() {
        let dir = tempfile::tempdir().unwrap();
        for (key, args, error) in [
            ("colour", &["red"][..], "site.conf:7: there is no option \"colour\""),
            ("persist", &["perhaps"], "site.conf:7: option \"persist\": "),
            ("persist", &[], "site.conf:7: option \"persist\": "),
            ("mechanisms", &["spnego"], "site.conf:7: option \"mechanisms\": "),
            ("keytab", &["/nowhere/at-all"], "site.conf:7: option \"keytab\": /nowhere/at-all: "),
            ("keytab", &["FILE:"], "site.conf:7: option \"keytab\": "),
            ("realm_map", &["DEMO.TEST"], "site.conf:7: option \"realm_map\": "),
            ("realm_map", &["DEMO.TEST=D.E"], "site.conf:7: option \"realm_map\": "),
            ("realm_map", &["=DEMO"], "site.conf:7: option \"realm_map\": "),
            ("realm_map", &["A=X", "A=Y"], "site.conf:7: option \"realm_map\": "),
            ("replay_cache", &["maybe"], "site.conf:7: option \"replay_cache\": "),
            ("replay_cache", &["/nowhere/at-all"], "site.conf:7: option \"replay_cache\": "),
            ("replay_cache", &["on", "force"], "site.conf:7: option \"replay_cache\": "),
            ("certificates", &["/nowhere/at-all"], "site.conf:7: option \"certificates\": "),
            ("name_format", &["short"], "site.conf:7: option \"name_format\": "),
            ("name_format", &["full", "DEMO.TEST"], "site.conf:7: option \"name_format\": "),
            ("name_format", &["short", "a b"], "site.conf:7: option \"name_format\": "),
            ("name_case", &["upper"], "site.conf:7: option \"name_case\": "),
            ("mechanisms", &["basic"], "site.conf:7: option \"mechanisms\": "),
            ("schemes", &["ntlm", "ntlm"], "site.conf:7: option \"schemes\": "),
            ("schemes", &["digest"], "site.conf:7: option \"schemes\": "),
            ("accounts", &["/etc/passwd"], "site.conf:7: option \"accounts\": "),
            (
                "accounts",
                &["file:/nowhere/at-all"],
                "site.conf:7: option \"accounts\": /nowhere/at-all: ",
            ),
            ("domain", &["TOO-LONG-FOR-NETBIOS"], "site.conf:7: option \"domain\": "),
            ("domain", &["DEMO", "demo test"], "site.conf:7: option \"domain\": "),
            ("channel_binding", &["maybe"], "site.conf:7: option \"channel_binding\": "),
            ("service_name", &["any", "other"], "site.conf:7: option \"service_name\": "),
            ("service_name", &["a b"], "site.conf:7: option \"service_name\": "),
            ("service_name", &["cifs/www"], "site.conf:7: option \"service_name\": "),
            ("proxies", &["10.0.0.0/33"], "site.conf:7: option \"proxies\": "),
            ("proxies", &["::ffff:10.0.0.1"], "site.conf:7: option \"proxies\": "),
            ("proxies", &["proxy.example.com"], "site.conf:7: option \"proxies\": "),
            ("handshake_lifetime", &["0s"], "site.conf:7: option \"handshake_lifetime\": "),
            ("handshake_lifetime", &["2 weeks"], "site.conf:7: option \"handshake_lifetime\": "),
            ("timeout", &["99ms"], "site.conf:7: option \"timeout\": "),
            ("timeout", &["11m"], "site.conf:7: option \"timeout\": "),
            ("max_jobs", &["0"], "site.conf:7: option \"max_jobs\": "),
            ("max_jobs", &["1025"], "site.conf:7: option \"max_jobs\": "),
            ("max_jobs", &["many"], "site.conf:7: option \"max_jobs\": "),
        ] {
            let got = set(&mut Config::default(), key, args).unwrap_err();
            assert!(got.starts_with(error), "{got}");
        }
        let bad = accounts(&dir, &format!("# users\n{ALICE}nonsense\n"));
        let got = set(&mut Config::default(), "accounts", &[&bad]).unwrap_err();
        assert!(got.contains("/accounts:3: "), "{got}");
    }

    #[test]
    fn an_option_is_set_once_and_a_failed_try_changes_nothing() {
        let mut config = Config::default();
        set(&mut config, "persist", &["off"]).unwrap();
        assert!(set(&mut config, "persist", &["on"]).unwrap_err().ends_with("is duplicate"));
        assert!(!config.options.settings.persist.as_ref().unwrap().value);
    }

    #[test]
    fn what_sections_could_come_to_is_not_what_they_have_to() {
        let dir = tempfile::tempdir().unwrap();
        let users = accounts(&dir, ALICE);
        let config = |options: &[(&str, &[&str])]| {
            let mut config = Config::default();
            options.iter().for_each(|(key, args)| set(&mut config, key, args).unwrap());
            config
        };
        let accounts = config(&[("accounts", &[&users])]);
        let odd = [("mechanisms", &["ntlm"][..]), ("schemes", &["negotiate"])];
        assert!(config(&[]).check_section(Some(&accounts), None));
        assert!(config(&odd).check_section(Some(&accounts), None));
        let mut nobody = config(&[("mechanisms", &["ntlm"])]);
        assert!(!nobody.check_section(None, None));
        assert!(nobody.error().as_str().starts_with("site.conf:7: "));
        assert!(!config(&[("mechanisms", &["kerberos"])]).check_section(Some(&accounts), None));
        assert!(!config(&[]).check_section(None, Some(b"site.conf:9")));
    }

    #[test]
    fn equal_scopes_are_one_whatever_sections_they_came_from() {
        let dir = tempfile::tempdir().unwrap();
        let users = accounts(&dir, ALICE);
        let build = |rule: &str| {
            let (mut outer, mut inner) = (Config::default(), Config::default());
            set(&mut outer, "accounts", &[&users]).unwrap();
            set(&mut inner, "domain", &["DEMO", "demo.test"]).unwrap();
            set(&mut inner, "persist", &[rule]).unwrap();
            Config::inherit(Some(&inner), Some(&outer))
        };
        let (a, b) = (build("on"), build("off"));
        let (a, b) = (a.effective().unwrap(), b.effective().unwrap());
        assert!(Arc::ptr_eq(&a.scope, &b.scope));
        assert!(a.rules.persist && !b.rules.persist);
        let mut other = build("on");
        set(&mut other, "channel_binding", &["require"]).unwrap();
        assert!(!Arc::ptr_eq(&a.scope, &other.effective().unwrap().scope));
    }

    #[test]
    fn a_child_wins_over_its_parent_option_by_option() {
        let (mut parent, mut child) = (Config::default(), Config::default());
        set(&mut parent, "persist", &["off"]).unwrap();
        set(&mut parent, "handshake_lifetime", &["30s"]).unwrap();
        set(&mut child, "persist", &["on"]).unwrap();
        let both = Config::inherit(Some(&child), Some(&parent));
        let settings = &both.options.settings;
        assert!(settings.persist.as_ref().unwrap().value);
        let lifetime = settings.handshake_lifetime.as_ref().unwrap();
        assert_eq!(lifetime.value, Duration::from_secs(30));
    }

    #[test]
    fn what_a_child_and_its_parent_come_to_is_worked_out_once() {
        let (mut parent, mut child) = (Config::default(), Config::default());
        set(&mut parent, "persist", &["off"]).unwrap();
        set(&mut child, "handshake_lifetime", &["30s"]).unwrap();
        let merge = |parent: &Config| Config::inherit(Some(&child), Some(parent)).options;
        let both = merge(&parent);
        assert!(Arc::ptr_eq(&both, &merge(&parent)));
        // Another set of options is another parent, whatever it was made from.
        set(&mut parent, "timeout", &["1s"]).unwrap();
        let later = merge(&parent);
        assert!(!Arc::ptr_eq(&both, &later));
        assert!(both.settings.timeout.is_none() && later.settings.timeout.is_some());
        // Parents that come and go leave little behind.
        for _ in 0..100 {
            let mut passing = Config::default();
            set(&mut passing, "persist", &["off"]).unwrap();
            merge(&passing);
        }
        assert!(child.options.merged.lock().len() <= MOST_PARENTS);
        assert!(Arc::ptr_eq(&later, &merge(&parent)));
    }

    #[test]
    fn without_accounts_nobody_can_sign_in_and_the_check_says_so() {
        let mut config = Config::default();
        assert!(!config.check(Some(b"site.conf:3")));
        assert!(config.error().as_str().starts_with("site.conf:3: no mechanism"));
        set(&mut config, "mechanisms", &["ntlm"]).unwrap();
        assert!(!config.check(Some(b"site.conf:3")));
        assert!(config.error().as_str().starts_with("site.conf:7: option \"mechanisms\""));
    }
}
