//! Every recipe can be followed: `aquatint train --dry-run` checks it. A `base.toml` is what others extend and is read with
//! them. A recipe may need what is not there in a fresh clone, if another recipe writes it or a comment of a recipe has the
//! command that makes it, or the script that fills its folder; then it has been checked as far as it can be.

use super::Findings;
use crate::repository::Repository;
use crate::shell;
use std::path::Path;

const FOLDERS: [&str; 2] = ["recipes/", "benches/gpu/"];
/// The folder of a bundle for a machine with a GPU, as recipes name it there.
const BUNDLE: &str = "bundle/";
const BASE: &str = "/base.toml";

pub(super) fn check(repository: &Repository) -> Findings {
    check_with(repository, dry_run)
}

fn check_with(repository: &Repository, dry_run: fn(&Path, &str) -> Result<(), String>) -> Findings {
    let all = repository.ending(".toml").filter(|file| file.is_in(&FOLDERS)).map(|file| file.path.as_str());
    let recipes: Vec<&str> = all.filter(|path| !path.ends_with(BASE)).collect();
    if recipes.is_empty() {
        return vec![format!("{} has no recipe", FOLDERS[0])];
    }
    let failed = recipes.into_iter().filter_map(|recipe| {
        let reason = dry_run(&repository.root, recipe).err()?;
        let is_made = missing(&reason).is_some_and(|path| has_maker(repository, path));
        (!is_made).then(|| format!("{recipe}: its dry run {reason}"))
    });
    failed.collect()
}

/// The path that a dry run did not find.
fn missing(reason: &str) -> Option<&str> {
    let messages = [("error: no checkpoint `", '`'), ("error: could not read `", '`'), ("error: `media` is ", ';')];
    messages.iter().find_map(|(words, end)| Some(reason.split_once(words)?.1.split_once(*end)?.0))
}

/// Whether a recipe has this path as its output, or shows the command that writes it.
fn has_maker(repository: &Repository, path: &str) -> bool {
    let output = format!("output = \"{path}\"");
    let makes = |line: &str| {
        line == output
            || (line.starts_with("#   aquatint ") && line.contains(&format!(" {path} ")))
            || (line.starts_with("#   cargo xtask gpu-bundle ") && path.starts_with(BUNDLE))
            || (line.starts_with("#   python recipes/") && fills(line, path))
    };
    let recipes = repository.ending(".toml").filter(|file| file.is_in(&FOLDERS));
    recipes.into_iter().any(|file| file.text.lines().any(makes))
}

/// Whether the last word of a command, the folder that a script fills, holds this path.
fn fills(line: &str, path: &str) -> bool {
    let folder = line.split_whitespace().last().unwrap_or_default().trim_end_matches('/');
    path.strip_prefix(folder).is_some_and(|file| file.starts_with('/'))
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
        let needs = |_: &Path, recipe: &str| match recipe {
            "recipes/a.toml" => {
                Err("failed (2): error: no checkpoint `runs/b`: it is no folder / hint: none".to_owned())
            }
            "recipes/b.toml" => Err("failed (2): error: could not read `runs/c.jsonl`: no such file".to_owned()),
            _ => Ok(()),
        };
        let makers = "output = \"runs/b\"\n#   aquatint eval puzzles runs/c.jsonl --count 9\n";
        assert!(check_with(&files(&[("recipes/a.toml", ""), ("recipes/b.toml", makers)]), needs).is_empty());
        assert_eq!(check_with(&files(&[("recipes/a.toml", ""), ("recipes/b.toml", "")]), needs).len(), 2);
        let bundled =
            |_: &Path, _: &str| Err("failed (2): error: could not read `bundle/c.xz`: no such file".to_owned());
        let packs = "#   cargo xtask gpu-bundle FOLDER c\n";
        assert!(check_with(&files(&[("benches/gpu/a.toml", packs)]), bundled).is_empty());
        assert_eq!(check_with(&files(&[("benches/gpu/a.toml", "")]), bundled).len(), 1);
        let prepared =
            |_: &Path, _: &str| Err("failed (2): error: could not read `runs/m/a.txt`: no such file".to_owned());
        let script = |folder: &str| format!("#   python recipes/m/prepare.py WHEEL {folder}\n");
        assert!(check_with(&files(&[("recipes/a.toml", script("runs/m").as_str())]), prepared).is_empty());
        assert!(check_with(&files(&[("recipes/a.toml", script("runs/m/").as_str())]), prepared).is_empty());
        for other in ["runs/n", "runs/n/", "runs/m/a"] {
            assert_eq!(check_with(&files(&[("recipes/a.toml", script(other).as_str())]), prepared).len(), 1, "{other}");
        }
        assert_eq!(missing("failed (2): error: `media` is bundle/p.zst; allowed: a folder"), Some("bundle/p.zst"));
        let base = files(&[("recipes/a.toml", ""), ("recipes/sudoku/base.toml", "")]);
        let refuse_base = |_: &Path, recipe: &str| {
            if recipe.contains("base") { Err("failed: no output".into()) } else { Ok(()) }
        };
        assert!(check_with(&base, refuse_base).is_empty());
    }
}
