//! The header is what cbindgen makes of src/ffi.rs, and the library exports what it declares.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

const HEADER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/include/negotiate_auth.h");

fn generate() -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let config = cbindgen::Config::from_file(root.join("cbindgen.toml")).expect("cbindgen.toml");
    let mut builder = cbindgen::Builder::new().with_config(config);
    for source in ["src/ffi/text.rs", "src/ffi/request.rs", "src/ffi.rs"] {
        builder = builder.with_src(root.join(source));
    }
    let mut text = Vec::new();
    builder.generate().expect("bindings").write(&mut text);
    String::from_utf8(text).expect("UTF-8")
}

#[test]
fn the_header_is_up_to_date() {
    let generated = generate();
    if std::env::var_os("NEGOTIATE_AUTH_WRITE_HEADER").is_some() {
        std::fs::write(HEADER, &generated).expect("the header can be written");
    }
    let checked_in = std::fs::read_to_string(HEADER).expect("include/negotiate_auth.h");
    assert!(checked_in == generated, "run `make header` and look at the difference");
}

/// The functions that the header declares.
fn declared() -> BTreeSet<String> {
    let header = std::fs::read_to_string(HEADER).expect("include/negotiate_auth.h");
    let code: String = header
        .split("/*")
        .map(|part| part.split_once("*/").map_or(part, |(_, code)| code))
        .collect();
    code.match_indices('(')
        .filter_map(|(at, _)| {
            let name =
                code[..at].rsplit(|c: char| !c.is_ascii_alphanumeric() && c != '_').next()?;
            name.starts_with("auth_").then(|| name.to_owned())
        })
        .collect()
}

#[test]
fn the_shared_library_exports_exactly_what_the_header_declares() {
    let library = Path::new(env!("CARGO_MANIFEST_DIR")).join("build/libnegotiate_auth.so.1");
    let output = Command::new("nm")
        .args(["-D", "--defined-only", "--format=posix"])
        .arg(&library)
        .output()
        .expect("nm runs");
    assert!(output.status.success(), "nm {}: run `make build` first", library.display());
    let exported: BTreeSet<String> = String::from_utf8(output.stdout)
        .expect("nm prints text")
        .lines()
        .filter_map(|line| line.split(' ').next().map(str::to_owned))
        .collect();
    assert_eq!(exported, declared());
    assert!(exported.len() > 30);
}
