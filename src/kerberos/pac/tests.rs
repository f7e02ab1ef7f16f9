//! PACs of a domain's own, and others that are written and signed here.

use super::super::krb5::Key;
use super::super::ticket;
use super::*;

// ---- Those of a domain ------------------------------------------------------------------------

/// A decrypted ticket of alice's, and the key of a service that was made for it.
struct Sample {
    part: &'static [u8],
    enctype: i32,
    secret: &'static str,
}

const SAMPLES: [Sample; 2] = [
    Sample {
        part: include_bytes!("../../../tests/pac/alice-aes256.ticket"),
        enctype: 18,
        secret: "66f71c12c7283be0551f5f0ed2a9071ad3a2bf28d26404af310b9eabb27855c6",
    },
    Sample {
        part: include_bytes!("../../../tests/pac/alice-rc4.ticket"),
        enctype: 23,
        secret: "1dd342a4283a46c4eeeb429a081178c2",
    },
];

impl Sample {
    fn key(&self) -> Arc<TicketKey> {
        let octet = |at| u8::from_str_radix(&self.secret[at..at + 2], 16).unwrap();
        let secret: Vec<_> = (0..self.secret.len()).step_by(2).map(octet).collect();
        key(self.enctype, &secret)
    }

    /// The PAC, and the time of the ticket.
    fn pac(&self) -> (&'static [u8], i32) {
        match ticket::Part::read(self.part).unwrap().pac() {
            ticket::Pac::One(pac, authtime) => (pac, authtime),
            _ => panic!("no PAC"),
        }
    }

    fn open(&self, pac: &[u8]) -> Result<Authorization, Reason> {
        SealedPac::new(pac, self.pac().1, &alice(), self.key()).open()
    }
}

const DOMAIN: &str = "S-1-5-21-2663732893-1048861611-3650041058";

/// What another program reads in the samples.
fn authorization_of_alice() -> Authorization {
    let rids = [513, 1117, 1118, 1119, 1120].map(|rid| sid(&format!("{DOMAIN}-{rid}")));
    let groups = rids.into_iter().chain([sid("S-1-18-1")]).collect();
    Authorization { user: sid(&format!("{DOMAIN}-1103")), groups }
}

#[test]
fn a_domains_own_tells_the_user_and_the_groups() {
    for sample in &SAMPLES {
        let (pac, authtime) = sample.pac();
        assert_eq!(authtime, 1_795_434_029);
        assert_eq!(sample.open(pac), Ok(authorization_of_alice()), "{}", sample.enctype);
    }
}

#[test]
fn a_cut_one_is_none() {
    for sample in &SAMPLES {
        let (pac, _) = sample.pac();
        for end in 0..pac.len() {
            assert_eq!(sample.open(&pac[..end]), Err(Reason::WrongPac), "{end}");
            let _ = decode_unverified(&pac[..end]);
        }
    }
}

#[test]
fn every_bit_counts_but_those_of_the_signature_that_the_kdc_made_for_itself() {
    for sample in &SAMPLES {
        let (pac, _) = sample.pac();
        let kdc_checksum = Pac::read(pac).unwrap().buffer(7).unwrap();
        let from = kdc_checksum.as_ptr() as usize - pac.as_ptr() as usize;
        let unsigned = from + 4..from + kdc_checksum.len();
        for at in 0..8 * pac.len() {
            let mut flipped = pac.to_vec();
            flipped[at / 8] ^= 1 << (at % 8);
            let expected = match unsigned.contains(&(at / 8)) {
                true => Ok(authorization_of_alice()),
                false => Err(Reason::WrongPac),
            };
            assert_eq!(sample.open(&flipped), expected, "bit {at}");
            let _ = decode_unverified(&flipped);
        }
    }
}

#[test]
fn one_for_another_service_client_or_time_is_none() {
    let sample = &SAMPLES[0];
    let (pac, authtime) = sample.pac();
    let refused = |authtime, client: &Client<'_>, key| {
        assert_eq!(SealedPac::new(pac, authtime, client, key).open(), Err(Reason::WrongPac));
    };
    refused(authtime, &alice(), key(18, &[7; 32]));
    refused(authtime + 1, &alice(), sample.key());
    refused(-authtime, &alice(), sample.key());
    let names: [&[&[u8]]; 9] = [
        &[b"bob"],
        &[b"Alice"],
        &[b"alice\0"],
        &[b"alice\0bob"],
        &[b"alice@R"],
        &[b"alice", b""],
        &[b"ali", b"ce"],
        &[b"alic\xff"],
        &[],
    ];
    for components in names {
        let client = Client { name_type: 1, components: components.to_vec() };
        refused(authtime, &client, sample.key());
    }
    assert_eq!(SealedPac::unusable().open(), Err(Reason::WrongPac));
}

// ---- Those that are written here --------------------------------------------------------------

fn sid(text: &str) -> Sid {
    Sid::parse(text).unwrap()
}

fn key(enctype: i32, secret: &[u8]) -> Arc<TicketKey> {
    let key = Key { components: Vec::new(), realm: b"R", kvno: 1, enctype, secret };
    Arc::new(TicketKey::copy_of(&key))
}

fn alice() -> Client<'static> {
    Client { name_type: 1, components: vec![b"alice"] }
}

fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

/// RPC_SID without the count in front.
fn packet(sid: &Sid) -> Vec<u8> {
    let parts = sid.sub_authorities();
    let head = [&[1, parts.len() as u8][..], &sid.authority()].concat();
    [head, parts.iter().flat_map(|part| part.to_le_bytes()).collect()].concat()
}

/// KERB_VALIDATION_INFO
#[derive(Clone)]
struct Info {
    name: &'static str,
    user_id: u32,
    primary_group_id: u32,
    groups: Vec<(u32, u32)>,
    user_flags: u32,
    domain: Option<Sid>,
    extra: Vec<(Sid, u32)>,
    resource_domain: Option<Sid>,
    resource_groups: Vec<(u32, u32)>,
}

impl Default for Info {
    fn default() -> Self {
        Self {
            name: "alice",
            user_id: 1103,
            primary_group_id: 0,
            groups: Vec::new(),
            user_flags: 0,
            domain: Some(sid("S-1-5-21-1-2-3")),
            extra: Vec::new(),
            resource_domain: None,
            resource_groups: Vec::new(),
        }
    }
}

/// A structure, and what its pointers point to.
#[derive(Default)]
struct Writer {
    fixed: Vec<u8>,
    referents: Vec<u8>,
    pointers: u32,
}

impl Writer {
    fn number(&mut self, number: u32) {
        self.fixed.extend(number.to_le_bytes());
    }

    fn zeros(&mut self, count: usize) {
        self.fixed.resize(self.fixed.len() + count, 0);
    }

    fn pointer(&mut self, referent: Option<Vec<u8>>) {
        let Some(referent) = referent else { return self.number(0) };
        self.pointers += 4;
        self.number(0x0002_0000 + self.pointers);
        self.referents.extend(referent);
        self.referents.resize(self.referents.len().next_multiple_of(4), 0);
    }

    fn name(&mut self, name: &str) {
        let octets = utf16(name);
        let len = octets.len() as u16;
        self.fixed.extend([len, len].map(u16::to_le_bytes).concat());
        let count = u32::from(len / 2);
        self.pointer(Some([&numbers(&[count, 0, count])[..], &octets].concat()));
    }

    fn sid(&mut self, sid: Option<Sid>) {
        self.pointer(sid.map(|sid| rpc_sid(&sid)));
    }

    fn groups(&mut self, groups: &[(u32, u32)]) {
        self.number(groups.len() as u32);
        let each = groups.iter().flat_map(|&(id, attributes)| [id, attributes]);
        let array: Vec<_> = [groups.len() as u32].into_iter().chain(each).collect();
        self.pointer((!groups.is_empty()).then(|| numbers(&array)));
    }
}

fn numbers(numbers: &[u32]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
}

fn rpc_sid(sid: &Sid) -> Vec<u8> {
    [numbers(&[sid.sub_authorities().len() as u32]), packet(sid)].concat()
}

impl Info {
    fn write(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        writer.zeros(48);
        // An odd number of units, and an even one, are padded otherwise.
        let names = [self.name, "Alice", "logon.cmd", "", "\\\\files\\alice", "H:"];
        names.iter().for_each(|name| writer.name(name));
        writer.zeros(4);
        writer.number(self.user_id);
        writer.number(self.primary_group_id);
        writer.groups(&self.groups);
        writer.number(self.user_flags);
        writer.zeros(16);
        writer.name("DC1");
        writer.name("ADTEST");
        writer.sid(self.domain);
        writer.zeros(40);
        writer.number(self.extra.len() as u32);
        let each = self.extra.iter().flat_map(|(_, attributes)| [0x0003_0000, *attributes]);
        let array: Vec<_> = [self.extra.len() as u32].into_iter().chain(each).collect();
        let sids: Vec<_> = self.extra.iter().flat_map(|(sid, _)| rpc_sid(sid)).collect();
        let extra = [numbers(&array), sids].concat();
        writer.pointer((!self.extra.is_empty()).then_some(extra));
        writer.sid(self.resource_domain);
        writer.groups(&self.resource_groups);
        let body = [&numbers(&[0x0002_0000])[..], &writer.fixed, &writer.referents].concat();
        let length = body.len().next_multiple_of(8);
        let head = numbers(&[0x0008_1001, 0xcccc_cccc, length as u32, 0]);
        let mut written = [head, body].concat();
        written.resize(16 + length, 0);
        written
    }

    /// What it tells in a PAC that has nothing else.
    fn told(&self) -> Result<Authorization, Reason> {
        decode_unverified(&pac(&[(buffer::LOGON_INFO, self.write())]))
    }

    fn groups_told(&self) -> Vec<String> {
        let mut told: Vec<_> =
            self.told().unwrap().groups.iter().map(|sid| sid.to_string()).collect();
        told.sort();
        told
    }
}

/// PACTYPE
fn pac(buffers: &[(u32, Vec<u8>)]) -> Vec<u8> {
    let mut head = numbers(&[buffers.len() as u32, 0]);
    let mut body = Vec::new();
    for (kind, contents) in buffers {
        let offset = 8 + 16 * buffers.len() + body.len();
        head.extend(numbers(&[*kind, contents.len() as u32, offset as u32, 0]));
        body.extend(contents);
        body.resize(body.len().next_multiple_of(8), 0);
    }
    [head, body].concat()
}

const KDC_CHECKSUM: u32 = 7;
const AUTHTIME: i32 = 1_700_000_000;

/// A PAC with these buffers besides, signed.
fn signed(key: &TicketKey, kind: i32, others: &[(u32, Vec<u8>)]) -> Vec<u8> {
    Signing::new(key, kind).sign(others)
}

/// Who makes a PAC, and for whom.
struct Signing<'a> {
    key: &'a TicketKey,
    kind: i32,
    name: &'a str,
    /// Hundreds of nanoseconds beyond the ticket's time.
    ticks: u64,
    /// RODCIdentifier
    trailer: &'a [u8],
}

impl<'a> Signing<'a> {
    fn new(key: &'a TicketKey, kind: i32) -> Self {
        Self { key, kind, name: "alice", ticks: 0, trailer: &[] }
    }

    fn sign(&self, others: &[(u32, Vec<u8>)]) -> Vec<u8> {
        let client_id = (AUTHTIME as u64 + 11_644_473_600) * 10_000_000 + self.ticks;
        let name = utf16(self.name);
        let length = (name.len() as u16).to_le_bytes();
        let client_info = [&client_id.to_le_bytes()[..], &length, &name].concat();
        let checksum = |octets: &[u8]| [&self.kind.to_le_bytes(), octets].concat();
        let with = |octets: &[u8]| {
            let own = [
                (buffer::CLIENT_INFO, client_info.clone()),
                (buffer::SERVER_CHECKSUM, checksum(octets)),
                (KDC_CHECKSUM, checksum(&[0; 12])),
            ];
            pac(&[&own[..], others].concat())
        };
        // How long it is has to be known before.
        let len = self.key.checksum(self.kind, b"").unwrap().len();
        let signature = self.key.checksum(self.kind, &with(&vec![0; len + self.trailer.len()]));
        with(&[&signature.unwrap(), self.trailer].concat())
    }
}

fn open(pac: &[u8], key: Arc<TicketKey>) -> Result<Authorization, Reason> {
    SealedPac::new(pac, AUTHTIME, &alice(), key).open()
}

fn logon_info(info: &Info) -> (u32, Vec<u8>) {
    (buffer::LOGON_INFO, info.write())
}

/// Keys, and the types of their checksums.
fn keys() -> [(Arc<TicketKey>, i32); 5] {
    [(17, 16, 15), (18, 32, 16), (19, 16, 19), (20, 32, 20), (23, 16, -138)]
        .map(|(enctype, len, kind)| (key(enctype, &vec![9; len]), kind))
}

#[test]
fn a_checksum_counts_that_is_the_one_of_its_key() {
    let buffers = [logon_info(&Info::default())];
    for (key, kind) in keys() {
        let told = open(&signed(&key, kind, &buffers), key.clone());
        assert_eq!(told.map(|told| told.user), Ok(sid("S-1-5-21-1-2-3-1103")), "{kind}");
        // Right ones, as far as the library makes some with such a key: MD5 and SHA-1 without a
        // key, DES3's, HMAC-MD5 and those of the other keys.
        for other in [1, 2, 7, 9, 12, 14, 15, 16, 19, 20, -138, -137] {
            if other != kind && key.checksum(other, b"").is_some() {
                let told = open(&signed(&key, other, &buffers), key.clone());
                assert_eq!(told, Err(Reason::WrongPac), "{other} for {kind}");
            }
        }
    }
    // That it is there to be refused: anybody's key can be used for it.
    assert!(keys()[1].0.checksum(-138, b"").is_some());
}

#[test]
fn a_signature_may_be_followed_by_the_number_of_a_read_only_controller() {
    let buffers = [logon_info(&Info::default())];
    for (key, kind) in keys() {
        let trailer = &[0x34, 0x12];
        let pac = Signing { trailer, ..Signing::new(&key, kind) }.sign(&buffers);
        assert!(open(&pac, key.clone()).is_ok(), "{kind}");
    }
}

#[test]
fn one_that_tells_no_groups_is_missing_if_it_is_signed() {
    let (key, kind) = &keys()[1];
    let pac = signed(key, *kind, &[]);
    assert_eq!(open(&pac, key.clone()), Err(Reason::MissingPac));
    assert_eq!(open(&pac, self::key(18, &[8; 32])), Err(Reason::WrongPac));
    let malformed = [(buffer::LOGON_INFO, vec![0; 40])];
    assert_eq!(open(&signed(key, *kind, &malformed), key.clone()), Err(Reason::WrongPac));
}

#[test]
fn a_client_is_named_as_in_the_ticket() {
    let (key, kind) = &keys()[1];
    let buffers = [logon_info(&Info::default())];
    let told = |name: &str, ticks, name_type, components: &[&[u8]]| {
        let pac = Signing { name, ticks, ..Signing::new(key, *kind) }.sign(&buffers);
        let client = Client { name_type, components: components.to_vec() };
        SealedPac::new(&pac, AUTHTIME, &client, key.clone()).open().map(|told| told.user)
    };
    let user = Ok(sid("S-1-5-21-1-2-3-1103"));
    assert_eq!(told("alice", 9_999_999, 1, &[b"alice"]), user);
    assert_eq!(told("alice", 10_000_000, 1, &[b"alice"]), Err(Reason::WrongPac));
    // NT-ENTERPRISE
    assert_eq!(told("alice@ad.example", 0, 10, &[b"alice@ad.example"]), user);
    assert_eq!(told("HTTP/www.ad.example", 0, 2, &[b"HTTP", b"www.ad.example"]), user);
    assert_eq!(told("u\u{fc}\u{1f600}", 0, 1, &["u\u{fc}\u{1f600}".as_bytes()]), user);
    assert_eq!(told("alice\0bob", 0, 1, &[b"alice"]), Err(Reason::WrongPac));
    assert_eq!(told("", 0, 1, &[b"alice"]), Err(Reason::WrongPac));
}

/// The library compares them as well, and not all libraries are alike.
#[test]
fn the_name_and_the_time_are_compared_here_too() {
    let (key, kind) = &keys()[1];
    let pac = signed(key, *kind, &[]);
    let is_about =
        |client: &Client<'_>, authtime| Pac::read(&pac).unwrap().is_about(client, authtime);
    assert!(is_about(&alice(), AUTHTIME));
    assert!(!is_about(&alice(), AUTHTIME + 1) && !is_about(&alice(), AUTHTIME - 1));
    assert!(!is_about(&alice(), -1));
    assert!(!is_about(&Client { name_type: 1, components: vec![b"alicia"] }, AUTHTIME));
    let client_info = |info: &[u8]| {
        let pac = self::pac(&[(buffer::CLIENT_INFO, info.to_vec())]);
        Pac::read(&pac).unwrap().is_about(&Client { name_type: 1, components: Vec::new() }, 0)
    };
    let then = (11_644_473_600 * 10_000_000_u64).to_le_bytes();
    assert!(client_info(&[&then[..], &[0, 0]].concat()));
    for bad in [&[][..], &[0], &[1, 0, 7], &[2, 0, 7], &[2, 0, 7, 0]] {
        assert!(!client_info(&[&then[..], bad].concat()), "{bad:?}");
    }
    assert!(!client_info(&[0; 10]));
}

// ---- What is told -----------------------------------------------------------------------------

const ENABLED: u32 = 7;

#[test]
fn groups_are_those_of_the_domain_that_count() {
    let groups =
        vec![(513, ENABLED), (1, 3), (2, ENABLED | 0x10), (3, 4), (4, 0x2000_0007), (5, 0)];
    let info = Info { groups, primary_group_id: 515, ..Info::default() };
    let told = info.told().unwrap();
    assert_eq!(told.user, sid("S-1-5-21-1-2-3-1103"));
    let expected = [3, 4, 513, 515].map(|rid| format!("S-1-5-21-1-2-3-{rid}"));
    assert_eq!(info.groups_told(), expected);
    assert!(Info::default().told().unwrap().groups.is_empty());
}

#[test]
fn extra_sids_and_resource_groups_count_with_their_flags() {
    let info = Info {
        extra: vec![(sid("S-1-18-1"), ENABLED), (sid("S-1-5-21-9-9-9-1"), 0x17)],
        resource_domain: Some(sid("S-1-5-21-4-5-6")),
        resource_groups: vec![(1200, 0x2000_0007), (1201, 0x2000_0000)],
        ..Info::default()
    };
    let told = |user_flags| Info { user_flags, ..info.clone() }.groups_told();
    assert_eq!(told(0), [""; 0]);
    assert_eq!(told(0x20), ["S-1-18-1"]);
    assert_eq!(told(0x200), ["S-1-5-21-4-5-6-1200"]);
    assert_eq!(told(0x220), ["S-1-18-1", "S-1-5-21-4-5-6-1200"]);
    assert!(Info { user_flags: 0x220, ..Info::default() }.told().unwrap().groups.is_empty());
    let homeless = Info { resource_domain: None, user_flags: 0x200, ..info };
    assert_eq!(homeless.told(), Err(Reason::WrongPac));
}

#[test]
fn a_user_without_an_id_is_the_first_of_the_extra_sids() {
    let info = Info {
        user_id: 0,
        user_flags: 0x20,
        extra: vec![(sid("S-1-5-21-7-7-7-1000"), ENABLED), (sid("S-1-18-2"), ENABLED)],
        ..Info::default()
    };
    assert_eq!(info.told().unwrap().user, sid("S-1-5-21-7-7-7-1000"));
    assert_eq!(info.groups_told(), ["S-1-18-2"]);
    assert_eq!(Info { user_flags: 0, ..info.clone() }.told(), Err(Reason::WrongPac));
    assert_eq!(Info { extra: Vec::new(), ..info.clone() }.told(), Err(Reason::WrongPac));
    assert!(Info { domain: None, ..info.clone() }.told().is_ok());
    let homeless = Info { domain: None, groups: vec![(513, ENABLED)], ..info };
    assert_eq!(homeless.told(), Err(Reason::WrongPac));
    let nobody = Info { domain: None, ..Info::default() };
    assert_eq!(nobody.told(), Err(Reason::WrongPac));
}

#[test]
fn guests_are_nobody() {
    let refused = |info: Info| assert_eq!(info.told(), Err(Reason::AnonymousRefused));
    refused(Info { user_flags: 1, ..Info::default() });
    refused(Info { user_id: 501, ..Info::default() });
    let extra = vec![(sid("S-1-5-7"), ENABLED)];
    refused(Info { user_id: 0, user_flags: 0x20, extra, ..Info::default() });
}

/// UPN_DNS_INFO
fn upn_dns_info(flags: u32, sam_name: &str, sid: &[u8]) -> (u32, Vec<u8>) {
    let name = utf16(sam_name);
    let mut info = vec![0; 8];
    info.extend(flags.to_le_bytes());
    let parts = [name.len(), 24, sid.len(), 24 + name.len()];
    info.extend(parts.map(|part| (part as u16).to_le_bytes()).concat());
    info.extend([0; 4]);
    (buffer::UPN_DNS_INFO, [info, name, sid.to_vec()].concat())
}

#[test]
fn all_that_say_who_the_user_is_say_the_same() {
    let (user, other) = (sid("S-1-5-21-1-2-3-1103"), sid("S-1-5-21-1-2-3-1104"));
    let told = |besides| {
        decode_unverified(&pac(&[logon_info(&Info::default()), besides])).map(|told| told.user)
    };
    for good in [
        (buffer::REQUESTOR, packet(&user)),
        upn_dns_info(2, "alice", &packet(&user)),
        upn_dns_info(3, "alice", &packet(&user)),
        upn_dns_info(1, "bob", &packet(&other)),
        (buffer::UPN_DNS_INFO, vec![0; 12]),
    ] {
        assert_eq!(told(good.clone()), Ok(user), "{good:?}");
    }
    for bad in [
        (buffer::REQUESTOR, packet(&other)),
        (buffer::REQUESTOR, Vec::new()),
        upn_dns_info(2, "alice", &packet(&other)),
        upn_dns_info(2, "alice", &packet(&user)[..20]),
        (buffer::UPN_DNS_INFO, vec![0; 11]),
        (buffer::UPN_DNS_INFO, [&[0; 8][..], &[2, 0, 0, 0], &[0xff; 8]].concat()),
    ] {
        assert_eq!(told(bad.clone()), Err(Reason::WrongPac), "{bad:?}");
    }
}

/// What the fuzzer begins with is what would be written here.
#[test]
fn everything_that_there_can_be_is_told() {
    let info = Info {
        groups: vec![(513, ENABLED), (1117, ENABLED), (1200, 0x17)],
        primary_group_id: 513,
        user_flags: 0x220,
        extra: vec![(sid("S-1-18-1"), ENABLED), (sid("S-1-5-21-9-9-9-1000"), ENABLED)],
        resource_domain: Some(sid("S-1-5-21-4-5-6")),
        resource_groups: vec![(1300, 0x2000_0007), (1301, 0x2000_0007)],
        ..Info::default()
    };
    let user = sid("S-1-5-21-1-2-3-1103");
    let others = [(buffer::REQUESTOR, packet(&user)), upn_dns_info(3, "alice", &packet(&user))];
    let pac = pac(&[&[logon_info(&info)][..], &others].concat());
    assert_eq!(pac, include_bytes!("../../../tests/pac/everything"));
    let told = decode_unverified(&pac).unwrap();
    assert_eq!(told.user, user);
    let groups = [
        "S-1-5-21-1-2-3-513",
        "S-1-5-21-1-2-3-1117",
        "S-1-18-1",
        "S-1-5-21-9-9-9-1000",
        "S-1-5-21-4-5-6-1300",
        "S-1-5-21-4-5-6-1301",
    ];
    assert_eq!(told.groups, groups.map(sid).into_iter().collect());
}

// ---- Malformed ones ---------------------------------------------------------------------------

#[test]
fn buffers_are_inside_and_apart_and_there_once() {
    let info = logon_info(&Info::default());
    let good = pac(&[info.clone(), (99, vec![1; 8])]);
    assert!(decode_unverified(&good).is_ok());
    let refused = |bytes: &[u8], what: &str| {
        assert_eq!(decode_unverified(bytes), Err(Reason::WrongPac), "{what}");
    };
    refused(&pac(&[info.clone(), info.clone()]), "twice");
    refused(&pac(&[info.clone(), (99, vec![1]), (99, vec![2])]), "another twice");
    let with = |at: usize, value: u32| {
        let mut bytes = good.clone();
        bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
        bytes
    };
    refused(&with(4, 1), "version");
    for count in [65, 0x1000_0000, u32::MAX] {
        refused(&with(0, count), "count");
    }
    for size in [good.len() as u32, i32::MAX as u32, u32::MAX] {
        refused(&with(12, size), "size");
    }
    for offset in [0, 32, 41, 44, good.len() as u32, u32::MAX - 7] {
        refused(&with(16, offset), "offset");
        // That of a buffer that nobody looks into.
        refused(&with(32, offset), "another's offset");
    }
    refused(&with(20, 1), "high offset");
    refused(&with(20, u32::MAX), "highest offset");
    let many: Vec<_> = (0..65).map(|kind| (100 + kind, Vec::new())).collect();
    refused(&pac(&many), "too many");
    assert_eq!(decode_unverified(&pac(&many[..64])), Err(Reason::MissingPac));
    assert_eq!(decode_unverified(&[0; 8]), Err(Reason::MissingPac));
}

/// Offsets in what is written of the default Info.
mod at {
    pub(super) const OBJECT_LENGTH: usize = 8;
    pub(super) const TOP_POINTER: usize = 16;
    /// EffectiveName
    pub(super) const NAME: usize = 20 + 48;
    pub(super) const GROUP_COUNT: usize = NAME + 6 * 8 + 4 + 8;
    pub(super) const DOMAIN: usize = GROUP_COUNT + 8 + 4 + 16 + 2 * 8;
    pub(super) const SID_COUNT: usize = DOMAIN + 4 + 40;
    pub(super) const RESOURCE_COUNT: usize = SID_COUNT + 8 + 4;
    pub(super) const REFERENTS: usize = RESOURCE_COUNT + 8;
}

#[test]
fn a_structure_that_is_not_as_told_is_none() {
    let info = Info { groups: vec![(513, ENABLED)], ..Info::default() };
    let good = info.write();
    let told = |bytes: Vec<u8>| decode_unverified(&pac(&[(buffer::LOGON_INFO, bytes)]));
    let with = |at: usize, octets: &[u8]| {
        let mut bytes = good.clone();
        bytes[at..at + octets.len()].copy_from_slice(octets);
        told(bytes)
    };
    assert!(told(good.clone()).is_ok());
    // Filler
    assert!(with(4, &[1, 2, 3, 4]).is_ok() && with(12, &[1, 2, 3, 4]).is_ok());
    let huge = u32::MAX.to_le_bytes();
    let groups = numbers(&[1, 513, ENABLED]);
    let array = good.windows(12).position(|window| window == groups).unwrap();
    let cases: [(usize, &[u8], &str); 21] = [
        (0, &[2], "version"),
        (1, &[0], "big-endian"),
        (2, &[9], "header's length"),
        (at::OBJECT_LENGTH, &huge, "longer than there is"),
        (at::OBJECT_LENGTH, &[16, 0], "shorter than it is"),
        (at::TOP_POINTER, &[0; 4], "no structure"),
        (at::NAME, &[12, 0], "longer than its room"),
        (at::NAME + 2, &[8, 0], "less room than it takes"),
        (at::NAME, &[9, 0], "half a unit"),
        (at::NAME, &[11, 0, 12, 0], "half a unit more"),
        (at::NAME, &[8, 0], "shorter than its array"),
        (at::NAME + 4, &[0; 4], "a length without a name"),
        (at::REFERENTS, &[4, 0, 0, 0], "more than its most"),
        (at::REFERENTS + 4, &[1, 0, 0, 0], "an offset"),
        (at::REFERENTS + 8, &huge, "more units than there are"),
        (at::REFERENTS, &[6, 0, 0, 0, 0, 0, 0, 0, 6, 0, 0, 0], "an array of another length"),
        (at::GROUP_COUNT, &huge, "more groups than in the array"),
        (array, &[2, 0, 0, 0], "more groups than told"),
        (at::GROUP_COUNT + 4, &[0; 4], "a count without an array"),
        (at::SID_COUNT, &[1, 0, 0, 0], "a count without identifiers"),
        (at::RESOURCE_COUNT, &[1, 0, 0, 0], "a count without groups"),
    ];
    for (at, octets, what) in cases {
        assert_eq!(with(at, octets), Err(Reason::WrongPac), "{what}");
    }
    assert_eq!(with(at::DOMAIN, &[0; 4]), Err(Reason::WrongPac));
    // A length without a name, and no array for it.
    let mut nameless = good.clone();
    nameless.drain(at::REFERENTS..at::REFERENTS + 24);
    nameless[at::OBJECT_LENGTH..][..4].copy_from_slice(&(good.len() as u32 - 40).to_le_bytes());
    nameless[at::NAME..][..8].copy_from_slice(&[10, 0, 10, 0, 0, 0, 0, 0]);
    assert_eq!(told(nameless.clone()), Err(Reason::WrongPac));
    nameless[at::NAME] = 0;
    assert!(told(nameless).is_ok());
    for end in 0..good.len() {
        assert_eq!(told(good[..end].to_vec()), Err(Reason::WrongPac), "{end}");
    }
}

#[test]
fn a_count_that_is_promised_twice_makes_no_room() {
    let info = Info { groups: vec![(513, ENABLED)], ..Info::default() };
    let mut bytes = info.write();
    let array = numbers(&[1, 513, ENABLED]);
    let found = bytes.windows(12).position(|window| window == array).unwrap();
    for count in [2, 0x1fff_ffff, 0x2000_0000, u32::MAX] {
        for at in [at::GROUP_COUNT, found] {
            bytes[at..at + 4].copy_from_slice(&u32::to_le_bytes(count));
        }
        let told = decode_unverified(&pac(&[(buffer::LOGON_INFO, bytes.clone())]));
        assert_eq!(told, Err(Reason::WrongPac), "{count}");
    }
}

#[test]
fn identifiers_are_as_long_as_their_arrays_say() {
    let extra = vec![(sid("S-1-5-21-9-9-9-1"), ENABLED)];
    let info = Info { user_flags: 0x20, extra, ..Info::default() };
    let good = info.write();
    let told = |bytes: &[u8]| decode_unverified(&pac(&[(buffer::LOGON_INFO, bytes.to_vec())]));
    assert!(told(&good).is_ok());
    let array = numbers(&[1, 0x0003_0000, ENABLED, 5]);
    let found = good.windows(16).position(|window| window == array).unwrap();
    for (at, value) in [(4, 0), (12, 4), (12, 6), (16, 2), (17, 16)] {
        let mut bytes = good.clone();
        match at {
            4 => bytes[found + 4..found + 8].fill(value),
            _ => bytes[found + at] = value,
        }
        assert_eq!(told(&bytes), Err(Reason::WrongPac), "{at} {value}");
    }
}

#[test]
fn a_thousand_groups_are_told() {
    let groups = (0..1000).map(|rid| (2000 + rid, ENABLED)).collect();
    let (key, kind) = &keys()[1];
    let pac = signed(key, *kind, &[logon_info(&Info { groups, ..Info::default() })]);
    let told = open(&pac, key.clone()).unwrap();
    assert_eq!(told.groups.len(), 1000);
    assert!(told.groups.contains(&sid("S-1-5-21-1-2-3-2999")));
    assert!(!told.groups.contains(&sid("S-1-5-21-1-2-3-3000")));
}
