//! Every selection of packages shares one build of its dependencies.
//!
//! Cargo joins the features of a dependency over the packages that are selected. `cargo build`, `cargo test -p NAME` and
//! `cargo test --workspace` build a crate, and every crate above it, once each where these joined features differ. So
//! each package alone must resolve a dependency with the features that the whole workspace gives it;
//! `crates/third-party/Cargo.toml` is where they are joined.
//!
//! A net with a known mesh: a dependency that build scripts use with other features than programs do may have either.

use super::Findings;
use crate::repository::Repository;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

const JOINED_IN: &str = "crates/third-party/Cargo.toml";

/// The sets of features with which each dependency is built.
type Features = BTreeMap<String, BTreeSet<String>>;

pub(super) fn check(repository: &Repository) -> Findings {
    let tree = |selection: &[&str]| features(&repository.root, selection);
    let whole = match tree(&["--workspace", "--edges", "normal,build,dev"]) {
        Ok(whole) => whole,
        Err(error) => return vec![error],
    };
    let mut findings = Findings::new();
    for package in &repository.packages {
        for edges in ["normal,build", "normal,build,dev"] {
            match tree(&["--package", &package.name, "--edges", edges]) {
                Ok(alone) => findings.extend(differences(&package.name, &alone, &whole)),
                Err(error) => findings.push(error),
            }
        }
    }
    findings.dedup();
    findings
}

/// What `cargo tree` resolves for a selection of packages.
fn features(root: &Path, selection: &[&str]) -> Result<Features, String> {
    let output = Command::new("cargo")
        .args(["tree", "--locked", "--prefix", "none", "--format", "{p}|{f}"])
        .args(selection)
        .current_dir(root)
        .output()
        .map_err(|error| format!("`cargo tree` could not be started: {error}"))?;
    if !output.status.success() {
        return Err(format!("`cargo tree` failed: {}", String::from_utf8_lossy(&output.stderr).trim()));
    }
    Ok(parse(&String::from_utf8_lossy(&output.stdout)))
}

fn parse(tree: &str) -> Features {
    let mut features = Features::new();
    for (package, set) in tree.lines().filter_map(|line| line.split_once('|')) {
        features.entry(package.to_owned()).or_default().insert(set.trim_end_matches(" (*)").to_owned());
    }
    features
}

fn differences(name: &str, alone: &Features, whole: &Features) -> Findings {
    let mut findings = Findings::new();
    for (package, sets) in alone {
        for set in sets.iter().filter(|set| whole.get(package).is_none_or(|whole| !whole.contains(*set))) {
            let wanted: Vec<&String> = whole.get(package).into_iter().flatten().collect();
            findings.push(format!(
                "{name}: alone it builds {package} with the features `{set}`, within the workspace with {wanted:?}; \
                 join them in {JOINED_IN}"
            ));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dependency_with_other_features_is_found() {
        let whole = parse("a v1.0.0|std\nb v2.0.0|default,extra\nb v2.0.0|default (*)\nours v0.1.0 (/x)|\n");
        assert_eq!(differences("p", &parse("a v1.0.0|std (*)\nb v2.0.0|default\n"), &whole), Findings::new());
        let findings = differences("p", &parse("a v1.0.0|\nb v2.0.0|default,extra\n"), &whole);
        assert_eq!(findings.len(), 1, "{findings:?}");
        assert!(findings[0].starts_with("p: alone it builds a v1.0.0 with the features ``"), "{findings:?}");
    }
}
