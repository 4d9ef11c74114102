//! What data is, in 64 bits, by its content and not by where it lies: XXH64.
//!
//! Dates, names and places of files do not count: a copied, moved or freshly cloned file is the same file.
//! Reference: <https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md>

use std::fs::File;
use std::hash::Hasher;
use std::io::{self, Read};
use std::path::Path;
use twox_hash::XxHash64;

/// Bytes of a file that are read at a time.
const BUFFER: usize = 1 << 20;

/// A hash over parts, each with its length, so that no two lists of parts look alike.
#[derive(Debug, Default)]
pub struct Fingerprint(XxHash64);

impl Fingerprint {
    /// A whole part.
    pub fn part(&mut self, bytes: &[u8]) {
        self.0.write(bytes);
        self.end(bytes.len() as u64);
    }

    /// The bytes of a file as a part, read a piece at a time. `progress` receives the bytes so far and returns whether
    /// to go on. Returns whether the file was read to its end.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn file(&mut self, path: &Path, progress: &mut dyn FnMut(u64) -> bool) -> io::Result<bool> {
        let mut file = File::open(path)?;
        let (mut buffer, mut length) = (vec![0; BUFFER], 0);
        while progress(length) {
            let count = file.read(&mut buffer)?;
            if count == 0 {
                self.end(length);
                return Ok(true);
            }
            self.0.write(&buffer[..count]);
            length += count as u64;
        }
        Ok(false)
    }

    /// The hash of all parts.
    pub fn finish(&self) -> u64 {
        self.0.finish()
    }

    fn end(&mut self, length: u64) {
        self.0.write(&length.to_le_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(parts: &[&str]) -> u64 {
        let mut fingerprint = Fingerprint::default();
        parts.iter().for_each(|part| fingerprint.part(part.as_bytes()));
        fingerprint.finish()
    }

    #[test]
    fn known_answers_of_the_hash() {
        // From the reference implementation's `xxhsum -H1`.
        for (text, expected) in
            [("", 0xEF46_DB37_51D8_E999), ("a", 0xD24E_C4F1_A98C_6E5B), ("foobar", 0xA2AA_05ED_9085_AAF9)]
        {
            let mut fingerprint = Fingerprint::default();
            fingerprint.0.write(text.as_bytes());
            assert_eq!(fingerprint.finish(), expected, "{text}");
        }
    }

    #[test]
    fn parts_do_not_run_into_each_other() {
        assert_ne!(of(&["ab", "c"]), of(&["a", "bc"]));
        assert_ne!(of(&["ab", ""]), of(&["ab"]));
    }

    #[test]
    fn a_file_is_a_part_unless_it_is_stopped() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("text");
        let text = "a tale. ".repeat(BUFFER / 4);
        std::fs::write(&path, &text).unwrap();
        let (mut fingerprint, mut reported) = (Fingerprint::default(), Vec::new());
        let mut go_on = |bytes| {
            reported.push(bytes);
            true
        };
        assert!(fingerprint.file(&path, &mut go_on).unwrap());
        assert_eq!(fingerprint.finish(), of(&[&text]));
        assert_eq!(reported.last(), Some(&(text.len() as u64)));
        assert!(!Fingerprint::default().file(&path, &mut |bytes| bytes == 0).unwrap());
        assert!(Fingerprint::default().file(&folder.path().join("absent"), &mut |_| true).is_err());
    }
}
