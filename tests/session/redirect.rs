//! One request, seen more than once: redirects inside the server (flow 15).

use negotiate_auth::http::Authorization;
use negotiate_auth::reason::Reason;
use negotiate_auth::session::Verdict;

use crate::common::site::{Site, Visitor, alice, mallory};

/// The same password as before, in another file.
const ALICE_ALONE: &str = "DEMO\\alice:fc525c9683e8fe067095ba2ddc971889\n";

#[test]
fn a_token_is_stepped_once_however_often_its_request_comes_by() {
    let (site, mut visitor) = (Site::new(), Visitor::new());
    let config = site.config("");
    let negotiate = alice().negotiate();
    let first = visitor.token(&config, &negotiate);
    assert_eq!(first.reason, Reason::InProgress);
    // The same challenge, which is the one that the client's answer fits.
    assert_eq!(visitor.again(&config, &negotiate), first);
    assert_eq!(visitor.again(&site.config(""), &negotiate), first);

    let authenticate = alice().authenticate(&negotiate, &first.token());
    let signed_in = visitor.token(&config, &authenticate);
    signed_in.is("DEMO\\alice");
    assert_eq!(visitor.again(&config, &authenticate), signed_in);
    assert_eq!(visitor.again(&site.config(""), &authenticate), signed_in);
}

#[test]
fn a_refusal_stays_a_refusal() {
    let (site, mut visitor) = (Site::new(), Visitor::new());
    let config = site.config("");
    let authenticate = visitor.begin(&config, &mallory());
    let refused = visitor.token(&config, &authenticate);
    refused.refused(401, Reason::WrongResponse);
    assert_eq!(visitor.again(&config, &authenticate), refused);

    let asked = visitor.get(&config);
    assert_eq!(visitor.step(&config, Authorization::None, true), asked);

    visitor.forwarded = true;
    let forwarded = visitor.get(&config);
    assert_eq!(visitor.step(&config, Authorization::None, true), forwarded);
}

#[test]
fn two_authorization_fields_stay_a_bad_request() {
    let (site, mut visitor) = (Site::new(), Visitor::new());
    let config = site.config("");
    let bad = visitor.step(&config, Authorization::Several, false);
    bad.refused(400, Reason::DuplicateHeader);
    assert_eq!(visitor.step(&config, Authorization::Several, true), bad);
}

#[test]
fn a_step_that_was_given_up_stays_given_up() {
    let (site, mut visitor) = (Site::new(), Visitor::new());
    let config = site.config("");
    site.rewrite(ALICE_ALONE);
    let authenticate = visitor.begin(&config, &alice());
    assert_eq!(visitor.token(&config, &authenticate).verdict, Verdict::Wait);
    let given_up = visitor.resume(None);
    assert_eq!((given_up.verdict, given_up.status), (Verdict::Error, 503));
    assert_eq!(visitor.again(&config, &authenticate), given_up);
}

#[test]
fn a_place_of_another_scope_asks_and_does_not_take_the_token() {
    let site = Site::new();
    let (config, other) = (site.config(""), site.config("schemes negotiate ntlm"));
    let mut visitor = Visitor::new();
    let authenticate = visitor.begin(&config, &alice());
    visitor.token(&config, &authenticate).is("DEMO\\alice");
    visitor.again(&other, &authenticate).asks(&["Negotiate", "NTLM"]);
    // The connection is alice's still, where she signed in.
    visitor.get(&config).is("DEMO\\alice");

    let negotiate = alice().negotiate();
    let begun = visitor.token(&config, &negotiate);
    visitor.again(&other, &negotiate).asks(&["Negotiate", "NTLM"]);
    let authenticate = alice().authenticate(&negotiate, &begun.token());
    assert_eq!(visitor.token(&other, &authenticate).verdict, Verdict::Rejected);
}

#[test]
fn a_token_spent_in_one_scope_is_not_good_for_the_next() {
    let site = Site::new();
    let (config, other) = (site.config(""), site.config("channel_binding off"));
    let mut visitor = Visitor::new();
    let authenticate = visitor.begin(&config, &alice());
    visitor.token(&other, &authenticate).refused(401, Reason::OutOfSequence);
    let answer = visitor.again(&config, &authenticate);
    answer.asks(&["NTLM"]);
    visitor.get(&config).asks(&["NTLM"]);
}

#[test]
fn who_signed_in_is_known_again_behind_a_place_of_another_scope() {
    let site = Site::new();
    let (config, other) = (site.config(""), site.config("channel_binding off"));
    let mut visitor = Visitor::new();
    visitor.sign_in(&config, &alice()).is("DEMO\\alice");
    visitor.get(&other).asks(&["NTLM"]);
    visitor.step(&config, Authorization::None, true).is("DEMO\\alice");
}

#[test]
fn a_redirect_signs_in_nobody_whom_a_proxy_may_share() {
    let site = Site::new();
    let (config, other) = (site.config(""), site.config("proxies 192.0.2.7"));
    let mut visitor = Visitor::new();
    visitor.sign_in(&config, &alice()).is("DEMO\\alice");
    // The other scope trusts the proxy; ours does not.
    visitor.forwarded = true;
    visitor.get(&other).asks(&["NTLM"]);
    visitor.step(&config, Authorization::None, true).refused(403, Reason::Forwarded);
}

#[test]
fn a_step_that_waits_waits_on_in_its_scope() {
    let (site, mut visitor) = (Site::new(), Visitor::new());
    let config = site.config("");
    site.rewrite(ALICE_ALONE);
    let authenticate = visitor.begin(&config, &alice());
    let waits = visitor.token(&config, &authenticate);
    assert_eq!(waits.verdict, Verdict::Wait);
    assert_eq!(visitor.again(&config, &authenticate), waits);
    let job = visitor.session.detach().expect("a job");
    job.run();
    visitor.resume(Some(job)).is("DEMO\\alice");
}

#[test]
fn a_step_that_waits_ends_in_another_scope() {
    let site = Site::new();
    let (config, other) = (site.config(""), site.config("channel_binding off"));
    let mut visitor = Visitor::new();
    site.rewrite(ALICE_ALONE);
    let authenticate = visitor.begin(&config, &alice());
    assert_eq!(visitor.token(&config, &authenticate).verdict, Verdict::Wait);
    let job = visitor.session.detach().expect("a job");
    visitor.again(&other, &authenticate).asks(&["NTLM"]);
    assert!(visitor.session.detach().is_none());
    job.run();
    assert_eq!(visitor.resume(Some(job)).reason, Reason::BadCall);
    assert!(visitor.session.identity().is_none());
}

#[test]
fn a_redirect_to_where_nothing_lasts_knows_who_signed_in_with_this_request_only() {
    let site = Site::new();
    let (lasting, fleeting) = (site.config(""), site.config("persist off"));
    let mut visitor = Visitor::new();
    visitor.sign_in(&lasting, &alice()).is("DEMO\\alice");
    visitor.again(&fleeting, b"").is("DEMO\\alice");
    visitor.get(&lasting).is("DEMO\\alice");
    visitor.again(&fleeting, b"").asks(&["NTLM"]);
    visitor.get(&lasting).is("DEMO\\alice");
}
