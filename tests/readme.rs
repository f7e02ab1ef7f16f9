//! The documents say what the code says: README the options, docs/reasons.md the reasons.

use negotiate_auth::config::{OptionKind, option};
use negotiate_auth::reason::Reason;

const README: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
const START: &str = "<!-- options: compared with the code by a test -->\n";
const END: &str = "<!-- end of options -->";

fn table() -> String {
    let mut table = String::from(
        "| key | arguments | default | kind | what it does |\n|---|---|---|---|---|\n",
    );
    for option in (0..).map_while(option) {
        let kind = match option.kind {
            OptionKind::Scope => "scope",
            OptionKind::Rule => "rule",
        };
        let syntax = option.syntax.as_str().replace('|', "\\|");
        table += &format!(
            "| `{}` | `{syntax}` | {} | {kind} | {} |\n",
            option.key.as_str(),
            option.default.as_str(),
            option.help.as_str(),
        );
    }
    table
}

#[test]
fn the_readme_lists_the_options_as_the_code_has_them() {
    let readme = std::fs::read_to_string(README).expect("README.md");
    let (before, rest) = readme.split_once(START).expect("the start of the option table");
    let (found, after) = rest.split_once(END).expect("the end of the option table");
    if std::env::var_os("NEGOTIATE_AUTH_WRITE_HEADER").is_some() {
        std::fs::write(README, [before, START, &table(), END, after].concat()).expect("written");
        return;
    }
    assert!(found == table(), "run `make header`; the table should be:\n{}", table());
}

const REASONS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/reasons.md");

fn reasons() -> String {
    let mut text = String::from(
        "# Reasons\n\nEvery decision has a number and a name that stay the same from version to version. They stand in \
         the error log and\nin `$auth_negotiate_reason` and `NEGOTIATE_REASON`. The client never learns them.\n\n\
         | number | name | meaning |\n|---|---|---|\n",
    );
    for reason in Reason::ALL {
        let (name, sentence) = (reason.name().as_str(), reason.sentence().as_str());
        text += &format!("| {} | `{name}` | {sentence} |\n", reason.number());
    }
    text
}

#[test]
fn the_document_of_reasons_lists_them_as_the_code_has_them() {
    if std::env::var_os("NEGOTIATE_AUTH_WRITE_HEADER").is_some() {
        std::fs::write(REASONS, reasons()).expect("written");
    }
    let found = std::fs::read_to_string(REASONS).expect("docs/reasons.md");
    assert!(found == reasons(), "run `make header`");
}
