//! What a fuzzer calls: each function takes any bytes and fails by panicking. The same functions
//! run, for a short while and always alike, in the project's tests (tests/fuzz_smoke.rs).

#[cfg(feature = "kerberos")]
mod kerberos;

use std::os::unix::fs::PermissionsExt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

#[cfg(feature = "kerberos")]
pub use kerberos::{kerberos, one_handshake};

use negotiate_auth::accounts::{Account, AccountName, Accounts, Entry};
use negotiate_auth::channel_binding::ntlm_binding;
use negotiate_auth::config::Config;
use negotiate_auth::http::Authorization;
use negotiate_auth::ntlm::av_pair::AvPairs;
use negotiate_auth::ntlm::message::{Authenticate, Challenge, Negotiate, Ntlmv2Response};
use negotiate_auth::ntlm::{
    Authority, Challenged, ChannelBindings, Context, FileTime, MicPolicy, Policy, SIGNATURE,
    ServerNames, ServiceNames, crypto,
};
use negotiate_auth::reason::Reason;
use negotiate_auth::secret::Secret;
use negotiate_auth::session::{Connection, HalfOpen, HeaderKind, Hooks, Request, Session, Verdict};
use negotiate_auth::spnego::{InitialToken, MechType, NegTokenResp, Negotiation};

const NOW: FileTime = FileTime(133_485_408_000_000_000);
const SERVER_CHALLENGE: [u8; 8] = [0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef];
/// Of "Passw0rd!", which the corpus's alice has: her recorded messages fit.
const NT_HASH: [u8; 16] = [
    0xfc, 0x52, 0x5c, 0x96, 0x83, 0xe8, 0xfe, 0x06, 0x70, 0x95, 0xba, 0x2d, 0xdc, 0x97, 0x18, 0x89,
];

/// More than any session may hold, whatever it was sent.
const MOST_HELD: usize = 16 << 10;

// ---- A whole session --------------------------------------------------------------------------

/// A connection and its requests. The first byte says what kind of connection it is; the rest is
/// Authorization values, one to a line, or NTLM messages, each up to the next signature.
pub fn step(data: &[u8]) {
    let Some((&kind, rest)) = data.split_first() else { return };
    let has = |bit: u8| kind & 1 << bit != 0;
    let connection = if has(0) { Connection::Multiplexed } else { Connection::Serial };
    let mut session = Session::with_hooks(connection, &HOOKS);
    let values = if has(1) { messages(rest) } else { lines(rest) };
    let certificate = [rest];
    for (index, value) in values.iter().enumerate() {
        let request = Request {
            authorization: match &value[..] {
                b"" => Authorization::None,
                b"*" => Authorization::Several,
                value => Authorization::One(value),
            },
            host: b"www.demo.test",
            http_version: if has(2) { 2000 } else { 1001 },
            persistent: !has(3),
            tls: has(4),
            forwarded: has(5),
            proxy: has(6),
            again: has(7) && index % 2 == 1,
            peer: b"192.0.2.7",
            certificates: &certificate,
        };
        let verdict = session.step(config(), &request);
        check(&session, verdict);
    }
}

static HOOKS: Hooks = Hooks {
    now: || NOW,
    uptime: || Duration::ZERO,
    server_challenge: || Some(SERVER_CHALLENGE),
    half_open: HalfOpen::new(),
};

/// What is true after every step here.
fn check(session: &Session, verdict: Verdict) {
    let known = |name: &str| matches!(name, "DEMO\\alice" | "DEMO\\bob");
    let identity = session.identity().map(|identity| identity.name().as_str());
    assert!(identity.is_none_or(known), "{identity:?}");
    check_any(session, verdict);
}

/// What is true after every step, whoever can sign in.
fn check_any(session: &Session, verdict: Verdict) {
    let identity = session.identity();
    assert_eq!(verdict == Verdict::Accepted, identity.is_some());
    assert_eq!(verdict == Verdict::Accepted, session.status() == 0);
    let fields = (0..).map_while(|index| session.header(index));
    let names = fields.map(|field| (field.name.as_str().ends_with("-Authenticate"), field.kind));
    let names: Vec<_> = names.collect();
    let asks = names.contains(&(true, HeaderKind::Challenge));
    assert_eq!(matches!(session.status(), 401 | 407), asks, "{}", session.status());
    // Who has proved an identity and has no name here is shown the end of the handshake, too.
    let proved = identity.is_some() || session.reason() == Reason::NoLocalName;
    assert!(proved || !names.contains(&(true, HeaderKind::Always)));
    assert!(session.held() < MOST_HELD, "{} bytes", session.held());
    let names = identity.map(|identity| [identity.name(), identity.user(), identity.domain()]);
    for text in names.into_iter().flatten().chain([session.detail(), &session.notice().text]) {
        assert!(!text.as_str().contains(char::is_control), "{text:?}");
    }
}

fn lines(data: &[u8]) -> Vec<Vec<u8>> {
    data.split(|&byte| byte == b'\n').map(<[u8]>::to_vec).collect()
}

fn messages(data: &[u8]) -> Vec<Vec<u8>> {
    let starts: Vec<_> = data
        .windows(SIGNATURE.len())
        .enumerate()
        .filter_map(|(at, window)| (window == SIGNATURE).then_some(at))
        .collect();
    let ends = starts.iter().skip(1).copied().chain([data.len()]);
    starts.iter().zip(ends).map(|(&start, end)| authorization("NTLM", &data[start..end])).collect()
}

/// The scheme and the message in base64.
fn authorization(scheme: &str, message: &[u8]) -> Vec<u8> {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut value = format!("{scheme} ").into_bytes();
    for group in message.chunks(3) {
        let bits = group.iter().fold(0, |bits, &byte| bits << 8 | usize::from(byte));
        let bits = bits << (8 * (3 - group.len()));
        for at in 0..4 {
            let digit = DIGITS[bits >> (18 - 6 * at) & 63];
            value.push(if at <= group.len() { digit } else { b'=' });
        }
    }
    value
}

fn config() -> &'static Config {
    static CONFIG: OnceLock<Config> = OnceLock::new();
    CONFIG.get_or_init(|| {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("accounts");
        let hash = NT_HASH.map(|byte| format!("{byte:02x}")).concat();
        std::fs::write(&file, format!("DEMO\\alice:{hash}\nDEMO\\bob:!\n")).expect("a file");
        std::fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).expect("a mode");
        let accounts = format!("file:{}", file.display());
        let mut config = Config::default();
        for (key, args) in [
            ("accounts", &[accounts.as_str()][..]),
            ("domain", &["DEMO", "demo.test"]),
            ("schemes", &["negotiate", "ntlm"]),
        ] {
            let args: Vec<_> = args.iter().map(|arg| arg.as_bytes()).collect();
            assert!(config.set(key.as_bytes(), &args, None), "{}", config.error().as_str());
        }
        config
    })
}

// ---- Messages ---------------------------------------------------------------------------------

/// Everything that reads a message or a part of one.
pub fn message(data: &[u8]) {
    let negotiate = Negotiate::read(data);
    if let Ok(challenged) = Challenged::answer(data, names(), &SERVER_CHALLENGE, Some(NOW)) {
        assert!(negotiate.is_ok());
        let challenge = Challenge::read(challenged.challenge()).expect("our own CHALLENGE");
        assert!(challenge.target_info.echo(&challenge.target_info));
        assert!(challenged.held() < 1024);
    }
    if let Ok(read) = Authenticate::read(data) {
        let fields = [read.lm_response, read.nt_response, read.domain, read.user];
        assert!(fields.iter().all(|field| field.len() <= data.len()));
        assert_eq!(read.mic().is_some(), read.payload >= 88);
    }
    let _ = Challenge::read(data);
    if let Ok(read) = Ntlmv2Response::read(data) {
        assert_eq!(read.proof.len() + read.blob.len(), data.len());
    }
    if let Ok(pairs) = AvPairs::read(data) {
        assert!(pairs.echo(&pairs));
        assert!(pairs.iter().all(|(id, value)| pairs.get(id) == Some(value)));
    }
    answer(data);
    answer(&authenticate(data));
}

/// An AUTHENTICATE of alice whose NTProofStr is right for the blob in `data`, so that what is
/// looked at behind the proof gets to see it.
fn authenticate(data: &[u8]) -> Vec<u8> {
    let blob = &data[..data.len().min(2048)];
    let utf16le = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>();
    let ntowf_v2 = crypto::ntowf_v2(&Secret::new(NT_HASH), &utf16le("ALICECONTOSO"));
    let proof = crypto::nt_proof_str(&crypto::hmac_md5(&ntowf_v2), &SERVER_CHALLENGE, blob);
    let nt_response = [&proof.expose()[..], blob].concat();
    let mut message = [&SIGNATURE[..], &3_u32.to_le_bytes()].concat();
    let mut payload = Vec::new();
    for part in [&[][..], &nt_response, &utf16le("CONTOSO"), &utf16le("alice"), &[], &[7; 16]] {
        let len = u16::try_from(part.len()).expect("a short part").to_le_bytes();
        let offset = u32::try_from(88 + payload.len()).expect("a short message");
        message.extend([len, len].concat());
        message.extend(offset.to_le_bytes());
        payload.extend_from_slice(part);
    }
    message.resize(88, 0);
    message.extend(payload);
    message
}

/// Judges an AUTHENTICATE under the policies that look at most. Only alice can come out.
fn answer(token: &[u8]) {
    /// Offers all that the acceptor knows.
    const OFFER: u32 = 0xe208_8233;
    let negotiate = [&SIGNATURE[..], &1_u32.to_le_bytes(), &OFFER.to_le_bytes()].concat();
    let bindings = [[9; 16]];
    let (allow, require) = (ChannelBindings::Allow(&bindings), ChannelBindings::Require(&bindings));
    let host = ServiceNames::Host("server1.contoso.test");
    for (mic, timestamp, channel_bindings, service_names) in [
        (MicPolicy::WhenFlagged, Some(NOW), allow, ServiceNames::Any),
        (MicPolicy::Always, Some(NOW), ChannelBindings::Off, ServiceNames::Any),
        (MicPolicy::WhenFlagged, None, require, ServiceNames::Any),
        (MicPolicy::WhenFlagged, None, ChannelBindings::Off, host),
    ] {
        let challenged = Challenged::answer(&negotiate, names(), &SERVER_CHALLENGE, timestamp);
        let challenged = challenged.expect("our own CHALLENGE");
        let context = Context {
            authority: Authority::Hashes(&Alice::new()),
            names: names(),
            policy: Policy { mic, ..Policy::default() },
            channel_bindings,
            service_names,
            now: NOW,
            age: Duration::ZERO,
        };
        let claim = challenged.claim(token, names()).map(|claim| claim.to_string());
        assert!(claim.is_none_or(|claim| !claim.contains(char::is_control)));
        if let Ok(proof) = challenged.verify(token, &context) {
            assert_eq!(proof.account().name().as_str(), "CONTOSO\\alice");
        }
    }
}

fn names() -> &'static ServerNames {
    static NAMES: OnceLock<ServerNames> = OnceLock::new();
    NAMES.get_or_init(|| ServerNames {
        nb_computer: "SERVER1".into(),
        nb_domain: "CONTOSO".into(),
        dns_computer: "server1.contoso.test".into(),
        dns_domain: "contoso.test".into(),
        dns_tree: "contoso.test".into(),
    })
}

struct Alice {
    account: Arc<Account>,
    decoy: Secret<16>,
}

impl Alice {
    fn new() -> Self {
        let entry = Entry {
            domain: "CONTOSO".into(),
            user: "alice".into(),
            nt_hash: Some(Secret::new(NT_HASH)),
            groups: Vec::new(),
        };
        Self { account: Arc::new(entry.into()), decoy: Secret::new([0x5a; 16]) }
    }
}

impl Accounts for Alice {
    fn find(&self, name: &AccountName<'_>) -> Option<Arc<Account>> {
        let is = |units: &[u16], text: &str| units.iter().copied().eq(text.encode_utf16());
        (is(&name.domain, "CONTOSO") && is(name.user, "alice")).then(|| self.account.clone())
    }

    fn decoy(&self) -> &Secret<16> {
        &self.decoy
    }
}

// ---- Files ------------------------------------------------------------------------------------

/// The lines of an accounts file: what is read can be written, and is read again the same.
pub fn accounts(data: &[u8]) {
    for line in String::from_utf8_lossy(data).split('\n') {
        match Entry::parse(line) {
            Ok(Some(entry)) => {
                assert!(entry.check().is_ok());
                let again = Entry::parse(&entry.to_line());
                assert!(matches!(again, Ok(Some(again)) if again == entry), "{line:?}");
            }
            Ok(None) => {}
            Err(error) => assert!(!error.to_string().contains(char::is_control)),
        }
    }
    let _ = Entry::parse_groups(&String::from_utf8_lossy(data));
}

/// A certificate: whatever it is, its binding is always the same.
pub fn channel_binding(data: &[u8]) {
    assert_eq!(ntlm_binding(data), ntlm_binding(data));
}

// ---- SPNEGO's tokens ---------------------------------------------------------------------------

/// A PAC (MS-PAC 2.3), as if its signature were right: whatever it says, it says no more than it has
/// room for.
#[cfg(feature = "kerberos")]
pub fn pac(data: &[u8]) {
    let Ok(told) = negotiate_auth::kerberos::pac::decode_unverified(data) else { return };
    assert!(!told.user.is_nobody());
    assert!(told.groups.len() <= data.len() / 8 + 1);
    assert!(told.groups.iter().all(|group| told.groups.contains(&group)));
}

/// A token of either kind. What is read is part of it, and what is answered is read back.
pub fn spnego(data: &[u8]) {
    let inside = |part: &[u8]| part.is_empty() || data.as_ptr_range().contains(&part.as_ptr());
    match InitialToken::read(data) {
        Ok(InitialToken::Spnego(init)) => {
            assert!(inside(init.mech_types.bytes()));
            assert!(init.mech_token.is_none_or(|token| !token.is_empty() && inside(token)));
            assert!((1..=64).contains(&init.mech_types.iter().count()));
            for offered in [&[MechType::Ntlmssp][..], &[MechType::Krb5, MechType::Ntlmssp]] {
                let Ok((mut negotiation, token)) = Negotiation::begin(&init, offered) else {
                    continue;
                };
                assert!(init.mech_types.iter().any(|mech| mech == Some(negotiation.mech())));
                assert!(negotiation.held() < MOST_HELD);
                let answer = negotiation.ask(token);
                let read = NegTokenResp::read(&answer).expect("our own token");
                assert_eq!(read.response_token, token);
                assert!(!read.names_other(negotiation.mech()));
            }
        }
        Ok(InitialToken::Kerberos(token)) => assert!(inside(token)),
        Err(_) => {}
    }
    if let Ok(resp) = NegTokenResp::read(data) {
        let again = resp.write();
        assert!(again.len() <= data.len(), "DER is the shortest encoding");
        let reread = NegTokenResp::read(&again).expect("our own token");
        assert_eq!(reread.neg_state, resp.neg_state);
        assert_eq!(reread.supported_mech, resp.supported_mech);
        assert_eq!(reread.response_token, resp.response_token);
        assert_eq!(reread.mech_list_mic, resp.mech_list_mic);
    }
}
