//! What the tests of messages, of sessions and of damaged input share: the corpus, a client that
//! does not know the library, and a site to sign in to.
#![allow(dead_code)] // Each test uses a part of it.

pub(crate) mod client;
pub(crate) mod site;

use std::path::PathBuf;

use serde_json::Value;

/// A file of the corpus: in the folder that NEGOTIATE_CORPUS names, else in tests/corpus.
pub(crate) fn corpus(file: &str) -> Value {
    let folder = std::env::var_os("NEGOTIATE_CORPUS").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/corpus")),
        PathBuf::from,
    );
    let path = folder.join(file);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The bytes of hexadecimal text.
pub(crate) fn hex(digits: &str) -> Vec<u8> {
    assert!(digits.len() % 2 == 0, "hex digits come in pairs: {digits}");
    (0..digits.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).expect("a hex digit"))
        .collect()
}

/// The same of a JSON text.
pub(crate) fn hex_of(value: &Value) -> Vec<u8> {
    hex(value.as_str().expect("hex text"))
}

/// UTF-16LE, as NTLM has it.
pub(crate) fn utf16le(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}
