use super::*;
use crate::sid::Sid;

const DOMAIN: &str = "S-1-5-21-1-2-3";
const RESOURCES: &str = "S-1-5-21-1-2-9";

fn sid(text: &str) -> Sid {
    Sid::parse(text).unwrap()
}

/// What a domain controller would say, in its order.
struct Info {
    user_id: u32,
    primary: u32,
    groups: Vec<(u32, u32)>,
    flags: u32,
    extra: Vec<(&'static str, u32)>,
    resources: Vec<(u32, u32)>,
}

impl Default for Info {
    fn default() -> Self {
        Self {
            user_id: 1104,
            primary: 513,
            groups: vec![(513, 7), (1105, 7), (1106, 0x17), (1107, 3)],
            flags: 0x220,
            extra: vec![("S-1-18-1", 7), ("S-1-5-21-7-8-9-1000", 7), ("S-1-5-21-7-8-9-1001", 0)],
            resources: vec![(1200, 0x2000_0007), (1201, 0x10)],
        }
    }
}

fn u32s(out: &mut Vec<u8>, values: &[u32]) {
    values.iter().for_each(|value| out.extend(value.to_le_bytes()));
}

fn packet(sid: &Sid) -> Vec<u8> {
    let mut out = vec![1, sid.sub_authorities().len() as u8];
    out.extend(sid.authority());
    u32s(&mut out, sid.sub_authorities());
    out
}

fn rpc_sid(out: &mut Vec<u8>, sid: &Sid) {
    u32s(out, &[sid.sub_authorities().len() as u32]);
    out.extend(packet(sid));
}

fn name(out: &mut Vec<u8>, text: &str) {
    let units: Vec<u16> = text.encode_utf16().collect();
    let count = units.len() as u32;
    u32s(out, &[count, 0, count]);
    units.iter().for_each(|unit| out.extend(unit.to_le_bytes()));
    out.resize(out.len().next_multiple_of(4), 0);
}

/// RPC_UNICODE_STRING
fn string(out: &mut Vec<u8>, text: &str, pointer: u32) {
    let bytes = 2 * text.encode_utf16().count() as u16;
    out.extend(bytes.to_le_bytes());
    out.extend(bytes.to_le_bytes());
    u32s(out, &[pointer]);
}

fn members(out: &mut Vec<u8>, groups: &[(u32, u32)]) {
    u32s(out, &[groups.len() as u32]);
    groups.iter().for_each(|&(rid, attributes)| u32s(out, &[rid, attributes]));
}

impl Info {
    fn write(&self) -> Vec<u8> {
        const NAMES: [&str; 6] = ["alice", "Alice Ä", "", "x", "", "H:"];
        let mut body = Vec::new();
        u32s(&mut body, &[0x0002_0000]);
        body.extend([0; 48]);
        for (at, text) in (1..).zip(NAMES) {
            string(&mut body, text, 0x0002_0000 + 4 * at);
        }
        body.extend([0; 4]);
        u32s(&mut body, &[self.user_id, self.primary, self.groups.len() as u32, 0x0002_0020]);
        u32s(&mut body, &[self.flags]);
        body.extend([0; 16]);
        string(&mut body, "DC1", 0x0002_0024);
        string(&mut body, "DEMO", 0x0002_0028);
        u32s(&mut body, &[0x0002_002c]);
        body.extend([0; 40]);
        let pointer = |is: bool| if is { 0x0002_0030 } else { 0 };
        let (extra, resources) = (!self.extra.is_empty(), !self.resources.is_empty());
        u32s(&mut body, &[self.extra.len() as u32, pointer(extra)]);
        u32s(&mut body, &[pointer(resources), self.resources.len() as u32, pointer(resources)]);

        NAMES.iter().for_each(|text| name(&mut body, text));
        members(&mut body, &self.groups);
        name(&mut body, "DC1");
        name(&mut body, "DEMO");
        rpc_sid(&mut body, &sid(DOMAIN));
        if extra {
            u32s(&mut body, &[self.extra.len() as u32]);
            self.extra.iter().for_each(|(_, attributes)| u32s(&mut body, &[1, *attributes]));
            self.extra.iter().for_each(|(text, _)| rpc_sid(&mut body, &sid(text)));
        }
        if resources {
            rpc_sid(&mut body, &sid(RESOURCES));
            members(&mut body, &self.resources);
        }

        let mut out = vec![1, 0x10, 8, 0, 0xcc, 0xcc, 0xcc, 0xcc];
        u32s(&mut out, &[body.len() as u32, 0]);
        out.extend(body);
        out
    }
}

fn pac(buffers: &[(u32, Vec<u8>)]) -> Vec<u8> {
    let mut out = Vec::new();
    u32s(&mut out, &[buffers.len() as u32, 0]);
    let mut at = (8 + 16 * buffers.len()).next_multiple_of(8);
    let mut contents = Vec::new();
    for (kind, buffer) in buffers {
        u32s(&mut out, &[*kind, buffer.len() as u32, at as u32, 0]);
        contents.extend(buffer);
        contents.resize(contents.len().next_multiple_of(8), 0);
        at = 8 + 16 * buffers.len() + contents.len();
    }
    out.extend(contents);
    out
}

fn decode(buffers: &[(u32, Vec<u8>)]) -> Result<(Sid, Vec<String>), Reason> {
    let Authorization { user, groups } = decode_unverified(&pac(buffers))?;
    Ok((user, groups.iter().map(|sid| sid.to_string()).collect()))
}

fn logon(info: &Info) -> (u32, Vec<u8>) {
    (buffer::LOGON_INFO, info.write())
}

/// UPN_DNS_INFO with SamName and Sid.
fn upn(user: &Sid) -> (u32, Vec<u8>) {
    let mut out = vec![0; 8];
    u32s(&mut out, &[2]);
    let sid = packet(user);
    out.extend([0, 0, 24, 0]);
    out.extend((sid.len() as u16).to_le_bytes());
    out.extend([24, 0, 0, 0, 0, 0]);
    out.resize(24, 0);
    out.extend(sid);
    (buffer::UPN_DNS_INFO, out)
}

#[test]
fn groups_are_those_that_count_for_access() {
    let (user, groups) = decode(&[logon(&Info::default())]).unwrap();
    assert_eq!(user.to_string(), "S-1-5-21-1-2-3-1104");
    let mut wanted = [
        "S-1-5-21-1-2-3-513",
        "S-1-5-21-1-2-3-1105",
        "S-1-5-21-1-2-9-1200",
        "S-1-5-21-7-8-9-1000",
        "S-1-18-1",
    ]
    .map(str::to_owned)
    .to_vec();
    wanted.sort();
    let mut groups = groups;
    groups.sort();
    assert_eq!(groups, wanted);
}

#[test]
fn what_flags_do_not_announce_does_not_count() {
    let (_, groups) = decode(&[logon(&Info { flags: 0, ..Info::default() })]).unwrap();
    assert_eq!(groups, ["S-1-5-21-1-2-3-513", "S-1-5-21-1-2-3-1105"]);
}

#[test]
fn a_user_of_another_domain_is_the_first_of_the_extra_sids() {
    let info = Info { user_id: 0, ..Info::default() };
    assert_eq!(decode(&[logon(&info)]).unwrap().0.to_string(), "S-1-18-1");
    let info = Info { user_id: 0, flags: 0x200, ..Info::default() };
    assert_eq!(decode(&[logon(&info)]).err(), Some(Reason::WrongPac));
}

#[test]
fn a_guest_is_nobody() {
    for info in [Info { flags: 0x221, ..Info::default() }, Info { user_id: 501, ..Info::default() }]
    {
        assert_eq!(decode(&[logon(&info)]).err(), Some(Reason::AnonymousRefused));
    }
}

#[test]
fn buffers_that_contradict_each_other_count_for_nothing() {
    let (user, other) = (sid("S-1-5-21-1-2-3-1104"), sid("S-1-5-21-1-2-3-500"));
    let requestor = |sid: &Sid| (buffer::REQUESTOR, packet(sid));
    let info = || logon(&Info::default());
    assert!(decode(&[info(), upn(&user), requestor(&user)]).is_ok());
    for buffers in [
        vec![info(), upn(&other)],
        vec![info(), requestor(&other)],
        vec![info(), (buffer::REQUESTOR, vec![1])],
        vec![info(), info()],
        vec![info(), requestor(&user), requestor(&other)],
    ] {
        assert_eq!(decode(&buffers).err(), Some(Reason::WrongPac));
    }
    assert_eq!(decode(&[requestor(&user)]).err(), Some(Reason::MissingPac));
    assert_eq!(decode(&[]).err(), Some(Reason::MissingPac));
}

#[test]
fn a_thousand_groups_are_no_more_trouble_than_one() {
    let groups = (2000..3000).map(|rid| (rid, 7)).collect();
    let (_, groups) = decode(&[logon(&Info { groups, ..Info::default() })]).unwrap();
    assert_eq!(groups.len(), 1000 + 4);
}

#[test]
fn a_broken_one_is_refused_or_says_what_it_says() {
    let whole = pac(&[logon(&Info::default()), upn(&sid("S-1-5-21-1-2-3-1104"))]);
    for end in 0..whole.len() {
        // The last octets are padding.
        let cut = decode_unverified(&whole[..end]);
        assert!(cut.is_err() || end + 8 > whole.len(), "{end}");
    }
    for bit in 0..8 * whole.len() {
        let mut flipped = whole.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let _ = decode_unverified(&flipped);
    }
    // Counts that nothing follows.
    let mut huge = whole.clone();
    huge[0] = 0xff;
    assert!(decode_unverified(&huge).is_err());
}

#[test]
fn only_the_checksum_of_the_key_counts() {
    for (kind, enctype) in [(15, 17), (16, 18), (19, 19), (20, 20), (-138, 23)] {
        assert!(is_checksum_of(kind, enctype));
    }
    // CRC32, MD5, HMAC-MD5 with a key that is none of RC4, and AES of another length.
    for (kind, enctype) in [(1, 18), (7, 18), (-138, 18), (15, 18), (16, 17), (16, 23), (0, 0)] {
        assert!(!is_checksum_of(kind, enctype));
    }
}

/// PACs of a domain that was there for a test, and its service's key.
const ALICES: &[u8] = include_bytes!("../../../tests/pac/alice");
const BOBS: &[u8] = include_bytes!("../../../tests/pac/bob");
const KEY: [u8; 32] = [
    0x66, 0xf7, 0x1c, 0x12, 0xc7, 0x28, 0x3b, 0xe0, 0x55, 0x1f, 0x5f, 0x0e, 0xd2, 0xa9, 0x07, 0x1a,
    0xd3, 0xa2, 0xbf, 0x28, 0xd2, 0x64, 0x04, 0xaf, 0x31, 0x0b, 0x9e, 0xab, 0xb2, 0x78, 0x55, 0xc6,
];
const AUTHTIME: i32 = 1_795_434_630;

fn open(pac: &[u8], authtime: i32, client: &str, secret: &[u8]) -> Result<Authorization, Reason> {
    let components = vec![&b"HTTP"[..], b"www"];
    let key = super::super::krb5::Key { components, realm: b"R", kvno: 1, enctype: 18, secret };
    let client = Client { name_type: 1, components: vec![client.as_bytes().into()] };
    SealedPac::new(pac, authtime, client, Arc::new(TicketKey::copy_of(&key))).open()
}

#[test]
fn the_pac_of_a_domain_controller_opens_for_its_ticket_alone() {
    let domain = sid("S-1-5-21-2663732893-1048861611-3650041058");
    let alices = open(ALICES, AUTHTIME, "alice", &KEY).unwrap();
    assert_eq!(alices.user, domain.child(1103).unwrap());
    assert!(alices.groups.contains(&domain.child(1117).unwrap()), "web-admins");
    let bobs = open(BOBS, AUTHTIME, "bob", &KEY).unwrap();
    assert_eq!(bobs.user, domain.child(1104).unwrap());
    assert!(!bobs.groups.contains(&domain.child(1117).unwrap()));
    for (pac, authtime, client, key) in [
        (ALICES, AUTHTIME, "bob", KEY),
        (BOBS, AUTHTIME, "alice", KEY),
        (ALICES, AUTHTIME + 1, "alice", KEY),
        (ALICES, -1, "alice", KEY),
        (ALICES, AUTHTIME, "", KEY),
        (ALICES, AUTHTIME, "alice", [0; 32]),
        (&ALICES[..ALICES.len() - 1], AUTHTIME, "alice", KEY),
    ] {
        assert_eq!(open(pac, authtime, client, &key).err(), Some(Reason::WrongPac));
    }
    assert_eq!(SealedPac::unusable().open().err(), Some(Reason::WrongPac));
}

/// What one bit changes is either not looked at, as the KDC's own signature is not, or counts for
/// nothing.
#[test]
fn no_bit_of_a_pac_can_be_changed_to_anybodys_good() {
    let before = open(ALICES, AUTHTIME, "alice", &KEY).unwrap();
    let mut still_good = 0;
    for bit in 0..8 * ALICES.len() {
        let mut flipped = ALICES.to_vec();
        flipped[bit / 8] ^= 1 << (bit % 8);
        if let Ok(after) = open(&flipped, AUTHTIME, "alice", &KEY) {
            assert_eq!((after.user, &after.groups), (before.user, &before.groups), "{bit}");
            still_good += 1;
        }
    }
    // The KDC's signature, and the ticket's, which only a KDC can look at.
    assert!(still_good <= 8 * 2 * 16, "{still_good} bits");
}
