//! What callgrind writes ("Callgrind Format Specification" of its manual).

use std::collections::HashMap;

/// Instructions of one run.
#[derive(Clone, Copy)]
pub(crate) struct Counts {
    pub(crate) all: f64,
    /// Those of the program itself: neither of the shared libraries that it calls, nor of the C
    /// library for its sake.
    pub(crate) own: f64,
}

impl Counts {
    /// Reads what was written about a program.
    pub(crate) fn read(text: &str, program: &str) -> Self {
        let (mut all, mut own) = (0.0, 0.0);
        let mut objects = HashMap::new();
        let mut object = "";
        let mut lines = text.lines();
        while let Some(line) = lines.next() {
            if let Some(name) = line.strip_prefix("ob=") {
                object = resolve(&mut objects, name);
            } else if let Some(name) = line.strip_prefix("cob=") {
                resolve(&mut objects, name);
            } else if line.starts_with("calls=") {
                // What follows is the cost of what is called.
                lines.next();
            } else if let Some(cost) = cost(line) {
                all += cost;
                own += if object == program { cost } else { 0.0 };
            }
        }
        Self { all, own }
    }
}

/// A name is there once with a number in front, then the number alone.
fn resolve<'a>(names: &mut HashMap<&'a str, &'a str>, name: &'a str) -> &'a str {
    match name.split_once(' ') {
        None => names.get(name).copied().unwrap_or_default(),
        Some((number, name)) => {
            names.insert(number, name);
            name
        }
    }
}

/// The cost of a line of the source, which is told by its number, or as so many further on.
fn cost(line: &str) -> Option<f64> {
    let (place, cost) = line.split_once(' ')?;
    let is_place = place.starts_with(|first: char| "+-*0123456789".contains(first));
    is_place.then(|| cost.parse().ok()).flatten()
}
