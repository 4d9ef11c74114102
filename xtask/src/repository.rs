//! The repository as the rules see it: packages with their dependencies, and texts with their paths.
//!
//! A rule is a pure function over these values, so that its test is a small repository made by hand.

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, TargetKind};
use std::path::{Path, PathBuf};

/// Folders that hold nothing of ours: what was built, what was trained.
const NOT_OURS: [&str; 3] = ["target", "runs", "node_modules"];

/// Everything that a rule reads.
#[derive(Debug, Default)]
pub(crate) struct Repository {
    pub(crate) root: PathBuf,
    pub(crate) packages: Vec<Package>,
    /// Rust, Markdown and recipe files, ordered by path.
    pub(crate) files: Vec<File>,
}

/// A package of the workspace.
#[derive(Debug, Clone, Default)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) description: String,
    /// Other packages of the workspace that it uses.
    pub(crate) uses: Vec<Use>,
    /// Root files of its library and programs, relative to the repository.
    pub(crate) roots: Vec<String>,
    /// Root files of its examples.
    pub(crate) examples: Vec<String>,
}

/// One dependency on a package of the workspace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Use {
    pub(crate) name: String,
    pub(crate) only_in_tests: bool,
}

/// A text file.
#[derive(Debug, Clone)]
pub(crate) struct File {
    /// Relative to the repository, with `/`.
    pub(crate) path: String,
    pub(crate) text: String,
}

impl File {
    /// Whether the compiler builds this file only for tests, benchmarks or examples.
    pub(crate) fn is_test(&self) -> bool {
        ["/tests/", "/benches/", "/examples/"].iter().any(|folder| self.path.contains(folder))
    }

    /// Whether the path begins with one of these folders or is one of these files.
    pub(crate) fn is_in(&self, places: &[&str]) -> bool {
        places.iter().any(|place| self.path.starts_with(place))
    }
}

impl Repository {
    /// Reads the repository in which cargo was started.
    pub(crate) fn open() -> Result<Self, String> {
        let metadata = MetadataCommand::new().no_deps().exec().map_err(|error| error.to_string())?;
        let root = metadata.workspace_root.clone().into_std_path_buf();
        let mut paths = Vec::new();
        collect(&root, &mut paths).map_err(|error| format!("could not list `{}`: {error}", root.display()))?;
        paths.sort();
        let mut files = Vec::new();
        for path in paths {
            let text = std::fs::read_to_string(&path)
                .map_err(|error| format!("could not read `{}`: {error}", path.display()))?;
            files.push(File { path: relative(&path, &root), text });
        }
        Ok(Self { packages: packages(&metadata, &root), root, files })
    }

    /// The file at a path.
    pub(crate) fn file(&self, path: &str) -> Option<&File> {
        self.files.iter().find(|file| file.path == path)
    }

    /// Files whose name ends so.
    pub(crate) fn ending<'a>(&'a self, ending: &'a str) -> impl Iterator<Item = &'a File> {
        self.files.iter().filter(move |file| file.path.ends_with(ending))
    }
}

fn collect(folder: &Path, paths: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let (name, path) = (entry.file_name(), entry.path());
        let name = name.to_string_lossy();
        if entry.file_type()?.is_dir() {
            // `.ci` is ours; `.git` and editors' folders are not.
            if !NOT_OURS.contains(&&*name) && (!name.starts_with('.') || name == ".ci") {
                collect(&path, paths)?;
            }
        } else if [".rs", ".md", ".toml"].iter().any(|ending| name.ends_with(ending)) || path.ends_with(".ci/run") {
            paths.push(path);
        }
    }
    Ok(())
}

fn packages(metadata: &Metadata, root: &Path) -> Vec<Package> {
    let ours = metadata.workspace_packages();
    let mut packages: Vec<Package> = ours
        .iter()
        .map(|package| {
            let of_kind = |wanted: &[TargetKind]| {
                let is_wanted = |kind: &TargetKind| wanted.contains(kind);
                package.targets.iter().filter(|target| target.kind.iter().any(is_wanted)).collect::<Vec<_>>()
            };
            let roots = |wanted: &[TargetKind]| -> Vec<String> {
                of_kind(wanted).iter().map(|target| relative(target.src_path.as_std_path(), root)).collect()
            };
            Package {
                name: package.name.to_string(),
                description: package.description.clone().unwrap_or_default(),
                uses: package
                    .dependencies
                    .iter()
                    .filter(|dependency| ours.iter().any(|other| *other.name == dependency.name))
                    .map(|dependency| Use {
                        name: dependency.name.clone(),
                        only_in_tests: dependency.kind == DependencyKind::Development,
                    })
                    .collect(),
                roots: roots(&[TargetKind::Lib, TargetKind::Bin]),
                examples: roots(&[TargetKind::Example]),
            }
        })
        .collect();
    packages.sort_by(|a, b| a.name.cmp(&b.name));
    packages
}

fn relative(path: &Path, root: &Path) -> String {
    path.strip_prefix(root).unwrap_or(path).to_string_lossy().replace('\\', "/")
}

#[cfg(test)]
pub(crate) mod by_hand {
    //! Small repositories for the rules' tests.

    use super::{File, Package, Repository, Use};

    /// A repository of these files.
    pub(crate) fn files(files: &[(&str, &str)]) -> Repository {
        let file = |&(path, text): &(&str, &str)| File { path: path.to_owned(), text: text.to_owned() };
        Repository { files: files.iter().map(file).collect(), ..Repository::default() }
    }

    /// A package that uses others; a name with a star is used in tests only.
    pub(crate) fn package(name: &str, uses: &[&str]) -> Package {
        let uses = uses
            .iter()
            .map(|name| Use { name: name.trim_end_matches('*').to_owned(), only_in_tests: name.ends_with('*') });
        Package { name: name.to_owned(), uses: uses.collect(), ..Package::default() }
    }
}
