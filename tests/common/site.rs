//! A site with accounts, its visitors' connections, and a clock that stands still.

use std::cell::Cell;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use negotiate_auth::config::Config;
use negotiate_auth::http::Authorization;
use negotiate_auth::job::Job;
use negotiate_auth::ntlm::FileTime;
use negotiate_auth::reason::Reason;
use negotiate_auth::session::{Connection, HalfOpen, HeaderKind, Hooks, Request, Session, Verdict};
use tempfile::TempDir;

use super::client::Client;

/// The accounts of every site: alice, bob, and carol, who is disabled. Another domain has an alice
/// of its own.
pub(crate) const ACCOUNTS: &str = "\
# DEMO is the default domain.
DEMO\\alice:fc525c9683e8fe067095ba2ddc971889:staff,web admins
DEMO\\Bob:6608e4bc7b2b7a5f77ce3573570775af
DEMO\\carol:!
OTHER\\alice:6608e4bc7b2b7a5f77ce3573570775af
";

const ALICES_PASSWORD: &str = "Passw0rd!";
const BOBS_PASSWORD: &str = "hunter2";

pub(crate) fn alice() -> Client {
    Client::new("DEMO", "alice", ALICES_PASSWORD)
}

pub(crate) fn bob() -> Client {
    Client::new("DEMO", "bob", BOBS_PASSWORD)
}

/// Who is not who they say.
pub(crate) fn mallory() -> Client {
    Client::new("DEMO", "alice", "guess")
}

/// 2024-01-01.
const START: u64 = 133_485_408_000_000_000;

thread_local! {
    /// As late as a test makes it.
    static NOW: Cell<u64> = const { Cell::new(START) };
    /// The next ServerChallenge.
    static CHALLENGE: Cell<u64> = const { Cell::new(0x0123_4567_89ab_cdef) };
    static RANDOMNESS: Cell<bool> = const { Cell::new(true) };
    /// Of this thread: its time is not that of other tests, and so are its handshakes.
    static HOOKS: &'static Hooks = Box::leak(Box::new(Hooks {
        now: || FileTime(NOW.get()),
        uptime: || Duration::from_nanos((NOW.get() - START) * 100),
        server_challenge: || {
            CHALLENGE.set(CHALLENGE.get().wrapping_add(1));
            RANDOMNESS.get().then(|| CHALLENGE.get().to_be_bytes())
        },
        half_open: HalfOpen::new(),
    }));
}

/// How many handshakes of this thread are half done.
pub(crate) fn half_open() -> usize {
    HOOKS.with(|hooks| hooks.half_open.len())
}

/// Lets time pass on this thread.
pub(crate) fn pass(milliseconds: u64) {
    NOW.set(NOW.get() + milliseconds * 10_000);
}

/// What `f` comes to on a system that has no random bytes.
pub(crate) fn without_randomness<T>(f: impl FnOnce() -> T) -> T {
    RANDOMNESS.set(false);
    let result = f();
    RANDOMNESS.set(true);
    result
}

/// A folder with an accounts file, gone when the test is.
pub(crate) struct Site {
    folder: TempDir,
}

impl Site {
    pub(crate) fn new() -> Self {
        let site = Self { folder: tempfile::tempdir().expect("a folder") };
        site.rewrite(ACCOUNTS);
        site
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.folder.path().join("accounts")
    }

    /// Replaces the accounts file as editors and the tool do.
    pub(crate) fn rewrite(&self, accounts: &str) {
        let new = self.folder.path().join("new");
        std::fs::write(&new, accounts).expect("a file");
        std::fs::set_permissions(&new, PermissionsExt::from_mode(0o640)).expect("a mode");
        std::fs::rename(new, self.file()).expect("a new file in place of the old");
    }

    /// What an administrator set: `options` one to a line, besides accounts and domain.
    pub(crate) fn config(&self, options: &str) -> Config {
        let mut config = Config::default();
        let accounts = format!("accounts file:{}", self.file().display());
        for line in [&accounts, "domain DEMO demo.test"].into_iter().chain(options.lines()) {
            let words: Vec<_> = line.split_whitespace().map(str::as_bytes).collect();
            let (key, args) = words.split_first().expect("a key");
            assert!(config.set(key, args, None), "{}", config.error().as_str());
        }
        config
    }
}

/// What a session answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) verdict: Verdict,
    pub(crate) status: u16,
    pub(crate) reason: Reason,
    pub(crate) fields: Vec<(String, String, HeaderKind)>,
    pub(crate) name: Option<String>,
    pub(crate) detail: String,
    pub(crate) notice: String,
}

impl Answer {
    fn of(session: &Session, verdict: Verdict) -> Self {
        let fields = (0..).map_while(|index| session.header(index));
        Self {
            verdict,
            status: session.status(),
            reason: session.reason(),
            fields: fields
                .map(|field| {
                    (field.name.as_str().to_owned(), field.value.as_str().to_owned(), field.kind)
                })
                .collect(),
            name: session.identity().map(|identity| identity.name().as_str().to_owned()),
            detail: session.detail().as_str().to_owned(),
            notice: session.notice().text.as_str().to_owned(),
        }
    }

    /// All that the client gets to see of it.
    pub(crate) fn seen(&self) -> (Verdict, u16, &[(String, String, HeaderKind)]) {
        (self.verdict, self.status, &self.fields)
    }

    /// The values of the fields of that name.
    pub(crate) fn values(&self, name: &str) -> Vec<&str> {
        let fields = self.fields.iter().filter(|field| field.0 == name);
        fields.map(|field| field.1.as_str()).collect()
    }

    pub(crate) fn challenges(&self) -> Vec<&str> {
        self.values("WWW-Authenticate")
    }

    /// The token of its only challenge.
    pub(crate) fn token(&self) -> Vec<u8> {
        let challenges = [self.challenges(), self.values("Proxy-Authenticate")].concat();
        let [challenge] = challenges[..] else { panic!("no single challenge: {self:?}") };
        let (_, token) = challenge.split_once(' ').expect("a token behind the scheme");
        STANDARD.decode(token).expect("base64")
    }

    /// It says who signed in.
    #[track_caller]
    pub(crate) fn is(&self, name: &str) {
        assert_eq!((self.verdict, self.status), (Verdict::Accepted, 0), "{self:?}");
        assert_eq!(self.name.as_deref(), Some(name));
        assert_eq!(self.reason, Reason::SignedIn);
    }

    /// It refuses for that reason, and nobody is signed in.
    #[track_caller]
    pub(crate) fn refused(&self, status: u16, reason: Reason) {
        assert_eq!((self.verdict, self.reason), (Verdict::Rejected, reason), "{self:?}");
        assert_eq!((self.status, self.name.as_deref()), (status, None), "{self:?}");
        assert_eq!(!self.challenges().is_empty(), status == 401, "{self:?}");
    }

    /// It asks for credentials with bare challenges, and nobody is signed in.
    #[track_caller]
    pub(crate) fn asks(&self, challenges: &[&str]) {
        assert_eq!((self.verdict, self.status), (Verdict::Challenge, 401), "{self:?}");
        assert_eq!((self.reason, self.name.as_deref()), (Reason::NoCredentials, None));
        assert_eq!(self.challenges(), challenges);
    }
}

/// A client's connection, and what the server says about its requests.
pub(crate) struct Visitor {
    pub(crate) session: Session,
    pub(crate) scheme: &'static str,
    pub(crate) http_version: u32,
    pub(crate) persistent: bool,
    pub(crate) tls: bool,
    pub(crate) forwarded: bool,
    pub(crate) proxy: bool,
    pub(crate) peer: &'static str,
    pub(crate) host: &'static str,
    pub(crate) certificates: Vec<Vec<u8>>,
}

impl Visitor {
    /// On an HTTP/1.1 connection of its own.
    pub(crate) fn new() -> Self {
        Self::on(Connection::Serial)
    }

    pub(crate) fn on(connection: Connection) -> Self {
        Self {
            session: Session::with_hooks(connection, HOOKS.with(|hooks| *hooks)),
            scheme: "NTLM",
            http_version: match connection {
                Connection::Serial => 1001,
                Connection::Multiplexed => 2000,
            },
            persistent: true,
            tls: false,
            forwarded: false,
            proxy: false,
            peer: "192.0.2.7",
            host: "www.demo.test",
            certificates: Vec::new(),
        }
    }

    /// A request without credentials.
    pub(crate) fn get(&mut self, config: &Config) -> Answer {
        self.step(config, Authorization::None, false)
    }

    /// A request with an Authorization field.
    pub(crate) fn send(&mut self, config: &Config, value: &str) -> Answer {
        self.step(config, Authorization::One(value.as_bytes()), false)
    }

    /// A request with a token in the visitor's scheme.
    pub(crate) fn token(&mut self, config: &Config, token: &[u8]) -> Answer {
        self.send(config, &format!("{} {}", self.scheme, STANDARD.encode(token)))
    }

    /// The last request again, redirected inside the server; its credentials are still there.
    pub(crate) fn again(&mut self, config: &Config, token: &[u8]) -> Answer {
        let value = format!("{} {}", self.scheme, STANDARD.encode(token));
        self.step(config, Authorization::One(value.as_bytes()), true)
    }

    pub(crate) fn step(
        &mut self,
        config: &Config,
        authorization: Authorization<'_>,
        again: bool,
    ) -> Answer {
        let certificates: Vec<_> = self.certificates.iter().map(Vec::as_slice).collect();
        let request = Request {
            authorization,
            host: self.host.as_bytes(),
            http_version: self.http_version,
            persistent: self.persistent,
            tls: self.tls,
            forwarded: self.forwarded,
            proxy: self.proxy,
            again,
            peer: self.peer.as_bytes(),
            certificates: &certificates,
        };
        let verdict = self.session.step(config, &request);
        Answer::of(&self.session, verdict)
    }

    /// NEGOTIATE, and the AUTHENTICATE for the CHALLENGE that comes back.
    #[track_caller]
    pub(crate) fn begin(&mut self, config: &Config, client: &Client) -> Vec<u8> {
        let negotiate = client.negotiate();
        let answer = self.token(config, &negotiate);
        assert_eq!((answer.verdict, answer.reason), (Verdict::Challenge, Reason::InProgress));
        client.authenticate(&negotiate, &answer.token())
    }

    /// A whole handshake.
    #[track_caller]
    pub(crate) fn sign_in(&mut self, config: &Config, client: &Client) -> Answer {
        let authenticate = self.begin(config, client);
        self.token(config, &authenticate)
    }

    pub(crate) fn resume(&mut self, job: Option<Arc<Job>>) -> Answer {
        let verdict = self.session.resume(job);
        Answer::of(&self.session, verdict)
    }
}
