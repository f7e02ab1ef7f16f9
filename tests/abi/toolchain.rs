//! What tests that compile C need of the machine. What is missing is named with its Debian package.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// A program that has to be installed.
pub(crate) fn tool(name: &str, package: &str) -> Command {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let there = std::env::split_paths(&paths).any(|folder| folder.join(name).is_file());
    assert!(there, "{name} is missing: install the package {package}");
    Command::new(name)
}

/// What `make build` leaves in build/.
pub(crate) fn built(name: &str) -> PathBuf {
    let path = Path::new(ROOT).join("build").join(name);
    assert!(path.is_file(), "{} is missing: run `make build` first", path.display());
    path
}

/// A compiler with the flags and the folders of all tests.
pub(crate) fn compiler(name: &str, package: &str, standard: &str) -> Command {
    let mut command = tool(name, package);
    command
        .args([standard, "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-g"])
        .arg(format!("-I{ROOT}/include"))
        .arg(format!("-I{ROOT}/tests/abi"))
        .current_dir(Path::new(ROOT).join("tests"));
    command
}

/// Links the archive, and what Rust's standard library needs of the system.
pub(crate) fn link_archive(command: &mut Command) -> &mut Command {
    command.arg(built("libnegotiate_auth.a")).args([
        "-lgssapi_krb5",
        "-lkrb5",
        "-lk5crypto",
        "-lgcc_s",
        "-lm",
        "-lpthread",
        "-ldl",
    ])
}

/// Runs to the end, which has to be a good one, and returns what was printed.
pub(crate) fn run(command: &mut Command) -> Output {
    let output = command.stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    output
}
