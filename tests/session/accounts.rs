//! The accounts file changes while the server runs.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use negotiate_auth::config::Config;
use negotiate_auth::job::Job;
use negotiate_auth::reason::Reason;
use negotiate_auth::session::{HeaderKind, Verdict};

use crate::common::client::Client;
use crate::common::site::{ACCOUNTS, Answer, Site, Visitor, alice, bob};

/// alice with bob's password, and nobody else.
const CHANGED: &str = "DEMO\\alice:6608e4bc7b2b7a5f77ce3573570775af\n";

fn alice_anew() -> Client {
    Client { password: bob().password, ..alice() }
}

/// A visitor whose AUTHENTICATE found the file changed. A file is looked at once a second, so it
/// tries until it is the one who looks.
fn waiting(config: &Config, client: &Client) -> (Visitor, Answer) {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let mut visitor = Visitor::new();
        let answer = visitor.sign_in(config, client);
        if answer.verdict == Verdict::Wait {
            return (visitor, answer);
        }
        assert!(Instant::now() < deadline, "the change is not noticed");
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_step_that_finds_the_file_changed_waits_for_it_to_be_read() {
    let site = Site::new();
    let config = site.config("");
    site.rewrite(CHANGED);
    let (mut visitor, answer) = waiting(&config, &alice_anew());
    assert_eq!((answer.status, answer.reason), (503, Reason::BackendUnavailable));
    assert_eq!((answer.name, answer.fields.len()), (None, 0));

    let job = visitor.session.detach().expect("a job");
    let again = visitor.session.detach().expect("the same job");
    assert!(Arc::ptr_eq(&job, &again));
    let on_its_way = job.clone();
    thread::spawn(move || on_its_way.run()).join().expect("the job runs anywhere");
    let answer = visitor.resume(Some(job));
    answer.is("DEMO\\alice");
    assert_eq!(answer.values("Persistent-Auth"), ["true"]);
    assert!(answer.notice.ends_with("/accounts: read again, 1 accounts"), "{}", answer.notice);
    let next = visitor.get(&config);
    next.is("DEMO\\alice");
    assert_eq!(next.notice, "", "it is said once");
    assert_eq!(Visitor::new().sign_in(&config, &alice_anew()).notice, "");
}

#[test]
fn the_old_password_is_refused_after_the_file_was_read_again() {
    let site = Site::new();
    let config = site.config("");
    site.rewrite(CHANGED);
    let (mut visitor, _) = waiting(&config, &alice());
    let job = visitor.session.detach().expect("a job");
    job.run();
    visitor.resume(Some(job)).refused(401, Reason::WrongResponse);
    visitor.get(&config).asks(&["NTLM"]);
}

#[test]
fn while_one_waits_others_go_on_with_the_table_at_hand() {
    let site = Site::new();
    let config = site.config("");
    site.rewrite(CHANGED);
    let (_waiting, _) = waiting(&config, &alice());
    Visitor::new().sign_in(&config, &alice()).is("DEMO\\alice");
    Visitor::new().sign_in(&config, &alice_anew()).refused(401, Reason::WrongResponse);
}

#[test]
fn a_step_that_is_given_up_asks_to_come_back() {
    let site = Site::new();
    let config = site.config("");
    site.rewrite(CHANGED);
    let (mut visitor, _) = waiting(&config, &alice());
    let job = visitor.session.detach().expect("a job");
    let answer = visitor.resume(None);
    assert_eq!((answer.verdict, answer.status), (Verdict::Error, 503));
    assert_eq!((answer.reason, answer.name), (Reason::BackendUnavailable, None));
    assert_eq!(answer.fields, [("Retry-After".into(), "5".into(), HeaderKind::Always)]);
    assert!(visitor.session.detach().is_none());
    // The job that nobody waits for is good for the next.
    job.run();
    let mut next = Visitor::new();
    next.sign_in(&config, &alice_anew()).is("DEMO\\alice");
    let call = visitor.resume(Some(job));
    assert_eq!((call.verdict, call.status, call.reason), (Verdict::Error, 500, Reason::BadCall));
}

#[test]
fn a_step_goes_on_with_its_own_finished_job_only() {
    let give_up = |answer: Answer| {
        assert_eq!((answer.verdict, answer.status), (Verdict::Error, 503), "{answer:?}");
        assert_eq!(answer.name, None);
    };
    let (site, elsewhere) = (Site::new(), Site::new());
    let (config, other) = (site.config(""), elsewhere.config(""));
    site.rewrite(CHANGED);
    elsewhere.rewrite(CHANGED);
    let (mut visitor, _) = waiting(&config, &alice_anew());
    let (mut stranger, _) = waiting(&other, &alice_anew());
    let job: Arc<Job> = stranger.session.detach().expect("a job");
    job.run();
    give_up(visitor.resume(Some(job.clone())));
    // Its own session takes it.
    stranger.resume(Some(job)).is("DEMO\\alice");

    // The job that was given up was not run; somebody else gets the work.
    let (mut visitor, _) = waiting(&config, &alice_anew());
    let job = visitor.session.detach().expect("a job");
    assert!(!job.is_finished());
    give_up(visitor.resume(Some(job)));
}

#[test]
fn the_next_request_gives_up_the_step_before() {
    let site = Site::new();
    let config = site.config("");
    site.rewrite(CHANGED);
    let (mut visitor, _) = waiting(&config, &alice_anew());
    let job = visitor.session.detach().expect("a job");
    visitor.get(&config).asks(&["NTLM"]);
    job.run();
    assert_eq!(visitor.resume(Some(job)).reason, Reason::BadCall);
    visitor.get(&config).asks(&["NTLM"]);
}

#[test]
fn without_a_step_that_waits_there_is_nothing_to_detach_or_resume() {
    let (site, mut visitor) = (Site::new(), Visitor::new());
    visitor.sign_in(&site.config(""), &alice()).is("DEMO\\alice");
    assert!(visitor.session.detach().is_none());
    let answer = visitor.resume(None);
    assert_eq!(
        (answer.verdict, answer.status, answer.reason),
        (Verdict::Error, 500, Reason::BadCall)
    );
    assert_eq!(answer.name, None);
    visitor.get(&site.config("")).asks(&["NTLM"]);
}

#[test]
fn a_challenge_answered_in_time_is_good_however_long_the_step_waits() {
    let site = Site::new();
    let config = site.config("");
    site.rewrite(ACCOUNTS);
    let (mut visitor, _) = waiting(&config, &alice());
    let job = visitor.session.detach().expect("a job");
    job.run();
    crate::common::site::pass(120_001);
    visitor.resume(Some(job)).is("DEMO\\alice");
}

#[test]
fn a_broken_file_leaves_the_last_good_table_and_says_so_once() {
    let site = Site::new();
    let config = site.config("");
    site.rewrite("# two good lines\n\nDEMO\\alice:not a hash\n");
    let (mut visitor, _) = waiting(&config, &alice());
    let job = visitor.session.detach().expect("a job");
    job.run();
    let answer = visitor.resume(Some(job));
    answer.is("DEMO\\alice");
    let place = format!("{}:3: ", site.file().display());
    assert!(answer.notice.starts_with(&place), "{}", answer.notice);
    assert!(answer.notice.ends_with("the accounts read before stay in use"), "{}", answer.notice);
    assert!(!answer.notice.contains("not a hash"), "a misplaced hash must not show");

    // Not a job again, nor a word, until the file changes.
    let deadline = Instant::now() + Duration::from_millis(1500);
    while Instant::now() < deadline {
        let answer = Visitor::new().sign_in(&config, &alice());
        answer.is("DEMO\\alice");
        assert_eq!(answer.notice, "");
        thread::sleep(Duration::from_millis(100));
    }
    site.rewrite(CHANGED);
    let (mut visitor, _) = waiting(&config, &alice_anew());
    let job = visitor.session.detach().expect("a job");
    job.run();
    visitor.resume(Some(job)).is("DEMO\\alice");
}

#[test]
fn a_file_that_is_gone_or_that_others_can_read_changes_nothing() {
    use std::os::unix::fs::PermissionsExt;
    for spoil in [
        |site: &Site| std::fs::remove_file(site.file()),
        |site: &Site| std::fs::set_permissions(site.file(), PermissionsExt::from_mode(0o644)),
    ] {
        let site = Site::new();
        let config = site.config("");
        spoil(&site).expect("the file can be spoiled");
        let (mut visitor, _) = waiting(&config, &alice());
        let job = visitor.session.detach().expect("a job");
        job.run();
        let answer = visitor.resume(Some(job));
        answer.is("DEMO\\alice");
        assert!(answer.notice.ends_with("the accounts read before stay in use"));
    }
}

#[test]
fn an_account_that_changes_signs_out_who_used_it() {
    for (accounts, stays) in [
        (ACCOUNTS.replace("alice:fc52", "alice:fc53"), false),
        (ACCOUNTS.replace("DEMO\\alice:fc525c9683e8fe067095ba2ddc971889", "DEMO\\alice:!"), false),
        (ACCOUNTS.replace("DEMO\\alice", "DEMO\\alicia"), false),
        (String::new(), false),
        (ACCOUNTS.replace("DEMO\\Bob", "DEMO\\Rob"), true),
    ] {
        let site = Site::new();
        let config = site.config("");
        let mut visitor = Visitor::new();
        visitor.sign_in(&config, &alice()).is("DEMO\\alice");
        site.rewrite(&accounts);
        // A new configuration reads it here and now.
        let reloaded = site.config("");
        for config in [&config, &reloaded] {
            if stays {
                visitor.get(config).is("DEMO\\alice");
            }
        }
        if !stays {
            let answer = visitor.get(&config);
            answer.refused(401, Reason::AccountChanged);
            assert_eq!(answer.challenges(), ["NTLM"]);
            visitor.get(&reloaded).asks(&["NTLM"]);
        }
    }
}

#[test]
fn a_job_that_reads_the_file_signs_out_who_used_a_removed_account() {
    let site = Site::new();
    let config = site.config("");
    let mut visitor = Visitor::new();
    visitor.sign_in(&config, &bob()).is("DEMO\\Bob");
    site.rewrite(CHANGED);
    let (mut other, _) = waiting(&config, &alice_anew());
    let job = other.session.detach().expect("a job");
    job.run();
    visitor.get(&config).refused(401, Reason::AccountChanged);
    other.resume(Some(job)).is("DEMO\\alice");
}

/// The answer to a visitor who has signed in and was the one to find the file changed.
fn noticing(visitor: &mut Visitor, config: &Config) -> Arc<Job> {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let answer = visitor.get(config);
        if answer.verdict == Verdict::Wait {
            assert_eq!((answer.status, answer.name), (503, None));
            return visitor.session.detach().expect("a job");
        }
        assert!(Instant::now() < deadline, "the change is not noticed");
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn who_has_signed_in_is_signed_out_though_nobody_else_signs_in() {
    let site = Site::new();
    let config = site.config("");
    let mut visitor = Visitor::new();
    visitor.sign_in(&config, &bob()).is("DEMO\\Bob");
    site.rewrite(CHANGED);
    let job = noticing(&mut visitor, &config);
    job.run();
    let answer = visitor.resume(Some(job));
    answer.refused(401, Reason::AccountChanged);
    assert!(answer.notice.ends_with("/accounts: read again, 1 accounts"), "{}", answer.notice);
    visitor.get(&config).asks(&["NTLM"]);
}

#[test]
fn a_request_that_is_served_after_a_redirect_waits_no_longer() {
    let site = Site::new();
    let config = site.config("");
    let mut visitor = Visitor::new();
    visitor.sign_in(&config, &bob()).is("DEMO\\Bob");
    site.rewrite(ACCOUNTS);
    noticing(&mut visitor, &config);
    visitor.again(&config, b"").is("DEMO\\Bob");
    assert!(visitor.session.detach().is_none());
    assert_eq!(visitor.session.timeout(), Duration::ZERO);
}

#[test]
fn who_has_signed_in_stays_with_the_groups_of_now() {
    let site = Site::new();
    let config = site.config("groups names");
    let mut visitor = Visitor::new();
    visitor.sign_in(&config, &alice()).is("DEMO\\alice");
    site.rewrite("DEMO\\alice:fc525c9683e8fe067095ba2ddc971889:night%2cshift\n");
    let job = noticing(&mut visitor, &config);
    // The one that waits can be given up, and the sign-in still stands.
    assert_eq!(visitor.resume(None).status, 503);
    job.run();
    visitor.get(&config).is("DEMO\\alice");
    let groups = [0, 1].map(|index| visitor.session.group(index).as_str());
    assert_eq!(groups, ["night,shift", ""]);
}
