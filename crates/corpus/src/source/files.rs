//! Which files a source has, and which of those that lie there are not read.

use super::format::Format;
use crate::CorpusError;
use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};

/// The files under a source's path.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SourceFiles {
    /// Those that are read, in the order in which they are read: by path, which makes it the same everywhere.
    pub files: Vec<PathBuf>,
    /// Those that are not read, by path. A folder stands for all that lies in it.
    pub unread: Vec<UnreadFile>,
}

/// A file or folder that is not read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnreadFile {
    /// The file or folder.
    pub path: PathBuf,
    /// Why it is not read.
    pub reason: UnreadReason,
}

impl fmt::Display for UnreadFile {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "`{}`: {}", self.path.display(), self.reason)
    }
}

/// Why a file is not read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UnreadReason {
    /// Its name does not say how it is read.
    UnknownEnding,
    /// An archive, or compressed in a way that is not read; by this ending.
    Packed(&'static str),
    /// Its name begins with a dot.
    Hidden,
    /// It has no bytes.
    Empty,
    /// A device, a socket, a pipe.
    NotAFile,
    /// A link to something that does not exist.
    DanglingLink,
    /// A link to, or within, what is read already.
    SameAs(PathBuf),
}

impl fmt::Display for UnreadReason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownEnding => formatter.write_str("its name does not say how to read it"),
            Self::Packed(ending) => write!(formatter, ".{ending} is not supported"),
            Self::Hidden => formatter.write_str("its name begins with a dot"),
            Self::Empty => formatter.write_str("it is empty"),
            Self::NotAFile => formatter.write_str("it is not a regular file"),
            Self::DanglingLink => formatter.write_str("it is a link to nothing"),
            Self::SameAs(path) => write!(formatter, "it is `{}`, which is read already", path.display()),
        }
    }
}

/// The files of a source at `path`: the file itself, or those in the folder at any depth.
pub(super) fn list(path: &Path, fallback: Option<Format>) -> Result<SourceFiles, CorpusError> {
    let about = std::fs::metadata(path).map_err(CorpusError::io("read", path))?;
    let refused = |reason| CorpusError::NotRead { path: path.to_path_buf(), reason };
    if about.is_file() {
        Format::of(path, fallback, false).map_err(refused)?;
        return Ok(SourceFiles { files: vec![path.to_path_buf()], unread: Vec::new() });
    }
    if !about.is_dir() {
        return Err(refused(UnreadReason::NotAFile));
    }
    let mut walk = Walk { fallback, found: SourceFiles::default(), claimed: HashMap::new(), links: Vec::new() };
    let canonical = path.canonicalize().map_err(CorpusError::io("read", path))?;
    walk.folder(Place { path: path.to_path_buf(), canonical })?;
    // Links come after everything that lies in the folder itself, so that what is reached in both ways has its own
    // path; the links inside linked folders come after those.
    while !walk.links.is_empty() {
        let mut links = std::mem::take(&mut walk.links);
        links.sort();
        for link in links {
            walk.link(link)?;
        }
    }
    let mut found = walk.found;
    found.files.sort();
    found.unread.sort_by(|one, other| one.path.cmp(&other.path));
    if found.files.is_empty() {
        return Err(CorpusError::EmptyFolder { path: path.to_path_buf(), unread: found.unread });
    }
    Ok(found)
}

/// A file or folder under the path by which it was reached and the one that it has without links.
struct Place {
    path: PathBuf,
    canonical: PathBuf,
}

struct Walk {
    fallback: Option<Format>,
    found: SourceFiles,
    /// What was reached so far: by its path without links, the path by which it was reached.
    claimed: HashMap<PathBuf, PathBuf>,
    /// Links that were found and not followed yet.
    links: Vec<PathBuf>,
}

impl Walk {
    fn folder(&mut self, folder: Place) -> Result<(), CorpusError> {
        let mut folders = Vec::new();
        folders.extend(self.claim(folder));
        while let Some(folder) = folders.pop() {
            let read = || CorpusError::io("read", &folder.path);
            for entry in std::fs::read_dir(&folder.path).map_err(read())? {
                let entry = entry.map_err(read())?;
                let path = entry.path();
                if entry.file_name().as_encoded_bytes().starts_with(b".") {
                    self.leave_out(path, UnreadReason::Hidden);
                    continue;
                }
                let kind = entry.file_type().map_err(CorpusError::io("read", &path))?;
                let place = Place { canonical: folder.canonical.join(entry.file_name()), path };
                if kind.is_symlink() {
                    self.links.push(place.path);
                } else if kind.is_dir() {
                    folders.extend(self.claim(place));
                } else if kind.is_file() {
                    self.file(place)?;
                } else {
                    self.leave_out(place.path, UnreadReason::NotAFile);
                }
            }
        }
        Ok(())
    }

    fn link(&mut self, path: PathBuf) -> Result<(), CorpusError> {
        // A link that leads in a circle by itself fails here as well.
        let (Ok(canonical), Ok(about)) = (path.canonicalize(), std::fs::metadata(&path)) else {
            self.leave_out(path, UnreadReason::DanglingLink);
            return Ok(());
        };
        let place = Place { path, canonical };
        if about.is_dir() {
            self.folder(place)
        } else if about.is_file() {
            self.file(place)
        } else {
            self.leave_out(place.path, UnreadReason::NotAFile);
            Ok(())
        }
    }

    fn file(&mut self, place: Place) -> Result<(), CorpusError> {
        if let Err(reason) = Format::of(&place.path, self.fallback, true) {
            self.leave_out(place.path, reason);
            return Ok(());
        }
        let about = std::fs::metadata(&place.path).map_err(CorpusError::io("read", &place.path))?;
        if about.len() == 0 {
            self.leave_out(place.path, UnreadReason::Empty);
        } else if let Some(place) = self.claim(place) {
            self.found.files.push(place.path);
        }
        Ok(())
    }

    /// Gives the place back where it was not reached before.
    fn claim(&mut self, place: Place) -> Option<Place> {
        if let Some(earlier) = self.claimed.get(&place.canonical).cloned() {
            self.leave_out(place.path, UnreadReason::SameAs(earlier));
            return None;
        }
        self.claimed.insert(place.canonical.clone(), place.path.clone());
        Some(place)
    }

    fn leave_out(&mut self, path: PathBuf, reason: UnreadReason) {
        self.found.unread.push(UnreadFile { path, reason });
    }
}
