//! Only the program prints, reads the environment or exits: libraries return values, errors and events.
//!
//! Tests may read the environment and print, since a test that needs a device or an hour hangs on a variable and says
//! when it is skipped; `dbg!` is forgotten everywhere it stands.

use super::{Findings, place};
use crate::repository::Repository;
use crate::rust::{has_phrase, without_tests, without_words};

/// The program, and tools that are not shipped.
const EXEMPT: [&str; 3] = ["crates/cli/", "xtask/", "baselines/"];

const FORBIDDEN: [(&str, &str); 9] = [
    ("println!", "prints"),
    ("print!", "prints"),
    ("eprintln!", "prints"),
    ("eprint!", "prints"),
    ("process::exit", "exits"),
    ("process::abort", "exits"),
    ("env::var", "reads the environment"),
    ("env::var_os", "reads the environment"),
    ("env::args", "reads the environment"),
];

pub(super) fn check(repository: &Repository) -> Findings {
    let mut findings = Findings::new();
    for file in repository.ending(".rs") {
        for (number, line) in without_words(&file.text).lines().enumerate() {
            if has_phrase(line, "dbg!") {
                findings.push(format!("{}: `dbg!` was left here", place(&file.path, number)));
            }
        }
        if file.is_test() || file.is_in(&EXEMPT) || is_for_tests(repository, &file.path) {
            continue;
        }
        for (number, line) in without_tests(&file.text).lines().enumerate() {
            for (phrase, what) in FORBIDDEN.iter().filter(|(phrase, _)| has_phrase(line, phrase)) {
                let place = place(&file.path, number);
                findings.push(format!("{place}: `{phrase}` {what}; only crates/cli does that"));
            }
        }
    }
    findings
}

/// Whether a file's module, or one that it lies in, is compiled for tests only.
fn is_for_tests(repository: &Repository, path: &str) -> bool {
    let Some((folder, name)) = path.trim_end_matches(".rs").rsplit_once('/') else { return false };
    let parents = [format!("{folder}/mod.rs"), format!("{folder}/lib.rs"), format!("{folder}.rs")];
    let Some(parent) = parents.iter().filter(|parent| *parent != path).find_map(|parent| repository.file(parent))
    else {
        return false;
    };
    let lines: Vec<&str> = parent.text.lines().map(str::trim).collect();
    let declared = |line: &&str| line.ends_with(&format!("mod {name};"));
    let gated = lines
        .iter()
        .position(declared)
        .is_some_and(|at| at > 0 && lines[at - 1].starts_with("#[cfg(") && lines[at - 1].contains("test"));
    gated || is_for_tests(repository, &parent.path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repository::by_hand::files;

    #[test]
    fn a_library_that_prints_reads_or_exits_is_found() {
        let library = "//! Says `println!` in words only.\nfn a() {\n    println!(\"x\");\n    std::env::var(\"HOME\");\n    \
                       std::process::exit(1);\n}\n";
        let findings = check(&files(&[("crates/train/src/lib.rs", library)]));
        assert_eq!(findings.len(), 3, "{findings:?}");
        assert!(findings[0].starts_with("crates/train/src/lib.rs:3: `println!` prints"), "{findings:?}");
    }

    #[test]
    fn the_program_and_tests_may_print_and_nobody_leaves_dbg() {
        let prints = "fn a() { eprintln!(\"skipped\"); }\n";
        let in_test = "#[cfg(test)]\nmod tests { fn b() { print!(\"c\"); } }\n";
        let debugs = "fn a() { dbg!(1); }\n";
        let clean = [
            ("crates/cli/src/main.rs", prints),
            ("crates/network/tests/golden.rs", prints),
            ("crates/network/src/lib.rs", in_test),
        ];
        assert_eq!(check(&files(&clean)), Findings::new());
        let module = [
            ("crates/a/src/b/mod.rs", "mod c;\n#[cfg(any(test, feature = \"d\"))]\nmod e;\n"),
            ("crates/a/src/b/c.rs", prints),
            ("crates/a/src/b/e.rs", prints),
        ];
        assert_eq!(check(&files(&module)).len(), 1);
        assert_eq!(check(&files(&[("crates/cli/src/main.rs", debugs), ("crates/a/tests/b.rs", debugs)])).len(), 2);
    }
}
