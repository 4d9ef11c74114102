//! Git LFS pointers: what a clone leaves in the place of large files that it did not download
//! (github.com/git-lfs/git-lfs, docs/spec.md).

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// How every pointer begins.
const VERSION: &str = "version https://git-lfs.github.com/spec/";
/// Bytes that a pointer has at most, by the specification.
const LONGEST: u64 = 1024;

/// A pointer in the place of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LfsPointer {
    /// Bytes of the file that it stands for; 0 where the pointer does not say.
    pub size: u64,
}

impl LfsPointer {
    /// The pointer that a file's bytes are, if they are one.
    pub fn of(bytes: &[u8]) -> Option<Self> {
        if bytes.len() as u64 > LONGEST || !bytes.starts_with(VERSION.as_bytes()) {
            return None;
        }
        let text = String::from_utf8_lossy(bytes);
        let size = text.lines().find_map(|line| line.strip_prefix("size ")?.trim().parse().ok());
        Some(Self { size: size.unwrap_or(0) })
    }

    /// The pointer that a file holds, if it holds one. No more than a pointer's length is read.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn at(path: &Path) -> io::Result<Option<Self>> {
        let mut start = Vec::new();
        File::open(path)?.take(LONGEST + 1).read_to_end(&mut start)?;
        Ok(Self::of(&start))
    }

    /// The command that downloads what the pointers in the folder of `path` stand for.
    pub fn command(path: &Path) -> String {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        format!("git -C {} lfs pull", folder.display())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POINTER: &str = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 54832\n";

    #[test]
    fn a_pointer_says_how_large_its_file_is() {
        assert_eq!(LfsPointer::of(POINTER.as_bytes()), Some(LfsPointer { size: 54_832 }));
        let crlf = POINTER.replace('\n', "\r\n");
        assert_eq!(LfsPointer::of(crlf.as_bytes()), Some(LfsPointer { size: 54_832 }));
        assert_eq!(LfsPointer::of(&POINTER.as_bytes()[..60]), Some(LfsPointer { size: 0 }));
    }

    #[test]
    fn other_files_are_none() {
        for text in ["", "{}", "version 1\n", "a text about version https://git-lfs.github.com/spec/v1\n"] {
            assert_eq!(LfsPointer::of(text.as_bytes()), None, "{text}");
        }
        // A document that begins like one and goes on is a document.
        assert_eq!(LfsPointer::of([POINTER, &"word ".repeat(300)].concat().as_bytes()), None);
    }

    #[test]
    fn a_file_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.safetensors");
        std::fs::write(&path, POINTER).unwrap();
        assert_eq!(LfsPointer::at(&path).unwrap(), Some(LfsPointer { size: 54_832 }));
        assert_eq!(LfsPointer::command(&path), format!("git -C {} lfs pull", folder.path().display()));
        assert_eq!(LfsPointer::command(Path::new("a.txt")), "git -C . lfs pull");
        assert!(LfsPointer::at(&folder.path().join("absent")).is_err());
    }
}
