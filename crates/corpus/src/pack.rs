//! Packing: every source once through the vocabulary into a shard, unless that shard is already there.

use crate::shard::{self, Counts, Shard, Writer};
use crate::{CorpusError, ReadCounts, SourceReport, SourceSnapshot, cut};
use aquatint_files::{Fingerprint, write_atomically};
use aquatint_vocabulary::{Role, TokenId, Vocabulary};
use std::io;
use std::path::Path;

/// Text is encoded in parts of about this many bytes: enough to keep every thread busy, few enough to stay in cache.
const PART: usize = 1 << 14;
/// Bytes of text that are encoded at a time, on all threads.
const BATCH: usize = 4 << 20;

/// A source as a shard.
#[derive(Debug)]
pub struct Packed {
    /// Its tokens.
    pub shard: Shard,
    /// How many times it is repeated in one epoch.
    pub repeat: u32,
    /// Whether the shard was there already.
    pub reused: bool,
    /// What the source gave, and what it did not.
    pub report: SourceReport,
}

/// How far packing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packing {
    /// Index of the source.
    pub source: usize,
    /// Documents of it so far.
    pub documents: u64,
    /// Bytes of its text so far.
    pub text_bytes: u64,
    /// Tokens so far.
    pub tokens: u64,
}

/// Packs each source into a shard in `folder`, in order; the end token of `vocabulary` closes every document. A shard
/// that was packed from the same files in the same way is used as it is, and a damaged one is packed again. `progress`
/// is called every few megabytes and returns whether to go on.
///
/// Empty documents are left out. A shard appears under its name only when it is whole.
///
/// # Errors
/// When a source cannot be read, has too many bad rows, holds no document, or the folder cannot be written, and
/// [`CorpusError::Stopped`].
pub fn pack(
    snapshots: &[SourceSnapshot],
    vocabulary: &Vocabulary,
    folder: &Path,
    progress: &mut dyn FnMut(Packing) -> bool,
) -> Result<Vec<Packed>, CorpusError> {
    let vocabulary_bytes = vocabulary.to_json()?;
    let packer = |(index, snapshot): (usize, &SourceSnapshot)| {
        let source = snapshot.source();
        let mut fingerprint = Fingerprint::default();
        fingerprint.part(&shard::VERSION.to_le_bytes());
        fingerprint.part(&vocabulary_bytes);
        fingerprint.part(&snapshot.fingerprint().to_le_bytes());
        let fingerprint = fingerprint.finish();
        let path = folder.join(format!("{}-{fingerprint:016x}.tokens", name_of(&source.path)));
        let found = Shard::open(&path).ok().filter(|shard| shard.fingerprint() == fingerprint);
        let found = found.and_then(|shard| Some((shard.read_counts(&source.path).ok()?, shard)));
        let reused = found.is_some();
        let (counts, shard) = match found {
            Some(found) => found,
            None => {
                write(snapshot, vocabulary, fingerprint, &path, &mut |counts| {
                    let Counts { documents, text_bytes, tokens, .. } = counts;
                    progress(Packing { source: index, documents, text_bytes, tokens })
                })?;
                let shard = Shard::open(&path)?;
                (shard.read_counts(&source.path)?, shard)
            }
        };
        // A shard may have been packed when more bad rows were allowed.
        counts.check(source)?;
        let unread = snapshot.unread().to_vec();
        let report = SourceReport { path: source.path.clone(), documents: shard.documents(), counts, unread };
        Ok(Packed { shard, repeat: source.repeat, reused, report })
    };
    snapshots.iter().enumerate().map(packer).collect()
}

/// The beginning of a source's name, so that people can tell shards apart.
fn name_of(path: &Path) -> String {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let stem: String =
        name.split('.').next().unwrap_or_default().chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').collect();
    if stem.is_empty() { "corpus".to_owned() } else { stem }
}

fn write(
    snapshot: &SourceSnapshot,
    vocabulary: &Vocabulary,
    fingerprint: u64,
    path: &Path,
    progress: &mut dyn FnMut(Counts) -> bool,
) -> Result<(), CorpusError> {
    let end = vocabulary.required(Role::End)?;
    // The stream's errors are the file system's; ours wait here while the stream is taken down.
    let mut failure = None;
    let written = write_atomically(path, |out| {
        let mut writer = Writer::new(out, vocabulary.len(), fingerprint)?;
        let counts = match stream(snapshot, vocabulary, end, &mut writer, progress) {
            Ok(counts) => counts,
            Err(Stop::Writing(error)) => return Err(error),
            Err(Stop::Reading(error)) => {
                failure = Some(error);
                return Err(io::Error::other("the source failed"));
            }
        };
        writer.finish(&counts, &snapshot.source().path).map(|_| ())
    });
    match failure {
        Some(error) => Err(error),
        None => written.map_err(CorpusError::io("write", path)),
    }
}

/// Why a stream stopped.
enum Stop {
    Reading(CorpusError),
    Writing(io::Error),
}

impl From<CorpusError> for Stop {
    fn from(error: CorpusError) -> Self {
        Self::Reading(error)
    }
}

/// Passages wait in `held` until there are enough of them to be encoded together.
fn stream(
    snapshot: &SourceSnapshot,
    vocabulary: &Vocabulary,
    end: TokenId,
    writer: &mut Writer<'_>,
    progress: &mut dyn FnMut(Counts) -> bool,
) -> Result<ReadCounts, Stop> {
    let mut passages = snapshot.passages();
    let (mut held, mut size) = (Vec::new(), 0);
    loop {
        let passage = passages.next().transpose()?;
        let last = passage.is_none();
        if let Some(passage) = passage {
            size += passage.text.len();
            held.push(passage);
        }
        if size < BATCH && !last {
            continue;
        }
        let parts: Vec<&str> = held.iter().flat_map(|passage| cut::parts(&passage.text, PART)).collect();
        let encoded = vocabulary.encode_many(&parts).map_err(CorpusError::from)?;
        let mut encoded = parts.iter().zip(encoded);
        for passage in &held {
            for (part, encoded) in encoded.by_ref().take(cut::parts(&passage.text, PART).count()) {
                writer.text(part, &encoded).map_err(Stop::Writing)?;
            }
            if passage.ends_document {
                writer.end_document(end).map_err(Stop::Writing)?;
            }
        }
        if !progress(writer.counts()) {
            return Err(CorpusError::Stopped.into());
        }
        held.clear();
        size = 0;
        if last {
            break;
        }
    }
    let counts = passages.counts();
    if writer.counts().documents == 0 {
        return Err(passages.nothing_left().into());
    }
    Ok(counts.clone())
}
