//! `unsafe` is only in the kernels of `compute` and at one place of `files`; every other crate forbids it.

use super::{Findings, place};
use crate::repository::Repository;
use crate::rust::{has_phrase, without_words};

/// The crate of kernels.
const KERNELS: &str = "crates/compute/";
/// The crate that maps files, and the one file of it that may say `unsafe`, once.
const MAPS: &str = "crates/files/";
const MAP: &str = "crates/files/src/mapped.rs";

pub(super) fn check(repository: &Repository) -> Findings {
    let mut findings = Findings::new();
    for root in repository.packages.iter().flat_map(|package| &package.roots) {
        let Some(file) = repository.file(root) else { continue };
        let promise = match () {
            () if file.is_in(&[KERNELS]) => continue,
            () if file.is_in(&[MAPS]) => "#![deny(unsafe_code)]",
            () => "#![forbid(unsafe_code)]",
        };
        if !without_words(&file.text).contains(promise) {
            findings.push(format!("{root}: lacks `{promise}`"));
        }
    }
    for file in repository.ending(".rs").filter(|file| !file.is_in(&[KERNELS])) {
        let code = without_words(&file.text);
        let lines: Vec<usize> =
            code.lines().enumerate().filter(|(_, line)| has_phrase(line, "unsafe")).map(|(number, _)| number).collect();
        let allowed = usize::from(file.path == MAP);
        for &line in lines.iter().skip(allowed) {
            findings.push(format!("{}: `unsafe` belongs in {KERNELS}", place(&file.path, line)));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repository::Package;
    use crate::repository::by_hand::{files, package};

    #[test]
    fn a_missing_promise_and_a_second_unsafe_are_found() {
        let mut repository = files(&[
            ("crates/a/src/lib.rs", "//! A.\n// #![forbid(unsafe_code)]\n"),
            ("crates/b/src/lib.rs", "//! B.\n#![forbid(unsafe_code)]\n"),
            ("crates/b/tests/c.rs", "//! C.\nfn c() { unsafe { d() } }\n"),
            ("crates/compute/src/lib.rs", "//! K.\nfn k() { unsafe { d() } }\n"),
            (MAP, "//! M.\n#[expect(unsafe_code)]\nfn m() { unsafe { d() } }\nfn n() { unsafe { d() } }\n"),
        ]);
        let roots = ["crates/a/src/lib.rs", "crates/b/src/lib.rs", "crates/compute/src/lib.rs"];
        repository.packages = roots.map(|root| Package { roots: vec![root.into()], ..package("p", &[]) }).into();
        let findings = check(&repository);
        assert_eq!(findings.len(), 3, "{findings:?}");
        assert!(findings[0].starts_with("crates/a/src/lib.rs: lacks"), "{findings:?}");
        assert!(findings[1].starts_with("crates/b/tests/c.rs:2"), "{findings:?}");
        assert!(findings[2].starts_with("crates/files/src/mapped.rs:4"), "{findings:?}");
    }
}
