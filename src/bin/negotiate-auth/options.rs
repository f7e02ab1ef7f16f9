//! `negotiate-auth options`: the option table, for people.

use std::io::{self, Write};

use negotiate_auth::config::{self, OptionKind};

use crate::{Failure, Result};

pub(crate) fn run() -> Result<()> {
    match print(&mut io::stdout().lock()) {
        // Whoever reads has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        outcome => outcome.map_err(|error| Failure::new(format!("standard output: {error}"))),
    }
}

fn print(out: &mut impl Write) -> io::Result<()> {
    for option in (0..).map_while(config::option) {
        let kind = match option.kind {
            OptionKind::Scope => "scope",
            OptionKind::Rule => "rule",
        };
        writeln!(out, "{} {}", option.key.as_str(), option.syntax.as_str())?;
        writeln!(out, "    {kind}, default: {}", option.default.as_str())?;
        writeln!(out, "    {}", option.help.as_str())?;
    }
    out.flush()
}
