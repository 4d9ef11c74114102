//! A source with what its files hold at this moment.

use crate::fingerprint::Fingerprint;
use crate::{CorpusError, Passages, Source, SourceFiles, UnreadFile};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Read at a time.
const BUFFER: usize = 1 << 20;
/// Changes when files are read otherwise than before, so that what was made of them before is another thing.
const READING: u32 = 1;

/// A source, its files and the fingerprints of their bytes.
#[derive(Debug, Clone)]
pub struct SourceSnapshot {
    source: Source,
    found: SourceFiles,
    fingerprints: Vec<u64>,
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
            fingerprints.push(of_file(path, &mut bytes, progress)?);
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
        for (path, fingerprint) in found.files.iter().zip(&fingerprints) {
            whole.part(self.format_of(path)?.to_string().as_bytes());
            whole.part(&fingerprint.to_le_bytes());
        }
        Ok(SourceSnapshot { source: self.clone(), found, fingerprints, fingerprint: whole.finish() })
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

    /// What each file is, in the order of [`SourceSnapshot::files`]: equal for equal bytes.
    pub fn file_fingerprints(&self) -> &[u64] {
        &self.fingerprints
    }

    /// The documents, streamed.
    pub fn passages(&self) -> Passages<'_> {
        Passages::new(&self.source, self.found.files.clone())
    }
}

fn of_file(path: &Path, total: &mut u64, progress: &mut dyn FnMut(u64) -> bool) -> Result<u64, CorpusError> {
    let read = || CorpusError::io("read", path);
    let mut file = File::open(path).map_err(read())?;
    let (mut fingerprint, mut buffer, mut length) = (Fingerprint::default(), vec![0; BUFFER], 0);
    loop {
        if !progress(*total) {
            return Err(CorpusError::Stopped);
        }
        let count = file.read(&mut buffer).map_err(read())?;
        if count == 0 {
            break;
        }
        fingerprint.bytes(&buffer[..count]);
        length += count as u64;
        *total += count as u64;
    }
    fingerprint.end(length);
    Ok(fingerprint.finish())
}
