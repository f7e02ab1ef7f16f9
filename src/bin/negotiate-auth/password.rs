//! Asking for a password: on the terminal without echo, or one line of standard input. Never the
//! command line, which every user of the machine can read.

use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::os::fd::AsFd;

use zeroize::Zeroizing;

use crate::sys::{self, NoInterrupt};
use crate::{Failure, Result};

/// The longest password, in UTF-16 code units, as Windows has it.
const MAX_UNITS: usize = 256;
const TOO_LONG: &str = "the password is longer than 256 UTF-16 code units";

/// Where the password comes from.
#[derive(Clone, Copy)]
pub(crate) enum Source {
    Terminal,
    Stdin,
}

impl Source {
    /// The password of an account: what a client would send.
    pub(crate) fn current(self, account: &str) -> Result<Zeroizing<String>> {
        match self {
            Self::Terminal => ask(&format!("Password of {account}: ")),
            Self::Stdin => read_line(),
        }
    }

    /// A new password, typed twice alike.
    pub(crate) fn new_one(self, account: &str) -> Result<Zeroizing<String>> {
        let Self::Terminal = self else {
            return read_line();
        };
        let password = ask(&format!("New password of {account}: "))?;
        if *password == *ask("The same again: ")? {
            Ok(password)
        } else {
            Err(Failure::new("the two passwords differ; nothing is changed"))
        }
    }
}

fn ask(prompt: &str) -> Result<Zeroizing<String>> {
    let answer = {
        let _uninterrupted = NoInterrupt::new();
        rpassword::prompt_password(prompt).map(Zeroizing::new)
    };
    match answer {
        Ok(password) => check(password),
        Err(error) if error.kind() == io::ErrorKind::Interrupted => {
            sys::interrupt();
            Err(Failure::new("interrupted"))
        }
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            Err(Failure::new("no password was typed"))
        }
        Err(error) => Err(Failure::new(format!(
            "there is no terminal to ask for the password on ({error}); use --stdin"
        ))),
    }
}

/// Reads up to the first newline and no further: what follows belongs to the next program.
fn read_line() -> Result<Zeroizing<String>> {
    let stdin = io::stdin();
    if stdin.is_terminal() {
        return Err(Failure::new(
            "standard input is a terminal, which would show the password: leave out --stdin",
        ));
    }
    let unreadable = |error| Failure::new(format!("standard input: {error}"));
    let mut stdin = File::from(stdin.as_fd().try_clone_to_owned().map_err(unreadable)?);
    // Room for the longest UTF-8 form, a carriage return, and one more.
    let mut line = Zeroizing::new([0; 3 * MAX_UNITS + 2]);
    let mut length = 0;
    for slot in line.iter_mut() {
        let mut byte = Zeroizing::new([0]);
        match read_byte(&mut stdin, &mut byte).map_err(unreadable)? {
            true if byte[0] != b'\n' => *slot = byte[0],
            _ => break,
        }
        length += 1;
    }
    if length == line.len() {
        return Err(Failure::new(TOO_LONG));
    }
    let line = &line[..length];
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let text = std::str::from_utf8(line)
        .map_err(|_| Failure::new("the password on standard input is not UTF-8"))?;
    check(Zeroizing::new(text.to_owned()))
}

/// Reads one byte; false at the end.
fn read_byte(file: &mut File, byte: &mut [u8; 1]) -> io::Result<bool> {
    loop {
        match file.read(byte) {
            Ok(count) => return Ok(count == 1),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn check(password: Zeroizing<String>) -> Result<Zeroizing<String>> {
    let wrong = if password.is_empty() {
        "the password is empty"
    } else if password.contains(char::REPLACEMENT_CHARACTER) {
        "the password is not UTF-8"
    } else if password.contains(char::is_control) {
        "the password has a control character, which cannot be typed"
    } else if password.encode_utf16().count() > MAX_UNITS {
        TOO_LONG
    } else {
        return Ok(password);
    };
    Err(Failure::new(wrong))
}
