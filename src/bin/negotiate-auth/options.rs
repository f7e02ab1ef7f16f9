//! `negotiate-auth options`: the option table, for people.

use std::io::{self, Write};

use negotiate_auth::config::{self, Kind};

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
            Kind::Scope => "scope",
            Kind::Rule => "rule",
        };
        writeln!(out, "{} {}", option.key, option.syntax)?;
        writeln!(out, "    {kind}, default: {}", option.default)?;
        writeln!(out, "    {}", option.help)?;
    }
    out.flush()
}
