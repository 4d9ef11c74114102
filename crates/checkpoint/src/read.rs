//! Reading a file of a checkpoint folder whole.

use crate::CheckpointError;
use aquatint_files::LfsPointer;
use std::path::Path;

/// The bytes of a file that is in the folder itself, and not only as a Git LFS pointer.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, CheckpointError> {
    let bytes = std::fs::read(path).map_err(|error| CheckpointError::io("read", path, error))?;
    match LfsPointer::of(&bytes) {
        Some(LfsPointer { size }) => Err(CheckpointError::LfsPointer { path: path.to_path_buf(), size }),
        None => Ok(bytes),
    }
}

/// The same of a file that a folder need not have.
pub(crate) fn read_optional(path: &Path) -> Result<Option<Vec<u8>>, CheckpointError> {
    match read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(CheckpointError::MissingFile { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}
