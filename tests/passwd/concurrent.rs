//! Several runs at once: none undoes what another did, and nobody reads half a file.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::process::Child;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::*;

const RUNS: usize = 20;

/// Starts `RUNS` tools at once, with the password "password".
fn together(accounts: &Accounts, arguments: impl Fn(usize) -> (String, Vec<&'static str>)) {
    let start = |index| {
        let (account, options) = arguments(index);
        let mut child = accounts
            .command(&account, &options)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let input = child.stdin.take().unwrap();
        (child, input)
    };
    let started: Vec<_> = (0..RUNS).map(start).collect();
    // They wait for their passwords until all are there.
    let mut children: Vec<Child> = Vec::new();
    for (child, mut input) in started {
        // Those that need none may have ended.
        let _ = input.write_all(b"password\n");
        children.push(child);
    }
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
}

#[test]
fn twenty_runs_at_once_all_land_in_a_new_file() {
    let accounts = Accounts::none();
    together(&accounts, |index| (format!(r"DEMO\user{index}"), vec!["--stdin"]));
    let text = accounts.text();
    let mut lines: Vec<_> = text.lines().collect();
    lines.sort_unstable();
    let mut expected: Vec<_> =
        (0..RUNS).map(|index| format!(r"DEMO\user{index}:{LOWER}")).collect();
    expected.sort_unstable();
    assert_eq!(lines, expected);
    assert_eq!(accounts.mode(), 0o640);
    assert_eq!(accounts.names(), ["accounts"]);
}

#[test]
fn runs_on_different_accounts_leave_each_other_alone_and_readers_see_whole_files() {
    let user = |index: usize| format!(r"DEMO\user{index}");
    let before: String =
        (0..RUNS).map(|index| format!("{}:{UPPER}:staff\n", user(index))).collect();
    let accounts = Accounts::with(before);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let reader = scope.spawn(|| {
            loop {
                let last = done.load(Ordering::Relaxed);
                let text = accounts.text();
                assert!(text.lines().count() >= RUNS * 3 / 4 && text.ends_with('\n'), "{text}");
                if last {
                    return;
                }
            }
        });
        let changing = OnDrop(&done);
        together(&accounts, |index| match index % 4 {
            0 => (user(index), vec!["--stdin"]),
            1 => (user(index), vec!["--disable"]),
            2 => (user(index), vec!["--groups", "new"]),
            _ => (user(index), vec!["--delete"]),
        });
        drop(changing);
        reader.join().unwrap();
    });
    let after: String = (0..RUNS)
        .map(|index| match index % 4 {
            0 => format!("{}:{LOWER}:staff\n", user(index)),
            1 => format!("{}:!:staff\n", user(index)),
            2 => format!("{}:{UPPER}:new\n", user(index)),
            _ => String::new(),
        })
        .collect();
    assert_eq!(accounts.text(), after);
    assert_eq!(accounts.names(), ["accounts"]);
}

/// Sets a flag also when a test fails, so that a thread that waits for it ends.
struct OnDrop<'a>(&'a AtomicBool);

impl Drop for OnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_run_waits_for_the_lock_and_then_takes_the_file_that_is_there() {
    let accounts = Accounts::with("DEMO\\alice:!\n");
    let held = lock(&accounts.file);
    let mut child = accounts
        .command(r"DEMO\alice", &["--groups", "staff"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = String::new();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    stderr.read_line(&mut said).unwrap();
    let waiting = format!("negotiate-auth: {}: waiting for its lock\n", accounts.file.display());
    assert_eq!(said, waiting);
    // Whoever holds the lock replaces the file.
    let other = accounts.folder.path().join("other");
    fs::write(&other, "# other\nDEMO\\alice:!\nDEMO\\bob:!\n").unwrap();
    fs::rename(&other, &accounts.file).unwrap();
    drop(held);
    assert!(child.wait().unwrap().success());
    assert_eq!(accounts.text(), "# other\nDEMO\\alice:!:staff\nDEMO\\bob:!\n");
}

/// Holds the lock of a file until it is dropped.
#[allow(unsafe_code)]
fn lock(path: &Path) -> File {
    use std::os::fd::AsRawFd;
    let file = File::open(path).unwrap();
    // SAFETY: the descriptor is open.
    assert_eq!(unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX) }, 0);
    file
}
