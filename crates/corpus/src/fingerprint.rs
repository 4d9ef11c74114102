//! What a shard was packed from, in 64 bits: FNV-1a over the vocabulary, the way of reading and the files' bytes.
//!
//! File dates do not count: a copied or freshly cloned corpus is the same corpus.

use crate::{CorpusError, Source};
use aquatint_vocabulary::Vocabulary;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// FNV-1a with 64 bits (Fowler, Noll, Vo): xor a byte, multiply by the prime.
pub(crate) struct Fingerprint(u64);

impl Fingerprint {
    pub(crate) fn new() -> Self {
        Self(0xCBF2_9CE4_8422_2325)
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.0 =
            bytes.iter().fold(self.0, |state, &byte| (state ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3));
    }

    /// A part with its length, so that no two lists of parts look alike.
    pub(crate) fn part(&mut self, bytes: &[u8]) {
        self.bytes(&(bytes.len() as u64).to_le_bytes());
        self.bytes(bytes);
    }

    fn file(&mut self, path: &Path) -> Result<(), CorpusError> {
        let read = || CorpusError::io("read", path);
        let mut file = File::open(path).map_err(read())?;
        let mut buffer = vec![0; 1 << 20];
        let mut length = 0u64;
        loop {
            let count = file.read(&mut buffer).map_err(read())?;
            if count == 0 {
                break;
            }
            self.bytes(&buffer[..count]);
            length += count as u64;
        }
        self.bytes(&length.to_le_bytes());
        Ok(())
    }

    pub(crate) fn finish(self) -> u64 {
        self.0
    }
}

/// The fingerprint of a source as `vocabulary` would pack it into a shard of `version`.
pub(crate) fn of_source(source: &Source, vocabulary: &Vocabulary, version: u32) -> Result<u64, CorpusError> {
    let mut fingerprint = Fingerprint::new();
    fingerprint.part(&version.to_le_bytes());
    fingerprint.part(&vocabulary.to_json()?);
    fingerprint.part(source.field.as_bytes());
    for (key, value) in &source.filter {
        fingerprint.part(key.as_bytes());
        fingerprint.part(value.as_bytes());
    }
    for path in source.files()? {
        // Only the name inside the source counts, so that a corpus can move.
        let name = path.strip_prefix(&source.path).unwrap_or(&path);
        fingerprint.part(name.to_string_lossy().as_bytes());
        fingerprint.file(&path)?;
    }
    Ok(fingerprint.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_answers_of_the_hash() {
        let hash = |text: &str| {
            let mut fingerprint = Fingerprint::new();
            fingerprint.bytes(text.as_bytes());
            fingerprint.finish()
        };
        assert_eq!(hash(""), 0xCBF2_9CE4_8422_2325);
        assert_eq!(hash("a"), 0xAF63_DC4C_8601_EC8C);
        assert_eq!(hash("foobar"), 0x8594_4171_F739_67E8);
    }
}
