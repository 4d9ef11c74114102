//! An invariant of ARCHITECTURE.md names what checks it, and what it names exists: a test as `path.rs::test`, or a rule
//! as `tidy: name`.

use super::{Findings, RULES};
use crate::repository::Repository;

const FILE: &str = "ARCHITECTURE.md";
const HEADING: &str = "## Invariants";

pub(super) fn check(repository: &Repository) -> Findings {
    let Some(file) = repository.file(FILE) else { return vec![format!("{FILE} is missing")] };
    let invariants = invariants(&file.text);
    if invariants.is_empty() {
        return vec![format!("{FILE}: no numbered invariant under `{HEADING}`")];
    }
    let mut findings = Findings::new();
    for (at, invariant) in invariants.iter().enumerate() {
        let number = at + 1;
        if !invariant.starts_with(&format!("{number}. ")) {
            findings.push(format!(
                "{FILE}: the invariant that should be number {number} begins `{}`",
                first_words(invariant)
            ));
        }
        let checks: Vec<&str> = invariant.split('`').skip(1).step_by(2).filter(|words| is_check(words)).collect();
        if checks.is_empty() {
            findings.push(format!("{FILE}: invariant {number} names neither a test nor a rule that checks it"));
        }
        for missing in checks.iter().filter(|words| !exists(words, repository)) {
            findings.push(format!("{FILE}: invariant {number} names `{missing}`, which does not exist"));
        }
    }
    findings
}

/// The items of the numbered list under the heading.
fn invariants(text: &str) -> Vec<String> {
    let section = text.lines().skip_while(|line| *line != HEADING).skip(1).take_while(|line| !line.starts_with("## "));
    let mut items: Vec<String> = Vec::new();
    for line in section {
        if line.starts_with(|c: char| c.is_ascii_digit()) {
            items.push(line.to_owned());
        } else if let Some(item) = items.last_mut() {
            item.push(' ');
            item.push_str(line.trim());
        }
    }
    items
}

fn is_check(words: &str) -> bool {
    words.starts_with("tidy: ") || words.contains(".rs::")
}

fn exists(words: &str, repository: &Repository) -> bool {
    if let Some(rule) = words.strip_prefix("tidy: ") {
        return RULES.iter().any(|known| known.name == rule);
    }
    words.split_once("::").is_some_and(|(path, test)| {
        repository.file(path).is_some_and(|file| file.text.contains(&format!("fn {test}(")))
    })
}

fn first_words(text: &str) -> String {
    text.chars().take(40).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repository::by_hand::files;

    fn findings(invariants: &str) -> Findings {
        let page = format!("# A\n\n{HEADING}\n{invariants}\n## More\n9. Not one.\n");
        check(&files(&[(FILE, &page), ("crates/a/src/b.rs", "fn it_holds() {}\n")]))
    }

    #[test]
    fn what_checks_an_invariant_exists() {
        assert_eq!(
            findings("1. This. Checked by `crates/a/src/b.rs::it_holds`.\n2. That,\n   by `tidy: arrows`."),
            Findings::new()
        );
    }

    #[test]
    fn unchecked_misnumbered_and_misnamed_invariants_are_found() {
        let found = findings(
            "1. This, with `code` only.\n3. That, by `tidy: nothing`.\n3. So, by `crates/a/src/b.rs::it_fails`.",
        );
        assert_eq!(found.len(), 4, "{found:?}");
        assert!(found[0].contains("invariant 1 names neither"), "{found:?}");
        assert!(found[1].contains("should be number 2"), "{found:?}");
        assert!(found[2].contains("`tidy: nothing`, which does not exist"), "{found:?}");
        assert!(found[3].contains("it_fails"), "{found:?}");
    }

    #[test]
    fn a_page_without_invariants_is_found() {
        assert_eq!(findings("None.").len(), 1);
        assert_eq!(check(&files(&[])).len(), 1);
    }
}
