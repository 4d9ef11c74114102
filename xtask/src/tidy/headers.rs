//! Every Rust file opens with `//!`: what it holds and why.

use super::Findings;
use crate::repository::Repository;

pub(super) fn check(repository: &Repository) -> Findings {
    let silent = repository.ending(".rs").filter(|file| !opens_with_a_header(&file.text));
    silent.map(|file| format!("{}: does not open with a `//!` header", file.path)).collect()
}

fn opens_with_a_header(text: &str) -> bool {
    text.lines().next().and_then(|line| line.strip_prefix("//!")).is_some_and(|words| !words.trim().is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repository::by_hand::files;

    #[test]
    fn a_file_without_a_header_is_found() {
        let repository = files(&[
            ("crates/a/src/lib.rs", "//! What it is.\nfn a() {}\n"),
            ("crates/a/src/b.rs", "fn b() {}\n//! Too late.\n"),
            ("crates/a/src/c.rs", "//!\nfn c() {}\n"),
            ("crates/a/src/d.rs", ""),
            ("README.md", "no Rust"),
        ]);
        let findings = check(&repository);
        assert_eq!(findings.len(), 3, "{findings:?}");
        assert!(findings[0].starts_with("crates/a/src/b.rs"));
    }
}
