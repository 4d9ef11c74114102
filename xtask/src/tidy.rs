//! Rules that no test of a crate can check. One file per rule, each with a test that the rule fails where it should.

mod arrows;
mod commands;
mod descriptions;
mod headers;
mod invariants;
mod printing;
mod purity;
mod recipes;
mod shared_builds;
mod token_ids;
mod unsafe_code;
mod words;

use crate::repository::Repository;
use std::time::Instant;

/// Violations, each with its place.
type Findings = Vec<String>;

/// A rule and its name, by which ARCHITECTURE.md cites it.
#[derive(Clone, Copy)]
struct Rule {
    name: &'static str,
    /// Whether it runs commands, which takes a built program and some seconds.
    runs: bool,
    check: fn(&Repository) -> Findings,
}

const RULES: [Rule; 12] = [
    Rule { name: "arrows", runs: false, check: arrows::check },
    Rule { name: "descriptions", runs: false, check: descriptions::check },
    Rule { name: "headers", runs: false, check: headers::check },
    Rule { name: "invariants", runs: false, check: invariants::check },
    Rule { name: "printing", runs: false, check: printing::check },
    Rule { name: "purity", runs: false, check: purity::check },
    Rule { name: "shared-builds", runs: false, check: shared_builds::check },
    Rule { name: "token-ids", runs: false, check: token_ids::check },
    Rule { name: "unsafe-code", runs: false, check: unsafe_code::check },
    Rule { name: "words", runs: false, check: words::check },
    Rule { name: "recipes", runs: true, check: recipes::check },
    Rule { name: "commands", runs: true, check: commands::check },
];

/// Applies the rules, prints what they find, and says whether they found nothing.
pub(crate) fn run(repository: &Repository, running: bool) -> bool {
    let mut found = 0;
    for rule in RULES.iter().filter(|rule| running || !rule.runs) {
        let start = Instant::now();
        let findings = (rule.check)(repository);
        let verdict = if findings.is_empty() { "ok" } else { "FAILED" };
        println!("tidy {:<14} {verdict} ({:.1} s)", rule.name, start.elapsed().as_secs_f64());
        for finding in &findings {
            println!("  {finding}");
        }
        found += findings.len();
    }
    println!("tidy: {found} finding{}", if found == 1 { "" } else { "s" });
    found == 0
}

/// The place of a line, as editors understand it.
fn place(path: &str, line: usize) -> String {
    format!("{path}:{}", line + 1)
}
