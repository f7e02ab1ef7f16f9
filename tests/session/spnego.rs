//! NTLM inside SPNEGO, under Negotiate.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use negotiate_auth::config::Config;
use negotiate_auth::reason::Reason;
use negotiate_auth::session::{Connection, HeaderKind, Verdict};
use rc4::{KeyInit, Rc4, StreamCipher};

use crate::common::client::{Client, EXTENDED_SESSIONSECURITY, Mic};
use crate::common::site::{Answer, Site, Visitor, alice, bob, mallory};

const SPNEGO: &[u8] = &[6, 6, 0x2b, 6, 1, 5, 5, 2];
const KRB5: &[u8] = &[6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x12, 1, 2, 2];
const MS_KRB5: &[u8] = &[6, 9, 0x2a, 0x86, 0x48, 0x82, 0xf7, 0x12, 1, 2, 2];
const NEGOEX: &[u8] = &[6, 10, 0x2b, 6, 1, 4, 1, 0x82, 0x37, 2, 2, 30];
const NTLMSSP: &[u8] = &[6, 10, 0x2b, 6, 1, 4, 1, 0x82, 0x37, 2, 2, 10];

fn element(tag: u8, contents: &[u8]) -> Vec<u8> {
    let len = match contents.len() {
        len @ 0..=0x7f => vec![len as u8],
        len @ 0..=0xff => vec![0x81, len as u8],
        len => vec![0x82, (len >> 8) as u8, len as u8],
    };
    [&[tag][..], &len, contents].concat()
}

/// MechTypeList.
fn list(mechs: &[&[u8]]) -> Vec<u8> {
    element(0x30, &mechs.concat())
}

fn init(mechs: &[&[u8]], mech_token: Option<&[u8]>) -> Vec<u8> {
    let mut fields = element(0xa0, &list(mechs));
    fields.extend(mech_token.iter().flat_map(|token| element(0xa2, &element(4, token))));
    element(0x60, &[SPNEGO, &element(0xa0, &element(0x30, &fields))].concat())
}

fn resp(response_token: Option<&[u8]>, mic: Option<&[u8]>) -> Vec<u8> {
    let part = |tag, value: Option<&[u8]>| {
        value.map_or(Vec::new(), |value| element(tag, &element(4, value)))
    };
    let fields = [part(0xa2, response_token), part(0xa3, mic)].concat();
    element(0xa1, &element(0x30, &fields))
}

/// The fields of a NegTokenResp, by their numbers.
fn fields(token: &[u8]) -> [Option<Vec<u8>>; 4] {
    fn open(bytes: &[u8]) -> (u8, &[u8], &[u8]) {
        let (header, len) = match bytes[1] {
            0x81 => (3, usize::from(bytes[2])),
            0x82 => (4, usize::from(bytes[2]) << 8 | usize::from(bytes[3])),
            len => (2, usize::from(len)),
        };
        (bytes[0], &bytes[header..header + len], &bytes[header + len..])
    }
    let (tag, choice, rest) = open(token);
    assert_eq!((tag, rest.len()), (0xa1, 0), "{token:02x?}");
    let (mut found, (_, mut rest, _)) = ([const { None }; 4], open(choice));
    while !rest.is_empty() {
        let (tag, value, next) = open(rest);
        found[usize::from(tag - 0xa0)] = Some(open(value).1.to_vec());
        rest = next;
    }
    found
}

fn config(site: &Site) -> Config {
    site.config("schemes negotiate ntlm")
}

fn visitor() -> Visitor {
    Visitor { scheme: "Negotiate", ..Visitor::new() }
}

/// Up to the client's last token, as a client with this list does it.
#[track_caller]
fn authenticate(
    visitor: &mut Visitor,
    config: &Config,
    client: &Client,
    mechs: &[&[u8]],
) -> Vec<u8> {
    let negotiate = client.negotiate();
    let optimistic = (mechs[0] == NTLMSSP).then_some(&negotiate[..]);
    let mut answer = visitor.token(config, &init(mechs, optimistic.or(Some(b"for another"))));
    let [state, mech, ..] = fields(&answer.token());
    assert_eq!(mech.as_deref(), Some(&NTLMSSP[2..]));
    assert_eq!(state, Some(vec![if optimistic.is_some() { 1 } else { 3 }]));
    if optimistic.is_none() {
        assert_eq!(fields(&answer.token())[2], None);
        answer = visitor.token(config, &resp(Some(&negotiate), None));
        assert_eq!(fields(&answer.token())[0], Some(vec![1]));
        assert_eq!(fields(&answer.token())[1], None);
    }
    assert_eq!((answer.verdict, answer.status), (Verdict::Challenge, 401));
    let challenge = fields(&answer.token())[2].clone().expect("a CHALLENGE");
    client.authenticate(&negotiate, &challenge)
}

/// It signs alice in, and its last token has our own MIC of the list, or none.
#[track_caller]
fn completes(answer: &Answer, mic: Option<Vec<u8>>) {
    answer.is("DEMO\\alice");
    let last = answer.fields.iter().find(|field| field.0 == "WWW-Authenticate");
    let (_, value, kind) = last.expect("a last token");
    assert_eq!(*kind, HeaderKind::Always);
    let token = STANDARD.decode(value.strip_prefix("Negotiate ").expect("the scheme"));
    assert_eq!(fields(&token.expect("base64")), [Some(vec![0]), None, None, mic]);
    assert_eq!(answer.values("Persistent-Auth"), ["true"]);
}

#[test]
fn ntlm_in_spnego_signs_in_with_the_list_signed_both_ways() {
    let site = Site::new();
    let config = config(&site);
    for mechs in [&[NTLMSSP][..], &[MS_KRB5, KRB5, NEGOEX, NTLMSSP], &[NTLMSSP, KRB5]] {
        let (mut visitor, client) = (visitor(), alice());
        let message = authenticate(&mut visitor, &config, &client, mechs);
        let mic = client.signature("client", &list(mechs));
        let answer = visitor.token(&config, &resp(Some(&message), Some(&mic)));
        completes(&answer, Some(client.signature("server", &list(mechs))));
        visitor.get(&config).is("DEMO\\alice");
    }
}

#[test]
fn a_list_that_was_changed_on_its_way_signs_nobody_in() {
    let site = Site::new();
    let config = config(&site);
    let seen: &[&[u8]] = &[NTLMSSP];
    for sent in [&[KRB5, NTLMSSP][..], &[NTLMSSP, KRB5]] {
        let (mut visitor, client) = (visitor(), alice());
        let message = authenticate(&mut visitor, &config, &client, seen);
        let mic = client.signature("client", &list(sent));
        let answer = visitor.token(&config, &resp(Some(&message), Some(&mic)));
        answer.refused(401, Reason::WrongMechListMic);
        visitor.get(&config).asks(&["Negotiate", "NTLM"]);
    }
}

#[test]
fn a_mic_that_is_not_the_clients_own_is_wrong() {
    let site = Site::new();
    let config = config(&site);
    let wrong: [fn(&Client) -> Vec<u8>; 5] = [
        |client| client.signature("server", &list(&[NTLMSSP])),
        |client| client.signature("client", &list(&[NTLMSSP]))[..15].to_vec(),
        |client| [client.signature("client", &list(&[NTLMSSP])), vec![0]].concat(),
        |_| [&[1, 0, 0, 0][..], &[0; 12]].concat(),
        |_| Vec::new(),
    ];
    for wrong in wrong {
        let (mut visitor, client) = (visitor(), alice());
        let message = authenticate(&mut visitor, &config, &client, &[NTLMSSP]);
        let answer = visitor.token(&config, &resp(Some(&message), Some(&wrong(&client))));
        answer.refused(401, Reason::WrongMechListMic);
    }
}

#[test]
fn the_list_has_to_be_signed_where_it_could_be() {
    let site = Site::new();
    let config = config(&site);
    let old = || Client { mic: Mic::None, ..alice() };
    let plain = || Client::plain("DEMO", "alice", &alice().password);
    let (only, second) = (&[NTLMSSP][..], &[KRB5, NTLMSSP][..]);
    for (client, mechs, taken) in [
        // Nothing better than the first choice of both can have been taken from the list.
        (alice(), only, true),
        (alice(), second, false),
        (old(), only, true),
        (old(), second, false),
        // One that cannot sign is not believed either.
        (plain(), only, true),
        (plain(), second, false),
    ] {
        let mut visitor = visitor();
        let message = authenticate(&mut visitor, &config, &client, mechs);
        let answer = visitor.token(&config, &resp(Some(&message), None));
        match taken {
            true => completes(&answer, None),
            false => answer.refused(401, Reason::MissingMechListMic),
        }
    }
}

/// A signature without extended session security (MS-NLMP 3.4.4.1): what a CRC comes to under RC4.
fn crc_signature(client: &Client, list: &[u8], pad: [u8; 4]) -> Vec<u8> {
    let mut body = [0; 12];
    body[4..8].copy_from_slice(&crc32(list).to_le_bytes());
    let key = client.exported.get();
    Rc4::new_from_slice(&key).expect("16 bytes").apply_keystream(&mut body);
    body[..4].copy_from_slice(&pad);
    [&1_u32.to_le_bytes()[..], &body].concat()
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| crc >> 1 ^ (0xedb8_8320 * (crc & 1)))
    })
}

fn without_extended_session_security() -> Client {
    let client = Client { mic: Mic::None, ..alice() };
    Client { offer: client.offer & !EXTENDED_SESSIONSECURITY, ..client }
}

#[test]
fn the_random_pad_of_an_old_signature_is_ignored() {
    let site = Site::new();
    let config = config(&site);
    for pad in [[0; 4], [0x45, 0xc8, 0x44, 0xe5]] {
        let (mut visitor, client) = (visitor(), without_extended_session_security());
        let message = authenticate(&mut visitor, &config, &client, &[NTLMSSP]);
        let mic = crc_signature(&client, &list(&[NTLMSSP]), pad);
        let answer = visitor.token(&config, &resp(Some(&message), Some(&mic)));
        let ours = crc_signature(&client, &list(&[NTLMSSP]), [0; 4]);
        completes(&answer, Some(ours));
    }
}

/// Who changes the list can change such a signature along with it, without any key.
#[test]
fn an_old_signature_is_no_proof_where_one_is_required() {
    let site = Site::new();
    let config = config(&site);
    let (sent, seen) = (list(&[MS_KRB5, NTLMSSP]), list(&[KRB5, NTLMSSP]));
    let (mut visitor, client) = (visitor(), without_extended_session_security());
    let message = authenticate(&mut visitor, &config, &client, &[KRB5, NTLMSSP]);
    let mut mic = crc_signature(&client, &sent, [0; 4]);
    let change = (crc32(&sent) ^ crc32(&seen)).to_le_bytes();
    mic[8..12].iter_mut().zip(change).for_each(|(byte, change)| *byte ^= change);
    let answer = visitor.token(&config, &resp(Some(&message), Some(&mic)));
    answer.refused(401, Reason::WrongMechListMic);
}

#[test]
fn a_message_sent_twice_as_windows_2000_did_is_no_mic() {
    let site = Site::new();
    let config = config(&site);
    let (mut visitor, client) = (visitor(), Client { mic: Mic::None, ..alice() });
    let message = authenticate(&mut visitor, &config, &client, &[NTLMSSP]);
    completes(&visitor.token(&config, &resp(Some(&message), Some(&message))), None);
}

#[test]
fn a_wrong_password_in_spnego_looks_like_one_without() {
    let site = Site::new();
    let config = config(&site);
    let (mut wrapped, client) = (visitor(), mallory());
    let message = authenticate(&mut wrapped, &config, &client, &[NTLMSSP]);
    let mic = client.signature("client", &list(&[NTLMSSP]));
    let answer = wrapped.token(&config, &resp(Some(&message), Some(&mic)));
    answer.refused(401, Reason::WrongResponse);
    assert!(answer.detail.starts_with("user \"DEMO\\alice\": "), "{}", answer.detail);
    let mut bare = visitor();
    assert_eq!(answer.seen(), bare.sign_in(&config, &mallory()).seen());
}

#[test]
fn the_framing_never_changes_in_a_handshake() {
    let site = Site::new();
    let config = config(&site);
    let client = bob();
    let mut wrapped = visitor();
    let message = authenticate(&mut wrapped, &config, &client, &[NTLMSSP]);
    wrapped.token(&config, &message).refused(401, Reason::OutOfSequence);

    let mut bare = visitor();
    let message = bare.begin(&config, &client);
    bare.token(&config, &resp(Some(&message), None)).refused(401, Reason::OutOfSequence);

    let mut visitor = visitor();
    let message = authenticate(&mut visitor, &config, &client, &[NTLMSSP]);
    visitor.scheme = "NTLM";
    visitor.token(&config, &message).refused(401, Reason::OutOfSequence);
}

#[test]
fn what_does_not_continue_is_refused() {
    let site = Site::new();
    let config = config(&site);
    let negotiate = alice().negotiate();
    let begun = || {
        let mut visitor = visitor();
        visitor.token(&config, &init(&[NTLMSSP], Some(&negotiate)));
        visitor
    };
    let refused = |mut visitor: Visitor, token: &[u8], reason| {
        visitor.token(&config, token).refused(401, reason);
        visitor.get(&config).asks(&["Negotiate", "NTLM"]);
    };
    refused(visitor(), &resp(Some(&negotiate), None), Reason::OutOfSequence);
    refused(begun(), &resp(Some(&negotiate), None), Reason::OutOfSequence);
    refused(begun(), &resp(None, None), Reason::MalformedToken);
    refused(begun(), &resp(None, Some(&[1; 16])), Reason::MalformedToken);
    refused(begun(), &resp(Some(b""), None), Reason::MalformedToken);
    // A MIC before the mechanism is done.
    let mut asked = visitor();
    asked.token(&config, &init(&[KRB5, NTLMSSP], None));
    refused(asked, &resp(Some(&negotiate), Some(&[1; 16])), Reason::OutOfSequence);
    refused(begun(), &resp(Some(b"NTLMSSP\0"), None), Reason::MalformedToken);
    let peer_rejects = element(0xa1, &element(0x30, &element(0xa0, &[10, 1, 2])));
    refused(begun(), &peer_rejects, Reason::OutOfSequence);
    // An AUTHENTICATE before any CHALLENGE.
    let mut asked = visitor();
    asked.token(&config, &init(&[KRB5, NTLMSSP], None));
    let early = visitor().begin(&config, &alice());
    refused(asked, &resp(Some(&early), None), Reason::OutOfSequence);
}

#[test]
fn a_list_without_ntlm_comes_to_nothing() {
    let site = Site::new();
    let config = config(&site);
    for mechs in [&[KRB5][..], &[NEGOEX], &[SPNEGO], &[MS_KRB5, KRB5, NEGOEX]] {
        let answer = visitor().token(&config, &init(mechs, Some(b"a token")));
        answer.refused(401, Reason::MechanismNotOffered);
    }
}

#[test]
fn spnego_is_looked_at_where_negotiate_is_offered_and_can_go_on() {
    let site = Site::new();
    let token = init(&[NTLMSSP], Some(&alice().negotiate()));
    let without = [site.config(""), site.config("schemes ntlm")];
    for config in without {
        visitor().token(&config, &token).refused(401, Reason::SchemeNotOffered);
    }
    let config = config(&site);
    let mut ntlm = Visitor::new();
    ntlm.token(&config, &token).refused(401, Reason::MalformedToken);
    for init in [token, init(&[KRB5, NTLMSSP], None)] {
        let mut closing = Visitor { persistent: false, ..visitor() };
        closing.token(&config, &init).refused(403, Reason::NotPersistent);
        let mut stream = Visitor { scheme: "Negotiate", ..Visitor::on(Connection::Multiplexed) };
        stream.token(&config, &init).refused(401, Reason::Multiplexed);
    }
}
