//! What the options come to: a scope, which is interned, and rules.

use std::collections::BTreeMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use parking_lot::Mutex;

use super::value::{DomainNames, ReplayCacheMode};
use super::{
    ChannelBindingMode, Effective, Mechanism, Network, ServiceName, Set, Settings, Unusable,
};
use crate::accounts::{AccountsFile, Backend, GroupNames, Remembered};
use crate::authz::{Authz, Require};
use crate::channel_binding::EndPoint;
use crate::groups::{Form, GroupName, ListForm};
use crate::http::Scheme;
use crate::kerberos::{Acceptor, Choice, ReplayCache};
use crate::names;
use crate::naming::{Naming, RealmMap};
use crate::ntlm::ServerNames;

/// Who can sign in, and how. Connections keep what they know for one scope only. At least one
/// mechanism is there.
#[derive(PartialEq, Eq, Hash)]
pub struct Scope {
    /// The schemes to offer, in this order.
    pub schemes: Arc<[Scheme]>,
    /// What accepts Kerberos.
    pub kerberos: Option<Acceptor>,
    /// The accounts for NTLM.
    pub accounts: Option<Backend>,
    /// The accounts that tell the groups of users of realms without a PAC.
    pub members: Option<Arc<AccountsFile>>,
    /// Those realms.
    pub realms_without_pac: Arc<[String]>,
    /// Who knows names of groups.
    pub group_names: Option<GroupNames>,
    /// What a CHALLENGE calls this server.
    pub names: Arc<ServerNames>,
    /// Whether sign-ins are bound to TLS.
    pub channel_binding: ChannelBindingMode,
    /// Certificates of what ends TLS in front of the server.
    pub certificates: Arc<[EndPoint]>,
    /// The service that clients must mean.
    pub service_name: Arc<ServiceName>,
    /// Which domain a realm is.
    pub realm_map: Arc<RealmMap>,
    /// Proxies that keep connections apart.
    pub proxies: Arc<[Network]>,
    /// How long a challenge may be answered.
    pub handshake_lifetime: Duration,
    /// How long a request waits for the accounts.
    pub timeout: Duration,
    /// How many may wait for the accounts at once.
    pub max_jobs: usize,
}

/// What follows from a sign-in.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Whether one by NTLM lasts as long as the connection.
    pub persist: bool,
    /// Whether one by Kerberos does.
    pub persist_kerberos: bool,
    /// What users are called, unless that is what they are called anyway.
    pub naming: Option<Arc<Naming>>,
    /// Who may come in, and what is told of groups, if there is anything to be said about that.
    pub authz: Option<Arc<Authz>>,
}

/// Every scope that is in use, by its hash.
static SCOPES: Mutex<BTreeMap<u64, Vec<Weak<Scope>>>> = Mutex::new(BTreeMap::new());

impl Scope {
    /// What is to be said about rules that name groups which nobody knows, one to a line.
    pub(super) fn unknown_groups(&self, require: &Require) -> String {
        let in_file = |name: &GroupName| {
            self.members.as_ref().is_some_and(|accounts| accounts.has_group(name))
        };
        let named: Vec<_> = require.groups().filter(|(name, _)| !in_file(name)).collect();
        if named.is_empty() {
            return String::new();
        }
        if let Some(names) = &self.group_names {
            names.find_at_start(named.iter().map(|(name, _)| (*name).clone()).collect());
        }
        let mut warnings = String::new();
        for (name, place) in named {
            let place = place.map_or_else(String::new, |place| format!("{place}: "));
            let text = names::Escaped(name.as_str());
            let concern = match self.group_names.as_ref().map(|names| names.sid(name)) {
                None if self.tells_by_sid() => format!(
                    "nobody here knows the SID of the group \"{text}\": set \"group_names\", or \
                     name the group by its SID"
                ),
                Some(None) => format!(
                    "whether there is a group \"{text}\" could not be found out: until it is, \
                     nobody comes in by this rule"
                ),
                None | Some(Some(Remembered { found: None, .. })) => {
                    format!("no group is called \"{text}\": nobody comes in by this rule")
                }
                Some(Some(_)) => continue,
            };
            let separator = if warnings.is_empty() { "" } else { "\n" };
            warnings.push_str(&format!("{separator}{place}{concern}"));
        }
        warnings
    }

    /// Whether groups of some users are told by their SIDs.
    fn tells_by_sid(&self) -> bool {
        self.kerberos.is_some() && self.realms_without_pac.is_empty()
    }

    /// The one scope that equals `self`.
    fn intern(self) -> Arc<Self> {
        let mut hasher = DefaultHasher::new();
        self.hash(&mut hasher);
        let mut scopes = SCOPES.lock();
        let equal = scopes.entry(hasher.finish()).or_default();
        if let Some(known) = equal.iter().filter_map(Weak::upgrade).find(|known| **known == self) {
            return known;
        }
        let scope = Arc::new(self);
        equal.push(Arc::downgrade(&scope));
        scopes.retain(|_, equal| {
            equal.retain(|scope| scope.strong_count() > 0);
            !equal.is_empty()
        });
        scope
    }
}

impl Settings {
    /// What these options come to, or why nobody could sign in with them.
    pub(super) fn resolve(&self) -> Result<Effective, Unusable> {
        let (kerberos, ntlm) = self.mechanisms_on()?;
        let schemes = self.offered_schemes(kerberos, ntlm)?;
        let value_or = |set: &Option<Set<Duration>>, default| {
            set.as_ref().map_or(Duration::from_secs(default), |set| set.value)
        };
        self.check_domain()?;
        let scope = Scope {
            kerberos: if kerberos { Some(self.acceptor()?) } else { None },
            accounts: self.accounts.as_ref().filter(|_| ntlm).map(|set| set.value.clone()),
            members: self.accounts.as_ref().and_then(|set| set.value.file().cloned()),
            realms_without_pac: self
                .realms_without_pac
                .as_ref()
                .map_or_else(|| Arc::new([]) as _, |set| set.value.clone()),
            group_names: self.group_names(),
            names: server_names(self.domain.as_ref().map(|set| &*set.value)),
            channel_binding: self.binding_mode(),
            certificates: self
                .certificates
                .as_ref()
                .map_or_else(|| Arc::new([]) as _, |set| set.value.clone()),
            service_name: self.service_name(),
            realm_map: self.realm_map.as_ref().map(|set| set.value.clone()).unwrap_or_default(),
            proxies: self
                .proxies
                .as_ref()
                .map_or_else(|| Arc::new([]) as _, |set| set.value.clone()),
            handshake_lifetime: value_or(&self.handshake_lifetime, 120),
            timeout: value_or(&self.timeout, 10),
            max_jobs: self.max_jobs.as_ref().map_or(32, |set| set.value),
            schemes,
        };
        let rules = Rules {
            persist: self.persist.as_ref().is_none_or(|set| set.value),
            persist_kerberos: self.persist_kerberos.as_ref().is_some_and(|set| set.value),
            naming: Naming::new(
                self.name_format.as_ref().map(|set| &*set.value),
                self.name_case.as_ref().map(|set| set.value),
            ),
            authz: self.authz()?,
        };
        Ok(Effective { scope: scope.intern(), rules })
    }

    /// Whether Kerberos and NTLM are on: at least one is.
    fn mechanisms_on(&self) -> Result<(bool, bool), Unusable> {
        let kerberos = self.is_on(Mechanism::Kerberos, self.keytab.is_some())?;
        let ntlm = self.is_on(Mechanism::Ntlm, self.accounts.is_some())?;
        match kerberos || ntlm {
            true => Ok((kerberos, ntlm)),
            false => Err(Unusable {
                error:
                    "no mechanism is configured: set \"keytab\" to offer Kerberos, \"accounts\" \
                        to offer NTLM"
                        .to_owned(),
                blame: None,
            }),
        }
    }

    /// That some mechanism is on, and has what it needs.
    pub(super) fn check_mechanisms(&self) -> Result<(), Unusable> {
        self.mechanisms_on().map(|_| ())
    }

    /// Whether a mechanism is on: if it is listed, or, without a list, if it has what it needs.
    fn is_on(&self, mechanism: Mechanism, has_needed: bool) -> Result<bool, Unusable> {
        let Some(set) = &self.mechanisms else { return Ok(has_needed) };
        if !set.value.contains(&mechanism) || has_needed {
            return Ok(set.value.contains(&mechanism));
        }
        let error = match mechanism {
            Mechanism::Kerberos => "kerberos needs \"keytab\", which is not set",
            Mechanism::Ntlm => "ntlm needs \"accounts\", which is not set",
        };
        Err(unusable("mechanisms", error, set))
    }

    /// That nobody names a domain who has one by winbind.
    fn check_domain(&self) -> Result<(), Unusable> {
        match (&self.domain, &self.accounts) {
            (Some(set), Some(accounts)) if accounts.value.names().is_some() => {
                let error =
                    "with \"accounts winbind\" the domain is the one that this computer belongs to";
                Err(unusable("domain", error, set))
            }
            _ => Ok(()),
        }
    }

    fn offered_schemes(&self, kerberos: bool, ntlm: bool) -> Result<Arc<[Scheme]>, Unusable> {
        match (&self.schemes, kerberos, ntlm) {
            (Some(set), _, false) if !set.value.contains(&Scheme::Negotiate) => {
                Err(unusable("schemes", "kerberos needs negotiate", set))
            }
            (Some(set), true, _)
                if self.mechanisms.is_some() && !set.value.contains(&Scheme::Negotiate) =>
            {
                Err(unusable("schemes", "kerberos, which mechanisms lists, needs negotiate", set))
            }
            (Some(set), _, _) => Ok(set.value.clone()),
            (None, true, true) => Ok([Scheme::Negotiate, Scheme::Ntlm].into()),
            (None, true, false) => Ok([Scheme::Negotiate].into()),
            (None, false, _) => Ok([Scheme::Ntlm].into()),
        }
    }

    fn acceptor(&self) -> Result<Acceptor, Unusable> {
        let Some(keytab) = &self.keytab else {
            return Err(Unusable { error: "\"keytab\" is not set".to_owned(), blame: None });
        };
        let choice = Choice {
            services: self.service_name().for_kerberos(),
            rc4: self.allow_rc4.as_ref().is_some_and(|set| set.value),
            replay_cache: self.replay_cache()?,
        };
        Acceptor::new(keytab.value.clone(), choice)
            .map_err(|error| unusable("keytab", &error, keytab))
    }

    fn replay_cache(&self) -> Result<ReplayCache, Unusable> {
        let Some(set) = &self.replay_cache else { return Ok(ReplayCache::Default) };
        match &set.value {
            ReplayCacheMode::On(place) => Ok(place.clone()),
            ReplayCacheMode::Off if self.binding_mode() != ChannelBindingMode::Require => {
                let error = "off lets whoever has seen a ticket on the network use it, too: it \
                             needs \"channel_binding require\", or write \"off force\"";
                Err(unusable("replay_cache", error, set))
            }
            ReplayCacheMode::Off | ReplayCacheMode::OffByForce => Ok(ReplayCache::Off),
        }
    }

    /// Who knows names of groups: the domain, unless another is named.
    fn group_names(&self) -> Option<GroupNames> {
        match (&self.group_names, &self.accounts) {
            (Some(set), _) => set.value.clone(),
            (None, Some(Set { value: Backend::Winbind(winbind), .. })) => {
                Some(GroupNames::Winbind(winbind.clone()))
            }
            _ => None,
        }
    }

    fn authz(&self) -> Result<Option<Arc<Authz>>, Unusable> {
        let list = self.groups.as_ref().and_then(|set| set.value).map(|names| ListForm {
            names,
            form: self.groups_form.as_ref().map_or(Form::Comma, |set| set.value),
            limit: self.groups_limit.as_ref().map_or(8 << 10, |set| set.value),
        });
        if let Some(set) = &self.require {
            set.value.check().map_err(|error| unusable("require", &error, set))?;
        }
        let require = self.require.as_ref().map(|set| set.value.clone());
        let authz = Authz { require, list };
        Ok((authz.require.is_some() || authz.list.is_some()).then(|| Arc::new(authz)))
    }

    fn binding_mode(&self) -> ChannelBindingMode {
        self.channel_binding.as_ref().map_or(ChannelBindingMode::Allow, |set| set.value)
    }

    fn service_name(&self) -> Arc<ServiceName> {
        let set = self.service_name.as_ref();
        set.map_or_else(|| Arc::new(ServiceName::Any), |set| set.value.clone())
    }
}

/// What is wrong with a value only beside others.
fn unusable<T>(key: &str, error: &str, set: &Set<T>) -> Unusable {
    Unusable { error: format!("option \"{key}\": {error}"), blame: set.place.clone() }
}

/// The names of this computer in its domain, or by itself.
fn server_names(domain: Option<&DomainNames>) -> Arc<ServerNames> {
    let host = host_name();
    let label = host.split('.').next().unwrap_or_default();
    let netbios: String = label
        .chars()
        .filter(|letter| letter.is_ascii_alphanumeric() || "-_".contains(*letter))
        .take(15)
        .collect::<String>()
        .to_ascii_uppercase();
    let netbios = if netbios.is_empty() { "SERVER".to_owned() } else { netbios };
    let dns_domain = domain.and_then(|domain| domain.dns.clone()).unwrap_or_default();
    let dns_computer = match (host.contains('.'), dns_domain.as_str()) {
        (true, _) | (false, "") => host.to_ascii_lowercase(),
        (false, dns) => format!("{}.{dns}", host.to_ascii_lowercase()),
    };
    Arc::new(ServerNames {
        nb_domain: domain.map_or_else(|| netbios.clone(), |domain| domain.netbios.clone()),
        nb_computer: netbios,
        dns_computer,
        dns_tree: dns_domain.clone(),
        dns_domain,
    })
}

/// The computer's name, asked for once: it is told in every challenge and must not change between
/// two.
fn host_name() -> &'static str {
    static NAME: OnceLock<String> = OnceLock::new();
    NAME.get_or_init(|| {
        std::fs::read_to_string("/proc/sys/kernel/hostname")
            .unwrap_or_default()
            .trim()
            .chars()
            .filter(|letter| letter.is_ascii_alphanumeric() || "-_.".contains(*letter))
            .take(super::value::MAX_DNS)
            .collect()
    })
}
