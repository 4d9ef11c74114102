//! What a file has to hash to. The Hub names its blobs by it: large files (Git LFS) by the SHA-256 of their bytes, others
//! by the SHA-1 that git gives them, over `blob LENGTH`, a zero byte and the bytes.

use sha1::Sha1;
use sha2::{Digest, Sha256};
use std::fmt::{self, Write};

/// The hash by which the Hub names a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Checksum {
    Sha256(String),
    GitBlob(String),
}

/// A hash over bytes as they come.
pub(crate) enum Hasher {
    Sha256(Sha256),
    GitBlob(Sha1),
}

impl Checksum {
    /// The SHA-256 that is written so; `None` where it is not written in 64 small hexadecimal digits.
    pub(crate) fn sha256(text: &str) -> Option<Self> {
        is_hexadecimal(text, 64).then(|| Self::Sha256(text.to_owned()))
    }

    /// The git hash that is written so; `None` where it is not written in 40 small hexadecimal digits.
    pub(crate) fn git_blob(text: &str) -> Option<Self> {
        is_hexadecimal(text, 40).then(|| Self::GitBlob(text.to_owned()))
    }

    /// A hash over a file of so many bytes, none of them read yet.
    pub(crate) fn hasher(&self, length: u64) -> Hasher {
        match self {
            Self::Sha256(_) => Hasher::Sha256(Sha256::new()),
            Self::GitBlob(_) => Hasher::GitBlob(Sha1::new().chain_update(format!("blob {length}\0"))),
        }
    }

    /// The name of the blob in the cache.
    pub(crate) fn text(&self) -> &str {
        match self {
            Self::Sha256(text) | Self::GitBlob(text) => text,
        }
    }
}

impl fmt::Display for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl Hasher {
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(hash) => hash.update(bytes),
            Self::GitBlob(hash) => hash.update(bytes),
        }
    }

    /// The hash in hexadecimal digits.
    pub(crate) fn finish(self) -> String {
        match self {
            Self::Sha256(hash) => hexadecimal(&hash.finalize()),
            Self::GitBlob(hash) => hexadecimal(&hash.finalize()),
        }
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // A string takes everything.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn is_hexadecimal(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(checksum: Checksum, bytes: &[u8]) -> String {
        let mut hasher = checksum.hasher(bytes.len() as u64);
        bytes.chunks(3).for_each(|chunk| hasher.update(chunk));
        hasher.finish()
    }

    #[test]
    fn hashes_are_those_of_git_and_of_sha256sum() {
        // `printf 'a tale\n' | git hash-object --stdin` and `printf 'a tale\n' | sha256sum`.
        let text = b"a tale\n";
        assert_eq!(hash(Checksum::GitBlob(String::new()), text), GIT);
        assert_eq!(hash(Checksum::Sha256(String::new()), text), SHA256);
    }

    const GIT: &str = "18e99f536bff1012a06b90aab5791c7ce7b49833";
    const SHA256: &str = "6f6853a0ea7ac8ce733b81189cd964fde0b6075b63b8e5da834bbdfd21431b78";

    #[test]
    fn only_whole_hashes_become_names_of_blobs() {
        assert!(Checksum::git_blob(GIT).is_some() && Checksum::sha256(SHA256).is_some());
        for text in ["", "../../../../etc/passwd", &GIT[1..], &GIT.to_uppercase()] {
            assert!(Checksum::git_blob(text).is_none() && Checksum::sha256(text).is_none(), "{text}");
        }
    }
}
