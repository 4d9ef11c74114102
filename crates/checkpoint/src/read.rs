//! Reading a file of a checkpoint folder whole.

use crate::CheckpointError;
use aquatint_files::LfsPointer;
use aquatint_vocabulary::Vocabulary;
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

/// The vocabulary of a `tokenizer.json` that need not lie beside a model.
///
/// # Errors
/// When the file, or one beside it that names roles, is only there as a Git LFS pointer, and as [`Vocabulary::from_file`].
pub fn open_vocabulary(path: &Path) -> Result<Vocabulary, CheckpointError> {
    for path in std::iter::once(path.to_path_buf()).chain(Vocabulary::ROLE_FILES.map(|name| path.with_file_name(name)))
    {
        // Of a file that cannot be read the vocabulary says more.
        if let Ok(Some(LfsPointer { size })) = LfsPointer::at(&path) {
            return Err(CheckpointError::LfsPointer { path, size });
        }
    }
    Ok(Vocabulary::from_file(path)?)
}
