//! A build without Kerberos (`--no-default-features`): it says so where Kerberos is asked for, and
//! NTLM is what it always was.
#![cfg(not(feature = "kerberos"))]

mod common;

use negotiate_auth::config::Config;
use negotiate_auth::session::Verdict;

use common::site::{Site, Visitor, alice};

#[test]
fn a_keytab_is_an_error_that_says_why() {
    let mut config = Config::default();
    assert!(!config.set(b"keytab", &[b"/etc/krb5.keytab"], Some(b"site.conf:7")));
    let error = "site.conf:7: option \"keytab\": this build has no Kerberos";
    assert_eq!(config.error().as_str(), error);
    assert!(config.set(b"mechanisms", &[b"kerberos"], Some(b"site.conf:8")));
    assert!(!config.check(None));
    assert!(config.error().as_str().starts_with("site.conf:8: option \"mechanisms\": "));
}

#[test]
fn a_ticket_is_for_a_mechanism_that_is_not_there() {
    let site = Site::new();
    let config = site.config("schemes negotiate ntlm");
    let answer = Visitor::new().send(&config, "Negotiate YBUGCSqGSIb3EgECAgEAbgYwBKADAgEF");
    assert_eq!(answer.verdict, Verdict::Rejected);
    assert_eq!(answer.name, None);
}

#[test]
fn ntlm_signs_in() {
    let site = Site::new();
    let answer = Visitor::new().sign_in(&site.config(""), &alice());
    assert_eq!(answer.verdict, Verdict::Accepted);
    assert_eq!(answer.name.as_deref(), Some("DEMO\\alice"));
}
