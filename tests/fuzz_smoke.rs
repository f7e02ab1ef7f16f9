//! The fuzz targets' functions over the corpus and over what chance makes of it: always the same
//! chance, for a few seconds. fuzz/run looks longer.
#![allow(unsafe_code)] // An allocator that counts cannot be had without.

mod common;
#[allow(unreachable_pub)] // A crate of its own for the fuzzer.
#[path = "../fuzz/entries.rs"]
mod entries;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::collections::BTreeSet;
use std::path::PathBuf;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use negotiate_auth::http::MAX_TOKEN;
use negotiate_auth::reason::Reason;
use negotiate_auth::session::Verdict;
use serde_json::Value;

use common::client::{Client, Mic};
use common::site::{Site, Visitor, alice};
use common::{corpus, hex_of};

// ---- Chance -----------------------------------------------------------------------------------

/// xorshift64*: the same numbers on every run.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 8
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }

    fn one_of<T: Copy>(&mut self, values: &[T]) -> T {
        values[self.below(values.len())]
    }

    /// Damages `bytes` in one to four places.
    fn damage(&mut self, bytes: &mut Vec<u8>, other: &[u8]) {
        for _ in 0..=self.below(3) {
            let at = self.below(bytes.len());
            match self.below(8) {
                0 => bytes.truncate(at),
                1 => bytes.insert(at.min(bytes.len()), self.next() as u8),
                2 => {
                    let (from, len) = (self.below(other.len()), self.below(64));
                    let piece = &other[from..other.len().min(from + len)];
                    bytes.splice(at..at, piece.iter().copied());
                }
                3 => {
                    let len = self.below(bytes.len() - at);
                    bytes.copy_within(at..at + len, 0);
                }
                4 => {
                    let number = self.one_of(&[0, 1, 0x7f, 0x80, 0xff, 0xffff, 0x8000_0000, !0]);
                    let width = self.one_of(&[1, 2, 4]);
                    let number = u32::to_le_bytes(number);
                    bytes.iter_mut().skip(at).zip(number).take(width).for_each(|(a, b)| *a = b);
                }
                _ => bytes.iter_mut().skip(at).take(1).for_each(|a| *a ^= 1 << self.below(8)),
            }
        }
    }
}

/// Every seed as it is, and `count` damaged ones.
fn run(target: &str, entry: fn(&[u8]), count: usize) {
    let seeds = seeds(target);
    seeds.iter().for_each(|seed| entry(seed));
    let mut chance = Chance(0x9e37_79b9_7f4a_7c15);
    for _ in 0..count {
        let mut bytes = seeds[chance.below(seeds.len())].clone();
        let other = &seeds[chance.below(seeds.len())];
        chance.damage(&mut bytes, other);
        entry(&bytes);
    }
}

// ---- Seeds ------------------------------------------------------------------------------------

const TARGETS: &[&str] = &[
    "step",
    "message",
    "spnego",
    #[cfg(feature = "kerberos")]
    "kerberos",
    #[cfg(feature = "kerberos")]
    "pac",
    "accounts",
    "channel_binding",
];

fn seeds(target: &str) -> Vec<Vec<u8>> {
    let seeds = match target {
        "step" => exchanges().into_iter().chain(headers()).chain(negotiations()).collect(),
        "message" => messages(),
        "spnego" => spnego_tokens().into_iter().flatten().collect(),
        "kerberos" => handshakes(),
        "pac" => pacs(),
        "accounts" => lines(),
        "channel_binding" => certificates(),
        other => panic!("no target {other}"),
    };
    assert!(seeds.len() > 5, "{target}");
    seeds
}

/// What a domain controller wrote for two users, and one with all that there can be, whole and in
/// parts; these with other bits of UserFlags, and with no UserId; and one of strangers.
fn pacs() -> Vec<Vec<u8>> {
    let everything = &include_bytes!("pac/everything")[..];
    let whole = [&include_bytes!("pac/alice")[..], include_bytes!("pac/bob"), everything];
    let with = |pac: &[u8], at: usize, value: u32| {
        // The buffer of the logon info is the first one.
        let at = 8 + 16 * usize::from(pac[0]) + 20 + at;
        [&pac[..at], &value.to_le_bytes(), &pac[at + 4..]].concat()
    };
    let (user_id, user_flags) = (100, 116);
    let variants = whole.iter().flat_map(|pac| {
        let parts = (1..=4).map(|part| pac[..pac.len() * part / 4].to_vec());
        let flags = [0, 1, 0x20, 0x220].map(|flags| with(pac, user_flags, flags));
        parts.chain(flags).chain([with(pac, user_id, 0)])
    });
    variants.chain([pac_of_strangers(3)]).collect()
}

/// One whose user is in so many groups, each of another domain: nothing takes more room.
fn pac_of_strangers(count: u32) -> Vec<u8> {
    // KERB_VALIDATION_INFO without names, groups and a domain.
    let mut info = [0; 216];
    let mut put = |at: usize, value: u32| info[at..at + 4].copy_from_slice(&value.to_le_bytes());
    let (user_flags, sid_count, extra_sids) = (116, 196, 200);
    put(user_flags, 0x20);
    put(sid_count, count);
    put(extra_sids, 1);
    let numbers =
        |numbers: &[u32]| numbers.iter().flat_map(|n| n.to_le_bytes()).collect::<Vec<_>>();
    let mut body = [&numbers(&[1]), &info[..], &numbers(&[count])].concat();
    (0..count).for_each(|_| body.extend(numbers(&[1, 7])));
    for domain in 0..count {
        let [_, _, high, low] = domain.to_be_bytes();
        body.extend([1, 0, 0, 0, 1, 1, 1, 0, 0, 0, high, low, 9, 0, 0, 0]);
    }
    let length = body.len() as u32;
    let head = numbers(&[1, 0, 1, 16 + length, 24, 0, 0x0008_1001, 0, length, 0]);
    [head, body].concat()
}

/// Every message of the corpus, and the blobs in them.
fn messages() -> Vec<Vec<u8>> {
    let mut all = BTreeSet::new();
    for (file, list) in [("ntlm_cases.json", "cases"), ("captured.json", "tokens")] {
        for case in corpus(file)[list].as_array().expect("a list") {
            let parts = [
                &case["input"],
                &case["expect"]["challenge"],
                &case["state"]["negotiate"],
                &case["state"]["challenge"],
            ];
            all.extend(parts.into_iter().filter(|part| part.is_string()).map(hex_of));
            let blob = case["decode"]["nt"].as_str().and_then(|nt| nt.get(32..));
            all.extend(blob.map(|blob| hex_of(&Value::from(blob))));
        }
    }
    all.into_iter().collect()
}

/// Connections: what they are like, then NEGOTIATE and AUTHENTICATE.
fn exchanges() -> Vec<Vec<u8>> {
    let negotiate = alice().negotiate();
    let kinds = (0..=u8::MAX).filter(|kind| kind & 2 != 0).cycle();
    let exchange =
        |(kind, message): (u8, Vec<u8>)| [&[kind][..], &negotiate, &message, &negotiate].concat();
    kinds.zip(messages()).map(exchange).collect()
}

/// Connections and Authorization values, one to a line.
fn headers() -> Vec<Vec<u8>> {
    let file = corpus("http_cases.json");
    let values = |case: &Value| {
        let headers = case["headers"].as_array().expect("headers").clone();
        let values = headers.into_iter().map(|header| header[1].as_str().unwrap_or("").to_owned());
        values.collect::<Vec<_>>().join("\n").into_bytes()
    };
    let kinds = (0..=u8::MAX).filter(|kind| kind & 2 == 0).cycle();
    let cases = file["cases"].as_array().expect("cases");
    kinds.zip(cases).map(|(kind, case)| [&[kind][..], &values(case)].concat()).collect()
}

/// The tokens of every exchange in the corpus.
fn spnego_tokens() -> Vec<Vec<Vec<u8>>> {
    let file = corpus("spnego_cases.json");
    let tokens = |case: &Value| {
        let steps = case["steps"].as_array().expect("steps").iter();
        steps.map(|step| hex_of(&step["input"])).collect()
    };
    file["cases"].as_array().expect("cases").iter().map(tokens).collect()
}

/// Connections and their tokens under Negotiate.
fn negotiations() -> Vec<Vec<u8>> {
    let value = |token: &Vec<u8>| format!("Negotiate {}", STANDARD.encode(token));
    let lines = |tokens: &Vec<Vec<u8>>| tokens.iter().map(value).collect::<Vec<_>>().join("\n");
    let kinds = (0..=u8::MAX).filter(|kind| kind & 2 == 0).cycle();
    let with_kind =
        |(kind, tokens): (u8, Vec<Vec<u8>>)| [&[kind], lines(&tokens).as_bytes()].concat();
    kinds.zip(spnego_tokens()).map(with_kind).collect()
}

/// Handshakes of Kerberos of every kind that nothing happens to, and with a little damage to each
/// of their layers; and the corpus' first tokens.
fn handshakes() -> Vec<Vec<u8>> {
    let damage = [&[][..], &[0, 40, 0, 1], &[0, 90, 1, b'/', 0, 200, 4, 0]];
    let one = |kind: u8, layer: u8| damage.map(|script| [&[kind, layer][..], script].concat());
    let each = (0..=u8::MAX).flat_map(|kind| one(kind, kind % 7));
    let tokens = spnego_tokens().into_iter().filter_map(|tokens| tokens.into_iter().next());
    each.chain(tokens.map(|token| [&[0, 7][..], &token].concat())).collect()
}

fn lines() -> Vec<Vec<u8>> {
    [
        "DEMO\\alice:fc525c9683e8fe067095ba2ddc971889:staff,web admins",
        "DEMO\\bob:!",
        "DEMO\\o'brien, pat:231a470d21b22a4b2bf58a140e92d90a:a%2cb,%3A,100%25:",
        "%23x\\%20user%20:!:%20",
        "# note\r\n\r\n \t\nDEMO\\a:!\r\nDEMO\\b:!",
        "\u{feff}DEMO\\a:!",
        "D\u{f6}\\\u{10428}\u{131}:00000000000000000000000000000000::",
    ]
    .map(|line| line.as_bytes().to_vec())
    .to_vec()
}

fn certificates() -> Vec<Vec<u8>> {
    let file = corpus("vectors/channel-bindings.json");
    let vectors = file["certs"].as_array().expect("certs");
    vectors.iter().map(|vector| hex_of(&vector["cert_der"])).collect()
}

/// For fuzz/run: the seeds as files, in a folder for each target.
#[test]
fn seeds_are_there_for_every_target() {
    for &target in TARGETS {
        let seeds = seeds(target);
        let Some(folder) = std::env::var_os("NEGOTIATE_AUTH_WRITE_SEEDS") else { continue };
        let folder = PathBuf::from(folder).join(target);
        std::fs::create_dir_all(&folder).expect("a folder");
        for (index, seed) in seeds.iter().enumerate() {
            std::fs::write(folder.join(format!("seed-{index:04}")), seed).expect("a file");
        }
    }
}

// ---- Any bytes --------------------------------------------------------------------------------

#[test]
fn sessions_survive_anything() {
    run("step", entries::step, 8_000);
}

#[test]
fn messages_may_be_anything() {
    run("message", entries::message, 4_000);
}

#[test]
fn spnego_tokens_may_be_anything() {
    run("spnego", entries::spnego, 20_000);
}

#[cfg(feature = "kerberos")]
#[test]
fn pacs_may_be_anything() {
    run("pac", entries::pac, 20_000);
}

#[cfg(feature = "kerberos")]
#[test]
fn a_pac_takes_no_more_memory_than_its_size_allows() {
    use negotiate_auth::kerberos::pac::decode_unverified;
    let check = |pac: &[u8]| {
        let (bytes, _) = peak(|| drop(decode_unverified(pac)));
        assert!(bytes < 16 * pac.len() as isize + 4096, "{bytes} bytes for {}", pac.len());
    };
    check(&pac_of_strangers(2000));
    for pac in pacs() {
        check(&pac);
        // Every number may be a count.
        for at in 0..pac.len() - 3 {
            for count in [0x1fff, 0x1fff_ffff, u32::MAX] {
                check(&[&pac[..at], &u32::to_le_bytes(count), &pac[at + 4..]].concat());
            }
        }
    }
}

#[cfg(feature = "kerberos")]
#[test]
fn handshakes_of_kerberos_may_be_anything() {
    run("kerberos", entries::kerberos, 4_000);
}

/// What the damage is done to is good: each kind of handshake signs in, or is refused for what it is.
#[cfg(feature = "kerberos")]
#[test]
fn an_undamaged_handshake_of_kerberos_signs_in() {
    for kind in 0..=u8::MAX {
        // Of the configurations, one wants local names, of which alice has none, another bindings.
        let takes_nobody = kind >> 3 & 3 >= 2;
        let is_long_on_a_stream = kind & 3 == 3 && kind & 4 != 0;
        let verdict = match takes_nobody || is_long_on_a_stream {
            true => Verdict::Rejected,
            false => Verdict::Accepted,
        };
        assert_eq!(entries::one_handshake(&[kind, 0]), verdict, "{kind:08b}");
    }
}

/// As some encoders write: who the client is has to be asked elsewhere then, and is the same.
#[cfg(feature = "kerberos")]
#[test]
fn a_ticket_with_a_length_of_more_octets_than_it_takes_signs_in() {
    const AP_REQ: u8 = 3;
    let (three_octets, first_is_zero) = ([0, 1, 1, 0x83], [0, 2, 2, 0]);
    for kind in 0..3 {
        let case = [&[kind, AP_REQ][..], &three_octets, &first_is_zero].concat();
        assert_eq!(entries::one_handshake(&case), Verdict::Accepted, "{kind}");
    }
}

#[test]
fn lines_of_accounts_may_be_anything() {
    run("accounts", entries::accounts, 40_000);
}

#[test]
fn certificates_may_be_anything() {
    run("channel_binding", entries::channel_binding, 8_000);
}

/// Handshakes that would succeed, damaged on their way.
#[test]
fn a_damaged_handshake_signs_in_nobody_else() {
    let site = Site::new();
    let config = site.config("");
    let protected = alice();
    let plain = Client { mic: Mic::None, ..alice() };
    let mut chance = Chance(0x0123_4567_89ab_cdef);
    let mut accepted = 0;
    for round in 0..1_000 {
        let client = if round % 2 == 0 { &protected } else { &plain };
        let mut visitor = Visitor::new();
        let right = visitor.begin(&config, client);
        let mut damaged = right.clone();
        chance.damage(&mut damaged, &right);
        let answer = visitor.token(&config, &damaged);
        let harmless = damaged == right || client.mic == Mic::None;
        match answer.verdict {
            Verdict::Accepted if harmless => {
                assert_eq!(answer.name.as_deref(), Some("DEMO\\alice"));
                accepted += 1;
            }
            // A NEGOTIATE can come of it.
            Verdict::Challenge => assert_eq!(answer.reason, Reason::InProgress),
            Verdict::Rejected => visitor.get(&config).asks(&["NTLM"]),
            verdict => panic!("{verdict:?} in round {round}"),
        }
        assert_eq!(answer.verdict == Verdict::Accepted, answer.name.is_some());
    }
    assert!((1..500).contains(&accepted), "{accepted}");
}

// ---- Memory -----------------------------------------------------------------------------------

/// Counts what this thread asks for.
struct Counting;

thread_local! {
    static HELD: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

fn count(difference: isize) {
    // A thread that ends has nothing left to count with.
    let _ = HELD.try_with(|held| {
        held.set(held.get() + difference);
        let _ = PEAK.try_with(|peak| peak.set(peak.get().max(held.get())));
    });
}

// SAFETY: every call is the system allocator's own.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// The most that `f` has beyond what was there, and its result.
fn peak<T>(f: impl FnOnce() -> T) -> (isize, T) {
    let before = HELD.get();
    PEAK.set(before);
    let result = f();
    (PEAK.get() - before, result)
}

#[test]
fn the_size_of_a_token_is_looked_at_before_there_is_room_for_it() {
    let site = Site::new();
    let config = site.config("schemes negotiate ntlm");
    for (scheme, first, len, most) in [
        ("NTLM", &b"NTLMSSP\0"[..], 4 << 20, 4 << 10),
        ("NTLM", b"NTLMSSP\0", 3000, 4 << 10),
        ("Negotiate", b"NTLMSSP\0", 4 << 20, 4 << 10),
        ("Negotiate", b"\x60\x82", 4 << 20, 4 << 10),
        ("Negotiate", b"\x60\x82", MAX_TOKEN + 3, 4 << 10),
        ("Negotiate", b"\x60\x82", MAX_TOKEN - 3, MAX_TOKEN + (4 << 10)),
    ] {
        let mut token = first.to_vec();
        token.resize(len, 0);
        let value = format!("{scheme} {}", STANDARD.encode(&token));
        let mut visitor = Visitor::new();
        let (bytes, answer) = peak(|| visitor.send(&config, &value));
        let reason = match len < MAX_TOKEN && first[0] == 0x60 {
            true => Reason::MalformedToken,
            false => Reason::TooLarge,
        };
        answer.refused(401, reason);
        assert!(bytes < most as isize, "{bytes} bytes for {len} under {scheme}");
    }
}

#[test]
fn refusals_leave_nothing_behind() {
    let site = Site::new();
    let config = site.config("");
    let mut visitor = Visitor::new();
    let mut round = |client: &Client| {
        let answer = visitor.sign_in(&config, client);
        assert_eq!(answer.verdict, Verdict::Rejected);
    };
    let client = Client { user: "nobody".into(), ..alice() };
    round(&client);
    let before = HELD.get();
    (0..1_000).for_each(|_| round(&client));
    assert_eq!(HELD.get(), before);
}
