//! Where the two files of a codec are: in a folder, or inside the binary.

use crate::read::read;
use crate::weights::Weights;
use crate::{CheckpointError, builtin};
use aquatint_files::Fingerprint;
use std::borrow::Cow;
use std::path::{Path, PathBuf};

/// The files of a codec: `config.json`, which says what it is, and `model.safetensors`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CodecFiles {
    /// They lie in a folder.
    Folder(PathBuf),
    /// They are inside the binary.
    Builtin(&'static builtin::CodecInside),
}

impl CodecFiles {
    /// The files by their names.
    pub(crate) const NAMES: [&str; 2] = [Self::CONFIG, Self::WEIGHTS];
    const CONFIG: &str = "config.json";
    const WEIGHTS: &str = "model.safetensors";

    /// The folder, or what stands for it in messages.
    pub fn place(&self) -> PathBuf {
        match self {
            Self::Folder(folder) => folder.clone(),
            Self::Builtin(inside) => PathBuf::from(inside.place),
        }
    }

    /// The description, whole.
    ///
    /// # Errors
    /// When it is missing, or has more than `most` bytes.
    pub fn config(&self, most: u64) -> Result<Cow<'static, [u8]>, CheckpointError> {
        match self {
            Self::Folder(folder) => {
                let path = folder.join(Self::CONFIG);
                let size = std::fs::metadata(&path).map_err(|error| CheckpointError::io("read", &path, error))?.len();
                if size > most {
                    let source = std::io::Error::other(format!("it has more than {most} bytes"));
                    return Err(CheckpointError::io("read", &path, source));
                }
                self.read(Self::CONFIG)
            }
            Self::Builtin(_) => self.read(Self::CONFIG),
        }
    }

    /// The weights, read on demand.
    ///
    /// # Errors
    /// When they are missing or damaged.
    pub fn weights(&self) -> Result<Weights, CheckpointError> {
        match self {
            Self::Folder(folder) => Weights::open(folder),
            Self::Builtin(inside) => {
                Weights::embedded(&self.place().join(Self::WEIGHTS).display().to_string(), inside.weights)
            }
        }
    }

    /// A hash of both, the same wherever they lie.
    ///
    /// # Errors
    /// When one is missing or cannot be read.
    pub fn fingerprint(&self) -> Result<u64, CheckpointError> {
        let mut fingerprint = Fingerprint::default();
        for name in Self::NAMES {
            fingerprint.part(&self.read(name)?);
        }
        Ok(fingerprint.finish())
    }

    /// A file of them, whole.
    pub(crate) fn read(&self, name: &str) -> Result<Cow<'static, [u8]>, CheckpointError> {
        match self {
            Self::Folder(folder) => read(&folder.join(name)).map(Cow::Owned),
            Self::Builtin(inside) => {
                Ok(Cow::Borrowed(if name == Self::CONFIG { inside.config } else { inside.weights }))
            }
        }
    }
}

impl From<&Path> for CodecFiles {
    fn from(folder: &Path) -> Self {
        Self::Folder(folder.to_path_buf())
    }
}

impl From<&PathBuf> for CodecFiles {
    fn from(folder: &PathBuf) -> Self {
        Self::Folder(folder.clone())
    }
}

impl From<&CodecFiles> for CodecFiles {
    fn from(files: &CodecFiles) -> Self {
        files.clone()
    }
}
