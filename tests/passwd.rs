//! `negotiate-auth passwd` and its neighbours, as a user runs them.
#![cfg(feature = "cli")]

use std::fs::{self, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

#[path = "passwd/access.rs"]
mod access;
#[path = "passwd/concurrent.rs"]
mod concurrent;
#[path = "passwd/terminal.rs"]
mod terminal;

const TOOL: &str = env!("CARGO_BIN_EXE_negotiate-auth");

/// NT hashes of "password" and of "Password" (MS-NLMP 4.2.2.1.2).
const LOWER: &str = "8846f7eaee8fb117ad06bdd830b7586c";
const UPPER: &str = "a4f49c406510bdcab6824ee7c30fd852";

/// An accounts file in a folder of its own.
struct Accounts {
    folder: TempDir,
    file: PathBuf,
}

impl Accounts {
    /// No file yet.
    fn none() -> Self {
        let folder = TempDir::new().unwrap();
        let file = folder.path().join("accounts");
        Self { folder, file }
    }

    /// A file with mode 0600.
    fn with(text: impl AsRef<[u8]>) -> Self {
        let accounts = Self::none();
        fs::write(&accounts.file, text).unwrap();
        fs::set_permissions(&accounts.file, Permissions::from_mode(0o600)).unwrap();
        accounts
    }

    fn text(&self) -> String {
        fs::read_to_string(&self.file).unwrap()
    }

    fn mode(&self) -> u32 {
        fs::metadata(&self.file).unwrap().mode() & 0o7777
    }

    /// Everything in the folder: nothing temporary may be left.
    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.folder).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn command(&self, account: &str, options: &[&str]) -> Command {
        let mut command = Command::new(TOOL);
        command.arg("passwd").args(options).arg(&self.file).arg(account);
        command
    }

    /// Runs with nothing on standard input.
    fn passwd(&self, account: &str, options: &[&str]) -> Output {
        run(&mut self.command(account, options), b"")
    }

    /// Runs with `--stdin` and a line.
    fn typed(&self, account: &str, line: impl AsRef<[u8]>, options: &[&str]) -> Output {
        let options = [&["--stdin"], options].concat();
        run(&mut self.command(account, &options), line.as_ref())
    }
}

fn run(command: &mut Command, input: &[u8]) -> Output {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // The tool may end without reading all, or any, of it.
    let _ = child.stdin.take().unwrap().write_all(input);
    child.wait_with_output().unwrap()
}

fn tool(args: &[&str]) -> Output {
    run(Command::new(TOOL).args(args), b"")
}

fn stdout(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

#[track_caller]
fn succeeded(output: &Output) -> &str {
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(stderr(output), "");
    stdout(output)
}

/// Failed with that exit code and, after "negotiate-auth: ", that one line.
#[track_caller]
fn failed(output: &Output, code: i32, line: &str) {
    assert_eq!(stderr(output), format!("negotiate-auth: {line}\n"));
    assert_eq!(output.status.code(), Some(code), "{output:?}");
    assert_eq!(stdout(output), "");
}

// ---- Adding and changing ------------------------------------------------------------------

#[test]
fn the_first_account_makes_the_file_with_mode_0640_whatever_the_umask() {
    for umask in ["0", "077"] {
        let accounts = Accounts::none();
        let script = format!("umask {umask}; exec \"$0\" \"$@\"");
        let mut command = Command::new("sh");
        command.args(["-c", &script, TOOL, "passwd", "--stdin"]);
        command.arg(&accounts.file).arg(r"DEMO\alice");
        let output = run(&mut command, b"password\n");
        let file = accounts.file.display();
        let said = format!("{file}: new file, mode 0640\nDEMO\\alice: added\n");
        assert_eq!(succeeded(&output), said);
        assert_eq!(accounts.text(), format!("DEMO\\alice:{LOWER}\n"));
        assert_eq!(accounts.mode(), 0o640);
        assert_eq!(accounts.names(), ["accounts"]);
    }
}

#[test]
fn a_file_named_without_a_folder_is_in_the_working_folder() {
    let accounts = Accounts::none();
    let mut command = Command::new(TOOL);
    command.args(["passwd", "--stdin", "accounts", r"DEMO\alice"]);
    succeeded(&run(command.current_dir(&accounts.folder), b"password"));
    assert_eq!(accounts.text(), format!("DEMO\\alice:{LOWER}\n"));
}

#[test]
fn a_new_account_comes_last_and_a_changed_one_stays_where_it_is() {
    let accounts = Accounts::with(format!(
        "# staff\n\nDEMO\\bob:!:staff\n\t# guests \nDEMO\\carol:{UPPER}:a%2cb,c:\n"
    ));
    let output = accounts.typed(r"DEMO\alice", "password\n", &[]);
    assert_eq!(succeeded(&output), "DEMO\\alice: added\n");
    let output = accounts.typed(r"DEMO\bob", "Password\n", &[]);
    assert_eq!(succeeded(&output), "DEMO\\bob: password set, enabled\n");
    let output = accounts.typed(r"DEMO\alice", "Password\n", &[]);
    assert_eq!(succeeded(&output), "DEMO\\alice: password changed\n");
    let text = format!(
        "# staff\n\nDEMO\\bob:{UPPER}:staff\n\t# guests \nDEMO\\carol:{UPPER}:a%2cb,c:\n\
         DEMO\\alice:{UPPER}\n"
    );
    assert_eq!(accounts.text(), text);
}

#[test]
fn newlines_stay_what_they_are() {
    let bob = "DEMO\\bob:!";
    let alice = format!("DEMO\\alice:{LOWER}");
    for (before, after) in [
        (String::new(), format!("{alice}\n")),
        ("# no newline".to_owned(), format!("# no newline\n{alice}\n")),
        (format!("{bob}\r\n"), format!("{bob}\r\n{alice}\r\n")),
        (format!("{bob}\r\n{bob}2"), format!("{bob}\r\n{bob}2\r\n{alice}\r\n")),
        (format!("{bob}\r"), format!("{bob}\r\n{alice}\n")),
        (format!("#\r\n{bob}\r"), format!("#\r\n{bob}\r\n{alice}\r\n")),
        (format!("{bob}\n{bob}2\r\n"), format!("{bob}\n{bob}2\r\n{alice}\n")),
        ("DEMO\\alice:!\r\n# end\n".to_owned(), format!("{alice}\r\n# end\n")),
        ("# start\nDEMO\\alice:!".to_owned(), format!("# start\n{alice}")),
        ("# start\r\nDEMO\\alice:!\r".to_owned(), format!("# start\r\n{alice}\r")),
    ] {
        let before = before.replace("bob:!2", "bill:!");
        let after = after.replace("bob:!2", "bill:!");
        let accounts = Accounts::with(&before);
        succeeded(&accounts.typed(r"DEMO\alice", "password", &[]));
        assert_eq!(accounts.text(), after, "from {before:?}");
        // What was written is read again.
        succeeded(&accounts.typed(r"DEMO\alice", "password", &["--verify"]));
    }
}

#[test]
fn an_account_is_found_in_any_case_and_keeps_its_spelling() {
    let accounts = Accounts::with("Demo\\JÖRG Müller:!\nDEMO\\jörg:!\n");
    let output = accounts.typed(r"dEMO\jörg mÜLLER", "password", &[]);
    assert_eq!(succeeded(&output), "Demo\\JÖRG Müller: password set, enabled\n");
    assert_eq!(accounts.text(), format!("Demo\\JÖRG Müller:{LOWER}\nDEMO\\jörg:!\n"));
}

#[test]
fn odd_names_are_escaped_in_the_file_and_not_on_the_command_line() {
    let accounts = Accounts::none();
    succeeded(&accounts.typed(r"#D:X\o'brien, 100% ", "password", &["--groups", "a%2Cb,c d,#e"]));
    let line = format!("%23D%3aX\\o'brien, 100%25%20:{LOWER}:a%2cb,c d,#e\n");
    assert_eq!(accounts.text(), line);
    succeeded(&accounts.typed(r"#d:x\O'BRIEN, 100% ", "password", &["--verify"]));
}

#[test]
fn the_library_reads_what_the_tool_wrote() {
    use negotiate_auth::accounts;
    let file = Accounts::none();
    succeeded(&file.typed(r"DEMO\alice", "password", &["--groups", "staff"]));
    succeeded(&file.typed("DEMO\\o'brien, pat", "password", &[]));
    assert!(accounts::open(&file.file).is_ok());
}

// ---- Groups, disabling, deleting ----------------------------------------------------------

#[test]
fn groups_alone_keep_the_password() {
    let accounts = Accounts::with(format!("DEMO\\alice:{UPPER}:old\n# end\n"));
    for (groups, written) in [
        ("staff,web admins,staff", ":staff,web admins"),
        (r"DEMO\all,%25", r":DEMO\all,%25"),
        ("", ""),
        ("x:y", ":x%3ay"),
    ] {
        let output = accounts.passwd(r"demo\Alice", &["--groups", groups]);
        assert_eq!(succeeded(&output), "DEMO\\alice: groups set\n");
        assert_eq!(accounts.text(), format!("DEMO\\alice:{UPPER}{written}\n# end\n"));
    }
}

#[test]
fn groups_of_a_disabled_account_leave_it_disabled() {
    let accounts = Accounts::with("DEMO\\alice:!\n");
    succeeded(&accounts.passwd(r"DEMO\alice", &["--groups", "staff"]));
    assert_eq!(accounts.text(), "DEMO\\alice:!:staff\n");
}

#[test]
fn groups_with_a_password_set_both_and_a_password_alone_keeps_groups() {
    let accounts = Accounts::with("DEMO\\alice:!:old\n");
    succeeded(&accounts.typed(r"DEMO\alice", "password", &["--groups", "new"]));
    assert_eq!(accounts.text(), format!("DEMO\\alice:{LOWER}:new\n"));
    succeeded(&accounts.typed(r"DEMO\alice", "Password", &[]));
    assert_eq!(accounts.text(), format!("DEMO\\alice:{UPPER}:new\n"));
}

#[test]
fn disabling_forgets_the_password_and_keeps_the_groups() {
    let accounts = Accounts::with(format!("DEMO\\alice:{UPPER}:staff\n"));
    let output = accounts.passwd(r"DEMO\alice", &["--disable"]);
    assert_eq!(succeeded(&output), "DEMO\\alice: disabled\n");
    assert_eq!(accounts.text(), "DEMO\\alice:!:staff\n");
}

#[test]
fn deleting_removes_one_line() {
    for (before, after) in [
        ("# a\nDEMO\\alice:!\n# b\n", "# a\n# b\n"),
        ("# a\r\nDEMO\\alice:!\r\n# b", "# a\r\n# b"),
        ("# a\nDEMO\\alice:!", "# a\n"),
        ("DEMO\\alice:!\n", ""),
    ] {
        let accounts = Accounts::with(before);
        let output = accounts.passwd(r"demo\ALICE", &["--delete"]);
        assert_eq!(succeeded(&output), "DEMO\\alice: deleted\n");
        assert_eq!(accounts.text(), after);
    }
}

#[test]
fn an_account_that_does_not_exist_cannot_be_disabled_deleted_or_verified() {
    let accounts = Accounts::with("DEMO\\alice:!\n");
    let line = format!(r"{}: there is no account DEMO\bob", accounts.file.display());
    for option in ["--disable", "--delete", "--verify"] {
        failed(&accounts.passwd(r"DEMO\bob", &[option]), 1, &line);
        assert_eq!(accounts.text(), "DEMO\\alice:!\n");
    }
    let none = Accounts::none();
    let line = format!(r"{}: there is no account DEMO\bob", none.file.display());
    for option in ["--disable", "--delete", "--verify"] {
        failed(&none.passwd(r"DEMO\bob", &[option]), 1, &line);
        assert!(none.names().is_empty());
    }
}

// ---- Verifying ----------------------------------------------------------------------------

#[test]
fn verify_tells_right_from_wrong_by_its_exit_code() {
    let text = format!("DEMO\\alice:{}\nDEMO\\bob:!\n", UPPER.to_uppercase());
    let accounts = Accounts::with(&text);
    let verify = |account, line: &str| accounts.typed(account, line, &["--verify"]);
    let output = verify(r"demo\alice", "Password\n");
    assert_eq!(succeeded(&output), "DEMO\\alice: the password is right\n");
    let file = accounts.file.display();
    let wrong = format!(r"{file}: the password of DEMO\alice is another one");
    failed(&verify(r"DEMO\alice", "password\n"), 1, &wrong);
    let disabled = format!(r"{file}: DEMO\bob is disabled");
    failed(&verify(r"DEMO\bob", "password\n"), 1, &disabled);
    assert_eq!(accounts.text(), text);
}

// ---- Passwords ----------------------------------------------------------------------------

#[test]
fn a_password_is_one_line_with_any_letters() {
    let long = "x".repeat(256);
    let clefs = "\u{1d11e}".repeat(128);
    let wide = "王".repeat(256);
    for password in [" with spaces ", "pässwörd", "😀", ":%,!\\'\"$`", &long, &clefs, &wide] {
        let accounts = Accounts::none();
        for ending in ["", "\n", "\r\n", "\nmore\n"] {
            succeeded(&accounts.typed(r"D\u", format!("{password}{ending}"), &[]));
            succeeded(&accounts.typed(r"D\u", password, &["--verify"]));
        }
    }
}

#[test]
fn a_password_that_nobody_could_type_is_refused() {
    let too_long = "the password is longer than 256 UTF-16 code units";
    let long = "x".repeat(257);
    let longer = "x".repeat(100_000);
    let clefs = "\u{1d11e}".repeat(129);
    let wide = "王".repeat(257);
    for (password, line) in [
        (&b""[..], "the password is empty"),
        (b"\n", "the password is empty"),
        (b"\r\nsecond", "the password is empty"),
        (b"m\xfcller\n", "the password on standard input is not UTF-8"),
        (b"a\0b\n", "the password has a control character, which cannot be typed"),
        (b"\x1b[A\n", "the password has a control character, which cannot be typed"),
        (long.as_bytes(), too_long),
        (longer.as_bytes(), too_long),
        (clefs.as_bytes(), too_long),
        (wide.as_bytes(), too_long),
    ] {
        let accounts = Accounts::none();
        failed(&accounts.typed(r"DEMO\alice", password, &[]), 1, line);
        assert!(accounts.names().is_empty());
    }
}

#[test]
fn only_the_first_line_of_standard_input_is_taken() {
    let accounts = Accounts::none();
    let mut command = Command::new("sh");
    command.args(["-c", "\"$0\" passwd --stdin \"$1\" 'D\\a' && cat", TOOL]);
    let output = run(command.arg(&accounts.file), b"password\nleft for others\n");
    assert!(succeeded(&output).ends_with(": added\nleft for others\n"));
    assert_eq!(accounts.text(), format!("D\\a:{LOWER}\n"));
}

#[test]
fn a_password_on_the_command_line_is_refused_and_not_repeated() {
    let accounts = Accounts::none();
    let mut command = accounts.command(r"DEMO\alice", &[]);
    let line = "more than FILE and DOMAIN\\user; a password is never taken from the command line, \
                which others can see: leave it out, or use --stdin";
    failed(&run(command.arg("S3cret"), b"password"), 2, line);
    for arguments in [
        ["--password=S3cret", r"DEMO\alice"],
        ["--stdin=S3cret", r"DEMO\alice"],
        ["--stdin", "S3cret"],
    ] {
        let output = accounts.passwd(arguments[1], &arguments[..1]);
        assert_eq!(output.status.code(), Some(2));
        assert!(!stderr(&output).contains("S3cret"), "{output:?}");
    }
    assert!(accounts.names().is_empty());
}

// ---- Files that are not to be touched -----------------------------------------------------

#[test]
fn a_bad_line_is_named_and_the_file_left_alone() {
    let hash = "the field after the user name is neither an NT hash of 32 hexadecimal digits nor ! \
                (a colon in a name is written %3A)";
    for (text, line, what) in [
        (&b"# ok\nDEMO\\bob\n"[..], 2, "there is no colon and NT hash after the user name"),
        (b"DEMO\\alice:!\n\nDEMO\\bob:8846f7eaee8fb117ad06bdd830b7586\n", 3, hash),
        (b"DEMO\\bob:!\r\nDEMO\\m\xfcller:!\n", 2, "is not UTF-8"),
        (b"DEMO\\alice:!:a:b=8846f7ea\n", 1, "there is an unknown attribute after the groups"),
        (b"DEMO\\bob:!\nDEMO\\eve:!\nDemo\\BOB:!\n", 3, r#""Demo\BOB" is already there in line 1"#),
    ] {
        let accounts = Accounts::with(text);
        let line = format!("{}:{line}: {what}", accounts.file.display());
        assert!(!line.contains("8846f7"));
        for options in [&["--disable"][..], &["--delete"], &["--verify"], &["--groups", "a"], &[]] {
            failed(&accounts.typed_or_not(options), 1, &line);
            assert_eq!(fs::read(&accounts.file).unwrap(), text);
        }
        assert_eq!(accounts.names(), ["accounts"]);
    }
}

impl Accounts {
    /// Alice, with a password only where no option forbids it.
    fn typed_or_not(&self, options: &[&str]) -> Output {
        match options {
            [] => self.typed(r"DEMO\alice", "password", &[]),
            _ => self.passwd(r"DEMO\alice", options),
        }
    }
}

#[test]
fn a_symbolic_link_stays_and_its_target_is_replaced() {
    let accounts = Accounts::with("DEMO\\alice:!\n");
    let elsewhere = TempDir::new().unwrap();
    let link = elsewhere.path().join("link");
    symlink(&accounts.file, &link).unwrap();
    let second = elsewhere.path().join("second");
    symlink("link", &second).unwrap();
    let command = |path: &Path| {
        let mut command = Command::new(TOOL);
        command.args(["passwd", "--stdin"]).arg(path).arg(r"DEMO\alice");
        command
    };
    succeeded(&run(&mut command(&second), b"password"));
    assert_eq!(fs::read_link(&link).unwrap(), accounts.file);
    assert_eq!(fs::read_link(&second).unwrap(), Path::new("link"));
    assert_eq!(accounts.text(), format!("DEMO\\alice:{LOWER}\n"));

    fs::remove_file(&accounts.file).unwrap();
    let line = format!("{}: this symbolic link leads nowhere", second.display());
    failed(&run(&mut command(&second), b"password"), 1, &line);
    assert!(accounts.names().is_empty());
}

#[test]
fn a_file_with_a_second_name_is_refused() {
    let accounts = Accounts::with("DEMO\\alice:!\n");
    fs::hard_link(&accounts.file, accounts.folder.path().join("again")).unwrap();
    let file = accounts.file.display();
    let line = format!(
        "{file}: it has 2 names (hard links), and replacing it would change only one of them"
    );
    failed(&accounts.typed(r"DEMO\alice", "password", &[]), 1, &line);
    assert_eq!(accounts.text(), "DEMO\\alice:!\n");
    assert_eq!(accounts.names(), ["accounts", "again"]);
}

#[test]
fn only_regular_files_are_accounts_files() {
    let accounts = Accounts::none();
    let line = format!("{}: not a regular file", accounts.file.display());
    // Opening a pipe that nobody writes must not wait.
    let made = Command::new("mkfifo").arg(&accounts.file).status().unwrap();
    assert!(made.success());
    failed(&accounts.typed(r"DEMO\alice", "password", &[]), 1, &line);
    fs::remove_file(&accounts.file).unwrap();
    fs::create_dir(&accounts.file).unwrap();
    failed(&accounts.typed(r"DEMO\alice", "password", &[]), 1, &line);
}

#[test]
fn a_missing_folder_is_not_made() {
    let mut accounts = Accounts::none();
    accounts.file = accounts.folder.path().join("missing/accounts");
    let file = accounts.file.display();
    let line = format!("{file}: its folder: No such file or directory (os error 2)");
    failed(&accounts.typed(r"DEMO\alice", "password", &[]), 1, &line);
    assert!(accounts.names().is_empty());
}

// ---- The command line ---------------------------------------------------------------------

#[test]
fn wrong_arguments_are_one_line_and_exit_code_2() {
    for (args, line) in [
        (&[][..], "what shall it do? See negotiate-auth --help"),
        (&["frob"], "unrecognized subcommand 'frob'; see --help"),
        (
            &["passwd"],
            r"the following required arguments were not provided: <FILE> <DOMAIN\USER>; see --help",
        ),
        (
            &["passwd", "f", "alice"],
            r"<DOMAIN\USER>: an account is written DOMAIN\user, quoted for the shell; see --help",
        ),
        (&["passwd", "f", r"\alice"], r"<DOMAIN\USER>: the domain is empty; see --help"),
        (
            &["passwd", "f", r"DEMO\dev\alice"],
            r"<DOMAIN\USER>: the user name has a backslash; see --help",
        ),
        (
            &["passwd", "--groups", "a,,b", "f", r"DEMO\alice"],
            "--groups <GROUPS>: a group is empty; see --help",
        ),
        (
            &["passwd", "--disable", "--delete", "f", r"DEMO\alice"],
            "the argument '--disable' cannot be used with '--delete'; see --help",
        ),
        (
            &["passwd", "--verify", "--groups", "a", "f", r"DEMO\alice"],
            "the argument '--verify' cannot be used with '--groups <GROUPS>'; see --help",
        ),
        (
            &["passwd", "--stdin", "--disable", "f", r"DEMO\alice"],
            "the argument '--stdin' cannot be used with '--disable'; see --help",
        ),
        (
            &["passwd", "--enable", "f", r"DEMO\alice"],
            "unexpected argument '--enable' found; see --help",
        ),
    ] {
        failed(&tool(args), 2, line);
    }
}

#[test]
fn help_and_version_go_to_standard_output() {
    let version = format!("negotiate-auth {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(succeeded(&tool(&["--version"])), version);
    assert!(succeeded(&tool(&["--help"])).contains("passwd"));
    let help = tool(&["passwd", "--help"]);
    for option in ["--stdin", "--groups", "--disable", "--delete", "--verify"] {
        assert!(succeeded(&help).contains(option), "{option}");
    }
}

#[test]
fn options_lists_the_table_of_the_library() {
    use negotiate_auth::config::{self, OptionKind};
    let output = tool(&["options"]);
    let mut lines = succeeded(&output).lines();
    let mut count = 0;
    for option in (0..).map_while(config::option) {
        let kind = match option.kind {
            OptionKind::Scope => "scope",
            OptionKind::Rule => "rule",
        };
        let (key, syntax) = (option.key.as_str(), option.syntax.as_str());
        let (default, help) = (option.default.as_str(), option.help.as_str());
        for line in [
            format!("{key} {syntax}"),
            format!("    {kind}, default: {default}"),
            format!("    {help}"),
        ] {
            assert_eq!(lines.next(), Some(&*line));
        }
        count += 1;
    }
    assert_eq!(lines.next(), None);
    assert!(count > 0);
}

// ---- The manual ---------------------------------------------------------------------------

fn manual(page: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(page);
    fs::read_to_string(path).unwrap()
}

#[test]
fn the_manual_has_every_option_and_no_other() {
    let help = tool(&["passwd", "--help"]);
    let mut offered: Vec<_> = succeeded(&help)
        .lines()
        .filter_map(|line| line.trim_start().strip_prefix("--"))
        .map(|line| line.split(' ').next().unwrap())
        .collect();
    let page = manual("negotiate-auth.1");
    let mut described: Vec<_> = page
        .lines()
        .filter_map(|line| line.strip_prefix(".It Fl Fl "))
        .map(|line| line.split(' ').next().unwrap())
        .collect();
    offered.sort_unstable();
    described.sort_unstable();
    assert_eq!(described, offered);
    assert_eq!(described.len(), 5);
}

#[test]
fn the_example_of_the_manual_is_an_accounts_file() {
    let page = manual("negotiate-auth-accounts.5").replace(r"\e", r"\");
    let example = page.split(".Bd -literal -offset indent\n").nth(1).unwrap();
    let example = example.split(".Ed\n").next().unwrap();
    let accounts = Accounts::with(example);
    succeeded(&accounts.typed(r"DEMO\alice", "password", &["--verify"]));
    succeeded(&accounts.typed(r"DEMO\o'brien, pat", "Password", &["--verify"]));
    succeeded(&accounts.passwd(r"DEMO\JÖRG", &["--delete"]));
}
