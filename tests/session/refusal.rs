//! What is refused, and what the client and the log get to know about it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use negotiate_auth::http::Authorization;
use negotiate_auth::reason::Reason;
use negotiate_auth::session::{HeaderKind, Verdict};

use crate::common::client::Client;
use crate::common::site::{ACCOUNTS, Answer, Site, Visitor, alice, mallory};

#[test]
fn two_authorization_fields_are_a_bad_request() {
    let (site, mut visitor) = (Site::new(), Visitor::new());
    let config = site.config("");
    visitor.sign_in(&config, &alice()).is("DEMO\\alice");
    let answer = visitor.step(&config, Authorization::Several, false);
    answer.refused(400, Reason::DuplicateHeader);
    assert_eq!(answer.fields, []);
    visitor.get(&config).asks(&["NTLM"]);

    let authenticate = visitor.begin(&config, &alice());
    visitor.step(&config, Authorization::Several, false).refused(400, Reason::DuplicateHeader);
    visitor.token(&config, &authenticate).refused(401, Reason::OutOfSequence);
}

/// As a server hands them over that joins fields of one name.
#[test]
fn two_authorization_fields_in_one_value_are_a_bad_request() {
    let site = Site::new();
    let config = site.config("");
    let negotiate = STANDARD.encode(alice().negotiate());
    for value in [
        format!("NTLM {negotiate}, NTLM {negotiate}"),
        format!("Basic YWxpY2U6UGFzc3cwcmQh, NTLM {negotiate}"),
        format!("NTLM {negotiate},Negotiate {negotiate}"),
    ] {
        let mut visitor = Visitor::new();
        visitor.sign_in(&config, &alice()).is("DEMO\\alice");
        let answer = visitor.send(&config, &value);
        answer.refused(400, Reason::DuplicateHeader);
        assert_eq!(answer, visitor.step(&config, Authorization::Several, false));
        visitor.get(&config).asks(&["NTLM"]);
    }
}

#[test]
fn malformed_fields_and_tokens_are_refused_with_their_reason() {
    let site = Site::new();
    let config = site.config("schemes negotiate ntlm");
    let message = |bytes: &[u8]| STANDARD.encode([b"NTLMSSP\0", bytes].concat());
    let negotiate = STANDARD.encode(alice().negotiate());
    for (value, reason) in [
        (String::new(), Reason::MalformedHeader),
        ("NTLM".into(), Reason::MalformedHeader),
        (format!("NTLM {negotiate},"), Reason::MalformedHeader),
        (format!("NTLM\t{negotiate}"), Reason::MalformedHeader),
        (format!("NTLM token=\"{negotiate}\""), Reason::BadBase64),
        (format!("NTLM {}", negotiate.trim_end_matches('=')), Reason::BadBase64),
        (format!("NTLM {negotiate}===="), Reason::BadBase64),
        ("NTLM TlRM TVNT".into(), Reason::BadBase64),
        ("Negotiate !!!!".into(), Reason::BadBase64),
        ("Negotiate YWJj".into(), Reason::MalformedToken),
        ("NTLM YWJj".into(), Reason::MalformedToken),
        (format!("NTLM {}", message(b"")), Reason::MalformedToken),
        (format!("NTLM {}", message(&[1, 0, 0, 0])), Reason::MalformedToken),
        (format!("NTLM {}", message(&[2, 0, 0, 0, 7, 2, 8, 0])), Reason::MalformedToken),
        (format!("NTLM {}", message(&[4, 0, 0, 0, 7, 2, 8, 0])), Reason::MalformedToken),
        (format!("NTLM {}", message(&[3, 0, 0, 0])), Reason::OutOfSequence),
        ("Basic YWxpY2U6UGFzc3cwcmQh".into(), Reason::OtherScheme),
        (format!("NTLMv2 {negotiate}"), Reason::OtherScheme),
    ] {
        let answer = Visitor::new().send(&config, &value);
        assert_eq!(answer.reason, reason, "{value:?}");
        answer.refused(401, reason);
        assert_eq!(answer.challenges(), ["Negotiate", "NTLM"]);
    }
}

#[test]
fn a_message_of_2888_bytes_is_taken_and_a_larger_one_is_not() {
    let site = Site::new();
    let config = site.config("schemes negotiate ntlm");
    for scheme in ["NTLM", "Negotiate"] {
        for (len, taken) in [(2888, true), (2889, false), (2891, false), (5000, false)] {
            let mut visitor = Visitor { scheme, ..Visitor::new() };
            let mut negotiate = alice().negotiate();
            negotiate.resize(len, 0);
            let answer = visitor.token(&config, &negotiate);
            if taken {
                assert_eq!(answer.reason, Reason::InProgress, "{len}");
            } else {
                answer.refused(401, Reason::TooLarge);
            }
        }
    }
}

#[test]
fn a_larger_authenticate_is_not_looked_at() {
    let (site, mut visitor) = (Site::new(), Visitor::new());
    let config = site.config("");
    // Without a MIC what follows the last field belongs to nobody.
    let client = Client { mic: crate::common::client::Mic::None, ..alice() };
    for (len, reason) in [(2888, Reason::SignedIn), (2889, Reason::TooLarge)] {
        let mut authenticate = visitor.begin(&config, &client);
        authenticate.resize(len, 0);
        assert_eq!(visitor.token(&config, &authenticate).reason, reason, "{len}");
    }
}

#[test]
fn a_token_for_another_mechanism_is_read_up_to_its_own_limit() {
    let site = Site::new();
    let config = site.config("schemes negotiate");
    for (len, reason) in [
        (64 << 10, Reason::MalformedToken),
        ((64 << 10) + 1, Reason::TooLarge),
        (1 << 20, Reason::TooLarge),
    ] {
        let mut visitor = Visitor { scheme: "Negotiate", ..Visitor::new() };
        assert_eq!(visitor.token(&config, &vec![0x60; len]).reason, reason, "{len}");
    }
}

#[test]
fn refusals_of_a_handshake_look_the_same_to_the_client() {
    let site = Site::new();
    let config = site.config("schemes negotiate ntlm");
    let attempt = |client: Client| Visitor::new().sign_in(&config, &client);
    let refused = [
        (attempt(mallory()), Reason::WrongResponse),
        (attempt(Client { user: "nobody".into(), ..alice() }), Reason::UnknownUser),
        (attempt(Client { domain: "NOWHERE".into(), ..alice() }), Reason::UnknownUser),
        (attempt(Client { user: "carol".into(), ..alice() }), Reason::AccountDisabled),
        (attempt(Client { user: "a\\b".into(), ..alice() }), Reason::BadName),
        (attempt(Client { tamper: |pairs| pairs.clear(), ..alice() }), Reason::AvMismatch),
    ];
    let (first, _) = &refused[0];
    assert_eq!(first.challenges(), ["Negotiate", "NTLM"]);
    assert_eq!(first.values("Cache-Control"), ["no-store"]);
    assert!(first.fields.iter().all(|field| field.2 == HeaderKind::Challenge));
    for (answer, reason) in &refused {
        answer.refused(401, *reason);
        assert_eq!(answer.seen(), first.seen());
    }
}

#[test]
fn a_disabled_account_is_not_told_apart_by_any_password() {
    let site = Site::new();
    let config = site.config("");
    // The hash of a disabled account is none; nor are zeros, nor that of the empty password.
    for password in ["", "Passw0rd!", "!"] {
        let client = Client::new("DEMO", "carol", password);
        Visitor::new().sign_in(&config, &client).refused(401, Reason::AccountDisabled);
        let client = Client::new("DEMO", "nobody", password);
        Visitor::new().sign_in(&config, &client).refused(401, Reason::UnknownUser);
    }
}

// ---- The log -----------------------------------------------------------------------------------

#[test]
fn the_log_says_who_tried_and_who_signed_in() {
    let site = Site::new();
    let config = site.config("");
    let refused = Visitor::new().sign_in(&config, &mallory());
    assert_eq!(
        refused.detail,
        "user \"DEMO\\alice\": the response does not fit the account's password"
    );
    let signed_in = Visitor::new().sign_in(&config, &alice());
    assert_eq!(signed_in.detail, "user \"DEMO\\alice\" signed in by ntlm under NTLM");
    let asked = Visitor::new().get(&config);
    assert_eq!(asked.detail, "the request has no credentials");
}

#[test]
fn names_in_the_log_are_escaped() {
    let site = Site::new();
    let config = site.config("");
    let client = Client {
        domain: "DE\"MO".into(),
        user: "al\u{2028}ice\": the client has signed in".into(),
        ..alice()
    };
    let answer = Visitor::new().sign_in(&config, &client);
    assert!(
        answer.detail.starts_with(
            "user \"DE\\x22MO\\al\\u{2028}ice\\x22: the client has signed in\": no account"
        ),
        "{}",
        answer.detail
    );
    let client = Client { user: "alice\r\nforged".into(), ..alice() };
    let answer = Visitor::new().sign_in(&config, &client);
    answer.refused(401, Reason::BadName);
    assert_eq!(answer.detail, Reason::BadName.sentence().as_str());
}

#[test]
fn nothing_secret_is_said() {
    let site = Site::new();
    let config = site.config("schemes negotiate ntlm");
    let mut said = Vec::new();
    let mut secrets: Vec<String> =
        ACCOUNTS.split(':').filter(|field| field.len() == 32).map(|hash| hash.to_owned()).collect();
    assert_eq!(secrets.len(), 1, "alice's has fields on both sides");
    for client in [alice(), mallory(), Client { user: "carol".into(), ..alice() }] {
        let mut visitor = Visitor::new();
        let authenticate = visitor.begin(&config, &client);
        let token = STANDARD.encode(&authenticate);
        secrets.extend([token[40..80].to_owned(), client.password.clone()]);
        said.push(visitor.token(&config, &authenticate));
        said.push(visitor.send(&config, &format!("NTLM {token}")));
        said.push(visitor.send(&config, &format!("NTLM {token},")));
        said.push(visitor.send(&config, &format!("Bearer {token}")));
        said.push(visitor.send(&config, &token));
    }
    let kinds = |verdict| said.iter().filter(move |answer| answer.verdict == verdict).count();
    assert_eq!((kinds(Verdict::Accepted), kinds(Verdict::Rejected)), (1, 14));
    for Answer { detail, notice, fields, .. } in &said {
        let all = format!("{detail}{notice}{fields:?}");
        assert!(!secrets.iter().any(|secret| all.contains(secret)), "{all}");
    }
}
