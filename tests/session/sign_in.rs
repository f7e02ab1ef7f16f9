//! What a handshake takes to prove somebody.

use negotiate_auth::reason::Reason;
use negotiate_auth::session::{Connection, HeaderKind, Session, Verdict};

use crate::common::client::{
    self, Client, FLAGS, Fields, KEY_56, KEY_128, KEY_EXCH, Mic, NB_COMPUTER_NAME, NB_DOMAIN_NAME,
    OEM, SEAL, SIGN, TIMESTAMP, UNICODE, UNTRUSTED_SPN,
};
use crate::common::site::{Answer, Site, Visitor, alice, bob, mallory, pass, without_randomness};
use crate::common::{corpus, hex_of, utf16le};

/// What one handshake comes to on a connection of its own.
#[track_caller]
fn attempt(site: &Site, options: &str, client: &Client) -> Answer {
    Visitor::new().sign_in(&site.config(options), client)
}

/// What an AUTHENTICATE comes to that `change` got hold of.
fn attempt_changed(site: &Site, client: &Client, change: impl FnOnce(&mut Vec<u8>)) -> Answer {
    let (config, mut visitor) = (site.config(""), Visitor::new());
    let mut authenticate = visitor.begin(&config, client);
    change(&mut authenticate);
    visitor.token(&config, &authenticate)
}

fn field(name: &str, value: &str, kind: HeaderKind) -> (String, String, HeaderKind) {
    (name.into(), value.into(), kind)
}

#[test]
fn two_legs_sign_in_and_the_connection_stays_signed_in() {
    let (site, mut visitor) = (Site::new(), Visitor::new());
    let config = site.config("");
    let client = alice();

    let answer = visitor.get(&config);
    answer.asks(&["NTLM"]);
    assert_eq!(answer.fields, [field("WWW-Authenticate", "NTLM", HeaderKind::Challenge)]);

    let answer = visitor.token(&config, &client.negotiate());
    assert_eq!((answer.verdict, answer.status), (Verdict::Challenge, 401));
    assert_eq!(answer.name, None);
    assert!(answer.challenges()[0].starts_with("NTLM TlRMTVNTUAAC"), "{answer:?}");
    assert_eq!(answer.fields[1..], [field("Cache-Control", "no-store", HeaderKind::Challenge)]);

    let authenticate = client.authenticate(&client.negotiate(), &answer.token());
    let answer = visitor.token(&config, &authenticate);
    answer.is("DEMO\\alice");
    // Whatever the request's own status becomes.
    assert_eq!(answer.fields, [field("Persistent-Auth", "true", HeaderKind::Always)]);
    let identity = visitor.session.identity().expect("somebody");
    assert_eq!(identity.user().as_str(), "alice");
    assert_eq!(identity.domain().as_str(), "DEMO");
    assert_eq!(identity.mechanism().as_str(), "ntlm");
    assert_eq!(identity.scheme().as_str(), "NTLM");
    assert!(!identity.channel_bound());

    let answer = visitor.get(&config);
    answer.is("DEMO\\alice");
    assert_eq!(answer.fields, []);
}

#[test]
fn clients_of_every_kind_sign_in() {
    let site = Site::new();
    let windows = alice();
    let without = |bits: u32| Client { offer: windows.offer & !bits, ..windows.clone() };
    let curl = Client::plain("DEMO", "alice", &windows.password);
    for (kind, client) in [
        ("OEM strings", without(UNICODE)),
        ("Unicode strings", without(OEM)),
        ("no key exchange", without(KEY_EXCH)),
        ("no MIC", Client { mic: Mic::None, ..windows.clone() }),
        ("neither", Client { mic: Mic::None, ..without(KEY_EXCH) }),
        ("key exchange for signing alone", without(SEAL)),
        ("key exchange for nothing", without(SIGN | SEAL)),
        ("the same, unwrapped all the same", {
            Client { mic: Mic::UnderUnwrappedKey, ..without(SIGN | SEAL) }
        }),
        ("weak keys", without(KEY_128 | KEY_56)),
        ("the whole of it", windows.clone()),
        ("next to nothing", curl),
    ] {
        let answer = attempt(&site, "", &client);
        assert_eq!(answer.name.as_deref(), Some("DEMO\\alice"), "{kind}: {answer:?}");
    }
}

#[test]
fn a_client_without_any_charset_is_refused() {
    let (site, mut visitor) = (Site::new(), Visitor::new());
    let client = Client { offer: alice().offer & !(UNICODE | OEM), ..alice() };
    visitor.token(&site.config(""), &client.negotiate()).refused(401, Reason::NoCommonCharset);
}

#[test]
fn the_challenge_is_fresh_and_names_this_server() {
    let (site, mut visitor) = (Site::new(), Visitor::new());
    let config = site.config("");
    let mut challenge = || visitor.token(&config, &alice().negotiate()).token();
    let (first, second) = (challenge(), challenge());
    assert_ne!(first[24..32], second[24..32]);
    let pairs = client::target_info(&first);
    let value = |id| &pairs.iter().find(|pair| pair.0 == id).expect("a pair").1;
    assert_eq!(*value(NB_DOMAIN_NAME), utf16le("DEMO"));
    assert!(!value(NB_COMPUTER_NAME).is_empty());
    assert_eq!(value(TIMESTAMP).len(), 8);
    // It is the client who adds flags.
    assert!(pairs.iter().all(|pair| pair.0 != FLAGS));
}

#[test]
fn the_systems_challenges_differ() {
    let site = Site::new();
    let config = site.config("");
    let challenge = || {
        let mut visitor = Visitor::new();
        visitor.session = Session::new(Connection::Serial);
        visitor.token(&config, &alice().negotiate()).token()[24..32].to_vec()
    };
    assert_ne!(challenge(), challenge());
}

#[test]
fn without_random_bytes_there_is_no_challenge() {
    let (site, mut visitor) = (Site::new(), Visitor::new());
    let config = site.config("");
    let answer = without_randomness(|| visitor.token(&config, &alice().negotiate()));
    assert_eq!((answer.verdict, answer.status), (Verdict::Error, 500));
    assert_eq!(answer.reason, Reason::NoRandomness);
    assert_eq!(answer.fields, []);
}

// ---- Names ----------------------------------------------------------------------------------

#[test]
fn the_identity_has_the_spelling_of_the_file() {
    let site = Site::new();
    attempt(&site, "", &bob()).is("DEMO\\Bob");
    attempt(&site, "", &Client { user: "BOB".into(), ..bob() }).is("DEMO\\Bob");
}

#[test]
fn a_name_without_a_domain_or_with_one_of_ours_is_of_the_default_domain() {
    let site = Site::new();
    for (domain, user) in [
        ("", "alice"),
        ("demo", "ALICE"),
        ("Demo.Test", "alice"),
        ("", "alice@demo.test"),
        ("", "alice@DEMO.TEST"),
        ("", "DEMO\\alice"),
    ] {
        let client = Client { domain: domain.into(), user: user.into(), ..alice() };
        let answer = attempt(&site, "", &client);
        assert_eq!(answer.name.as_deref(), Some("DEMO\\alice"), "{domain} {user}: {answer:?}");
    }
}

#[test]
fn the_proof_may_be_over_no_domain_or_an_upper_cased_one() {
    let site = Site::new();
    for (domain, hashed) in [("DEMO", ""), ("demo", "DEMO")] {
        let hashed = Some(("ALICE".into(), hashed.into()));
        let client = Client { domain: domain.into(), hashed, ..alice() };
        attempt(&site, "", &client).is("DEMO\\alice");
    }
    let hashed = Some(("ALICE".into(), "OTHER".into()));
    attempt(&site, "", &Client { hashed, ..alice() }).refused(401, Reason::WrongResponse);
}

#[test]
fn another_domains_user_of_the_same_name_is_somebody_else() {
    let site = Site::new();
    let other = Client { domain: "OTHER".into(), ..alice() };
    attempt(&site, "", &other).refused(401, Reason::WrongResponse);
    attempt(&site, "", &Client { password: bob().password, ..other }).is("OTHER\\alice");
}

#[test]
fn names_that_mean_nobody_here_are_refused() {
    let site = Site::new();
    for (domain, user, reason) in [
        ("NOWHERE", "alice", Reason::UnknownUser),
        ("", "alice@nowhere.test", Reason::UnknownUser),
        ("DEMO", "alice@demo.test", Reason::UnknownUser),
        ("DEMO", "alice ", Reason::UnknownUser),
        ("DEMO", "DEMO\\alice", Reason::BadName),
        ("DEMO\\x", "alice", Reason::BadName),
        ("DEMO", "alice\0", Reason::BadName),
        ("DEMO", "\u{202e}ecila", Reason::BadName),
    ] {
        let client = Client { domain: domain.into(), user: user.into(), ..alice() };
        attempt(&site, "", &client).refused(401, reason);
    }
}

// ---- The proof ------------------------------------------------------------------------------

#[test]
fn a_wrong_password_is_refused() {
    attempt(&Site::new(), "", &mallory()).refused(401, Reason::WrongResponse);
}

#[test]
fn every_byte_of_the_proof_counts() {
    let site = Site::new();
    let client = Client { mic: Mic::None, ..alice() };
    for index in 0..16 {
        let answer = attempt_changed(&site, &client, |message| {
            let at = u32::from_le_bytes(message[24..28].try_into().expect("4 bytes")) as usize;
            message[at + index] ^= 1;
        });
        answer.refused(401, Reason::WrongResponse);
    }
}

#[test]
fn everything_but_ntlmv2_is_refused() {
    let site = Site::new();
    let user = utf16le("alice");
    let (one, all) = ([0; 1], [0x17; 24]);
    for (user, lm, nt, reason) in [
        (&user[..], &all[..], &all[..], Reason::Ntlmv1Refused),
        (&user, &[], &all, Reason::Ntlmv1Refused),
        (&user, &all, &[], Reason::LmRefused),
        (&user, &[], &[], Reason::LmRefused),
        (&user, &all, &all[..23], Reason::MalformedToken),
        (&[], &[], &[], Reason::AnonymousRefused),
        (&[], &one, &[], Reason::AnonymousRefused),
        (&[], &all, &all, Reason::BadName),
        (&[], &all, &[], Reason::BadName),
    ] {
        let answer = attempt_changed(&site, &alice(), |message| {
            *message = client::assemble(&Fields {
                flags: alice().offer & !OEM,
                lm,
                nt,
                domain: &utf16le("DEMO"),
                user,
                session_key: vec![0; 16],
                room_for_mic: true,
            });
        });
        answer.refused(401, reason);
    }
}

#[test]
fn a_challenge_is_answered_once() {
    let (site, mut visitor) = (Site::new(), Visitor::new());
    let config = site.config("");
    let right = visitor.begin(&config, &alice());
    visitor.token(&config, &right).is("DEMO\\alice");
    visitor.token(&config, &right).refused(401, Reason::OutOfSequence);
    visitor.get(&config).asks(&["NTLM"]);

    let right = visitor.begin(&config, &alice());
    let mut wrong = right.clone();
    *wrong.last_mut().expect("bytes") ^= 1;
    visitor.token(&config, &wrong).refused(401, Reason::WrongMic);
    visitor.token(&config, &right).refused(401, Reason::OutOfSequence);
}

#[test]
fn a_replayed_message_fits_no_other_challenge() {
    let (site, mut victim, mut thief) = (Site::new(), Visitor::new(), Visitor::new());
    let config = site.config("");
    let recorded = victim.begin(&config, &alice());
    victim.token(&config, &recorded).is("DEMO\\alice");
    thief.token(&config, &recorded).refused(401, Reason::OutOfSequence);
    let _ = thief.begin(&config, &alice());
    thief.token(&config, &recorded).refused(401, Reason::WrongResponse);
}

#[test]
fn a_second_negotiate_begins_anew() {
    let (site, mut visitor) = (Site::new(), Visitor::new());
    let config = site.config("");
    let late = visitor.begin(&config, &alice());
    let right = visitor.begin(&config, &alice());
    visitor.token(&config, &right).is("DEMO\\alice");
    let _ = visitor.begin(&config, &alice());
    visitor.token(&config, &late).refused(401, Reason::WrongResponse);
}

#[test]
fn flow_14_an_old_challenge_is_not_answered() {
    let site = Site::new();
    for (options, milliseconds) in [("handshake_lifetime 30s", 30_000), ("", 120_000)] {
        let (config, mut visitor) = (site.config(options), Visitor::new());
        let in_time = visitor.begin(&config, &alice());
        pass(milliseconds);
        visitor.token(&config, &in_time).is("DEMO\\alice");
        let late = visitor.begin(&config, &alice());
        pass(milliseconds + 1);
        visitor.token(&config, &late).refused(401, Reason::Expired);
        visitor.get(&config).asks(&["NTLM"]);
    }
}

// ---- What the response repeats, and what protects it ----------------------------------------

#[test]
fn the_response_repeats_all_that_the_challenge_told() {
    type Tamper = fn(&mut client::Pairs);
    let site = Site::new();
    let forged: [(&str, Tamper); 5] = [
        ("another computer", |pairs| pairs[1].1 = utf16le("ELSEWHERE")),
        ("no computer", |pairs| pairs.retain(|pair| pair.0 != NB_COMPUTER_NAME)),
        ("no domain", |pairs| pairs.retain(|pair| pair.0 != NB_DOMAIN_NAME)),
        ("no time", |pairs| pairs.retain(|pair| pair.0 != TIMESTAMP)),
        ("another time", |pairs| {
            let time = pairs.iter_mut().find(|pair| pair.0 == TIMESTAMP);
            time.expect("a time").1[0] ^= 1;
        }),
    ];
    for (what, tamper) in forged {
        let answer = attempt(&site, "", &Client { tamper, ..alice() });
        assert_eq!(answer.reason, Reason::AvMismatch, "{what}");
        answer.refused(401, Reason::AvMismatch);
    }
    let more: Tamper = |pairs| pairs.push((99, b"more".to_vec()));
    attempt(&site, "", &Client { tamper: more, ..alice() }).is("DEMO\\alice");
    let twice: Tamper = |pairs| pairs.push((FLAGS, vec![0; 4]));
    attempt(&site, "", &Client { tamper: twice, ..alice() }).refused(401, Reason::MalformedToken);
}

#[test]
fn a_promised_mic_has_to_be_there_and_right() {
    let site = Site::new();
    let promised = Client { mic: Mic::Promised, ..alice() };
    attempt(&site, "", &promised).refused(401, Reason::MissingMic);
    for change in [|mic: &mut [u8]| mic.fill(0), |mic: &mut [u8]| mic[15] ^= 0x80] {
        let answer = attempt_changed(&site, &alice(), |message| change(&mut message[72..88]));
        answer.refused(401, Reason::WrongMic);
    }
}

#[test]
fn without_the_promise_the_place_of_the_mic_means_nothing() {
    let site = Site::new();
    let answer = attempt_changed(&site, &Client { mic: Mic::None, ..alice() }, |message| {
        // Room for a MIC with something else in it.
        message.splice(64..64, [0x42; 24]);
        for at in (12..60).step_by(8) {
            let offset = u32::from_le_bytes(message[at + 4..at + 8].try_into().expect("4 bytes"));
            message[at + 4..at + 8].copy_from_slice(&(offset + 24).to_le_bytes());
        }
    });
    answer.is("DEMO\\alice");
}

#[test]
fn with_a_mic_every_byte_of_the_message_counts() {
    let site = Site::new();
    let (config, mut visitor) = (site.config(""), Visitor::new());
    let len = visitor.begin(&config, &alice()).len();
    for at in 0..len {
        let mut authenticate = visitor.begin(&config, &alice());
        authenticate[at] ^= 0x10;
        let answer = visitor.token(&config, &authenticate);
        assert_eq!((answer.verdict, answer.name), (Verdict::Rejected, None), "byte {at}");
    }
}

#[test]
fn with_a_mic_every_byte_of_the_negotiate_counts() {
    let site = Site::new();
    let (config, client) = (site.config(""), alice());
    let meant = client.negotiate();
    for at in 16..meant.len() {
        let (mut visitor, mut sent) = (Visitor::new(), meant.clone());
        sent[at] ^= 0x10;
        let challenge = visitor.token(&config, &sent).token();
        let authenticate = client.authenticate(&meant, &challenge);
        visitor.token(&config, &authenticate).refused(401, Reason::WrongMic);
    }
}

// ---- The connection and the service that the client means -----------------------------------

/// A certificate and its MsvAvChannelBindings.
fn certificate() -> (Vec<u8>, [u8; 16]) {
    let vectors = corpus("vectors/channel-bindings.json");
    let vector = &vectors["certs"][0];
    (hex_of(&vector["cert_der"]), hex_of(&vector["md5"]).try_into().expect("16 bytes"))
}

#[test]
fn flow_17_channel_bindings_are_looked_at_allowed_or_required() {
    let (site, (der, right)) = (Site::new(), certificate());
    let (wrong, missing) = (Reason::WrongChannelBinding, Reason::MissingChannelBinding);
    for (option, bindings, over_tls, over_tcp) in [
        ("off", Some(right), Ok(false), Ok(false)),
        ("off", None, Ok(false), Ok(false)),
        ("off", Some([0; 16]), Ok(false), Ok(false)),
        ("off", Some([9; 16]), Ok(false), Ok(false)),
        ("allow", Some(right), Ok(true), Ok(false)),
        ("allow", None, Ok(false), Ok(false)),
        ("allow", Some([0; 16]), Err(wrong), Ok(false)),
        ("allow", Some([9; 16]), Err(wrong), Ok(false)),
        ("require", Some(right), Ok(true), Err(missing)),
        ("require", None, Err(missing), Err(missing)),
        ("require", Some([0; 16]), Err(wrong), Err(missing)),
        ("require", Some([9; 16]), Err(wrong), Err(missing)),
    ] {
        let config = site.config(&format!("channel_binding {option}"));
        for (tls, expected) in [(true, over_tls), (false, over_tcp)] {
            let mut visitor = Visitor::new();
            (visitor.tls, visitor.certificates) = (tls, vec![der.clone()]);
            if option == "require" && !tls {
                // No challenge can work: none is sent, for no first and for no other request.
                let client = Client { bindings, ..alice() };
                visitor.get(&config).refused(403, missing);
                visitor.token(&config, &client.negotiate()).refused(403, missing);
                visitor.get(&config).refused(403, missing);
                continue;
            }
            let answer = visitor.sign_in(&config, &Client { bindings, ..alice() });
            let bound = visitor.session.identity().map(|identity| identity.channel_bound());
            assert_eq!(bound.ok_or(answer.reason), expected, "{option} {bindings:02x?} {tls}");
        }
    }
}

#[test]
fn allow_is_the_default_for_channel_bindings() {
    let (site, (der, _)) = (Site::new(), certificate());
    let mut visitor = Visitor::new();
    (visitor.tls, visitor.certificates) = (true, vec![der]);
    let client = Client { bindings: Some([9; 16]), ..alice() };
    visitor.sign_in(&site.config(""), &client).refused(401, Reason::WrongChannelBinding);
}

#[test]
fn any_certificate_of_the_connection_binds_and_unusable_ones_do_not() {
    let (site, (der, right)) = (Site::new(), certificate());
    let config = site.config("channel_binding require");
    let client = Client { bindings: Some(right), ..alice() };
    let sign_in = |certificates: &[&[u8]]| {
        let mut visitor = Visitor::new();
        visitor.tls = true;
        visitor.certificates = certificates.iter().map(|der| der.to_vec()).collect();
        visitor.sign_in(&config, &client)
    };
    sign_in(&[b"no certificate", &der]).is("DEMO\\alice");
    sign_in(&[b"no certificate"]).refused(401, Reason::MissingChannelBinding);
    sign_in(&[]).refused(401, Reason::UnknownCertificate);
}

#[test]
fn the_service_that_the_client_means_can_be_checked() {
    let site = Site::new();
    let (wrong, missing) = (Reason::WrongServiceName, Reason::MissingServiceName);
    let listed = "service_name www.demo.test intra.demo.test:8443";
    for (option, service, expected) in [
        ("service_name any", Some("cifs/elsewhere"), Ok(())),
        ("service_name any", None, Ok(())),
        ("service_name host", Some("HTTP/www.demo.test"), Ok(())),
        ("service_name host", Some("http/WWW.demo.test:8080"), Ok(())),
        ("service_name host", Some("HTTP/elsewhere.test"), Err(wrong)),
        ("service_name host", Some("cifs/www.demo.test"), Err(wrong)),
        ("service_name host", Some("www.demo.test"), Err(wrong)),
        ("service_name host", Some("HTTP/www.demo.test\0.evil"), Err(wrong)),
        ("service_name host", Some(""), Err(missing)),
        ("service_name host", None, Err(missing)),
        (listed, Some("HTTP/intra.demo.test:8443"), Ok(())),
        (listed, Some("HTTP/intra.demo.test"), Err(wrong)),
        (listed, Some("HTTP/elsewhere.test"), Err(wrong)),
        (listed, None, Err(missing)),
    ] {
        let client = Client { service: service.map(str::to_owned), ..alice() };
        let answer = attempt(&site, option, &client);
        let result = if answer.name.is_some() { Ok(()) } else { Err(answer.reason) };
        assert_eq!(result, expected, "{option} {service:?}");
    }
    let service = Some("HTTP/www.demo.test".into());
    let untrusted = Client { service, av_flags: UNTRUSTED_SPN, ..alice() };
    attempt(&site, "service_name host", &untrusted).refused(401, missing);
}

// ---- Schemes --------------------------------------------------------------------------------

#[test]
fn flow_01_raw_ntlm_signs_in_under_negotiate_where_it_is_offered() {
    let site = Site::new();
    let config = site.config("schemes negotiate ntlm");
    let mut visitor = Visitor { scheme: "Negotiate", ..Visitor::new() };
    visitor.get(&config).asks(&["Negotiate", "NTLM"]);
    let answer = visitor.token(&config, &alice().negotiate());
    // Only the scheme that the client used goes on.
    assert!(answer.challenges()[0].starts_with("Negotiate TlRM"), "{answer:?}");
    let authenticate = alice().authenticate(&alice().negotiate(), &answer.token());
    visitor.token(&config, &authenticate).is("DEMO\\alice");
    assert_eq!(visitor.session.identity().map(|who| who.scheme().as_str()), Some("Negotiate"));
    visitor.get(&config).is("DEMO\\alice");
}

#[test]
fn schemes_are_offered_in_the_order_of_the_option() {
    let site = Site::new();
    for (option, challenges) in [
        ("schemes ntlm negotiate", &["NTLM", "Negotiate"][..]),
        ("schemes negotiate", &["Negotiate"]),
        ("schemes ntlm", &["NTLM"]),
        ("", &["NTLM"]),
    ] {
        Visitor::new().get(&site.config(option)).asks(challenges);
    }
}

#[test]
fn a_scheme_that_is_not_offered_is_refused() {
    let site = Site::new();
    for (option, scheme) in
        [("", "Negotiate"), ("schemes ntlm", "Negotiate"), ("schemes negotiate", "NTLM")]
    {
        let mut visitor = Visitor { scheme, ..Visitor::new() };
        let answer = visitor.token(&site.config(option), &alice().negotiate());
        answer.refused(401, Reason::SchemeNotOffered);
    }
}

#[test]
fn a_handshake_keeps_to_its_scheme() {
    let site = Site::new();
    let config = site.config("schemes negotiate ntlm");
    for (first, second) in [("NTLM", "Negotiate"), ("Negotiate", "NTLM")] {
        let mut visitor = Visitor { scheme: first, ..Visitor::new() };
        let authenticate = visitor.begin(&config, &alice());
        visitor.scheme = second;
        visitor.token(&config, &authenticate).refused(401, Reason::OutOfSequence);
    }
}

#[test]
fn a_token_of_another_mechanism_is_refused() {
    let site = Site::new();
    let config = site.config("schemes negotiate ntlm");
    let kerberos = b"\x60\x0d\x06\x09\x2a\x86\x48\x86\xf7\x12\x01\x02\x02\x01\x00";
    let mut visitor = Visitor { scheme: "Negotiate", ..Visitor::new() };
    visitor.token(&config, kerberos).refused(401, Reason::MechanismNotOffered);
    visitor.scheme = "NTLM";
    visitor.token(&config, kerberos).refused(401, Reason::MalformedToken);
}

#[test]
fn a_sign_in_that_lasts_elsewhere_does_not_last_where_persist_is_off() {
    let site = Site::new();
    let (lasting, fleeting) = (site.config(""), site.config("persist off"));
    let mut visitor = Visitor::new();
    visitor.sign_in(&lasting, &alice()).is("DEMO\\alice");
    visitor.get(&fleeting).asks(&["NTLM"]);
    visitor.get(&lasting).is("DEMO\\alice");
}

#[test]
fn a_certificate_that_the_server_cannot_tell_lets_no_binding_pass() {
    let site = Site::new();
    let config = site.config("channel_binding allow");
    let sign_in = |bindings| {
        let mut visitor = Visitor::new();
        visitor.tls = true;
        visitor.sign_in(&config, &Client { bindings, ..alice() })
    };
    sign_in(Some([9; 16])).refused(401, Reason::UnknownCertificate);
    sign_in(Some([0; 16])).refused(401, Reason::UnknownCertificate);
    sign_in(None).is("DEMO\\alice");
}
