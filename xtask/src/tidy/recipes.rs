//! Every recipe can be followed: `aquatint train --dry-run` reads and resolves it. A `base.toml` is what others extend and
//! is read with them.

use super::Findings;
use crate::repository::Repository;
use crate::shell;
use std::path::Path;

const FOLDER: &str = "recipes/";
const BASE: &str = "/base.toml";

pub(super) fn check(repository: &Repository) -> Findings {
    check_with(repository, dry_run)
}

fn check_with(repository: &Repository, dry_run: fn(&Path, &str) -> Result<(), String>) -> Findings {
    let all = repository.ending(".toml").filter(|file| file.is_in(&[FOLDER])).map(|file| file.path.as_str());
    let recipes: Vec<&str> = all.filter(|path| !path.ends_with(BASE)).collect();
    if recipes.is_empty() {
        return vec![format!("{FOLDER} has no recipe")];
    }
    let failed = recipes.into_iter().filter_map(|recipe| {
        let reason = dry_run(&repository.root, recipe).err()?;
        Some(format!("{recipe}: its dry run {reason}"))
    });
    failed.collect()
}

fn dry_run(root: &Path, recipe: &str) -> Result<(), String> {
    shell::run(root, &format!("cargo run --release --quiet -p aquatint-cli -- train {recipe} --dry-run"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repository::by_hand::files;

    #[test]
    fn a_recipe_that_is_refused_is_found() {
        let repository = files(&[("recipes/a.toml", ""), ("recipes/b.toml", ""), ("Cargo.toml", "")]);
        let refuse_b = |_: &Path, recipe: &str| {
            if recipe.ends_with("b.toml") { Err("failed: unknown key".into()) } else { Ok(()) }
        };
        assert_eq!(check_with(&repository, refuse_b), ["recipes/b.toml: its dry run failed: unknown key"]);
        assert_eq!(check_with(&files(&[]), refuse_b).len(), 1);
        let base = files(&[("recipes/a.toml", ""), ("recipes/sudoku/base.toml", "")]);
        let refuse_base = |_: &Path, recipe: &str| {
            if recipe.contains("base") { Err("failed: no output".into()) } else { Ok(()) }
        };
        assert!(check_with(&base, refuse_base).is_empty());
    }
}
