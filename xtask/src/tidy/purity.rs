//! The mathematics sees slices and seeds only, and what is spoken inside is not what is written on the wire.
//!
//! `diffusion` has no file, clock, network, thread or random generator of the machine; it, the loop and the arithmetic
//! derive no wire format, so that a file or a protocol can change without them, and they without it.

use super::{Findings, place};
use crate::repository::Repository;
use crate::rust::{has_phrase, without_tests};

/// What is forbidden, where, and why.
const RULES: [(&[&str], &[&str], &str); 2] = [
    (
        &["crates/diffusion/src/"],
        &["std::fs", "std::io", "std::net", "std::time", "std::thread", "Instant", "SystemTime", "thread_rng", "rand"],
        "the mathematics sees slices and seeds only",
    ),
    (
        &["crates/diffusion/src/", "crates/generate/src/", "crates/compute/src/"],
        &["Serialize", "Deserialize"],
        "the crates of files and protocols have their own types for that",
    ),
];

pub(super) fn check(repository: &Repository) -> Findings {
    let mut findings = Findings::new();
    for (places, phrases, why) in RULES {
        for file in repository.ending(".rs").filter(|file| file.is_in(places)) {
            for (number, line) in without_tests(&file.text).lines().enumerate() {
                for phrase in phrases.iter().filter(|phrase| has_phrase(line, phrase)) {
                    findings.push(format!("{}: `{phrase}`; {why}", place(&file.path, number)));
                }
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repository::by_hand::files;

    #[test]
    fn a_clock_in_the_mathematics_and_a_wire_type_in_the_loop_are_found() {
        let findings = check(&files(&[
            ("crates/diffusion/src/time.rs", "//! Time.\nuse std::time::Instant;\nstruct Instants;\n"),
            ("crates/generate/src/event.rs", "//! E.\n#[derive(Serialize)]\nstruct E;\n"),
            ("crates/checkpoint/src/state.rs", "//! S.\nuse std::fs;\n#[derive(Serialize)]\nstruct S;\n"),
        ]));
        assert_eq!(findings.len(), 3, "{findings:?}");
        assert!(findings[0].starts_with("crates/diffusion/src/time.rs:2"), "{findings:?}");
        assert!(findings[2].starts_with("crates/generate/src/event.rs:2: `Serialize`"), "{findings:?}");
    }
}
