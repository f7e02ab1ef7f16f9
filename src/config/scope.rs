//! What the options come to: a scope, which is interned, and rules.

use std::collections::BTreeMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use parking_lot::Mutex;

use super::value::DomainNames;
use super::{ChannelBindingMode, Effective, Network, ServiceName, Settings, Unusable};
use crate::accounts::Backend;
use crate::http::Scheme;
use crate::ntlm::ServerNames;

/// Who can sign in, and how. Connections keep what they know for one scope only.
#[derive(PartialEq, Eq, Hash)]
pub struct Scope {
    /// The schemes to offer, in this order.
    pub schemes: Arc<[Scheme]>,
    /// The accounts for NTLM.
    pub accounts: Backend,
    /// What a CHALLENGE calls this server.
    pub names: Arc<ServerNames>,
    /// Whether sign-ins are bound to TLS.
    pub channel_binding: ChannelBindingMode,
    /// The service that clients must mean.
    pub service_name: Arc<ServiceName>,
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
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// Whether it lasts as long as the connection.
    pub persist: bool,
}

/// Every scope that is in use, by its hash.
static SCOPES: Mutex<BTreeMap<u64, Vec<Weak<Scope>>>> = Mutex::new(BTreeMap::new());

impl Scope {
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
        let accounts = self.accounts.as_ref().ok_or_else(|| match &self.mechanisms {
            Some(set) => Unusable {
                error: "option \"mechanisms\": ntlm needs \"accounts\", which is not set"
                    .to_owned(),
                blame: set.place.clone(),
            },
            None => Unusable {
                error: "no mechanism is configured: set \"accounts\" to offer NTLM".to_owned(),
                blame: None,
            },
        })?;
        let value_or = |set: Option<&Arc<[Scheme]>>, default: &[Scheme]| {
            set.cloned().unwrap_or_else(|| default.into())
        };
        let scope = Scope {
            schemes: value_or(self.schemes.as_ref().map(|set| &set.value), &[Scheme::Ntlm]),
            accounts: accounts.value.clone(),
            names: server_names(self.domain.as_ref().map(|set| &*set.value)),
            channel_binding: self
                .channel_binding
                .as_ref()
                .map_or(ChannelBindingMode::Allow, |set| set.value),
            service_name: self
                .service_name
                .as_ref()
                .map_or_else(|| Arc::new(ServiceName::Any), |set| set.value.clone()),
            proxies: self
                .proxies
                .as_ref()
                .map_or_else(|| Arc::new([]) as _, |set| set.value.clone()),
            handshake_lifetime: self
                .handshake_lifetime
                .as_ref()
                .map_or(Duration::from_secs(120), |set| set.value),
            timeout: self.timeout.as_ref().map_or(Duration::from_secs(10), |set| set.value),
            max_jobs: self.max_jobs.as_ref().map_or(32, |set| set.value),
        };
        let rules = Rules { persist: self.persist.as_ref().is_none_or(|set| set.value) };
        Ok(Effective { scope: scope.intern(), rules })
    }
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
