//! Files of samples, read within bounds.

use crate::CodecError;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// The most bytes of a file that is read: more than the largest picture takes in RGBA of 8 bits, and the longest sound in
/// 32 bits.
pub(crate) const MOST_FILE_BYTES: u64 = 1 << 28;

/// The bytes of a file, unless there are more than any samples take.
///
/// # Errors
/// When the file cannot be read or is too large.
pub fn read_file(path: &Path) -> Result<Vec<u8>, CodecError> {
    let failed = |source| CodecError::io("read", path, source);
    let file = File::open(path).map_err(failed)?;
    let length = file.metadata().map_err(failed)?.len();
    let mut bytes = Vec::new();
    // What has no length, such as a pipe, is bounded where it is read.
    if length <= MOST_FILE_BYTES {
        file.take(MOST_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
    }
    match length.max(bytes.len() as u64) > MOST_FILE_BYTES {
        true => Err(CodecError::LargeFile { path: path.to_path_buf(), most: MOST_FILE_BYTES }),
        false => Ok(bytes),
    }
}
