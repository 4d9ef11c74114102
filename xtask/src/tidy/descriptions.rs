//! Every package says in one line what it is.

use super::Findings;
use crate::repository::Repository;

pub(super) fn check(repository: &Repository) -> Findings {
    let silent = repository.packages.iter().filter(|package| package.description.trim().is_empty());
    silent.map(|package| format!("{}: `description` in its Cargo.toml is empty", package.name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repository::Package;
    use crate::repository::by_hand::package;

    #[test]
    fn an_empty_description_is_found() {
        let said = Package { description: "What it is".into(), ..package("a", &[]) };
        let blank = Package { description: " ".into(), ..package("b", &[]) };
        let repository = Repository { packages: vec![said, blank, package("c", &[])], ..Repository::default() };
        let findings = check(&repository);
        assert_eq!(findings.len(), 2);
        assert!(findings[0].starts_with("b:") && findings[1].starts_with("c:"), "{findings:?}");
    }
}
