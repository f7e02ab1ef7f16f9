//! README and option table say the same.

use negotiate_auth::config::{OptionKind, option};

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
