//! A source with what its files hold at this moment.

use crate::{Conversations, CorpusError, Passages, Preferences, Source, SourceFiles, UnreadFile};
use aquatint_files::Fingerprint;
use std::path::PathBuf;

/// Changes when files are read otherwise than before, so that what was made of them before is another thing.
const READING: u32 = 1;

/// A source, its files and the fingerprints of their bytes.
#[derive(Debug, Clone)]
pub struct SourceSnapshot {
    source: Source,
    found: SourceFiles,
    fingerprints: Vec<u64>,
    content: u64,
    fingerprint: u64,
}

impl Source {
    /// Finds the files of this source and reads their bytes once, for their fingerprints. `progress` receives the bytes
    /// so far and returns whether to go on.
    ///
    /// # Errors
    /// As [`Source::files`], when a file cannot be read, and [`CorpusError::Stopped`].
    pub fn snapshot(&self, progress: &mut dyn FnMut(u64) -> bool) -> Result<SourceSnapshot, CorpusError> {
        let found = self.files()?;
        let (mut bytes, mut fingerprints) = (0, Vec::with_capacity(found.files.len()));
        for path in &found.files {
            let (mut file, before) = (Fingerprint::default(), bytes);
            let mut progress = |read| {
                bytes = before + read;
                progress(bytes)
            };
            if !file.file(path, &mut progress).map_err(CorpusError::io("read", path))? {
                return Err(CorpusError::Stopped);
            }
            fingerprints.push(file.finish());
        }
        let mut whole = Fingerprint::default();
        whole.part(&READING.to_le_bytes());
        whole.part(self.field.as_bytes());
        whole.part(self.separator.as_bytes());
        whole.part(self.encoding.map(|encoding| encoding.to_string()).unwrap_or_default().as_bytes());
        whole.part(&(self.filter.len() as u64).to_le_bytes());
        for (key, value) in &self.filter {
            whole.part(key.as_bytes());
            whole.part(value.as_bytes());
        }
        let mut content = Fingerprint::default();
        content.part(&READING.to_le_bytes());
        for (path, fingerprint) in found.files.iter().zip(&fingerprints) {
            let format = self.format_of(path)?.to_string();
            for hash in [&mut whole, &mut content] {
                hash.part(format.as_bytes());
                hash.part(&fingerprint.to_le_bytes());
            }
        }
        let (content, fingerprint) = (content.finish(), whole.finish());
        Ok(SourceSnapshot { source: self.clone(), found, fingerprints, content, fingerprint })
    }
}

impl SourceSnapshot {
    /// The source.
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// The files that are read, in order.
    pub fn files(&self) -> &[PathBuf] {
        &self.found.files
    }

    /// The files that are not read, by path.
    pub fn unread(&self) -> &[UnreadFile] {
        &self.found.unread
    }

    /// What the source is: equal for files of the same bytes in the same order that are read in the same way, wherever
    /// they lie and whatever they are called. How often the source is repeated does not count.
    pub fn fingerprint(&self) -> u64 {
        self.fingerprint
    }

    /// What the files are, whatever keys the source has: equal for files of the same bytes and formats in the same order.
    /// The format of a file may follow from its name.
    pub fn content(&self) -> u64 {
        self.content
    }

    /// What each file is, in the order of [`SourceSnapshot::files`]: equal for equal bytes.
    pub fn file_fingerprints(&self) -> &[u64] {
        &self.fingerprints
    }

    /// The conversations, streamed.
    pub fn conversations(&self) -> Conversations<'_> {
        Conversations::new(&self.source, self.found.files.clone())
    }

    /// The preferences, streamed.
    pub fn preferences(&self) -> Preferences<'_> {
        Preferences::new(&self.source, self.found.files.clone())
    }

    /// The documents, streamed.
    pub fn passages(&self) -> Passages<'_> {
        Passages::new(&self.source, self.found.files.clone())
    }
}
