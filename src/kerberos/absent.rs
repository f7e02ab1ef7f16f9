//! Kerberos in a build without it: nothing of it can be configured, hence nothing of it is.

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::channel_binding::Expected;
use crate::job::Job;
use crate::reason::Reason;
use crate::sid::{Sid, SidSet};
use crate::spnego::Integrity;
use crate::text::Text;
use crate::watched::Notice;

/// No keytab.
pub enum Keytab {}

/// Says that there is no Kerberos.
pub fn open(_: &Path) -> Result<Arc<Keytab>, String> {
    Err("this build has no Kerberos".to_owned())
}

/// What would be chosen.
#[derive(Clone, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub struct Choice {
    pub services: Services,
    pub rc4: bool,
    pub replay_cache: ReplayCache,
}

/// The services that tickets would be for.
#[derive(Clone, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Services {
    Any,
    RequestHost,
    Hosts(Vec<String>),
}

/// Where tickets would be remembered.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum ReplayCache {
    Default,
    Directory(PathBuf),
    Off,
}

/// No acceptor.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Acceptor(Infallible);

/// No proof.
pub struct Proof(Infallible);

/// No PAC.
pub struct SealedPac(Infallible);

/// What it would tell.
#[allow(missing_docs)]
pub struct Authorization {
    pub user: Sid,
    pub groups: SidSet,
}

#[allow(missing_docs)]
impl SealedPac {
    pub fn open(&self) -> Result<Authorization, Reason> {
        match self.0 {}
    }
}

/// No principal.
#[derive(Clone)]
pub struct Principal(Infallible);

/// No context.
pub struct Established(Infallible);

/// No refusal.
pub struct Refusal {
    /// Why.
    pub reason: Reason,
    /// What the log should say besides.
    pub subject: Option<String>,
    /// For the client.
    pub token: Option<Vec<u8>>,
}

#[allow(missing_docs)]
impl Acceptor {
    pub(crate) fn new(keytab: Arc<Keytab>, _: Choice) -> Result<Self, String> {
        match *keytab {}
    }

    pub(crate) fn before_accept(&self) -> Option<Job> {
        match self.0 {}
    }

    pub(crate) fn take_notice(&self) -> Option<Notice> {
        match self.0 {}
    }

    pub fn accept(
        &self,
        _: &str,
        _: &[u8],
        _: &Expected,
    ) -> Result<(Proof, Option<Vec<u8>>, Established), Refusal> {
        match self.0 {}
    }
}

#[allow(missing_docs)]
impl Proof {
    pub fn principal(&self) -> &Principal {
        match self.0 {}
    }

    pub fn channel_bound(&self) -> bool {
        match self.0 {}
    }

    pub fn pac(&self) -> Option<&Arc<SealedPac>> {
        match self.0 {}
    }

    pub fn lifetime(&self) -> Duration {
        match self.0 {}
    }
}

#[allow(missing_docs)]
impl Principal {
    pub fn name(&self) -> &Text {
        match self.0 {}
    }

    pub fn user(&self) -> &Text {
        match self.0 {}
    }

    pub fn realm(&self) -> &Text {
        match self.0 {}
    }
}

impl Established {
    /// What signs.
    pub fn integrity(&self) -> Option<&dyn Integrity> {
        match self.0 {}
    }
}

/// No name.
pub(crate) fn local_name(_: &str) -> Option<String> {
    None
}
