//! Accounts that have to be asked about every sign-in: who waits for them, and who may not.

use std::time::Duration;

use negotiate_auth::config::Config;
use negotiate_auth::reason::Reason;
use negotiate_auth::session::{HeaderKind, Verdict};

use crate::common::site::{Answer, Site, Visitor, alice, mallory, pass};

/// The site's accounts, each sign-in a question that is answered at once; `options` one to a line.
fn asking(site: &Site, options: &str) -> Config {
    asking_for(site, "0ms", options)
}

fn asking_for(site: &Site, time: &str, options: &str) -> Config {
    let (rest, mut config) = (site.config(options), Config::default());
    let accounts = format!("slow:{time}:{}", site.file().display());
    assert!(config.set(b"accounts", &[accounts.as_bytes()], None), "{}", config.error().as_str());
    Config::inherit(Some(&config), Some(&rest))
}

fn waits(answer: &Answer) {
    assert_eq!((answer.verdict, answer.status), (Verdict::Wait, 503), "{answer:?}");
    assert_eq!((answer.name.as_deref(), answer.fields.len()), (None, 0), "{answer:?}");
}

/// The answer to who has waited for a job that ran.
fn answered(visitor: &mut Visitor) -> Answer {
    let job = visitor.session.detach().expect("a job");
    job.run();
    visitor.resume(Some(job))
}

#[test]
fn every_sign_in_waits_and_no_other_request_does() {
    let site = Site::new();
    let (config, mut visitor) = (asking(&site, ""), Visitor::new());
    assert_eq!(visitor.session.timeout(), Duration::ZERO);
    visitor.get(&config).asks(&["NTLM"]);
    waits(&visitor.sign_in(&config, &alice()));
    assert_eq!(visitor.session.timeout(), Duration::from_secs(10));
    answered(&mut visitor).is("DEMO\\alice");
    assert_eq!(visitor.session.timeout(), Duration::ZERO);
    visitor.get(&config).is("DEMO\\alice");
    waits(&visitor.sign_in(&config, &mallory()));
    answered(&mut visitor).refused(401, Reason::WrongResponse);
    visitor.get(&config).asks(&["NTLM"]);
}

#[test]
fn the_timeout_is_what_the_option_says() {
    let site = Site::new();
    let (config, mut visitor) = (asking(&site, "timeout 1m500ms"), Visitor::new());
    waits(&visitor.sign_in(&config, &alice()));
    assert_eq!(visitor.session.timeout(), Duration::from_millis(60_500));
}

#[test]
fn nobody_is_asked_about_what_cannot_be_good() {
    let site = Site::new();
    let config = asking(&site, "handshake_lifetime 30s");
    let mut visitor = Visitor::new();
    let late = visitor.begin(&config, &alice());
    pass(30_001);
    visitor.token(&config, &late).refused(401, Reason::Expired);

    let mut other = Config::default();
    assert!(other.set(b"domain", &[b"OTHER"], None));
    let other = Config::inherit(Some(&other), Some(&config));
    let elsewhere = Visitor::new().begin(&other, &alice());
    visitor.begin(&config, &alice());
    visitor.token(&config, &elsewhere).refused(401, Reason::AvMismatch);

    let mut cut = visitor.begin(&config, &alice());
    cut.truncate(cut.len() / 2);
    visitor.token(&config, &cut).refused(401, Reason::MalformedToken);
}

#[test]
fn more_than_max_jobs_are_turned_away_at_once() {
    let site = Site::new();
    let config = asking(&site, "max_jobs 2");
    let mut waiting = [Visitor::new(), Visitor::new()];
    waiting.iter_mut().for_each(|visitor| waits(&visitor.sign_in(&config, &alice())));

    let mut third = Visitor::new();
    let answer = third.sign_in(&config, &alice());
    assert_eq!((answer.verdict, answer.status), (Verdict::Error, 503));
    assert_eq!((answer.reason, answer.name), (Reason::Busy, None));
    assert_eq!(answer.fields, [("Retry-After".into(), "5".into(), HeaderKind::Always)]);
    assert!(answer.detail.starts_with("user \"DEMO\\alice\": "), "{}", answer.detail);
    assert!(third.session.detach().is_none());
    // What cannot be good needs no leave to be refused.
    let mut cut = third.begin(&config, &alice());
    cut.truncate(cut.len() / 2);
    third.token(&config, &cut).refused(401, Reason::MalformedToken);

    answered(&mut waiting[0]).is("DEMO\\alice");
    waits(&third.sign_in(&config, &alice()));
    answered(&mut third).is("DEMO\\alice");
}

#[test]
fn max_jobs_counts_for_the_accounts_wherever_they_are_named() {
    let site = Site::new();
    let (one, other) = (asking(&site, "max_jobs 1"), asking(&site, "max_jobs 1\ntimeout 1s"));
    let (mut first, mut second) = (Visitor::new(), Visitor::new());
    waits(&first.sign_in(&one, &alice()));
    assert_eq!(second.sign_in(&other, &alice()).reason, Reason::Busy);
    answered(&mut first).is("DEMO\\alice");
    waits(&second.sign_in(&other, &alice()));
}

#[test]
fn who_gives_up_before_the_job_has_begun_makes_room_and_is_not_asked_about() {
    let site = Site::new();
    let config = asking(&site, "max_jobs 1");
    let mut visitor = Visitor::new();
    waits(&visitor.sign_in(&config, &alice()));
    let job = visitor.session.detach().expect("a job");
    let answer = visitor.resume(None);
    assert_eq!((answer.status, answer.reason), (503, Reason::BackendUnavailable));
    assert!(answer.detail.starts_with("user \"DEMO\\alice\": "), "{}", answer.detail);
    job.run();
    assert!(!job.is_finished(), "nobody waits for it");

    // So does a client that leaves, and one that sends something else.
    waits(&Visitor::new().sign_in(&config, &alice()));
    waits(&visitor.sign_in(&config, &alice()));
    visitor.get(&config).asks(&["NTLM"]);
    waits(&visitor.sign_in(&config, &alice()));
    answered(&mut visitor).is("DEMO\\alice");
}

#[test]
fn a_job_that_has_begun_keeps_its_place_until_it_ends() {
    let site = Site::new();
    let config = asking_for(&site, "200ms", "max_jobs 1");
    let mut visitor = Visitor::new();
    // Until one has begun before it is given up.
    let thread = loop {
        waits(&visitor.sign_in(&config, &alice()));
        let job = visitor.session.detach().expect("a job");
        let thread = std::thread::spawn(move || job.run());
        std::thread::sleep(Duration::from_millis(20));
        assert_eq!(visitor.resume(None).status, 503);
        if visitor.sign_in(&config, &alice()).reason == Reason::Busy {
            break thread;
        }
        thread.join().expect("there was nothing to do");
    };
    thread.join().expect("the job ends");
    waits(&visitor.sign_in(&config, &alice()));
}
