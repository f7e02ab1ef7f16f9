//! The counts that were recorded, by toolchain: what the same one counts today may not be much
//! more. `make record` writes them.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use super::toolchain::run;

/// How far a count may grow with the toolchain it was recorded with.
const MOST_GROWTH: f64 = 0.05;

/// How far with another one, which may compile to other instructions.
const MOST_GROWTH_ELSEWHERE: f64 = 0.15;

const HEAD: &str = "\
# Instructions of one operation, by toolchain and processor; of tickets, the library's own without
# libkrb5's. Written by `make record`, compared by tests/instructions.rs: more than 5 % above these
# fails.
";

/// What was recorded for this toolchain or, failing that, for the last one on such a processor.
pub(crate) struct Record {
    counts: Vec<(String, f64)>,
    toolchain: String,
    most_growth: f64,
}

/// How a count differs from the recorded one; if much, in a sentence.
pub(crate) enum Change {
    Little,
    Fewer(String),
    More(String),
}

impl Record {
    /// None if nothing is recorded for such a processor: only the fixed bounds hold there.
    pub(crate) fn read() -> Option<Self> {
        let here = toolchain();
        let sections = sections();
        let same = sections.iter().find(|(toolchain, _)| *toolchain == here);
        let similar =
            || sections.iter().rfind(|(toolchain, _)| processor(toolchain) == processor(&here));
        let (toolchain, counts) = same.or_else(similar).cloned()?;
        let most_growth = if same.is_some() { MOST_GROWTH } else { MOST_GROWTH_ELSEWHERE };
        Some(Self { counts, toolchain, most_growth })
    }

    pub(crate) fn change(&self, operation: &str, counted: f64) -> Change {
        let recorded = self.counts.iter().find(|(name, _)| name == operation);
        let Some(&(_, recorded)) = recorded else {
            return Change::More(format!("{operation}: {counted:.0} instructions, none recorded"));
        };
        let growth = counted / recorded - 1.0;
        let than = format!("than the {recorded:.0} recorded with {}", self.toolchain);
        let percent = 100.0 * growth.abs();
        match growth {
            _ if growth > self.most_growth => Change::More(format!(
                "{operation}: {counted:.0} instructions, {percent:.1} % more {than}"
            )),
            _ if growth < -self.most_growth => Change::Fewer(format!(
                "{operation}: {counted:.0} instructions, {percent:.1} % fewer {than}"
            )),
            _ => Change::Little,
        }
    }

    /// Records these for this toolchain; those of others stay.
    pub(crate) fn write(counts: &[(&str, f64)]) {
        let here = toolchain();
        let mut sections = sections();
        sections.retain(|(toolchain, _)| *toolchain != here);
        let counts = counts.iter().map(|(name, count)| ((*name).to_owned(), count.round()));
        sections.push((here, counts.collect()));
        let mut text = HEAD.to_owned();
        for (toolchain, counts) in sections {
            writeln!(text, "\n{toolchain}").unwrap();
            for (name, count) in counts {
                writeln!(text, "    {name} {count}").unwrap();
            }
        }
        fs::write(path(), text).unwrap();
    }
}

/// Counts by operation, under the toolchain that they were counted with.
type Section = (String, Vec<(String, f64)>);

fn sections() -> Vec<Section> {
    let mut sections: Vec<Section> = Vec::new();
    let text = fs::read_to_string(path()).unwrap_or_default();
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        match line.strip_prefix("    ") {
            None => sections.push((line.to_owned(), Vec::new())),
            Some(count) => {
                let (name, count) = count.split_once(' ').expect("a name and a count");
                let (_, counts) = sections.last_mut().expect("a toolchain first");
                counts.push((name.to_owned(), count.parse().expect("a count")));
            }
        }
    }
    sections
}

fn path() -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests", "instructions", "recorded"].iter().collect()
}

/// What decides about the instructions: "x86_64, rustc 1.85.0 (4d91de4e4 2025-02-17), glibc 2.36".
fn toolchain() -> String {
    let rustc = said(Command::new("rustc").arg("--version"));
    let libc = said(Command::new("getconf").arg("GNU_LIBC_VERSION"));
    format!("{}, {rustc}, {libc}", std::env::consts::ARCH)
}

fn processor(toolchain: &str) -> Option<&str> {
    toolchain.split(',').next()
}

fn said(command: &mut Command) -> String {
    String::from_utf8(run(command).stdout).expect("text").trim().to_owned()
}
