//! What the library's operations cost: counted instructions, which repeat and have bounds, memory,
//! which has too, and times, which are only told.
//!
//! `tests/instructions/driver.c` is linked with the archive and counted by callgrind, as the
//! difference between a run with a batch of operations and one without. The counts are compared
//! with those of `tests/instructions/recorded`, and the table that comes out is printed.
//!
//! Nearly all that a ticket takes is libkrb5's work, and differs by its version: for tickets our
//! own instructions are compared with what was recorded, and all of them with a generous bound.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use tempfile::TempDir;

#[path = "instructions/callgrind.rs"]
mod callgrind;
#[path = "instructions/record.rs"]
mod record;
#[path = "abi/toolchain.rs"]
mod toolchain;

use callgrind::Counts;
use record::{Change, Record};
use toolchain::{compiler, link_archive, run, tool};

/// An AUTHENTICATE as Windows sends it, with KEY_EXCH, MIC and a service name, from its decoded
/// bytes to the verdict.
const MOST_FOR_ACCEPTOR: f64 = 30_000.0;

/// A request on a connection whose client has signed in.
const MOST_FOR_SIGNED_IN: f64 = 500.0;

/// A ticket with its replay cache, libkrb5's work and ours: version 1.20 takes 354,000.
const MOST_FOR_TICKET: f64 = 450_000.0;

/// A rule about one of 1,000 groups, at a request of a client that has signed in: 1 µs takes some
/// 3,000.
const MOST_FOR_RULE: f64 = 1_500.0;

/// A rule about a group, in a ticket whose PAC tells 32, libkrb5's work and ours: 8 µs take some
/// 80,000.
const MOST_FOR_PAC: f64 = 60_000.0;

/// How far a ticket may be apart in a keytab of one key and in one of 61, of which it is the last.
const MOST_BETWEEN_KEYTABS: f64 = 0.05;

/// How far an unknown user and a wrong password may be apart.
const MOST_BETWEEN_REFUSALS: f64 = 0.01;

/// Bytes of a half-done handshake beyond the client's own NEGOTIATE.
const MOST_FOR_HANDSHAKE: f64 = 2048.0;

/// Bytes of a connection whose client has signed in.
const MOST_FOR_CONNECTION: f64 = 1024.0;

/// The client's NEGOTIATE, in bytes.
const NEGOTIATE: f64 = 40.0;

/// Accounts of the file that is read, as the driver knows.
const USERS: u32 = 10_000;

/// Batches to find an undisturbed one among.
const BATCHES_TO_TIME: u32 = 200;

/// The same of tickets, which are smaller and take longer to prepare.
const BATCHES_OF_TICKETS_TO_TIME: u32 = 60;

#[test]
fn no_operation_takes_more_instructions_than_recorded() {
    let counts = COSTS.counts();
    if std::env::var_os("NEGOTIATE_AUTH_RECORD").is_some() {
        Record::write(&counts);
        return;
    }
    let Some(record) = Record::read() else {
        print("no instructions are recorded for this kind of processor: `make record` does it\n");
        return;
    };
    let mut grown = Vec::new();
    for (operation, counted) in counts {
        match record.change(operation, counted) {
            Change::Little => {}
            Change::Fewer(what) => print(&format!("{what}: run `make record` to keep it so\n")),
            Change::More(what) => grown.push(what),
        }
    }
    assert!(
        grown.is_empty(),
        "{}\nIf that is meant, run `make record` and commit tests/instructions/recorded.",
        grown.join("\n"),
    );
}

#[test]
fn the_acceptor_takes_few_instructions() {
    let cost = &COSTS.acceptor;
    assert!(*cost <= MOST_FOR_ACCEPTOR, "{cost:.0} instructions");
}

#[test]
fn a_request_on_an_authenticated_connection_takes_few_instructions_and_no_memory() {
    let cost = COSTS.of("signed-in");
    assert!(cost.instructions <= MOST_FOR_SIGNED_IN, "{:.0} instructions", cost.instructions);
    assert_eq!(cost.allocations, 0.0);
}

#[test]
fn a_ticket_takes_few_instructions() {
    let cost = COSTS.of("ticket").instructions;
    assert!(cost <= MOST_FOR_TICKET, "{cost:.0} instructions");
}

#[test]
fn a_ticket_costs_the_same_however_many_keys_there_are() {
    let one = COSTS.of("ticket-unremembered").instructions;
    let many = COSTS.of("ticket-of-many-keys").instructions;
    let apart = (one - many).abs() / one.max(many);
    assert!(apart <= MOST_BETWEEN_KEYTABS, "{one:.0} and {many:.0} instructions");
}

#[test]
fn a_rule_among_a_thousand_groups_takes_few_instructions_and_no_memory_of_its_own() {
    for of_1000 in ["one-of-1000-names", "one-of-1000-sids"] {
        let cost = COSTS.of(of_1000);
        let more = cost.instructions - COSTS.of("signed-in").instructions;
        assert!(more <= MOST_FOR_RULE, "{of_1000}: {more:.0} instructions");
        assert_eq!(cost.allocations, 0.0, "{of_1000}");
        // All connections of the batch share the set.
        assert!(cost.held < MOST_FOR_CONNECTION, "{of_1000}: {} bytes", cost.held);
    }
}

#[test]
fn a_rule_about_a_group_of_a_pac_takes_few_instructions() {
    let without = COSTS.of("ticket-of-32").instructions;
    let more = COSTS.of("ticket-of-a-group").instructions - without;
    assert!(more <= MOST_FOR_PAC, "{more:.0} instructions");
}

/// The client learns no more from the time than from the answer.
#[test]
fn an_unknown_user_costs_what_a_wrong_password_costs() {
    let wrong = COSTS.of("wrong-password").instructions;
    let unknown = COSTS.of("unknown-user").instructions;
    let apart = (wrong - unknown).abs() / wrong.max(unknown);
    assert!(apart <= MOST_BETWEEN_REFUSALS, "{wrong:.0} and {unknown:.0} instructions");
}

#[test]
fn a_half_done_handshake_holds_little_memory_with_the_longest_names() {
    let bytes = COSTS.held_with_longest_names;
    assert!(bytes < MOST_FOR_HANDSHAKE, "{bytes} bytes");
}

#[test]
fn an_authenticated_connection_holds_little_memory() {
    let bytes = COSTS.of("signed-in").held;
    assert!(bytes > 0.0 && bytes < MOST_FOR_CONNECTION, "{bytes} bytes");
}

/// What one operation costs.
struct Cost {
    instructions: f64,
    /// Those of the library itself.
    own: f64,
    nanoseconds: f64,
    allocations: f64,
    /// What the session holds after it.
    held: f64,
}

struct Costs {
    /// The acceptor by itself, in instructions.
    acceptor: f64,
    operations: HashMap<&'static str, Cost>,
    held_with_longest_names: f64,
}

impl Costs {
    fn of(&self, operation: &str) -> &Cost {
        &self.operations[operation]
    }

    /// What is recorded: every operation's instructions, for a ticket those of the library itself.
    fn counts(&self) -> Vec<(&'static str, f64)> {
        let counts = OPERATIONS.map(|(name, _)| (name, self.of(name).instructions));
        let own = TICKETS.map(|(name, _)| (name, self.of(name).own));
        [("acceptor", self.acceptor)].into_iter().chain(counts).chain(own).collect()
    }
}

/// Measured once, for all tests.
static COSTS: LazyLock<Costs> = LazyLock::new(|| {
    let costs = Bench::new().measure();
    print(&table(&costs));
    costs
});

/// Not captured: shown whether the tests pass or not.
fn print(text: &str) {
    std::io::stdout().write_all(text.as_bytes()).unwrap();
}

/// The operations of the driver.
const OPERATIONS: [(&str, &str); 11] = [
    ("challenge", "request without credentials, challenged"),
    ("negotiate", "NEGOTIATE, answered"),
    ("sign-in", "AUTHENTICATE, signed in"),
    ("wrong-password", "AUTHENTICATE, wrong password"),
    ("unknown-user", "AUTHENTICATE, unknown user"),
    ("signed-in", "request of a client that has signed in"),
    ("signed-in-merged", "the same, options inherited for it"),
    ("one-of-1000-names", "the same where a rule names one of the user's 1,000 groups"),
    ("one-of-1000-sids", "the same where it has its SID, and a ticket's PAC told the groups"),
    ("inherit", "options inherited"),
    ("read-accounts", "one of 10,000 accounts, read from their file"),
];

/// The same with a ticket.
const TICKETS: [(&str, &str); 5] = [
    ("ticket", "ticket in SPNEGO, signed in"),
    ("ticket-unremembered", "the same without the replay cache"),
    ("ticket-of-many-keys", "the same with the last of 61 keys"),
    ("ticket-of-32", "the same with one key and a domain's PAC, of 32 groups"),
    ("ticket-of-a-group", "the same with a rule about one of these groups"),
];

fn table(costs: &Costs) -> String {
    let mut table = "| operation | instructions | allocations | bytes held | time |\n\
                     |---|--:|--:|--:|--:|\n"
        .to_owned();
    let most = |most: f64| format!(" (at most {most})");
    writeln!(
        table,
        "| NTLM acceptor: AUTHENTICATE, decoded, to verdict | {:.0}{} | | | |",
        costs.acceptor,
        most(MOST_FOR_ACCEPTOR)
    )
    .unwrap();
    for (operation, what) in OPERATIONS {
        let Cost { instructions, nanoseconds, allocations, held, .. } = costs.of(operation);
        let (bound, memory_bound) = match operation {
            "signed-in" => (most(MOST_FOR_SIGNED_IN), most(MOST_FOR_CONNECTION)),
            "one-of-1000-names" | "one-of-1000-sids" => (String::new(), most(MOST_FOR_CONNECTION)),
            _ => Default::default(),
        };
        writeln!(
            table,
            "| {what} | {instructions:.0}{bound} | {allocations} | {held}{memory_bound} | \
             {nanoseconds} ns |"
        )
        .unwrap();
    }
    for (operation, what) in TICKETS {
        let Cost { instructions, own, nanoseconds, allocations, held } = costs.of(operation);
        let bound = if operation == "ticket" { most(MOST_FOR_TICKET) } else { String::new() };
        writeln!(
            table,
            "| {what} | {instructions:.0}{bound}, {own:.0} of them our own | {allocations} of our \
             own | {held} | {nanoseconds} ns |"
        )
        .unwrap();
    }
    writeln!(
        table,
        "| NEGOTIATE, longest names, without its own {NEGOTIATE} bytes | | | {}{} | |",
        costs.held_with_longest_names,
        most(MOST_FOR_HANDSHAKE)
    )
    .unwrap();
    table
}

/// The compiled driver and what it reads.
struct Bench {
    folder: TempDir,
    driver: PathBuf,
    /// The same with every allocation counted.
    counting: PathBuf,
}

/// A server's names.
struct Names {
    host: String,
    netbios: String,
    dns: String,
}

impl Names {
    fn usual() -> Self {
        Self { host: "web1".into(), netbios: "DEMO".into(), dns: "demo.test".into() }
    }

    /// As long as Linux (host) and Active Directory (domain) allow.
    fn longest() -> Self {
        Self {
            host: "w".repeat(64),
            netbios: "D".repeat(15),
            dns: format!("{}.test", "d".repeat(59)),
        }
    }
}

impl Bench {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let accounts = folder.path().join("accounts");
        write_accounts(&accounts, "DEMO\\alice:a4f49c406510bdcab6824ee7c30fd852:staff,web\n");
        let groups: Vec<_> = (0..1000).map(|number| format!("group-{number}")).collect();
        let of_1000 =
            format!("DEMO\\alice:a4f49c406510bdcab6824ee7c30fd852:{}\n", groups.join(","));
        write_accounts(&folder.path().join("accounts-of-1000"), &of_1000);
        write_accounts(&folder.path().join("users"), &users());
        let realm = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/instructions/realm.py");
        run(tool("python3", "python3").arg(realm).arg(folder.path()));
        let driver = folder.path().join("driver");
        compile(&driver, &[]);
        let counting = folder.path().join("counting");
        let wrap =
            "-Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=posix_memalign,--wrap=free";
        compile(&counting, &["-DCOUNT_ALLOCATIONS", "instructions/allocations.c", wrap]);
        Self { folder, driver, counting }
    }

    fn measure(&self) -> Costs {
        let longest = self.run(&self.counting, &Names::longest(), "negotiate", 1);
        Costs {
            acceptor: self.count("*Challenged*verify*", "sign-in").all,
            operations: OPERATIONS
                .map(|(operation, _)| (operation, self.cost(operation, BATCHES_TO_TIME)))
                .into_iter()
                .chain(TICKETS.map(|(operation, _)| {
                    (operation, self.cost(operation, BATCHES_OF_TICKETS_TO_TIME))
                }))
                .collect(),
            held_with_longest_names: longest["held"] - NEGOTIATE,
        }
    }

    fn cost(&self, operation: &str, batches_to_time: u32) -> Cost {
        let counted = self.run(&self.counting, &Names::usual(), operation, 1);
        let timed = self.run(&self.driver, &Names::usual(), operation, batches_to_time);
        let Counts { all, own } = self.count("measured", operation);
        Cost {
            instructions: all,
            own,
            nanoseconds: timed["nanoseconds"],
            allocations: counted["allocations"],
            held: counted["held"],
        }
    }

    /// The instructions of one operation inside `function` and all that it calls.
    fn count(&self, function: &str, operation: &str) -> Counts {
        let count = |batches| {
            let counts = self.folder.path().join("callgrind.out");
            let mut valgrind = tool("valgrind", "valgrind");
            valgrind
                .args(["--quiet", "--tool=callgrind"])
                .env("GLIBC_TUNABLES", PLAIN_PROCESSOR)
                .arg(format!("--callgrind-out-file={}", counts.display()))
                .arg(format!("--toggle-collect={function}"))
                .arg(&self.driver);
            let said = self.finish(&mut valgrind, &Names::usual(), operation, batches);
            let counts = fs::read_to_string(counts).unwrap();
            (Counts::read(&counts, self.driver.to_str().unwrap()), said["batch"])
        };
        let (none, (one, operations)) = (count(0).0, count(1));
        assert!(one.all > none.all, "callgrind saw no call of {function}");
        let all = (one.all - none.all) / operations;
        Counts { all, own: (one.own - none.own) / operations }
    }

    fn run(&self, driver: &Path, names: &Names, operation: &str, batches: u32) -> Numbers {
        self.finish(&mut Command::new(driver), names, operation, batches)
    }

    fn finish(
        &self,
        command: &mut Command,
        names: &Names,
        operation: &str,
        batches: u32,
    ) -> Numbers {
        fs::write(self.folder.path().join("hostname"), &names.host).unwrap();
        // What was remembered makes a replay cache slower, by a little.
        let _ = fs::remove_dir_all(self.folder.path().join("replays"));
        fs::create_dir(self.folder.path().join("replays")).unwrap();
        let cache = match operation {
            "ticket-of-32" | "ticket-of-a-group" => "cache-of-32",
            "one-of-1000-sids" => "cache-of-1000",
            _ => "cache",
        };
        for (variable, value) in [
            ("KRB5_CONFIG", "realm/krb5.conf"),
            ("KRB5CCNAME", &format!("FILE:{cache}")),
            ("KRB5RCACHEDIR", "replays"),
            // No plug-ins of GSSAPI, whatever is installed.
            ("GSS_MECH_CONFIG", "/dev/null"),
        ] {
            command.env(variable, value);
        }
        // Not by its name, which is part of what is hashed, and longer on some machines.
        command.current_dir(&self.folder).arg(".");
        let batches = batches.to_string();
        let output = run(command.args([&names.netbios, &names.dns, operation, &batches]));
        let said = String::from_utf8(output.stdout).expect("text");
        let number = |line: &str| {
            let (name, number) = line.split_once(' ')?;
            Some((name.to_owned(), number.parse().ok()?))
        };
        said.lines().map(|line| number(line).expect("a name and a number")).collect()
    }
}

/// What the driver prints.
type Numbers = HashMap<String, f64>;

/// glibc picks its memcpy and the like by what the processor can do: here as if it were the
/// plainest, so that processors count alike.
const PLAIN_PROCESSOR: &str = "glibc.cpu.hwcaps=-AVX512F,-AVX512VL,-AVX2,-AVX,-ERMS,-FSRM,-SSE4_2,\
                               -SSE4_1,-SSSE3,-BMI2,-MOVBE,-LZCNT,-POPCNT";

/// Accounts as a domain has them: many, in few groups.
fn users() -> String {
    let mut text = String::new();
    for user in 0..USERS {
        let (hash, group) = (u128::from(user) << 64 | 0x5555, user % 50);
        writeln!(text, "DEMO\\user{user:05}:{hash:032x}:staff,group-{group}").unwrap();
    }
    text
}

fn write_accounts(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, PermissionsExt::from_mode(0o600)).unwrap();
}

fn compile(program: &Path, more: &[&str]) {
    let mut compiler = compiler("cc", "gcc", "-std=c99");
    let sources = ["instructions/driver.c", "instructions/krb5_client.c", "abi/ntlm_client.c"];
    compiler.args(["-O2", "-Iinstructions"]).args(sources).args(more);
    run(link_archive(&mut compiler).arg("-o").arg(program));
}
