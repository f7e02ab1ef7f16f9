//! What stays with a connection, and on which connections nothing may.

use negotiate_auth::reason::Reason;
use negotiate_auth::session::{Connection, HeaderKind, Verdict};

use crate::common::client::Client;
use crate::common::site::{Site, Visitor, alice, bob, half_open, mallory, pass};

/// A connection that alice signed in on.
fn signed_in(site: &Site, options: &str) -> Visitor {
    let mut visitor = Visitor::new();
    visitor.sign_in(&site.config(options), &alice()).is("DEMO\\alice");
    visitor
}

// ---- One connection after the other, one request after the other -----------------------------

#[test]
fn flow_02_a_challenge_is_answered_on_its_own_connection() {
    let (site, mut one, mut other) = (Site::new(), Visitor::new(), Visitor::new());
    let config = site.config("");
    let authenticate = one.begin(&config, &alice());
    other.token(&config, &authenticate).refused(401, Reason::OutOfSequence);
    other.get(&config).asks(&["NTLM"]);
    one.token(&config, &authenticate).is("DEMO\\alice");
}

#[test]
fn flow_03_and_04_a_request_without_credentials_ends_the_handshake() {
    let (site, mut visitor) = (Site::new(), Visitor::new());
    let config = site.config("");
    let authenticate = visitor.begin(&config, &alice());
    visitor.get(&config).asks(&["NTLM"]);
    visitor.token(&config, &authenticate).refused(401, Reason::OutOfSequence);
}

#[test]
fn flow_05_a_new_handshake_replaces_who_was_there() {
    let site = Site::new();
    let (config, mut visitor) = (site.config(""), signed_in(&site, ""));
    let authenticate = visitor.begin(&config, &bob());
    assert!(visitor.session.identity().is_none());
    visitor.token(&config, &authenticate).is("DEMO\\Bob");
    visitor.get(&config).is("DEMO\\Bob");

    let _ = visitor.begin(&config, &alice());
    visitor.get(&config).asks(&["NTLM"]);
}

#[test]
fn flow_06_a_failed_handshake_leaves_nobody() {
    let site = Site::new();
    let (config, mut visitor) = (site.config(""), signed_in(&site, ""));
    visitor.sign_in(&config, &mallory()).refused(401, Reason::WrongResponse);
    visitor.get(&config).asks(&["NTLM"]);
}

#[test]
fn any_credentials_clear_the_identity_before_they_are_looked_at() {
    let site = Site::new();
    let config = site.config("schemes negotiate ntlm");
    for value in [
        "",
        "NTLM",
        "NTLM ",
        "NTLM !!!!",
        "NTLM TlRM",
        "NTLM TlRMTVNTUAAD",
        "NTLM TlRMTVNTUAABAAAA, NTLM TlRMTVNTUAABAAAA",
        "Negotiate YIIB",
        "Basic YWxpY2U6UGFzc3cwcmQh",
        "Bearer x",
    ] {
        let mut visitor = signed_in(&site, "schemes negotiate ntlm");
        let answer = visitor.send(&config, value);
        assert_eq!((answer.verdict, answer.name), (Verdict::Rejected, None), "{value:?}");
        visitor.get(&config).asks(&["Negotiate", "NTLM"]);
    }
}

#[test]
fn any_credentials_end_the_handshake() {
    let (site, mut visitor) = (Site::new(), Visitor::new());
    let config = site.config("");
    for value in ["", "NTLM", "NTLM !!!!", "NTLM TlRMTVNTUAAE", "Basic YTpi"] {
        let authenticate = visitor.begin(&config, &alice());
        assert_eq!(visitor.send(&config, value).verdict, Verdict::Rejected, "{value:?}");
        visitor.token(&config, &authenticate).refused(401, Reason::OutOfSequence);
    }
}

// ---- Scopes ----------------------------------------------------------------------------------

/// Options that make another scope.
const OTHER_SCOPES: [&str; 6] = [
    "channel_binding off",
    "service_name www.elsewhere.test",
    "handshake_lifetime 5m",
    "proxies 10.0.0.0/8",
    "schemes ntlm negotiate",
    "schemes negotiate ntlm",
];

#[test]
fn a_handshake_ends_in_the_scope_that_it_began_in() {
    let site = Site::new();
    let config = site.config("");
    for options in OTHER_SCOPES {
        let other = site.config(options);
        let mut visitor = Visitor::new();
        let authenticate = visitor.begin(&config, &alice());
        visitor.token(&other, &authenticate).refused(401, Reason::OutOfSequence);
        // And it is spent.
        visitor.token(&config, &authenticate).refused(401, Reason::OutOfSequence);
        assert!(visitor.session.identity().is_none(), "{options}");
    }
}

#[test]
fn another_scope_does_not_see_who_signed_in() {
    let site = Site::new();
    let config = site.config("");
    for options in OTHER_SCOPES {
        let (other, mut visitor) = (site.config(options), signed_in(&site, ""));
        let answer = visitor.get(&other);
        assert_eq!((answer.reason, answer.name), (Reason::NoCredentials, None), "{options}");
        visitor.get(&config).is("DEMO\\alice");
        let service = Some("HTTP/www.elsewhere.test".into());
        visitor.sign_in(&other, &Client { service, ..bob() }).is("DEMO\\Bob");
        visitor.get(&config).asks(&["NTLM"]);
    }
}

#[test]
fn other_accounts_are_another_scope() {
    let (site, copy) = (Site::new(), Site::new());
    let mut visitor = signed_in(&site, "");
    visitor.get(&copy.config("")).asks(&["NTLM"]);
    let authenticate = visitor.begin(&site.config(""), &alice());
    visitor.token(&copy.config(""), &authenticate).refused(401, Reason::OutOfSequence);
}

#[test]
fn a_scope_is_known_by_its_value_wherever_it_is_configured() {
    let (site, mut visitor) = (Site::new(), Visitor::new());
    let options = "service_name www.demo.test\nproxies 10.0.0.0/8\nhandshake_lifetime 2m";
    let client = Client { service: Some("HTTP/www.demo.test".into()), ..alice() };
    let authenticate = visitor.begin(&site.config(options), &client);
    visitor.token(&site.config(options), &authenticate).is("DEMO\\alice");
    visitor.get(&site.config(options)).is("DEMO\\alice");
    // Rules are no part of it.
    visitor.get(&site.config(&format!("{options}\npersist on"))).is("DEMO\\alice");
}

// ---- Rules -----------------------------------------------------------------------------------

#[test]
fn without_persist_a_sign_in_counts_for_its_request() {
    let (site, mut visitor) = (Site::new(), Visitor::new());
    let config = site.config("persist off");
    let authenticate = visitor.begin(&config, &alice());
    let answer = visitor.token(&config, &authenticate);
    answer.is("DEMO\\alice");
    assert_eq!(answer.values("Persistent-Auth"), ["false"]);
    visitor.again(&config, &authenticate).is("DEMO\\alice");
    visitor.get(&config).asks(&["NTLM"]);
    visitor.get(&site.config("persist on")).asks(&["NTLM"]);
}

// ---- Connections that more than one client may use -------------------------------------------

#[test]
fn flow_07_no_token_is_decoded_on_a_stream() {
    let site = Site::new();
    let config = site.config("schemes negotiate ntlm");
    let negotiate = alice().negotiate();
    for connection in [Connection::Multiplexed, Connection::Serial] {
        for (http_version, scheme) in [(2000, "NTLM"), (3000, "NTLM"), (2000, "Negotiate")] {
            let mut visitor = Visitor { http_version, scheme, ..Visitor::on(connection) };
            visitor.persistent = false;
            // Clients that see NTLM there come back with HTTP/1.1.
            visitor.get(&config).asks(&["Negotiate", "NTLM"]);
            let answer = visitor.token(&config, &negotiate);
            answer.refused(401, Reason::Multiplexed);
            assert_eq!(answer.challenges(), ["Negotiate", "NTLM"]);
            let malformed = visitor.send(&config, &format!("{scheme} !!!!"));
            assert_eq!(malformed, answer);
        }
    }
    // However it calls its version.
    let mut stream = Visitor { http_version: 1001, ..Visitor::on(Connection::Multiplexed) };
    stream.token(&config, &negotiate).refused(401, Reason::Multiplexed);
}

#[test]
fn a_handshake_does_not_move_to_a_stream() {
    let (site, mut visitor) = (Site::new(), Visitor::new());
    let config = site.config("");
    let authenticate = visitor.begin(&config, &alice());
    visitor.http_version = 2000;
    visitor.token(&config, &authenticate).refused(401, Reason::Multiplexed);
}

#[test]
fn an_identity_does_not_move_to_a_stream() {
    let site = Site::new();
    let (config, mut visitor) = (site.config(""), signed_in(&site, ""));
    visitor.http_version = 2000;
    visitor.get(&config).asks(&["NTLM"]);
}

#[test]
fn flow_13_nobody_signs_in_through_a_proxy() {
    let (site, mut visitor) = (Site::new(), Visitor { forwarded: true, ..Visitor::new() });
    let config = site.config("");
    let refuse = |visitor: &mut Visitor, token: Option<&[u8]>| {
        let answer = match token {
            Some(token) => visitor.token(&config, token),
            None => visitor.get(&config),
        };
        answer.refused(403, Reason::Forwarded);
        assert_eq!(answer.challenges(), [""; 0]);
    };
    refuse(&mut visitor, None);
    refuse(&mut visitor, Some(&alice().negotiate()));
    visitor.forwarded = false;
    let authenticate = visitor.begin(&config, &alice());
    visitor.forwarded = true;
    refuse(&mut visitor, Some(&authenticate));
    visitor.forwarded = false;
    visitor.token(&config, &authenticate).refused(401, Reason::OutOfSequence);
}

#[test]
fn flow_13_a_request_through_a_proxy_drops_who_signed_in() {
    let site = Site::new();
    let (config, mut visitor) = (site.config(""), signed_in(&site, ""));
    visitor.forwarded = true;
    visitor.get(&config).refused(403, Reason::Forwarded);
    visitor.forwarded = false;
    visitor.get(&config).asks(&["NTLM"]);
}

#[test]
fn proxies_that_keep_connections_apart_are_known_by_their_address() {
    let site = Site::new();
    let config = site.config("proxies 10.1.0.0/16 2001:db8::1 unix:");
    for (peer, trusted) in [
        ("10.1.2.3", true),
        ("::ffff:10.1.2.3", true),
        ("2001:db8::1", true),
        ("unix:", true),
        ("10.2.0.1", false),
        ("2001:db8::2", false),
        ("127.0.0.1", false),
        ("", false),
        ("10.1.2.3, 192.0.2.1", false),
    ] {
        let mut visitor = Visitor { forwarded: true, peer, ..Visitor::new() };
        if trusted {
            visitor.sign_in(&config, &alice()).is("DEMO\\alice");
            visitor.get(&config).is("DEMO\\alice");
        } else {
            visitor.get(&config).refused(403, Reason::Forwarded);
        }
    }
    // Clients of their own network need no proxy.
    Visitor { peer: "10.2.0.1", ..Visitor::new() }.get(&config).asks(&["NTLM"]);
}

// ---- Connections that close -------------------------------------------------------------------

#[test]
fn flow_16_no_handshake_begins_on_a_connection_that_closes() {
    let (site, mut visitor) = (Site::new(), Visitor { persistent: false, ..Visitor::new() });
    let config = site.config("");
    visitor.get(&config).refused(403, Reason::NotPersistent);
    visitor.token(&config, &alice().negotiate()).refused(403, Reason::NotPersistent);
    visitor.persistent = true;
    let authenticate = alice().authenticate(&alice().negotiate(), &{
        let mut other = Visitor::new();
        other.token(&config, &alice().negotiate()).token()
    });
    visitor.token(&config, &authenticate).refused(401, Reason::OutOfSequence);
}

#[test]
fn the_last_request_of_a_connection_may_sign_in() {
    let (site, mut visitor) = (Site::new(), Visitor::new());
    let config = site.config("");
    let authenticate = visitor.begin(&config, &alice());
    visitor.persistent = false;
    let answer = visitor.token(&config, &authenticate);
    answer.is("DEMO\\alice");
    assert_eq!(answer.values("Persistent-Auth"), ["false"]);
    visitor.persistent = true;
    visitor.get(&config).asks(&["NTLM"]);
}

#[test]
fn the_last_request_of_a_connection_is_that_of_who_signed_in() {
    let site = Site::new();
    let (config, mut visitor) = (site.config(""), signed_in(&site, ""));
    visitor.persistent = false;
    visitor.get(&config).is("DEMO\\alice");
}

#[test]
fn a_refusal_on_a_connection_that_closes_offers_nothing() {
    let (site, mut visitor) = (Site::new(), Visitor::new());
    let config = site.config("");
    let authenticate = visitor.begin(&config, &mallory());
    visitor.persistent = false;
    visitor.token(&config, &authenticate).refused(403, Reason::WrongResponse);
}

// ---- Proxies of our own ------------------------------------------------------------------------

#[test]
fn a_proxy_asks_with_407() {
    let (site, mut visitor) = (Site::new(), Visitor { proxy: true, ..Visitor::new() });
    let config = site.config("schemes negotiate ntlm");
    let answer = visitor.get(&config);
    assert_eq!((answer.verdict, answer.status), (Verdict::Challenge, 407));
    assert_eq!(answer.values("Proxy-Authenticate"), ["Negotiate", "NTLM"]);
    assert_eq!(answer.challenges(), [""; 0]);
    assert_eq!(answer.fields[0].2, HeaderKind::Challenge);
    let answer = visitor.sign_in(&config, &mallory());
    assert_eq!((answer.verdict, answer.status), (Verdict::Rejected, 407));
    assert_eq!(answer.values("Proxy-Authenticate"), ["Negotiate", "NTLM"]);
    visitor.sign_in(&config, &alice()).is("DEMO\\alice");
}

// ---- Size --------------------------------------------------------------------------------------

#[test]
fn half_done_handshakes_that_grow_too_old_are_freed_by_those_that_begin_later() {
    let site = Site::new();
    let (short, long) = (site.config("handshake_lifetime 10s"), site.config(""));
    let mut left: Vec<_> = (0..1000).map(|_| Visitor::new()).collect();
    let tokens: Vec<_> = left
        .iter_mut()
        .enumerate()
        .map(|(at, visitor)| visitor.begin(if at == 0 { &long } else { &short }, &alice()))
        .collect();
    assert_eq!(half_open(), 1000);
    pass(10_001);

    // Each that begins frees some, so that none takes long.
    let mut visitor = Visitor::new();
    visitor.begin(&short, &alice());
    assert!((800..1000).contains(&half_open()), "{}", half_open());
    for _ in 0..30 {
        visitor.begin(&short, &alice());
    }
    assert_eq!(half_open(), 2, "the one that may still be answered, and the newest");

    left[1].token(&short, &tokens[1]).refused(401, Reason::Expired);
    left[0].token(&long, &tokens[0]).is("DEMO\\alice");
    left[2].get(&short).asks(&["NTLM"]);
    drop((left, visitor));
    assert_eq!(half_open(), 0);
}

#[test]
fn a_half_done_handshake_ends_with_its_connection_and_with_its_next_request() {
    let site = Site::new();
    let config = site.config("");
    let mut visitor = Visitor::new();
    visitor.begin(&config, &alice());
    assert_eq!(half_open(), 1);
    visitor.get(&config).asks(&["NTLM"]);
    assert_eq!(half_open(), 0);
    visitor.begin(&config, &alice());
    visitor.begin(&config, &alice());
    assert_eq!(half_open(), 1);
    visitor.sign_in(&config, &alice()).is("DEMO\\alice");
    assert_eq!(half_open(), 0);
    visitor.begin(&config, &alice());
    drop(visitor);
    assert_eq!(half_open(), 0);
}

#[test]
fn a_half_done_handshake_is_small() {
    let (site, mut visitor) = (Site::new(), Visitor::new());
    let config = site.config("schemes negotiate ntlm");
    let mut negotiate = alice().negotiate();
    negotiate.resize(2888, 0);
    let answer = visitor.token(&config, &negotiate);
    assert!(answer.token().len() > 100);
    let held = visitor.session.held();
    assert!(held > answer.token().len() && held < 2048, "{held} bytes");
}

// ---- What is broken ----------------------------------------------------------------------------

#[test]
fn a_configuration_that_cannot_sign_anyone_in_is_an_error() {
    let site = Site::new();
    let mut visitor = signed_in(&site, "");
    let answer = visitor.get(&negotiate_auth::config::Config::default());
    assert_eq!((answer.verdict, answer.status), (Verdict::Error, 500));
    assert_eq!((answer.reason, answer.name), (Reason::BadConfig, None));
    assert!(answer.detail.contains("accounts"), "{}", answer.detail);
    visitor.get(&site.config("")).asks(&["NTLM"]);
}

#[test]
fn a_call_that_makes_no_sense_leaves_nobody() {
    let site = Site::new();
    let mut visitor = signed_in(&site, "");
    assert_eq!(visitor.session.refuse_call(), Verdict::Error);
    assert_eq!((visitor.session.status(), visitor.session.reason()), (500, Reason::BadCall));
    assert!(visitor.session.identity().is_none());
    visitor.get(&site.config("")).asks(&["NTLM"]);
}

#[test]
fn a_poisoned_session_denies_for_ever() {
    let site = Site::new();
    let (config, mut visitor) = (site.config(""), signed_in(&site, ""));
    visitor.session.poison();
    assert!(visitor.session.identity().is_none());
    let negotiate = alice().negotiate();
    for answer in [
        visitor.get(&config),
        visitor.token(&config, &negotiate),
        visitor.again(&config, &negotiate),
        visitor.get(&config),
    ] {
        assert_eq!((answer.verdict, answer.status), (Verdict::Error, 500), "{answer:?}");
        assert_eq!((answer.reason, answer.name), (Reason::Internal, None));
        assert_eq!(answer.fields, []);
    }
    assert_eq!(visitor.resume(None).verdict, Verdict::Error);
}

#[test]
fn before_its_first_request_a_session_grants_nothing() {
    let visitor = Visitor::new();
    assert_eq!((visitor.session.status(), visitor.session.reason()), (500, Reason::BadCall));
    assert!(visitor.session.identity().is_none() && visitor.session.header(0).is_none());
}
