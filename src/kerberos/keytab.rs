//! Keytabs: read into the memory of the process by who may read them, and made into credentials
//! there, so that a sign-in opens no file and tries no key that is not for HTTP.

use std::collections::HashMap;
use std::ffi::{CStr, CString};
use std::fs::{self, File};
use std::hash::{Hash, Hasher};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use sha2::{Digest, Sha256};

use super::ap_req::ApReq;
use super::enctype;
use super::gss::Credential;
use super::krb5::{self, MemoryKeytab, TicketKey};
use super::pac::SealedPac;
use super::ticket;
use crate::names::Escaped;
use crate::watched::{self, Registry, Source, Stamp, Watched};

/// The service of a web server's principals.
const SERVICE: &[u8] = b"HTTP";

/// Every keytab that some configuration uses.
static KEYTABS: Registry<KeytabPath> = Registry::new();

/// The keys of one keytab.
pub type Keytab = Watched<KeytabPath>;

/// Where a keytab is.
pub struct KeytabPath {
    path: PathBuf,
    /// What is accepted with it.
    choices: Mutex<Vec<Weak<Choice>>>,
}

impl PartialEq for KeytabPath {
    fn eq(&self, other: &Self) -> bool {
        self.path == other.path
    }
}

impl Eq for KeytabPath {}

impl Hash for KeytabPath {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.path.hash(state);
    }
}

/// Opens a keytab: the same for every configuration that names the path. One that changed since it
/// was read is read again here and now; the error says what is wrong, with the file's name.
pub fn open(path: &Path) -> Result<Arc<Keytab>, String> {
    KEYTABS.open(KeytabPath { path: path.to_owned(), choices: Mutex::default() })
}

impl Keytab {
    /// Notes what is to be accepted; the error says why nothing could be.
    pub(super) fn choose(&self, choice: &Arc<Choice>) -> Result<(), String> {
        self.value().check(choice)?;
        let mut choices = self.source().choices.lock();
        choices.retain(|known| known.strong_count() > 0);
        if !choices.iter().any(|known| known.as_ptr() == Arc::as_ptr(choice)) {
            choices.push(Arc::downgrade(choice));
        }
        Ok(())
    }
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

/// The keys of a keytab that are for HTTP, by their principals: a ticket is shown to those of the
/// principal that it names and to no others, however many there are.
pub struct KeyRing {
    principals: HashMap<Box<[u8]>, Principal>,
    /// The few different keys of all of them, for tickets by a name that has no key: an account of a
    /// directory has one key under all its names. They are not there if they are not few.
    others: Option<Keys>,
}

/// A principal of this server, and its keys.
struct Principal {
    /// In lower case.
    host: String,
    keys: Keys,
}

/// Keys, and the credentials made of them so far.
pub(super) struct Keys {
    each: Vec<Arc<TicketKey>>,
    /// The same for GSSAPI.
    memory: MemoryKeytab,
    made: Mutex<Vec<(ReplayCache, Arc<Pair>)>>,
}

/// Whose ticket it is.
pub(super) struct Holder {
    /// The principal, as it is displayed.
    pub(super) client: Vec<u8>,
    /// What tells the groups, if the ticket has it.
    pub(super) pac: Option<Arc<SealedPac>>,
}

/// Credentials of the same keys.
pub(super) struct Pair {
    /// With the replay cache.
    pub(super) once: Credential,
    /// Without one: to try what is not yet known to fit. What it accepts counts for nothing.
    pub(super) trial: Credential,
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

/// So many keys of one encryption type are tried for a ticket by an unknown name.
const FEW: usize = 4;

impl Source for KeytabPath {
    type Value = KeyRing;

    const NAME: &'static str = "the keys";

    fn path(&self) -> &Path {
        &self.path
    }

    fn read(&self) -> Result<(KeyRing, Stamp), String> {
        let name = self.path.to_string_lossy();
        let name = Escaped(&name);
        let cannot = |error: std::io::Error| format!("{name}: {}", watched::unreadable(&error));
        let meta = fs::metadata(&self.path).map_err(cannot)?;
        watched::check_private(&meta, "whoever has its keys can sign in as anybody")
            .map_err(|error| format!("{name}: {error}"))?;
        // The library does not always say why it cannot open a file.
        drop(File::open(&self.path).map_err(cannot)?);
        let ring = KeyRing::read(&self.path).map_err(|error| format!("{name}: {error}"))?;
        Ok((ring, Stamp::from(&meta)))
    }

    fn extent(ring: &KeyRing) -> String {
        let count: usize =
            ring.principals.values().map(|principal| principal.keys.each.len()).sum();
        format!("{count} keys for HTTP")
    }

    fn concern(&self, ring: &KeyRing) -> Option<String> {
        let mut choices = self.choices.lock();
        choices.retain(|choice| choice.strong_count() > 0);
        choices.iter().filter_map(Weak::upgrade).find_map(|choice| ring.check(&choice).err())
    }
}

/// Where keys of one principal go, while a keytab is read.
#[derive(Default)]
struct Sorting {
    principals: HashMap<Box<[u8]>, Sorted>,
    /// Encryption types and digests of the keys that are different.
    different: Vec<(i32, [u8; 32])>,
    /// Those keys.
    others: Vec<TicketKey>,
}

struct Sorted {
    index: usize,
    host: String,
    keys: Vec<TicketKey>,
}

impl Sorting {
    /// The first keytab is for the different keys, one after it for each principal.
    fn place(&mut self, key: &krb5::Key<'_>) -> Vec<usize> {
        let [service, host] = key.components[..] else { return Vec::new() };
        if !service.eq_ignore_ascii_case(SERVICE) {
            return Vec::new();
        }
        let next = self.principals.len() + 1;
        let name = fold(&key.components, key.realm);
        let principal = self.principals.entry(name).or_insert_with(|| Sorted {
            index: next,
            host: String::from_utf8_lossy(host).to_ascii_lowercase(),
            keys: Vec::new(),
        });
        principal.keys.push(TicketKey::copy_of(key));
        let digest = (key.enctype, Sha256::digest(key.secret).into());
        if self.different.contains(&digest) {
            return vec![principal.index];
        }
        // More than few of them are of no use.
        if self.different.iter().filter(|(of, _)| *of == key.enctype).count() > FEW {
            return vec![principal.index];
        }
        self.different.push(digest);
        self.others.push(TicketKey::copy_of(key));
        vec![0, principal.index]
    }

    fn are_few(&self) -> bool {
        let of = |enctype| self.different.iter().filter(|(of, _)| *of == enctype).count();
        self.different.iter().all(|&(enctype, _)| of(enctype) <= FEW)
    }
}

/// A principal as it is looked up: directories do not mind the case of names.
fn fold<T: AsRef<[u8]>>(components: &[T], realm: &[u8]) -> Box<[u8]> {
    let mut name = Vec::with_capacity(64);
    for component in components {
        name.extend(component.as_ref().to_ascii_lowercase());
        name.push(0);
    }
    name.extend(realm.to_ascii_lowercase());
    name.into()
}

impl KeyRing {
    fn read(path: &Path) -> Result<Self, String> {
        let path = [b"FILE:", path.as_os_str().as_bytes()].concat();
        let path = CString::new(path).map_err(|_| "its name has a NUL".to_owned())?;
        let mut sorting = Sorting::default();
        let keytabs = krb5::sort_keys(&path, |key| sorting.place(key))?;
        if sorting.principals.is_empty() {
            return Err("has no key of the service HTTP".to_owned());
        }
        let few = sorting.are_few();
        let mut keytabs: Vec<_> = keytabs.into_iter().map(Some).collect();
        let mut take = |index: usize| keytabs.get_mut(index).and_then(Option::take);
        let others = take(0).filter(|_| few).map(|memory| Keys::of(sorting.others, memory));
        let mut principals = HashMap::with_capacity(sorting.principals.len());
        for (name, Sorted { index, host, keys }) in sorting.principals {
            let memory = take(index).ok_or("its keys were not copied")?;
            principals.insert(name, Principal { host, keys: Keys::of(keys, memory) });
        }
        Ok(Self { principals, others })
    }

    /// That somebody could be accepted with this choice.
    pub(super) fn check(&self, choice: &Choice) -> Result<(), String> {
        let of_host = || self.principals.values().filter(|one| choice.takes(&one.host, None));
        if of_host().next().is_none() {
            return Err("has no key of the service HTTP on a host of service_name".to_owned());
        }
        let usable = |one: &Principal| {
            one.keys.each.iter().any(|key| enctype::is_acceptable(key.enctype, choice.rc4))
        };
        match of_host().any(usable) {
            true => Ok(()),
            false => {
                Err("has only keys of encryption types that are refused: DES, and RC4 unless \
                          allow_rc4 is on"
                    .to_owned())
            }
        }
    }

    /// The keys for a ticket in a request to this host.
    pub(super) fn keys(&self, choice: &Choice, ap_req: &ApReq<'_>, host: &str) -> Option<&Keys> {
        match self.principal(ap_req) {
            Some(principal) => choice.takes(&principal.host, Some(host)).then_some(&principal.keys),
            None => self
                .others
                .as_ref()
                .filter(|_| choice.services == Services::Any && ap_req.is_for_service(SERVICE)),
        }
    }

    fn principal(&self, ap_req: &ApReq<'_>) -> Option<&Principal> {
        self.principals.get(&fold(&ap_req.components, ap_req.realm))
    }

    /// Why no key fits a ticket in a request to this host.
    pub(super) fn lack(&self, choice: &Choice, ap_req: &ApReq<'_>, host: &str) -> Lack {
        let principal = self.principal(ap_req);
        let Some(principal) = principal.filter(|one| choice.takes(&one.host, Some(host))) else {
            return Lack::Service;
        };
        let keys = principal.keys.each.iter();
        let mut of_version = keys.filter(|key| ap_req.is_of_version(key.kvno)).peekable();
        if of_version.peek().is_none() {
            Lack::Kvno
        } else if of_version.any(|key| key.enctype == ap_req.enctype) {
            Lack::Key
        } else {
            Lack::Enctype
        }
    }
}

impl Keys {
    fn of(each: Vec<TicketKey>, memory: MemoryKeytab) -> Self {
        Self { each: each.into_iter().map(Arc::new).collect(), memory, made: Mutex::default() }
    }

    /// The client of a ticket that one of these keys has been good for, and the PAC; `None` if only
    /// GSSAPI can tell who it is.
    pub(super) fn client(&self, ap_req: &ApReq<'_>, token: &[u8]) -> Option<Holder> {
        let cipher = ticket::cipher(token)?;
        let fits = |key: &&Arc<TicketKey>| key.enctype == ap_req.enctype;
        let is_named = |key: &&Arc<TicketKey>| ap_req.is_of_version(key.kvno);
        let named = self.each.iter().filter(fits).filter(is_named);
        let others = self.each.iter().filter(fits).filter(|key| !is_named(key));
        let (key, part) = named.chain(others).find_map(|key| Some((key, key.decrypt(cipher)?)))?;
        let part = ticket::Part::read(&part)?;
        let pac = match part.pac() {
            ticket::Pac::None => None,
            ticket::Pac::One(bytes, authtime) => {
                Some(SealedPac::new(bytes, authtime, part.client(), key.clone()))
            }
            ticket::Pac::Unclear => Some(SealedPac::unusable()),
        };
        Some(Holder { client: part.display(), pac: pac.map(Arc::new) })
    }

    /// The credentials, made once for each replay cache.
    pub(super) fn credentials(&self, replay_cache: &ReplayCache) -> Result<Arc<Pair>, String> {
        let mut made = self.made.lock();
        if let Some((_, pair)) = made.iter().find(|(of, _)| of == replay_cache) {
            return Ok(pair.clone());
        }
        let acquire = |rcache: &CStr| {
            let credential = Credential::acquire(self.memory.name(), rcache);
            credential.map_err(|status| status.message)
        };
        let rcache = replay_cache.name()?;
        let pair = Arc::new(Pair { once: acquire(&rcache)?, trial: acquire(c"none:")? });
        made.push((replay_cache.clone(), pair.clone()));
        Ok(pair)
    }
}

impl Choice {
    /// Whether tickets may be for HTTP on this host, in a request to `asked`, or in any.
    fn takes(&self, host: &str, asked: Option<&str>) -> bool {
        match &self.services {
            Services::Any => true,
            Services::RequestHost => asked.is_none_or(|asked| asked.eq_ignore_ascii_case(host)),
            Services::Hosts(hosts) => hosts.iter().any(|one| one == host),
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
