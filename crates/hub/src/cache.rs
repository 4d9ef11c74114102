//! The cache that the tools of the Hub share: `models--OWNER--NAME/` with `blobs/HASH`, `snapshots/COMMIT/FILE`, links to
//! blobs, and `refs/REVISION`, which holds a commit.
//!
//! Reference: <https://huggingface.co/docs/huggingface_hub/guides/manage-cache>

use crate::name::is_commit;
use crate::needed::CONFIG;
use crate::{Hub, HubError, ModelName};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// A model in the cache in one of its commits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CachedModel {
    /// What it is called: by a branch or tag that leads to it, or by its commit.
    pub name: ModelName,
    /// Its commit.
    pub commit: String,
    /// The folder of its files.
    pub folder: PathBuf,
    /// Bytes of its files.
    pub bytes: u64,
}

/// What was removed from the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Removed {
    /// How many commits of the model.
    pub commits: usize,
    /// Bytes that are free now.
    pub bytes: u64,
}

impl Hub {
    /// The folder of a model in the cache, which is not asked about over the network.
    ///
    /// # Errors
    /// When it is not there in this revision.
    pub fn snapshot(&self, name: &ModelName) -> Result<PathBuf, HubError> {
        let found = self.commit_of(name).map(|commit| self.snapshot_folder(name, &commit));
        match found.filter(|folder| folder.join(CONFIG).is_file()) {
            Some(folder) => Ok(folder),
            None => Err(HubError::NotCached {
                name: name.clone(),
                cache: self.settings.cache.clone(),
                revisions: self.revisions(&self.repository_folder(name)).into_keys().collect(),
            }),
        }
    }

    /// The models in the cache, by name. A repository without a `config.json` is none.
    ///
    /// # Errors
    /// When the cache cannot be read; one that is not there is empty.
    pub fn list(&self) -> Result<Vec<CachedModel>, HubError> {
        let mut models = Vec::new();
        for folder in folders_in(&self.settings.cache)? {
            let Some(repository) = repository_of(&folder) else { continue };
            let revisions = self.revisions(&folder);
            for snapshot in folders_in(&folder.join("snapshots"))? {
                let Some(commit) = file_name(&snapshot).filter(|commit| is_commit(commit)) else { continue };
                if !snapshot.join(CONFIG).is_file() {
                    continue;
                }
                let commit = commit.to_owned();
                let mut leading = revisions.iter().filter(|(_, there)| **there == commit).map(|(revision, _)| revision);
                let main = revisions.get("main") == Some(&commit);
                let name = if main { repository.parse().ok() } else { None };
                let name = name
                    .or_else(|| leading.find_map(|revision| ModelName::at(&repository, revision)))
                    .or_else(|| ModelName::at(&repository, &commit));
                let Some(name) = name else { continue };
                let bytes = blobs_of(&snapshot).values().sum();
                models.push(CachedModel { name, commit, folder: snapshot, bytes });
            }
        }
        models.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(models)
    }

    /// Removes a model from the cache: the named revision with the blobs that no other one has, or all of it where none is
    /// named.
    ///
    /// # Errors
    /// When it is not there, or cannot be removed.
    pub fn remove(&self, name: &ModelName) -> Result<Removed, HubError> {
        let folder = self.repository_folder(name);
        let absent = || HubError::NotCached {
            name: name.clone(),
            cache: self.settings.cache.clone(),
            revisions: self.revisions(&folder).into_keys().collect(),
        };
        let remove = |path: &Path, result: io::Result<()>| match result {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(HubError::io("remove", path, error)),
            _ => Ok(()),
        };
        let locks = self.locks(name);
        if name.named_revision().is_none() {
            if !folder.is_dir() {
                return Err(absent());
            }
            let blobs = folder.join("blobs");
            let bytes = files_in(&blobs).iter().map(|(_, bytes)| bytes).sum();
            let commits = folders_in(&folder.join("snapshots"))?.len();
            remove(&folder, fs::remove_dir_all(&folder))?;
            remove(&locks, fs::remove_dir_all(&locks))?;
            return Ok(Removed { commits, bytes });
        }
        let commit = self.commit_of(name).ok_or_else(absent)?;
        let snapshot = self.snapshot_folder(name, &commit);
        let mut blobs = blobs_of(&snapshot);
        for other in folders_in(&folder.join("snapshots"))?.iter().filter(|other| **other != snapshot) {
            for blob in blobs_of(other).keys() {
                blobs.remove(blob);
            }
        }
        // A link may lead anywhere; only blobs of this repository are its own.
        let own = fs::canonicalize(folder.join("blobs")).ok();
        blobs.retain(|blob, _| blob.parent() == own.as_deref());
        // What leads to the snapshot goes first, so that no name leads to half of one.
        for (revision, _) in self.revisions(&folder).iter().filter(|(_, there)| **there == commit) {
            let path = folder.join("refs").join(revision);
            remove(&path, fs::remove_file(&path))?;
        }
        let there = snapshot.is_dir();
        remove(&snapshot, fs::remove_dir_all(&snapshot))?;
        for blob in blobs.keys() {
            remove(blob, fs::remove_file(blob))?;
        }
        Ok(Removed { commits: usize::from(there), bytes: blobs.values().sum() })
    }

    /// The commit that a revision leads to in the cache.
    fn commit_of(&self, name: &ModelName) -> Option<String> {
        if name.is_commit() {
            return Some(name.revision().to_owned());
        }
        let path = self.repository_folder(name).join("refs").join(name.revision());
        fs::read_to_string(path).ok().map(|text| text.trim().to_owned()).filter(|commit| is_commit(commit))
    }

    /// The commits that branches and tags lead to.
    fn revisions(&self, repository: &Path) -> BTreeMap<String, String> {
        let refs = repository.join("refs");
        let mut found = BTreeMap::new();
        let mut folders = vec![refs.clone()];
        while let Some(folder) = folders.pop() {
            for path in fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()) {
                if path.is_dir() {
                    folders.push(path);
                } else if let Ok(text) = fs::read_to_string(&path)
                    && let Some(revision) = path.strip_prefix(&refs).ok().and_then(Path::to_str)
                {
                    found.insert(revision.replace('\\', "/"), text.trim().to_owned());
                }
            }
        }
        found
    }

    /// The folder of a repository.
    pub(crate) fn repository_folder(&self, name: &ModelName) -> PathBuf {
        self.settings.cache.join(name.repo().folder_name())
    }

    /// The folder of a commit's files.
    pub(crate) fn snapshot_folder(&self, name: &ModelName, commit: &str) -> PathBuf {
        self.cache.repo(name.repo()).pointer_path(commit)
    }

    /// The folder of a repository's locks.
    pub(crate) fn locks(&self, name: &ModelName) -> PathBuf {
        self.settings.cache.join(".locks").join(name.repo().folder_name())
    }
}

/// `owner/name` of `models--owner--name`.
fn repository_of(folder: &Path) -> Option<String> {
    let (owner, name) = file_name(folder)?.strip_prefix("models--")?.split_once("--")?;
    Some(format!("{owner}/{name}"))
}

fn file_name(path: &Path) -> Option<&str> {
    path.file_name()?.to_str()
}

/// The blobs that a snapshot links to, with their sizes. Where there are no links the files stand for themselves.
fn blobs_of(snapshot: &Path) -> BTreeMap<PathBuf, u64> {
    let mut blobs = BTreeMap::new();
    let mut folders = BTreeSet::from([snapshot.to_path_buf()]);
    while let Some(folder) = folders.pop_first() {
        for (path, bytes) in files_in(&folder) {
            blobs.insert(fs::canonicalize(&path).unwrap_or(path), bytes);
        }
        let inner = fs::read_dir(&folder).into_iter().flatten().flatten();
        folders
            .extend(inner.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|entry| entry.path()));
    }
    blobs
}

/// The files in a folder, or behind links in it, with their sizes; none where it cannot be read.
fn files_in(folder: &Path) -> Vec<(PathBuf, u64)> {
    let paths = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let sized = paths.filter_map(|path| {
        let about = fs::metadata(&path).ok().filter(fs::Metadata::is_file)?;
        Some((path, about.len()))
    });
    sized.collect()
}

/// The folders in a folder, by name; none where it does not exist.
fn folders_in(folder: &Path) -> Result<Vec<PathBuf>, HubError> {
    match fs::read_dir(folder) {
        Ok(entries) => {
            let mut folders: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
            folders.retain(|path| path.is_dir());
            folders.sort();
            Ok(folders)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(HubError::io("read", folder, error)),
    }
}
