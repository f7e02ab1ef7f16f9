//! Who a client has proved to be.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::accounts::{Account, Backend};
use crate::config::Scope;
use crate::groups::Groups;
use crate::http::Scheme;
use crate::kerberos::{self, Authorization, Principal, SealedPac};
use crate::names;
use crate::naming::{Name, Naming, Original, RealmMap};
use crate::ntlm;
use crate::reason::Reason;
use crate::text;
use crate::text::Text;

/// A proved identity. It is made from a [`ntlm::Proof`] or a [`kerberos::Proof`] and from nothing
/// else.
pub struct Identity {
    who: Who,
    scheme: Scheme,
    channel_bound: bool,
    /// What somebody is called who is not called by the mechanism's own name.
    named: Option<Box<Named>>,
}

enum Who {
    Kerberos(Box<Ticket>),
    Ntlm(Arc<Account>),
}

struct Ticket {
    principal: Principal,
    /// On the clock that nobody sets.
    ends: Duration,
    authorization: Mutex<PacState>,
}

/// A ticket's PAC is opened when somebody wants to know what it tells, and not kept any longer.
enum PacState {
    Sealed(Option<Arc<SealedPac>>),
    Opened(Result<Arc<Groups>, Reason>),
}

impl PacState {
    fn groups(&mut self) -> Result<Arc<Groups>, Reason> {
        let opened = match self {
            Self::Opened(groups) => return groups.clone(),
            Self::Sealed(Some(pac)) => pac.open(),
            Self::Sealed(None) => Err(Reason::MissingPac),
        };
        let groups =
            opened.map(|Authorization { user, groups }| Groups::known(user, groups).shared());
        *self = Self::Opened(groups.clone());
        groups
    }
}

struct Named {
    by: Option<Arc<Naming>>,
    name: Text,
}

/// Somebody who has no name yet.
pub(crate) enum Nameless {
    /// The local system has to be asked about this principal.
    Ask(String),
    /// There is none.
    Unknown,
}

impl Identity {
    /// From what an NTLM handshake proved.
    pub(crate) fn from_ntlm(proof: &ntlm::Proof, scheme: Scheme) -> Self {
        let who = Who::Ntlm(proof.account().clone());
        Self { who, scheme, channel_bound: proof.channel_bound(), named: None }
    }

    /// From what a ticket proved, at this time of the clock that nobody sets.
    pub(crate) fn from_kerberos(proof: &kerberos::Proof, scheme: Scheme, uptime: Duration) -> Self {
        let ends = uptime.saturating_add(proof.lifetime());
        let who = Who::Kerberos(Box::new(Ticket {
            principal: proof.principal().clone(),
            ends,
            authorization: Mutex::new(PacState::Sealed(proof.pac().cloned())),
        }));
        Self { who, scheme, channel_bound: proof.channel_bound(), named: None }
    }

    /// Takes over what `accounts` say of the account now; `false` if the proof is not good for it
    /// any more.
    pub(crate) fn renew(&mut self, accounts: &Backend) -> bool {
        match &mut self.who {
            Who::Kerberos(_) => true,
            Who::Ntlm(account) => {
                let renewed = accounts.renewed(account);
                renewed.map(|renewed| *account = renewed).is_some()
            }
        }
    }

    /// Whether a ticket proved it.
    pub(crate) fn is_kerberos(&self) -> bool {
        matches!(self.who, Who::Kerberos(_))
    }

    /// When the ticket that proved it ends, if one did.
    pub(crate) fn ends(&self) -> Option<Duration> {
        match &self.who {
            Who::Kerberos(ticket) => Some(ticket.ends),
            Who::Ntlm(_) => None,
        }
    }

    /// Whether the name at hand is the one that `naming` gives.
    pub(crate) fn is_named_by(&self, naming: &Option<Arc<Naming>>, map: &RealmMap) -> bool {
        match &self.named {
            Some(named) => named.by == *naming,
            None => self.is_called_by_itself(naming, map),
        }
    }

    /// Whether the mechanism's own name is the one that `naming` gives.
    fn is_called_by_itself(&self, naming: &Option<Arc<Naming>>, map: &RealmMap) -> bool {
        naming.is_none() && (map.is_empty() || self.is_kerberos())
    }

    /// Takes the name that `naming` gives.
    pub(crate) fn name_by(
        &mut self,
        naming: &Option<Arc<Naming>>,
        map: &RealmMap,
    ) -> Result<(), Nameless> {
        if self.is_named_by(naming, map) {
            return Ok(());
        }
        if self.is_called_by_itself(naming, map) {
            self.named = None;
            return Ok(());
        }
        match Naming::name(naming.as_deref(), self.original(), map) {
            Name::Known(name) => {
                self.named = Some(Box::new(Named { by: naming.clone(), name }));
                Ok(())
            }
            Name::Ask(principal) => Err(Nameless::Ask(principal)),
            Name::Unknown => Err(Nameless::Unknown),
        }
    }

    /// Takes the name that the local system gave.
    pub(crate) fn set_local_name(&mut self, naming: &Arc<Naming>, name: String) {
        let named = Named { by: Some(naming.clone()), name: naming.write(name) };
        self.named = Some(Box::new(named));
    }

    fn original(&self) -> Original<'_> {
        let (user, domain) = (self.user().as_str(), self.domain().as_str());
        match self.who {
            Who::Kerberos(_) => Original::Kerberos(user, domain),
            Who::Ntlm(_) => Original::Ntlm(domain, user),
        }
    }

    /// The name for the application. Unless the configuration has another, `user@REALM` by
    /// Kerberos, and `DOMAIN\user` in the account's own spelling by NTLM.
    pub fn name(&self) -> &Text {
        match (&self.named, &self.who) {
            (Some(named), _) => &named.name,
            (None, Who::Kerberos(ticket)) => ticket.principal.name(),
            (None, Who::Ntlm(account)) => account.name(),
        }
    }

    /// The user.
    pub fn user(&self) -> &Text {
        match &self.who {
            Who::Kerberos(ticket) => ticket.principal.user(),
            Who::Ntlm(account) => account.user(),
        }
    }

    /// The domain, or the realm.
    pub fn domain(&self) -> &Text {
        match &self.who {
            Who::Kerberos(ticket) => ticket.principal.realm(),
            Who::Ntlm(account) => account.domain(),
        }
    }

    /// The mechanism.
    pub fn mechanism(&self) -> &Text {
        static KERBEROS: Text = text!("kerberos");
        static NTLM: Text = text!("ntlm");
        match self.who {
            Who::Kerberos(_) => &KERBEROS,
            Who::Ntlm(_) => &NTLM,
        }
    }

    /// The scheme of the request that signed in.
    pub fn scheme(&self) -> &Text {
        self.scheme.name()
    }

    /// The groups: those of the account, or what the ticket's PAC tells; where tickets have none,
    /// those of the account that has the user's name.
    pub(crate) fn groups(&self, scope: &Scope) -> Result<Arc<Groups>, Reason> {
        let ticket = match &self.who {
            Who::Ntlm(account) => return Ok(account.groups().clone()),
            Who::Kerberos(ticket) => ticket,
        };
        let realm = ticket.principal.realm().as_str();
        if scope.realms_without_pac.iter().any(|one| one == realm) {
            let domain = scope.realm_map.domain(realm);
            let account = domain.zip(scope.members.as_ref()).and_then(|(domain, accounts)| {
                accounts.groups(domain, ticket.principal.user().as_str())
            });
            return Ok(account.unwrap_or_else(|| Arc::new(Groups::named(Vec::new()))));
        }
        ticket.authorization.lock().groups()
    }

    /// Whether somebody is called so: by the name for the application, or one that the mechanism
    /// gives.
    pub(crate) fn is_called(&self, name: &str, map: &RealmMap) -> bool {
        names::same(self.name().as_str().encode_utf16(), name.encode_utf16())
            || self.original().is_called(name, map)
    }

    /// Whether the proof was bound to the TLS connection.
    pub fn channel_bound(&self) -> bool {
        self.channel_bound
    }
}
