//! The C API from C: `tests/abi.c` as C99 and as C++11, against the shared library and the archive,
//! plainly and under valgrind; and the header next to other headers.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

#[path = "abi/toolchain.rs"]
mod toolchain;

use toolchain::{built, compiler, link_archive, run, tool};

const SOURCES: [&str; 7] = [
    "abi.c",
    "abi/config.c",
    "abi/session.c",
    "abi/job.c",
    "abi/kerberos.c",
    "abi/ntlm_client.c",
    "abi/gss_client.c",
];

fn c99() -> Command {
    compiler("cc", "gcc", "-std=c99")
}

fn cxx11() -> Command {
    let mut command = compiler("g++", "g++", "-std=c++11");
    command.args(["-x", "c++"]);
    command
}

#[test]
fn every_function_works_from_c99_with_the_shared_library() {
    let folder = TempDir::new().unwrap();
    let program = link_shared(c99(), folder.path());
    run_plainly_and_under_valgrind("C99, shared library", &program, folder.path());
}

#[test]
fn every_function_works_from_cxx11_with_the_shared_library() {
    let folder = TempDir::new().unwrap();
    let program = link_shared(cxx11(), folder.path());
    run_plainly_and_under_valgrind("C++11, shared library", &program, folder.path());
}

#[test]
fn every_function_works_from_c99_with_the_archive() {
    let folder = TempDir::new().unwrap();
    let program = folder.path().join("abi");
    run(link_archive(c99().args(SOURCES)).arg("-o").arg(&program));
    run_plainly_and_under_valgrind("C99, archive", &program, folder.path());
}

fn link_shared(mut compiler: Command, folder: &Path) -> PathBuf {
    let library = built("libnegotiate_auth.so.1");
    let program = folder.join("abi");
    let place = library.parent().expect("a folder");
    run(compiler
        .args(SOURCES)
        .args(["-x", "none"])
        .arg(&library)
        .arg(format!("-Wl,-rpath,{}", place.display()))
        .args(["-lgssapi_krb5", "-lpthread"])
        .arg("-o")
        .arg(&program));
    program
}

fn run_plainly_and_under_valgrind(what: &str, program: &Path, folder: &Path) {
    let vector = certificate_vector();
    fs::write(folder.join("groups"), "S-1-5-21-1-2-3-1105 DEMO\\staff\n").unwrap();
    fs::write(folder.join("certificate.der"), vector.0).unwrap();
    fs::write(folder.join("binding"), vector.1).unwrap();
    let realm = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/instructions/realm.py");
    run(tool("python3", "python3").arg(realm).arg(folder));
    let command = |mut command: Command| {
        let cache = format!("FILE:{}", folder.join("cache").display());
        let replays = format!("file2:{}", folder.join("replays").display());
        command.env("KRB5_CONFIG", folder.join("realm/krb5.conf"));
        command.env("KRB5CCNAME", cache).env("KRB5RCACHENAME", replays);
        command
    };
    let plain = run(command(Command::new(program)).arg(folder).arg(env!("CARGO_PKG_VERSION")));
    report(what, &plain.stdout, "");

    let mut valgrind = command(tool("valgrind", "valgrind"));
    valgrind
        .args(["--error-exitcode=9", "--leak-check=full", "--fair-sched=yes"])
        .arg("--show-leak-kinds=definite,indirect,possible")
        .arg("--errors-for-leak-kinds=definite,indirect,possible")
        .arg(program)
        .arg(folder)
        .arg(env!("CARGO_PKG_VERSION"));
    let checked = run(&mut valgrind);
    let log = String::from_utf8_lossy(&checked.stderr);
    let summary = log.lines().rev().find_map(|line| line.split_once("ERROR SUMMARY: "));
    let (_, summary) = summary.expect("valgrind sums up");
    assert!(summary.starts_with("0 errors"), "{summary}");
    report(what, &checked.stdout, &format!("; valgrind: {summary}"));
}

/// Shows what was counted, whether the test passes or not.
fn report(what: &str, stdout: &[u8], more: &str) {
    let said = String::from_utf8_lossy(stdout);
    let checks = said.lines().last().unwrap_or_default();
    let number = checks.split(' ').next().and_then(|number| number.parse().ok());
    assert!(number.is_some_and(|number: u64| number > 1000), "{said}");
    // Not captured, as what println! prints would be.
    let line = format!("{what}: {checks}{more}\n");
    std::io::stdout().write_all(line.as_bytes()).unwrap();
}

/// A certificate and its MsvAvChannelBindings.
fn certificate_vector() -> (Vec<u8>, Vec<u8>) {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/corpus/vectors/channel-bindings.json");
    let vectors: serde_json::Value =
        serde_json::from_slice(&fs::read(path).unwrap()).expect("JSON");
    let hex = |name: &str| {
        let text = vectors["certs"][0][name].as_str().expect("a text").as_bytes();
        let digit = |digit: u8| char::from(digit).to_digit(16).expect("hex") as u8;
        text.chunks(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
    };
    (hex("cert_der"), hex("md5"))
}

#[test]
fn the_header_goes_with_headers_that_have_names_like_its_own() {
    const OURS: &str = "#include \"negotiate_auth.h\"\n";
    const MAIN: &str = "int main(void) { return (int) (AUTH_ERROR + auth_status(NULL)); }\n";
    for (theirs, flags) in [
        ("", vec![]),
        ("#include <rpc/auth.h>\n", rpc_flags()),
        ("#include <httpd.h>\n#include <mod_auth.h>\n", httpd_flags()),
    ] {
        for source in [format!("{theirs}{OURS}{MAIN}"), format!("{OURS}{theirs}{MAIN}")] {
            check_syntax(c99().args(["-x", "c"]), &flags, &source);
            check_syntax(&mut cxx11(), &flags, &source);
        }
    }
}

fn rpc_flags() -> Vec<String> {
    const FOLDER: &str = "/usr/include/tirpc";
    let there = Path::new(FOLDER).join("rpc/auth.h").is_file();
    assert!(there, "{FOLDER}/rpc/auth.h is missing: install the package libtirpc-dev");
    vec!["-isystem".to_owned(), FOLDER.to_owned()]
}

fn httpd_flags() -> Vec<String> {
    let query = |name: &str| {
        let answer = run(tool("apxs", "apache2-dev").args(["-q", name])).stdout;
        String::from_utf8(answer).expect("text").trim().to_owned()
    };
    let mut flags: Vec<String> =
        query("EXTRA_CPPFLAGS").split_whitespace().map(str::to_owned).collect();
    for folder in ["INCLUDEDIR", "APR_INCLUDEDIR", "APU_INCLUDEDIR"] {
        flags.extend(["-isystem".to_owned(), query(folder)]);
    }
    flags
}

fn check_syntax(compiler: &mut Command, flags: &[String], source: &str) {
    let mut compiler = compiler
        .args(flags)
        .args(["-fsyntax-only", "-"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the compiler starts");
    compiler.stdin.take().expect("a pipe").write_all(source.as_bytes()).unwrap();
    let output = compiler.wait_with_output().unwrap();
    assert!(output.status.success(), "{source}{}", String::from_utf8_lossy(&output.stderr));
}
