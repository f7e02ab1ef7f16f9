//! Keytabs: read into the memory of the process by who may read them, and made into credentials
//! there, so that a sign-in opens no file and tries no key that is not for HTTP.

use std::ffi::CString;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use super::ap_req::ApReq;
use super::enctype;
use super::gss::Credential;
use super::krb5::{self, MemoryKeytab};
use crate::names::Escaped;
use crate::watched::{self, Registry, Source, Stamp, Watched};

/// The service of a web server's principals.
const SERVICE: &[u8] = b"HTTP";

/// Every keytab that some configuration uses.
static KEYTABS: Registry<KeytabPath> = Registry::new();

/// The keys of one keytab.
pub type Keytab = Watched<KeytabPath>;

/// Where a keytab is.
#[derive(PartialEq, Eq, Hash)]
pub struct KeytabPath(PathBuf);

/// Opens a keytab: the same for every configuration that names the path. One that changed since it
/// was read is read again here and now; the error says what is wrong, with the file's name.
pub fn open(path: &Path) -> Result<Arc<Keytab>, String> {
    KEYTABS.open(KeytabPath(path.to_owned()))
}

/// What may be accepted with a keytab. Other choices make other credentials.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Choice {
    /// The services that tickets may be for.
    pub services: Services,
    /// Whether RC4 counts.
    pub rc4: bool,
    /// Where tickets that have been seen are remembered.
    pub replay_cache: ReplayCache,
}

/// The services that tickets may be for.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Services {
    /// HTTP on any host that the keytab has a key for.
    Any,
    /// HTTP on the host that the request names.
    RequestHost,
    /// HTTP on one of these, in lower case.
    Hosts(Vec<String>),
}

/// Where tickets that have been seen are remembered, so that none is good twice.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ReplayCache {
    /// In the library's own place.
    Default,
    /// In a folder.
    Directory(PathBuf),
    /// Nowhere.
    Off,
}

/// The keys of a keytab that are for HTTP.
pub struct KeyRing {
    memory: MemoryKeytab,
    keys: Vec<Key>,
    /// The credentials made of them so far.
    made: Mutex<Vec<(Arc<Choice>, Arc<Credentials>)>>,
}

/// What is known of one key, whose service is HTTP.
struct Key {
    components: [Box<[u8]>; 2],
    realm: Box<[u8]>,
    kvno: u32,
    enctype: i32,
}

/// What a keytab lacks for a ticket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lack {
    /// A key of that principal, or one that may be used here.
    Service,
    /// One of that version.
    Kvno,
    /// One of that encryption type.
    Enctype,
    /// Nothing that shows: the key must be another.
    Key,
}

/// What tickets are accepted with.
pub(super) struct Credentials {
    /// One for each host where hosts count, else one for all.
    of_hosts: Vec<(Option<String>, Pair)>,
}

/// Credentials of the same keys.
pub(super) struct Pair {
    /// With the replay cache.
    pub(super) once: Credential,
    /// Without one: to try what is not yet known to fit. What it accepts counts for nothing.
    pub(super) trial: Credential,
}

impl Source for KeytabPath {
    type Value = KeyRing;

    const NAME: &'static str = "the keys";

    fn path(&self) -> &Path {
        &self.0
    }

    fn read(&self) -> Result<(KeyRing, Stamp), String> {
        let name = self.0.to_string_lossy();
        let name = Escaped(&name);
        let cannot = |error: std::io::Error| format!("{name}: {}", watched::unreadable(&error));
        let meta = fs::metadata(&self.0).map_err(cannot)?;
        watched::check_private(&meta, "whoever has its keys can sign in as anybody")
            .map_err(|error| format!("{name}: {error}"))?;
        // The library does not always say why it cannot open a file.
        drop(File::open(&self.0).map_err(cannot)?);
        let ring = KeyRing::read(&self.0).map_err(|error| format!("{name}: {error}"))?;
        Ok((ring, Stamp::from(&meta)))
    }

    fn extent(ring: &KeyRing) -> String {
        format!("{} keys for HTTP", ring.keys.len())
    }
}

impl KeyRing {
    fn read(path: &Path) -> Result<Self, String> {
        let path = [b"FILE:", path.as_os_str().as_bytes()].concat();
        let path = CString::new(path).map_err(|_| "its name has a NUL".to_owned())?;
        let mut keys = Vec::new();
        let memory = MemoryKeytab::load(&path, |key| {
            let key = Key::of(key);
            let is_ours = key.is_some();
            keys.extend(key);
            is_ours
        })?;
        match keys.is_empty() {
            true => Err("has no key of the service HTTP".to_owned()),
            false => Ok(Self { memory, keys, made: Mutex::default() }),
        }
    }

    /// What to accept tickets with, made once for all who choose the same.
    pub(super) fn credentials(&self, choice: &Arc<Choice>) -> Result<Arc<Credentials>, String> {
        let mut made = self.made.lock();
        let known = made.iter().find(|(of, _)| Arc::ptr_eq(of, choice) || of == choice);
        if let Some((_, credentials)) = known {
            return Ok(credentials.clone());
        }
        let credentials = Arc::new(self.make(choice)?);
        made.push((choice.clone(), credentials.clone()));
        Ok(credentials)
    }

    fn make(&self, choice: &Choice) -> Result<Credentials, String> {
        let usable = || self.keys.iter().filter(|key| choice.takes(key));
        let mut hosts: Vec<_> = match choice.services {
            Services::RequestHost => usable().map(|key| Some(key.host())).collect(),
            _ => usable().take(1).map(|_| None).collect(),
        };
        hosts.sort_unstable();
        hosts.dedup();
        if hosts.is_empty() {
            return Err(self.say_unusable(choice));
        }
        let rcache = choice.replay_cache.name()?;
        let of_host = |host: Option<String>| {
            let memory = MemoryKeytab::load(self.memory.name(), |key| {
                Key::of(key).is_some_and(|key| {
                    choice.takes(&key) && host.as_ref().is_none_or(|host| *host == key.host())
                })
            })?;
            let acquire = |rcache| {
                let credential = Credential::acquire(memory.name(), rcache);
                credential.map_err(|status| format!("cannot be used: {}", status.message))
            };
            Ok((host, Pair { once: acquire(&*rcache)?, trial: acquire(c"none:")? }))
        };
        let of_hosts = hosts.into_iter().map(of_host).collect::<Result<_, String>>()?;
        Ok(Credentials { of_hosts })
    }

    fn say_unusable(&self, choice: &Choice) -> String {
        match self.keys.iter().any(|key| enctype::is_acceptable(key.enctype, choice.rc4)) {
            true => "has no key of the service HTTP on a host of service_name",
            false => {
                "has only keys of encryption types that are refused: DES, and RC4 unless \
                 allow_rc4 is on"
            }
        }
        .to_owned()
    }

    /// Why no key fits a ticket in a request to this host.
    pub(super) fn lack(&self, choice: &Choice, ap_req: &ApReq<'_>, host: &str) -> Lack {
        let here = |key: &&Key| {
            choice.takes(key)
                && (choice.services != Services::RequestHost
                    || key.host().eq_ignore_ascii_case(host))
                && ap_req.is_for(&key.components, &key.realm)
        };
        // A file of the first format has one octet for the version.
        let of_version =
            |key: &&Key| ap_req.kvno.is_none_or(|kvno| key.kvno == kvno || key.kvno == kvno & 0xff);
        let of_service = || self.keys.iter().filter(here);
        if of_service().next().is_none() {
            Lack::Service
        } else if !of_service().any(|key| of_version(&key)) {
            Lack::Kvno
        } else if !of_service().filter(of_version).any(|key| key.enctype == ap_req.enctype) {
            Lack::Enctype
        } else {
            Lack::Key
        }
    }
}

impl Credentials {
    /// Those for a request to this host.
    pub(super) fn for_host(&self, host: &str) -> Option<&Pair> {
        let fits = |of: &Option<String>| of.as_ref().is_none_or(|of| of.eq_ignore_ascii_case(host));
        self.of_hosts.iter().find(|(of, _)| fits(of)).map(|(_, pair)| pair)
    }
}

impl Key {
    /// A key of the service HTTP. Directories that do not mind the case of names write it as they
    /// like.
    fn of(key: &krb5::Key<'_>) -> Option<Self> {
        let [service, host] = key.components[..] else { return None };
        service.eq_ignore_ascii_case(SERVICE).then(|| Self {
            components: [service.into(), host.into()],
            realm: key.realm.into(),
            kvno: key.kvno,
            enctype: key.enctype,
        })
    }

    /// The host, in lower case.
    fn host(&self) -> String {
        String::from_utf8_lossy(&self.components[1]).to_ascii_lowercase()
    }
}

impl Choice {
    fn takes(&self, key: &Key) -> bool {
        enctype::is_acceptable(key.enctype, self.rc4)
            && match &self.services {
                Services::Any | Services::RequestHost => true,
                Services::Hosts(hosts) => hosts.contains(&key.host()),
            }
    }
}

impl ReplayCache {
    /// The library's name for it. Processes of one user share it.
    fn name(&self) -> Result<CString, String> {
        let name = match self {
            Self::Default => b"dfl:".to_vec(),
            Self::Directory(path) => {
                let file = path.join("negotiate-auth.rcache2");
                [b"file2:", file.as_os_str().as_bytes()].concat()
            }
            Self::Off => b"none:".to_vec(),
        };
        CString::new(name).map_err(|_| "the name of the folder has a NUL".to_owned())
    }
}
