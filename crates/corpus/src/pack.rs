//! Packing: every source once through the vocabulary into a shard, unless that shard is already there.

use crate::shard::{self, Counts, Shard, Writer};
use crate::{CorpusError, Source, cut, fingerprint};
use aquatint_files::write_atomically;
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
/// is called every few megabytes.
///
/// Empty documents are left out. A shard appears under its name only when it is whole.
///
/// # Errors
/// When a source cannot be read, holds no document, or the folder cannot be written.
pub fn pack(
    sources: &[Source],
    vocabulary: &Vocabulary,
    folder: &Path,
    progress: &mut dyn FnMut(Packing),
) -> Result<Vec<Packed>, CorpusError> {
    sources
        .iter()
        .enumerate()
        .map(|(index, source)| {
            let fingerprint = fingerprint::of_source(source, vocabulary, shard::VERSION)?;
            let path = folder.join(format!("{}-{fingerprint:016x}.tokens", name_of(&source.path)));
            let found = Shard::open(&path).ok().filter(|shard| shard.fingerprint() == fingerprint);
            let reused = found.is_some();
            let shard = match found {
                Some(shard) => shard,
                None => {
                    write(source, vocabulary, fingerprint, &path, &mut |counts| {
                        let Counts { documents, text_bytes, tokens, .. } = counts;
                        progress(Packing { source: index, documents, text_bytes, tokens });
                    })?;
                    Shard::open(&path)?
                }
            };
            Ok(Packed { shard, repeat: source.repeat, reused })
        })
        .collect()
}

/// The beginning of a source's name, so that people can tell shards apart.
fn name_of(path: &Path) -> String {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let stem: String =
        name.split('.').next().unwrap_or_default().chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').collect();
    if stem.is_empty() { "corpus".to_owned() } else { stem }
}

fn write(
    source: &Source,
    vocabulary: &Vocabulary,
    fingerprint: u64,
    path: &Path,
    progress: &mut dyn FnMut(Counts),
) -> Result<(), CorpusError> {
    let end = vocabulary.required(Role::End)?;
    // The stream's errors are the file system's; ours wait here while the stream is taken down.
    let mut failure = None;
    let written = write_atomically(path, |out| {
        let mut writer = Writer::new(out, vocabulary.len(), fingerprint)?;
        let (replaced, left_out) = match stream(source, vocabulary, end, &mut writer, progress) {
            Ok(tally) => tally,
            Err(Stop::Writing(error)) => return Err(error),
            Err(Stop::Reading(error)) => {
                failure = Some(error);
                return Err(io::Error::other("the source failed"));
            }
        };
        writer.finish(replaced, left_out).map(|_| ())
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
    source: &Source,
    vocabulary: &Vocabulary,
    end: TokenId,
    writer: &mut Writer<'_>,
    progress: &mut dyn FnMut(Counts),
) -> Result<(u64, u64), Stop> {
    let mut passages = source.passages()?;
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
                writer.text(&encoded, part.len()).map_err(Stop::Writing)?;
            }
            if passage.ends_document && !writer.document_is_empty() {
                writer.end_document(end).map_err(Stop::Writing)?;
            }
        }
        progress(writer.counts());
        held.clear();
        size = 0;
        if last {
            break;
        }
    }
    if writer.counts().documents == 0 {
        let (reason, hint) = match passages.left_out() {
            0 => ("every text is empty".to_owned(), None),
            rows => (format!("the filter left all {rows} rows out"), Some("compare its values with the file's")),
        };
        return Err(CorpusError::Empty { path: source.path.clone(), reason, hint }.into());
    }
    Ok((passages.replaced(), passages.left_out()))
}
