//! Read-only memory maps: a file's bytes, paged in by the operating system as they are touched.

use std::fs::File;
use std::io;
use std::ops::Deref;
use std::path::Path;

/// The bytes of a file, mapped and not read.
#[derive(Debug)]
pub struct MappedFile {
    map: memmap2::Mmap,
    file: File,
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
        Ok(Self { map, file })
    }

    /// Fills a buffer with the bytes from `start` on, past the map: pages that are touched in a map count as memory of this
    /// process, and what is read once only is better not there.
    ///
    /// # Errors
    /// When the file cannot be read, or ends before.
    pub fn read_at(&self, start: usize, buffer: &mut [u8]) -> io::Result<()> {
        #[cfg(unix)]
        return std::os::unix::fs::FileExt::read_exact_at(&self.file, buffer, start as u64);
        #[cfg(not(unix))]
        {
            let end = start.checked_add(buffer.len());
            let bytes = end.and_then(|end| self.map.get(start..end)).ok_or(io::ErrorKind::UnexpectedEof)?;
            buffer.copy_from_slice(bytes);
            Ok(())
        }
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
    fn what_is_read_past_the_map_is_what_is_in_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        crate::write_atomically(&path, |out| out.write_all(b"0123456789")).unwrap();
        let mapped = MappedFile::open(&path).unwrap();
        let mut buffer = [0; 4];
        mapped.read_at(3, &mut buffer).unwrap();
        assert_eq!(&buffer, &mapped[3..7]);
        assert_eq!(mapped.read_at(8, &mut buffer).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn a_missing_file_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(MappedFile::open(&folder.path().join("none")).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
