//! Who may come in of those who have signed in, and what is told of their groups.

use negotiate_auth::config::Config;
use negotiate_auth::reason::Reason;
use negotiate_auth::session::{HeaderKind, Verdict};

use crate::common::site::{ACCOUNTS, Answer, Site, Visitor, alice, bob, mallory, pass};

/// Bob, who has signed in, is kept out.
#[track_caller]
fn is_denied(answer: &Answer, name: &str) {
    assert_eq!((answer.verdict, answer.status), (Verdict::Rejected, 403), "{answer:?}");
    assert_eq!((answer.reason, answer.name.as_deref()), (Reason::NotAllowed, Some(name)));
    assert_eq!(answer.challenges(), [""; 0]);
}

#[test]
fn rules_let_in_whom_they_name() {
    let site = Site::new();
    for (rules, lets_in) in [
        ("require valid-user", [true, true]),
        ("require user DEMO\\alice", [true, false]),
        ("require user demo\\ALICE", [true, false]),
        ("require user alice", [false, false]),
        ("require user OTHER\\alice", [false, false]),
        ("require group staff", [true, false]),
        ("require group STAFF", [true, false]),
        ("require group DEMO\\staff", [false, false]),
        ("require group other\nrequire user DEMO\\bob", [false, true]),
        ("require group staff\nrequire user DEMO\\bob", [true, true]),
        ("require all\nrequire group staff\nrequire user DEMO\\bob", [false, false]),
        ("require all\nrequire group staff\nrequire user DEMO\\alice", [true, false]),
        ("require all group staff other", [false, false]),
        ("require sid S-1-5-21-1-2-3-1104", [false, false]),
        ("require not group STAFF", [false, true]),
        ("require not group staff typo", [false, false]),
        ("require all\nrequire not user DEMO\\bob\nrequire group staff", [true, false]),
    ] {
        let config = site.config(rules);
        for (client, lets_in, name) in
            [(alice(), lets_in[0], "DEMO\\alice"), (bob(), lets_in[1], "DEMO\\Bob")]
        {
            let answer = Visitor::new().sign_in(&config, &client);
            match lets_in {
                true => answer.is(name),
                false => is_denied(&answer, name),
            }
        }
        let refused = Visitor::new().sign_in(&config, &mallory());
        refused.refused(401, Reason::WrongResponse);
    }
}

#[test]
fn who_is_kept_out_of_one_place_comes_into_another() {
    let (site, mut visitor) = (Site::new(), Visitor::new());
    let (public, staff) = (site.config(""), site.config("require group staff"));
    let denied = visitor.sign_in(&staff, &bob());
    is_denied(&denied, "DEMO\\Bob");
    let lasts = ("Persistent-Auth".to_owned(), "true".to_owned(), HeaderKind::Always);
    assert_eq!(denied.fields, [lasts]);
    is_denied(&visitor.get(&staff), "DEMO\\Bob");
    visitor.get(&public).is("DEMO\\Bob");
    is_denied(&visitor.get(&staff), "DEMO\\Bob");
    // The same request, redirected: the rules are those of the place where it ends.
    visitor.again(&public, b"").is("DEMO\\Bob");
    is_denied(&visitor.again(&staff, b""), "DEMO\\Bob");
    // A new client on the connection leaves nothing of the one before.
    visitor.sign_in(&staff, &alice()).is("DEMO\\alice");
    visitor.sign_in(&staff, &mallory()).refused(401, Reason::WrongResponse);
    visitor.get(&staff).asks(&["NTLM"]);
}

#[test]
fn a_request_that_is_kept_out_where_it_came_and_let_in_where_it_ends_has_its_fields() {
    let (site, mut visitor) = (Site::new(), Visitor::new());
    let (public, staff) = (site.config(""), site.config("require group staff"));
    let denied = visitor.sign_in(&staff, &bob());
    let let_in = visitor.again(&public, b"");
    let_in.is("DEMO\\Bob");
    assert_eq!(let_in.fields, denied.fields);
    assert!(!let_in.detail.contains("no rule"), "{}", let_in.detail);
    assert_eq!(visitor.session.more().as_str(), "");
}

#[test]
fn a_log_tells_which_rules_failed_and_who_looks_closer_the_groups() {
    let (site, mut visitor) = (Site::new(), Visitor::new());
    let config = site.config("require group admins other\nrequire user DEMO\\bob");
    let denied = visitor.sign_in(&config, &alice());
    assert_eq!(
        denied.detail,
        "user \"DEMO\\alice\": no rule lets the user in: group admins other, user DEMO\\bob"
    );
    let more = visitor.session.more().as_str().to_owned();
    assert_eq!(more, "user \"DEMO\\alice\" is in \"staff\", \"web admins\"");
    visitor.get(&site.config("")).is("DEMO\\alice");
    assert_eq!(visitor.session.more().as_str(), "");
}

fn told(visitor: &Visitor) -> (String, String, Vec<String>) {
    let text = |text: &negotiate_auth::text::Text| text.as_str().to_owned();
    let session = &visitor.session;
    let each = (0..).map(|index| text(session.group(index))).take_while(|name| !name.is_empty());
    (text(session.groups()), text(session.sid()), each.collect())
}

#[test]
fn groups_are_told_where_that_is_wanted_and_nowhere_else() {
    let (site, mut visitor) = (Site::new(), Visitor::new());
    let (quiet, tells) = (site.config(""), site.config("groups names\ngroups_form semicolon"));
    visitor.sign_in(&tells, &alice()).is("DEMO\\alice");
    let each = ["staff", "web admins"].map(str::to_owned).to_vec();
    assert_eq!(told(&visitor), ("staff;web admins".to_owned(), String::new(), each));
    visitor.get(&quiet).is("DEMO\\alice");
    assert_eq!(told(&visitor), Default::default());
    visitor.get(&tells).is("DEMO\\alice");
    assert_eq!(told(&visitor).0, "staff;web admins");
    visitor.sign_in(&tells, &mallory()).refused(401, Reason::WrongResponse);
    assert_eq!(told(&visitor), Default::default());
}

#[test]
fn a_changed_file_changes_who_may_come_in() {
    let (site, mut visitor) = (Site::new(), Visitor::new());
    let config = site.config("require group staff\ngroups names");
    visitor.sign_in(&config, &alice()).is("DEMO\\alice");
    site.rewrite("DEMO\\alice:fc525c9683e8fe067095ba2ddc971889:night shift\n");
    let job = loop {
        match visitor.get(&config).verdict {
            Verdict::Wait => break visitor.session.detach().expect("a job"),
            _ => std::thread::yield_now(),
        }
    };
    job.run();
    is_denied(&visitor.resume(Some(job)), "DEMO\\alice");
}

#[test]
fn a_list_that_is_too_long_is_not_told_and_the_log_says_so() {
    let (site, mut visitor) = (Site::new(), Visitor::new());
    let groups: Vec<_> = (0..100).map(|number| format!("group number {number}")).collect();
    let accounts = format!("DEMO\\alice:fc525c9683e8fe067095ba2ddc971889:{}\n", groups.join(","));
    site.rewrite(&accounts);
    let config = site.config("groups names\ngroups_limit 1k");
    let answer = visitor.sign_in(&config, &alice());
    answer.is("DEMO\\alice");
    assert!(answer.notice.contains("the list of 100 takes"), "{}", answer.notice);
    assert_eq!((told(&visitor).0.as_str(), told(&visitor).2.len()), ("", 100));
}

/// As a server that combines rules itself asks for each.
#[test]
fn rules_by_themselves_are_about_who_was_let_in() {
    let (site, mut visitor) = (Site::new(), Visitor::new());
    let rule = |words: &[&[u8]]| {
        let mut rules = Config::default();
        assert!(rules.set(b"require", words, None));
        rules
    };
    let (staff, other) = (rule(&[b"group", b"staff"]), rule(&[b"group", b"other"]));
    assert_eq!(visitor.session.authorize(&staff), Verdict::Rejected);
    let config = site.config("");
    visitor.get(&config).asks(&["NTLM"]);
    assert_eq!(visitor.session.authorize(&staff), Verdict::Rejected);
    visitor.sign_in(&config, &alice()).is("DEMO\\alice");
    assert_eq!(visitor.session.authorize(&other), Verdict::Rejected);
    assert_eq!(visitor.session.reason(), Reason::NotAllowed);
    assert_eq!(visitor.session.authorize(&staff), Verdict::Accepted);
    visitor.sign_in(&site.config("groups names"), &alice()).is("DEMO\\alice");
    assert_eq!(visitor.session.authorize(&staff), Verdict::Accepted);
    assert_eq!(told(&visitor).0, "staff,web admins");
    visitor.sign_in(&config, &bob()).is("DEMO\\Bob");
    assert_eq!(visitor.session.authorize(&staff), Verdict::Rejected);
    visitor.sign_in(&config, &mallory()).refused(401, Reason::WrongResponse);
    assert_eq!(visitor.session.authorize(&staff), Verdict::Rejected);
    assert_eq!(visitor.session.authorize(&Config::default()), Verdict::Rejected);
}

#[test]
fn a_rule_about_a_group_that_nobody_knows_is_worth_a_warning() {
    let site = Site::new();
    let warning = |options: &str| {
        let mut config = site.config(options);
        assert!(config.check(Some(b"site.conf:1")), "{}", config.error().as_str());
        config.warning().as_str().to_owned()
    };
    assert_eq!(warning("require group staff"), "");
    assert_eq!(warning("require group \"STAFF\"".replace('"', "").as_str()), "");
    assert_eq!(
        warning("require group staff web-admnis"),
        "no group is called \"web-admnis\": nobody comes in by this rule"
    );
    let mut config = site.config("");
    assert!(config.set(b"require", &[b"group", b"x"], Some(b"site.conf:7")));
    assert!(config.check(None));
    assert!(config.warning().as_str().starts_with("site.conf:7: no group is called \"x\""));
}

/// Nobody is kept out because what is known already could not be read again in time.
#[test]
fn old_names_of_groups_do_where_new_ones_are_late() {
    let (site, mut visitor) = (Site::new(), Visitor::new());
    let groups = site.file().with_file_name("groups");
    std::fs::write(&groups, "S-1-5-21-1-2-3-1105 staff\n").unwrap();
    let names = format!("group_names file:{}", groups.display());
    let config = site.config(&format!("require group staff\n{names}"));
    visitor.sign_in(&config, &alice()).is("DEMO\\alice");
    let new = groups.with_extension("new");
    std::fs::write(&new, "S-1-5-21-1-2-3-1105 staff\n# changed\n").unwrap();
    std::fs::rename(new, &groups).unwrap();
    while visitor.get(&config).verdict != Verdict::Wait {
        std::thread::yield_now();
    }
    let late = visitor.session.detach().expect("a job");
    visitor.resume(None).is("DEMO\\alice");
    late.run();
    visitor.get(&config).is("DEMO\\alice");
}

/// Two files have changed: the step waits for one after the other, and no longer than for one.
#[test]
fn a_step_may_wait_twice() {
    let (site, mut visitor) = (Site::new(), Visitor::new());
    let groups = site.file().with_file_name("groups");
    let write = |text: &str| {
        let new = groups.with_extension("new");
        std::fs::write(&new, text).unwrap();
        std::fs::rename(new, &groups).unwrap();
    };
    write("S-1-5-21-1-2-3-1105 staff\n");
    let names = format!("group_names file:{}", groups.display());
    let config = site.config(&format!("require group staff\n{names}\ntimeout 4s"));
    visitor.sign_in(&config, &alice()).is("DEMO\\alice");
    loop {
        // Each is looked at once a second, and not always in the same step.
        site.rewrite(&format!("{ACCOUNTS}# {:?}\n", std::time::Instant::now()));
        write(&format!("S-1-5-21-1-2-3-1105 staff\n# {:?}\n", std::time::Instant::now()));
        let mut waits = Vec::new();
        let mut answer = visitor.get(&config);
        while answer.verdict == Verdict::Wait {
            waits.push(visitor.session.timeout().as_millis());
            pass(1500);
            let job = visitor.session.detach().expect("a job");
            job.run();
            answer = visitor.resume(Some(job));
        }
        answer.is("DEMO\\alice");
        if waits.len() == 2 {
            assert_eq!(waits, [4000, 2500]);
            return;
        }
        std::thread::yield_now();
    }
}
