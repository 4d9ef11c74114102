//! Read-only memory maps: a file's bytes, paged in by the operating system as they are touched.

use std::fs::File;
use std::io;
use std::ops::Deref;
use std::path::Path;

/// The bytes of a file, mapped and not read.
#[derive(Debug)]
pub struct MappedFile {
    map: memmap2::Mmap,
}

impl MappedFile {
    /// Maps the file at `path`.
    ///
    /// # Errors
    /// The file cannot be opened or mapped.
    #[expect(unsafe_code, reason = "a map has no safe constructor: another process could change the file")]
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        // SAFETY: every file mapped here was written by `write_atomically`, which replaces a file by rename and never
        // changes one in place, so the mapped inode keeps its bytes and its length for as long as the map lives. The
        // map is read-only and exposes plain bytes, for which every value is valid.
        let map = unsafe { memmap2::Mmap::map(&file)? };
        Ok(Self { map })
    }
}

impl Deref for MappedFile {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.map
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_map_outlives_a_replacement() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        crate::write_atomically(&path, |out| out.write_all(b"first")).unwrap();
        let mapped = MappedFile::open(&path).unwrap();
        crate::write_atomically(&path, |out| out.write_all(b"second, longer")).unwrap();
        assert_eq!(&*mapped, b"first");
        assert_eq!(&*MappedFile::open(&path).unwrap(), b"second, longer");
    }

    #[test]
    fn a_missing_file_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(MappedFile::open(&folder.path().join("none")).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
