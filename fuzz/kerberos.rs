//! Kerberos' part of what a fuzzer calls. Nobody asks a KDC: who has the key of a service can make
//! tickets for it. What makes them is the library that reads them; a ticket, the authenticator
//! beside it, the token around both and the signature that may follow are damaged on the way.
#![allow(unsafe_code)] // There is no crate that encrypts as Kerberos does.

use std::ffi::c_void;
use std::os::unix::fs::PermissionsExt;
use std::ptr;
use std::sync::OnceLock;
use std::time::{SystemTime, UNIX_EPOCH};

use negotiate_auth::config::Config;
use negotiate_auth::http::Authorization;
use negotiate_auth::session::{Connection, Request, Session, Verdict};

use super::{HOOKS, NT_HASH, authorization, check_any};

const REALM: &str = "DEMO.TEST";
const HOST: &str = "www.demo.test";
const KVNO: u8 = 3;
const SERVICE_KEY: [u8; 32] = [0x5e; 32];
const SESSION_KEY: [u8; 32] = [0xc3; 32];
const SEQUENCE_NUMBER: u8 = 17;

/// OBJECT IDENTIFIERs, whole.
mod oid {
    pub(super) const SPNEGO: &[u8] = b"\x06\x06\x2b\x06\x01\x05\x05\x02";
    pub(super) const KRB5: &[u8] = b"\x06\x09\x2a\x86\x48\x86\xf7\x12\x01\x02\x02";
    pub(super) const MS_KRB5: &[u8] = b"\x06\x09\x2a\x86\x48\x82\xf7\x12\x01\x02\x02";
    pub(super) const UNKNOWN: &[u8] = b"\x06\x03\x2b\x06\x01";
}

/// Key usages (RFC 4120 7.5.1, RFC 4121 2).
mod usage {
    pub(super) const TICKET: i32 = 2;
    pub(super) const AUTHENTICATOR: i32 = 11;
    pub(super) const INITIATOR_SIGN: i32 = 25;
}

/// A connection and the tokens of one handshake. The first byte says how they are framed and what
/// the server is like, the second what is damaged, and the rest how, four bytes to a place.
pub fn kerberos(data: &[u8]) {
    one_handshake(data);
}

/// The same, with what came of it.
pub fn one_handshake(data: &[u8]) -> Verdict {
    let Some(([kind, layer], script)) = data.split_first_chunk() else { return Verdict::Error };
    let case = Case { kind: *kind, layer: Layer::of(*layer), script };
    let connection = if case.has(2) { Connection::Multiplexed } else { Connection::Serial };
    let mut session = Session::with_hooks(connection, &HOOKS);
    let mut verdict = case.send(&mut session, &case.first_token());
    for token in [Case::second_token, Case::third_token] {
        if verdict != Verdict::Challenge {
            break;
        }
        verdict = case.send(&mut session, &token(&case));
    }
    verdict
}

/// Of what a handshake is made, from the inside out.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Layer {
    Nothing,
    Ticket,
    Authenticator,
    ApReq,
    First,
    Second,
    Third,
    /// The script is the first token.
    All,
}

impl Layer {
    fn of(byte: u8) -> Self {
        const LAYERS: [Layer; 8] = [
            Layer::Nothing,
            Layer::Ticket,
            Layer::Authenticator,
            Layer::ApReq,
            Layer::First,
            Layer::Second,
            Layer::Third,
            Layer::All,
        ];
        LAYERS[usize::from(byte) % LAYERS.len()]
    }
}

struct Case<'a> {
    kind: u8,
    layer: Layer,
    script: &'a [u8],
}

impl Case<'_> {
    fn has(&self, bit: u8) -> bool {
        self.kind & 1 << bit != 0
    }

    /// The bytes of a layer, damaged if that is the one.
    fn layer(&self, layer: Layer, mut bytes: Vec<u8>) -> Vec<u8> {
        if self.layer != layer {
            return bytes;
        }
        for step in self.script.chunks_exact(4) {
            let at = (usize::from(step[0]) << 8 | usize::from(step[1])) % (bytes.len() + 1);
            let (how, value) = (step[2] % 6, step[3]);
            let end = (at + usize::from(value)).min(bytes.len());
            match how {
                0 => bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= value),
                1 => bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte = value),
                2 => bytes.insert(at, value),
                3 => drop(bytes.drain(at..end)),
                4 => bytes.truncate(at),
                _ => bytes.extend_from_within(at..end),
            }
        }
        bytes
    }

    /// MechTypeList. Who would rather have had another mechanism has to sign it.
    fn mechs(&self) -> Vec<u8> {
        let mechs: &[&[u8]] = match self.kind & 3 {
            2 => &[oid::MS_KRB5, oid::KRB5],
            3 => &[oid::UNKNOWN, oid::KRB5],
            _ => &[oid::KRB5],
        };
        der(0x30, &mechs.concat())
    }

    fn first_token(&self) -> Vec<u8> {
        if self.layer == Layer::All {
            return self.script.to_vec();
        }
        let optimistic = || field(2, &octets(&self.initial_context_token()));
        let init = match self.kind & 3 {
            0 => return self.layer(Layer::First, self.initial_context_token()),
            3 => field(0, &self.mechs()),
            _ => [field(0, &self.mechs()), optimistic()].concat(),
        };
        let token = der(0x60, &[oid::SPNEGO, &field(0, &der(0x30, &init))].concat());
        self.layer(Layer::First, token)
    }

    /// The mechanism's token that was asked for, and the signature at once, or not yet.
    fn second_token(&self) -> Vec<u8> {
        let token = field(2, &octets(&self.initial_context_token()));
        let mic = if self.has(7) { field(3, &octets(&self.mic())) } else { Vec::new() };
        self.layer(Layer::Second, field(1, &der(0x30, &[token, mic].concat())))
    }

    fn third_token(&self) -> Vec<u8> {
        self.layer(Layer::Third, field(1, &der(0x30, &field(3, &octets(&self.mic())))))
    }

    /// RFC 4121 4.2.6.1: the checksum is over the message and the header.
    fn mic(&self) -> Vec<u8> {
        let header = [&[4, 4, 0][..], &[0xff; 5], &[0; 7], &[SEQUENCE_NUMBER]].concat();
        let checksum = library::checksum(
            &SESSION_KEY,
            usage::INITIATOR_SIGN,
            &[&self.mechs(), &header[..]].concat(),
        );
        [header, checksum].concat()
    }

    fn initial_context_token(&self) -> Vec<u8> {
        let mech = if self.kind & 3 == 2 { oid::MS_KRB5 } else { oid::KRB5 };
        let ap_req = self.layer(Layer::ApReq, self.ap_req());
        der(0x60, &[mech, b"\x01\x00", &ap_req].concat())
    }

    fn ap_req(&self) -> Vec<u8> {
        let options = [0, if self.has(5) { 0x20 } else { 0 }, 0, 0, 0];
        let fields = [
            field(0, &integer(5)),
            field(1, &integer(14)),
            field(2, &der(0x03, &options)),
            field(3, &der(0x61, &der(0x30, &self.ticket()))),
            field(4, &encrypted(&SESSION_KEY, usage::AUTHENTICATOR, None, &self.authenticator())),
        ];
        der(0x6e, &der(0x30, &fields.concat()))
    }

    fn ticket(&self) -> Vec<u8> {
        let now = seconds();
        let key = [field(0, &integer(18)), field(1, &octets(&SESSION_KEY))].concat();
        let part = [
            field(0, &der(0x03, &[0, 0x40, 0x80, 0, 0])),
            field(1, &der(0x30, &key)),
            field(2, &text(REALM)),
            field(3, &principal(&["alice"])),
            field(4, &der(0x30, &[field(0, &integer(1)), field(1, &octets(b""))].concat())),
            field(5, &time(now - 60)),
            field(7, &time(now + 3600)),
        ];
        let part = self.layer(Layer::Ticket, der(0x63, &der(0x30, &part.concat())));
        [
            field(0, &integer(5)),
            field(1, &text(REALM)),
            field(2, &principal(&["HTTP", HOST])),
            field(3, &encrypted(&SERVICE_KEY, usage::TICKET, Some(KVNO), &part)),
        ]
        .concat()
    }

    fn authenticator(&self) -> Vec<u8> {
        // RFC 4121 4.1.1: no channel bindings; sequence, integrity and, if asked for, mutual.
        let flags = if self.has(5) { 0x2a } else { 0x28 };
        let checksum = [&[16, 0, 0, 0][..], &[0; 16], &[flags, 0, 0, 0]].concat();
        let checksum = [field(0, &der(0x02, &[0, 0x80, 3])), field(1, &octets(&checksum))];
        let fields = [
            field(0, &integer(5)),
            field(1, &text(REALM)),
            field(2, &principal(&["alice"])),
            field(3, &der(0x30, &checksum.concat())),
            field(4, &integer(7)),
            field(5, &time(seconds())),
            field(7, &integer(SEQUENCE_NUMBER)),
        ];
        self.layer(Layer::Authenticator, der(0x62, &der(0x30, &fields.concat())))
    }

    fn send(&self, session: &mut Session, token: &[u8]) -> Verdict {
        let value = authorization("Negotiate", token);
        let certificate = [self.script];
        let request = Request {
            authorization: Authorization::One(&value),
            host: HOST.as_bytes(),
            http_version: if self.has(2) { 2000 } else { 1001 },
            persistent: true,
            tls: self.has(6),
            forwarded: false,
            proxy: false,
            again: false,
            peer: b"192.0.2.7",
            certificates: &certificate,
        };
        let mut verdict = session.step(self.config(), &request);
        if verdict == Verdict::Wait {
            let job = session.detach().expect("what it waits for");
            job.run();
            verdict = session.resume(Some(job));
        }
        check_any(session, verdict);
        let name = session.identity().map(|identity| identity.name().as_str());
        let proved = !matches!(self.layer, Layer::Ticket | Layer::Authenticator);
        let known = ["alice@DEMO.TEST", "DEMO\\alice", "alice"];
        assert!(!proved || name.is_none_or(|name| known.contains(&name)), "{name:?}");
        verdict
    }

    fn config(&self) -> &'static Config {
        &configs()[usize::from(self.kind >> 3 & 3)]
    }
}

/// Keytab and accounts, and what users are called.
fn configs() -> &'static [Config; 4] {
    static CONFIGS: OnceLock<[Config; 4]> = OnceLock::new();
    CONFIGS.get_or_init(|| {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name).display().to_string();
        let write = |name: &str, bytes: &[u8]| {
            std::fs::write(path(name), bytes).expect("a file");
            std::fs::set_permissions(path(name), PermissionsExt::from_mode(0o600)).expect("a mode");
        };
        let hash = NT_HASH.map(|byte| format!("{byte:02x}")).concat();
        write("accounts", format!("DEMO\\alice:{hash}\n").as_bytes());
        write("keytab", &keytab());
        let keytab = format!("keytab {}", path("keytab"));
        let accounts = format!("accounts file:{}", path("accounts"));
        let off = "replay_cache off force";
        [
            config(&[&keytab, off]),
            config(&[
                &keytab,
                off,
                &accounts,
                "domain DEMO",
                "service_name host",
                "realm_map DEMO.TEST=DEMO",
                "name_format domain",
                "persist_kerberos on",
            ]),
            config(&[&keytab, off, "name_format local", "name_case lower", "allow_rc4 on"]),
            config(&[&keytab, off, "channel_binding require", "name_format short DEMO.TEST"]),
        ]
    })
}

fn config(options: &[&str]) -> Config {
    let mut config = Config::default();
    for option in options {
        let mut words = option.split(' ').map(str::as_bytes);
        let key = words.next().expect("a key");
        assert!(config.set(key, &words.collect::<Vec<_>>(), None), "{}", config.error().as_str());
    }
    config
}

/// A keytab with one key, in the format of MIT's file of version 2.
fn keytab() -> Vec<u8> {
    let counted = |bytes: &[u8]| [&[0, bytes.len() as u8][..], bytes].concat();
    let entry = [
        &[0, 2][..],
        &counted(REALM.as_bytes()),
        &counted(b"HTTP"),
        &counted(HOST.as_bytes()),
        // Type of the name, timestamp, key version number, encryption type.
        &[0, 0, 0, 1, 0, 0, 0, 0, KVNO, 0, library::AES256 as u8],
        &counted(&SERVICE_KEY),
    ]
    .concat();
    [&[5, 2, 0, 0, 0, entry.len() as u8][..], &entry].concat()
}

// ---- DER ---------------------------------------------------------------------------------------

fn der(tag: u8, contents: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    negotiate_auth::der::begin(&mut out, tag, contents.len());
    out.extend_from_slice(contents);
    out
}

fn field(number: u8, element: &[u8]) -> Vec<u8> {
    der(0xa0 + number, element)
}

fn integer(value: u8) -> Vec<u8> {
    der(0x02, &[value])
}

fn octets(bytes: &[u8]) -> Vec<u8> {
    der(0x04, bytes)
}

fn text(text: &str) -> Vec<u8> {
    der(0x1b, text.as_bytes())
}

fn principal(components: &[&str]) -> Vec<u8> {
    let names: Vec<_> = components.iter().flat_map(|name| text(name)).collect();
    der(0x30, &[field(0, &integer(1)), field(1, &der(0x30, &names))].concat())
}

/// EncryptedData
fn encrypted(key: &[u8; 32], usage: i32, kvno: Option<u8>, bytes: &[u8]) -> Vec<u8> {
    let fields = [
        field(0, &integer(library::AES256 as u8)),
        kvno.map_or(Vec::new(), |kvno| field(1, &integer(kvno))),
        field(2, &octets(&library::encrypt(key, usage, bytes))),
    ];
    der(0x30, &fields.concat())
}

fn seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs()
}

/// KerberosTime
fn time(seconds: u64) -> Vec<u8> {
    let (mut days, rest) = (seconds / 86_400, seconds % 86_400);
    let mut year = 1970;
    let is_leap = |year: u64| year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let length = |year| if is_leap(year) { 366 } else { 365 };
    while days >= length(year) {
        days -= length(year);
        year += 1;
    }
    let february = if is_leap(year) { 29 } else { 28 };
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    let (day, hour, minute, second) = (days + 1, rest / 3600, rest / 60 % 60, rest % 60);
    der(0x18, format!("{year}{month:02}{day:02}{hour:02}{minute:02}{second:02}Z").as_bytes())
}

// ---- libkrb5 -----------------------------------------------------------------------------------

/// What of the library encrypts and signs.
mod library {
    use super::{OnceLock, c_void, ptr};

    /// aes256-cts-hmac-sha1-96
    pub(super) const AES256: i32 = 18;
    /// hmac-sha1-96-aes256
    const CHECKSUM: i32 = 16;

    /// krb5_keyblock
    #[repr(C)]
    struct Keyblock {
        magic: i32,
        enctype: i32,
        length: u32,
        contents: *const u8,
    }

    /// krb5_data
    #[repr(C)]
    struct Data {
        magic: i32,
        length: u32,
        data: *mut u8,
    }

    /// krb5_enc_data
    #[repr(C)]
    struct EncData {
        magic: i32,
        enctype: i32,
        kvno: u32,
        ciphertext: Data,
    }

    /// krb5_checksum
    #[repr(C)]
    struct Checksum {
        magic: i32,
        kind: i32,
        length: u32,
        contents: *mut u8,
    }

    #[link(name = "krb5")]
    unsafe extern "C" {
        fn krb5_init_context(context: *mut *mut c_void) -> i32;
        fn krb5_free_checksum_contents(context: *mut c_void, checksum: *mut Checksum);
    }

    #[link(name = "k5crypto")]
    unsafe extern "C" {
        fn krb5_c_encrypt_length(
            context: *mut c_void,
            enctype: i32,
            input: usize,
            length: *mut usize,
        ) -> i32;
        fn krb5_c_encrypt(
            context: *mut c_void,
            key: *const Keyblock,
            usage: i32,
            cipher_state: *const Data,
            input: *const Data,
            output: *mut EncData,
        ) -> i32;
        fn krb5_c_make_checksum(
            context: *mut c_void,
            kind: i32,
            key: *const Keyblock,
            usage: i32,
            input: *const Data,
            checksum: *mut Checksum,
        ) -> i32;
    }

    /// A krb5_context: what is called here only reads it.
    struct Context(*mut c_void);

    // SAFETY: see there.
    unsafe impl Send for Context {}
    // SAFETY: see there.
    unsafe impl Sync for Context {}

    fn context() -> *mut c_void {
        static CONTEXT: OnceLock<Context> = OnceLock::new();
        let make = || {
            let mut context = ptr::null_mut();
            // SAFETY: the place is valid.
            assert_eq!(unsafe { krb5_init_context(&mut context) }, 0);
            Context(context)
        };
        CONTEXT.get_or_init(make).0
    }

    fn keyblock(key: &[u8; 32]) -> Keyblock {
        Keyblock { magic: 0, enctype: AES256, length: 32, contents: key.as_ptr() }
    }

    /// Bytes that the library reads, or fills.
    fn data(bytes: *const u8, length: usize) -> Data {
        Data { magic: 0, length: length as u32, data: bytes.cast_mut() }
    }

    pub(super) fn encrypt(key: &[u8; 32], usage: i32, bytes: &[u8]) -> Vec<u8> {
        let (context, mut length) = (context(), 0);
        // SAFETY: context and place are valid.
        let code = unsafe { krb5_c_encrypt_length(context, AES256, bytes.len(), &mut length) };
        assert_eq!(code, 0);
        let mut out = vec![0; length];
        let input = data(bytes.as_ptr(), bytes.len());
        let ciphertext = data(out.as_mut_ptr(), length);
        let mut output = EncData { magic: 0, enctype: 0, kvno: 0, ciphertext };
        // SAFETY: all of these are valid for the call, and there is room for what it writes.
        let code = unsafe {
            krb5_c_encrypt(context, &keyblock(key), usage, ptr::null(), &input, &mut output)
        };
        assert_eq!(code, 0);
        out
    }

    pub(super) fn checksum(key: &[u8; 32], usage: i32, bytes: &[u8]) -> Vec<u8> {
        let input = data(bytes.as_ptr(), bytes.len());
        let mut made = Checksum { magic: 0, kind: 0, length: 0, contents: ptr::null_mut() };
        // SAFETY: all of these are valid for the call; what the library made is copied and freed.
        unsafe {
            let code =
                krb5_c_make_checksum(context(), CHECKSUM, &keyblock(key), usage, &input, &mut made);
            assert_eq!(code, 0);
            let copy = std::slice::from_raw_parts(made.contents, made.length as usize).to_vec();
            krb5_free_checksum_contents(context(), &mut made);
            copy
        }
    }
}
