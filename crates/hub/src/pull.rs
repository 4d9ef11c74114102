//! A model from the Hub into the cache. All its files are there before anything leads to them: an interrupted download
//! leaves the commit that was there before.

use crate::download::FileEvent;
use crate::listing::{Listing, RemoteFile};
use crate::needed::{CONFIG, INDEX};
use crate::{Hub, HubError, ModelName};
use aquatint_files::{available_space, write_atomically};
use std::fs;
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Room that a disk keeps beside a download: directories, links, and what others write meanwhile.
const SPARE: u64 = 16 << 20;

/// What happens while a model is downloaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PullEvent<'a> {
    /// All files are known.
    Planned {
        /// The commit that the revision leads to.
        commit: &'a str,
        /// How many files are needed.
        files: usize,
        /// Bytes of all of them.
        bytes: u64,
        /// Bytes of them that were there before.
        present: u64,
    },
    /// What describes the model is there, and its weights come next: the moment to stop if nothing can read it.
    Described {
        /// Where its `config.json` lies.
        config: &'a Path,
    },
    /// Another process downloads the same file; its end is awaited.
    Waiting {
        /// The file.
        file: &'a str,
    },
    /// More bytes of a file are there.
    Progress {
        /// The file.
        file: &'a str,
        /// Bytes of it that are there.
        done: u64,
        /// Bytes of all files that are there.
        total_done: u64,
    },
    /// A connection failed; it is tried again.
    Retrying {
        /// The file.
        file: &'a str,
        /// What went wrong.
        reason: &'a str,
        /// Time until the next attempt.
        pause: Duration,
    },
}

/// A model that is in the cache now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pulled {
    /// The folder of its files.
    pub folder: PathBuf,
    /// Its commit.
    pub commit: String,
    /// How many files it has here.
    pub files: usize,
    /// Bytes of all of them.
    pub bytes: u64,
    /// Bytes that were downloaded.
    pub downloaded: u64,
}

impl Hub {
    /// Downloads what a model needs and the cache does not have yet. `events` hears what happens; where it breaks, the
    /// download stops and what is there is kept.
    ///
    /// # Errors
    /// When the Hub has no such model, or does not give it out; it has no safetensors; the disk has no room; the
    /// connection fails for good; or what comes is not what the Hub has.
    pub fn pull(
        &self,
        name: &ModelName,
        events: &mut dyn FnMut(PullEvent<'_>) -> ControlFlow<()>,
    ) -> Result<Pulled, HubError> {
        if self.settings.offline {
            return Err(HubError::Offline { name: name.clone() });
        }
        let listing = self.listing(name)?;
        let descriptions = listing.descriptions();
        // The index says which weights there are, so it comes before them, and with it what is small.
        self.require_room(name, &descriptions)?;
        let index = match descriptions.iter().find(|file| file.path == INDEX) {
            Some(file) => {
                self.fetch((name, &listing.commit), file, &mut |_| ControlFlow::Continue(()))?;
                let path = self.blob(name, file);
                Some(fs::read(&path).map_err(|error| HubError::io("read", &path, error))?)
            }
            None => None,
        };
        let weights = listing.weights(name, index.as_deref())?;
        let files = [descriptions.as_slice(), &weights].concat();
        self.require_room(name, &files)?;
        let bytes = files.iter().map(|file| file.size).sum();
        let present = files.iter().map(|file| self.present(name, file)).sum();
        let plan = PullEvent::Planned { commit: &listing.commit, files: files.len(), bytes, present };
        if events(plan).is_break() {
            return Err(HubError::Interrupted { name: name.clone() });
        }
        let commit = (name, listing.commit.as_str());
        let described = self.fetch_all(commit, (&descriptions, 0), events)?;
        if let Some(config) = descriptions.iter().find(|file| file.path == CONFIG) {
            let config = self.blob(name, config);
            if events(PullEvent::Described { config: &config }).is_break() {
                return Err(HubError::Interrupted { name: name.clone() });
            }
        }
        self.fetch_all(commit, (&weights, described), events)?;
        let folder = self.publish(name, &listing, &files)?;
        let commit = listing.commit.clone();
        Ok(Pulled { folder, commit, files: files.len(), bytes, downloaded: bytes - present })
    }

    /// Brings files of a commit into the cache, behind others of so many bytes, and returns the bytes of all of them.
    fn fetch_all(
        &self,
        commit: (&ModelName, &str),
        (files, mut before): (&[&RemoteFile], u64),
        events: &mut dyn FnMut(PullEvent<'_>) -> ControlFlow<()>,
    ) -> Result<u64, HubError> {
        for file in files {
            let path = file.path.as_str();
            self.fetch(commit, file, &mut |event| {
                events(match event {
                    FileEvent::Waiting => PullEvent::Waiting { file: path },
                    FileEvent::Progress(done) => PullEvent::Progress { file: path, done, total_done: before + done },
                    FileEvent::Retrying { reason, pause } => PullEvent::Retrying { file: path, reason, pause },
                })
            })?;
            before += file.size;
        }
        Ok(before)
    }

    /// Lets the names of a commit's files, and the revision, lead to what is there, and returns the folder.
    fn publish(&self, name: &ModelName, listing: &Listing, files: &[&RemoteFile]) -> Result<PathBuf, HubError> {
        let folder = self.snapshot_folder(name, &listing.commit);
        for file in files {
            self.link(name, file, &folder)?;
        }
        if !name.is_commit() {
            let path = self.repository_folder(name).join("refs").join(name.revision());
            write_atomically(&path, |out| out.write_all(listing.commit.as_bytes()))
                .map_err(|error| HubError::io("write", &path, error))?;
        }
        Ok(folder)
    }

    /// Insists on room for what is not there yet.
    fn require_room(&self, name: &ModelName, files: &[&RemoteFile]) -> Result<(), HubError> {
        let missing: u64 = files.iter().map(|file| file.size - self.present(name, file)).sum();
        let folder = self.settings.cache.clone();
        match available_space(&folder) {
            Some(available) if missing > 0 && available < missing.saturating_add(SPARE) => {
                Err(HubError::Space { name: name.clone(), needed: missing, available, folder })
            }
            _ => Ok(()),
        }
    }

    /// Lets a name in a snapshot lead to its blob.
    fn link(&self, name: &ModelName, file: &RemoteFile, snapshot: &Path) -> Result<(), HubError> {
        let path = snapshot.join(&file.path);
        let blob = self.blob(name, file);
        if fs::canonicalize(&path).is_ok_and(|there| fs::canonicalize(&blob).is_ok_and(|blob| there == blob)) {
            return Ok(());
        }
        let absent = |result: io::Result<()>| match result {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        };
        // A commit has one content under a name: what leads elsewhere is a broken link, or half of a file.
        fs::create_dir_all(snapshot)
            .and_then(|()| absent(fs::remove_file(&path)))
            .and_then(|()| lead(&blob, file.checksum.text(), &path))
            .map_err(|error| HubError::io("write", &path, error))
    }
}

/// A relative link, so that the cache can be moved: a file lies at the top of its snapshot.
#[cfg(unix)]
fn lead(_: &Path, hash: &str, path: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(Path::new("../../blobs").join(hash), path)
}

/// Links need a privilege here; a second name for the same bytes does not.
#[cfg(not(unix))]
fn lead(blob: &Path, _: &str, path: &Path) -> io::Result<()> {
    fs::hard_link(blob, path).or_else(|_| fs::copy(blob, path).map(drop))
}
