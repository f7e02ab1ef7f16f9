//! The command-line tool: keeps accounts files and lists the library's options.

use std::error::Error;
use std::fmt;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use clap::error::{ContextKind, Error as UsageError, ErrorKind};
use clap::{Parser, Subcommand};

#[path = "negotiate-auth/options.rs"]
mod options;
#[path = "negotiate-auth/passwd.rs"]
mod passwd;
#[path = "negotiate-auth/password.rs"]
mod password;
#[path = "negotiate-auth/store.rs"]
mod store;
#[path = "negotiate-auth/sys.rs"]
mod sys;

/// Tools for HTTP Negotiate and NTLM sign-in on nginx and Apache httpd.
#[derive(Parser)]
#[command(name = "negotiate-auth", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Passwd(passwd::Args),
    /// List the options of the library and its server modules
    Options,
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    let outcome = match cli.command {
        Command::Passwd(args) => passwd::run(&args),
        Command::Options => options::run(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure { text, code }) => {
            complain(&text);
            ExitCode::from(code)
        }
    }
}

/// Prints what was asked for, or what is wrong with the arguments in one line.
fn usage(error: &UsageError) -> ExitCode {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            let printed = write!(io::stdout(), "{error}").and_then(|()| io::stdout().flush());
            ExitCode::from(u8::from(printed.is_err()))
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            complain("what shall it do? See negotiate-auth --help");
            ExitCode::from(Failure::USAGE)
        }
        _ => {
            complain(&format!("{}; see --help", in_one_line(error)));
            ExitCode::from(Failure::USAGE)
        }
    }
}

/// What is wrong with the arguments. A value is not repeated: it may be a password.
fn in_one_line(error: &UsageError) -> String {
    let argument = error.get(ContextKind::InvalidArg);
    match (error.kind(), argument, error.source()) {
        (ErrorKind::ValueValidation, Some(argument), Some(why)) => format!("{argument}: {why}"),
        (ErrorKind::TooManyValues, Some(argument), _) => format!("{argument} takes no value"),
        _ => {
            // The first paragraph; tips and usage follow.
            let text = error.to_string();
            let words = text.split("\n\n").next().unwrap_or(&text).split_whitespace();
            let line = words.collect::<Vec<_>>().join(" ");
            line.trim_start_matches("error: ").to_owned()
        }
    }
}

/// What went wrong, for a person, and the exit code.
struct Failure {
    text: String,
    code: u8,
}

type Result<T> = std::result::Result<T, Failure>;

impl Failure {
    const USAGE: u8 = 2;

    fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), code: 1 }
    }

    fn usage(text: impl Into<String>) -> Self {
        Self { text: text.into(), code: Self::USAGE }
    }

    fn at(path: &Path, what: impl fmt::Display) -> Self {
        Self::new(format!("{}: {what}", path.display()))
    }
}

/// One line on standard error. Nobody can be told if that fails.
fn complain(text: &str) {
    let _ = writeln!(io::stderr(), "negotiate-auth: {text}");
}

/// One line on standard output about something that is done, whether or not it can be said.
fn report(text: &str) {
    let _ = writeln!(io::stdout(), "{text}");
}
