//! Passwords typed on a terminal.
#![allow(unsafe_code)]

use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, ExitStatus};
use std::thread;
use std::time::{Duration, Instant};

use super::*;

/// How long anything may take before the test fails.
const PATIENCE: Duration = Duration::from_secs(20);

/// A pseudo terminal, seen from the keyboard.
struct Terminal {
    keyboard: File,
    /// Where programs read and write. Held, so that its state can be looked at when they are gone.
    screen: File,
    shown: String,
}

impl Terminal {
    fn new() -> Self {
        let open = |path: &Path| {
            let mut options = File::options();
            options.read(true).write(true).custom_flags(libc::O_NOCTTY).open(path).unwrap()
        };
        let keyboard = open(Path::new("/dev/ptmx"));
        let mut name = [0; 100];
        // SAFETY: the descriptor is open, and the name is written to its length at most.
        let outcome = unsafe {
            libc::unlockpt(keyboard.as_raw_fd())
                | libc::ptsname_r(keyboard.as_raw_fd(), name.as_mut_ptr(), name.len())
        };
        assert_eq!(outcome, 0, "{}", io::Error::last_os_error());
        // SAFETY: ptsname_r ended it with a NUL.
        let name = unsafe { CStr::from_ptr(name.as_ptr()) };
        let screen = open(Path::new(name.to_str().unwrap()));
        Self { keyboard, screen, shown: String::new() }
    }

    /// Starts a program whose terminal this is, with its standard streams.
    fn start(&self, command: &mut Command) -> Running {
        let stream = || Stdio::from(self.screen.try_clone().unwrap());
        let command = own_session(command, true);
        let command = command.stdin(stream()).stdout(stream()).stderr(stream());
        Running(command.spawn().unwrap())
    }

    /// Waits until the screen shows `text` and gives what came before it.
    fn expect(&mut self, text: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(at) = self.shown.find(text) {
                let rest = self.shown.split_off(at + text.len());
                let mut before = std::mem::replace(&mut self.shown, rest);
                before.truncate(at);
                return before;
            }
            let readable = self.wait_readable(deadline);
            assert!(readable, "no {text:?} in {:?}", self.shown);
            let mut bytes = [0; 1_000];
            let count = self.keyboard.read(&mut bytes).unwrap();
            self.shown.push_str(std::str::from_utf8(&bytes[..count]).unwrap());
        }
    }

    fn wait_readable(&self, deadline: Instant) -> bool {
        let left = deadline.saturating_duration_since(Instant::now());
        let mut wanted =
            libc::pollfd { fd: self.keyboard.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one structure is given, and lives.
        let count = unsafe { libc::poll(&mut wanted, 1, left.as_millis().try_into().unwrap()) };
        count == 1
    }

    /// Types a line once the program has turned echo off, as somebody does who sees the prompt.
    fn type_unseen(&mut self, keys: &str) {
        let deadline = Instant::now() + PATIENCE;
        while self.mode() & libc::ECHO != 0 {
            assert!(Instant::now() < deadline, "echo stays on");
            thread::sleep(Duration::from_millis(1));
        }
        self.keyboard.write_all(keys.as_bytes()).unwrap();
    }

    /// The local modes: echo, signals, whole lines.
    fn mode(&self) -> libc::tcflag_t {
        // SAFETY: all zeros are a valid value, and tcgetattr writes it.
        let mut modes: libc::termios = unsafe { std::mem::zeroed() };
        // SAFETY: the descriptor is open and the structure lives.
        let outcome = unsafe { libc::tcgetattr(self.screen.as_raw_fd(), &mut modes) };
        assert_eq!(outcome, 0);
        modes.c_lflag
    }
}

/// A program that does not outlive its test.
struct Running(Child);

impl Running {
    fn wait(&mut self) -> ExitStatus {
        self.0.wait().unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It has usually ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Gives a program a session of its own: its standard input is its terminal, or it has none.
fn own_session(command: &mut Command, with_terminal: bool) -> &mut Command {
    let prepare = move || {
        // SAFETY: all calls are safe between fork and exec. Whoever runs the tests in the background
        // may have left SIGINT ignored.
        let done = unsafe {
            libc::signal(libc::SIGINT, libc::SIG_DFL);
            libc::setsid() != -1 && (!with_terminal || libc::ioctl(0, libc::TIOCSCTTY, 0) == 0)
        };
        if done { Ok(()) } else { Err(io::Error::last_os_error()) }
    };
    // SAFETY: the closure makes system calls only.
    unsafe { command.pre_exec(prepare) }
}

#[test]
fn a_new_password_is_typed_twice_and_never_shown() {
    let accounts = Accounts::none();
    let mut terminal = Terminal::new();
    let mut child = terminal.start(&mut accounts.command(r"DEMO\alice", &["--groups", "staff"]));
    assert_eq!(terminal.expect(r"New password of DEMO\alice: "), "");
    terminal.type_unseen("password\r");
    assert_eq!(terminal.expect("The same again: "), "\r\n");
    terminal.type_unseen("passX\u{7f}word\r");
    let made = format!("\r\n{}: new file, mode 0640\r\n", accounts.file.display());
    assert_eq!(terminal.expect("DEMO\\alice: added\r\n"), made);
    assert!(child.wait().success());
    assert_eq!(accounts.text(), format!("DEMO\\alice:{LOWER}:staff\n"));
    assert_ne!(terminal.mode() & libc::ECHO, 0);
}

#[test]
fn verify_asks_once() {
    let accounts = Accounts::with(format!("DEMO\\alice:{UPPER}\n"));
    for (password, verdict, code) in [
        ("Password", "DEMO\\alice: the password is right\r\n", 0),
        ("mistaken", "DEMO\\alice is another one\r\n", 1),
    ] {
        let mut terminal = Terminal::new();
        let mut child = terminal.start(&mut accounts.command(r"demo\alice", &["--verify"]));
        terminal.expect(r"Password of DEMO\alice: ");
        terminal.type_unseen(&format!("{password}\r"));
        assert!(!terminal.expect(verdict).contains(password));
        assert_eq!(child.wait().code(), Some(code));
    }
}

#[test]
fn two_different_passwords_change_nothing() {
    let accounts = Accounts::with("DEMO\\alice:!\n");
    let mut terminal = Terminal::new();
    let mut child = terminal.start(&mut accounts.command(r"DEMO\alice", &[]));
    terminal.expect(r"New password of DEMO\alice: ");
    terminal.type_unseen("password\r");
    terminal.expect("The same again: ");
    terminal.type_unseen("passwort\r");
    terminal.expect("negotiate-auth: the two passwords differ; nothing is changed\r\n");
    assert_eq!(child.wait().code(), Some(1));
    assert_eq!(accounts.text(), "DEMO\\alice:!\n");
}

#[test]
fn an_interrupted_prompt_leaves_the_terminal_as_it_was() {
    let accounts = Accounts::none();
    let mut terminal = Terminal::new();
    let before = terminal.mode();
    let mut child = terminal.start(&mut accounts.command(r"DEMO\alice", &[]));
    terminal.expect(r"New password of DEMO\alice: ");
    terminal.type_unseen("pass\u{3}");
    assert_eq!(child.wait().signal(), Some(libc::SIGINT));
    assert_eq!(terminal.mode(), before);
    assert!(accounts.names().is_empty());
}

#[test]
fn the_end_of_input_is_no_password() {
    let accounts = Accounts::none();
    let mut terminal = Terminal::new();
    let mut child = terminal.start(&mut accounts.command(r"DEMO\alice", &[]));
    terminal.expect(r"New password of DEMO\alice: ");
    terminal.type_unseen("\u{4}");
    terminal.expect("negotiate-auth: no password was typed\r\n");
    assert_eq!(child.wait().code(), Some(1));
}

#[test]
fn a_bad_file_is_refused_before_a_password_is_asked_for() {
    let accounts = Accounts::with("DEMO\\alice\n");
    let mut terminal = Terminal::new();
    let mut child = terminal.start(&mut accounts.command(r"DEMO\alice", &[]));
    let line = format!("{}:1: there is no colon", accounts.file.display());
    assert_eq!(terminal.expect(&line), "negotiate-auth: ");
    assert_eq!(child.wait().code(), Some(1));
}

#[test]
fn standard_input_with_echo_is_refused() {
    let accounts = Accounts::none();
    let mut terminal = Terminal::new();
    let mut child = terminal.start(&mut accounts.command(r"DEMO\alice", &["--stdin"]));
    terminal.expect(
        "negotiate-auth: standard input is a terminal, which would show the password: leave out \
         --stdin\r\n",
    );
    assert_eq!(child.wait().code(), Some(1));
}

#[test]
fn without_a_terminal_the_password_is_not_taken_from_elsewhere() {
    let accounts = Accounts::none();
    let mut command = accounts.command(r"DEMO\alice", &[]);
    let line = "there is no terminal to ask for the password on \
                (No such device or address (os error 6)); use --stdin";
    failed(&run(own_session(&mut command, false), b"password\n"), 1, line);
    assert!(accounts.names().is_empty());
}
