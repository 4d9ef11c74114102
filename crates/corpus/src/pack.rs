//! Packing: every source once through the vocabulary into a shard, unless that shard is already there.

use crate::media::{Piece, is_within, pieces};
use crate::shard::{self, Counts, Shard, Writer};
use crate::{CorpusError, MediaCodes, Passage, ReadCounts, SourceReport, SourceSnapshot, cut};
use aquatint_diffusion::Domain;
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
    /// The domains of the codes in it; canvases are not cut between two codes of one.
    pub domains: Vec<Domain>,
    /// The token with which each document begins, where there is one. It is given on every canvas.
    pub begin: Option<TokenId>,
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

/// Packs each source into a shard in `folder`, in order; the end token of `vocabulary` closes every document, and its
/// begin token opens it where there is to be one ([`Vocabulary::text_begin`]). A shard that was packed from the same files
/// in the same way is used as it is, and a damaged one is packed again. `progress` is called every few megabytes and
/// returns whether to go on. `media` makes codes of the files that texts name, where a source has any
/// ([`Source::media`](crate::Source::media)); a row whose file does not become codes is a bad row.
///
/// Empty documents are left out. A shard appears under its name only when it is whole.
///
/// # Errors
/// When a source cannot be read, has too many bad rows, holds no document, names media without codecs, or the folder
/// cannot be written, and [`CorpusError::Stopped`].
pub fn pack(
    snapshots: &[SourceSnapshot],
    vocabulary: &Vocabulary,
    media: &dyn MediaCodes,
    folder: &Path,
    progress: &mut dyn FnMut(Packing) -> bool,
) -> Result<Vec<Packed>, CorpusError> {
    let (vocabulary_bytes, begin) = (vocabulary.to_json()?, vocabulary.text_begin());
    let packer = |(index, snapshot): (usize, &SourceSnapshot)| {
        let source = snapshot.source();
        let mut fingerprint = Fingerprint::default();
        fingerprint.part(&shard::VERSION.to_le_bytes());
        fingerprint.part(&vocabulary_bytes);
        if let Some(begin) = begin {
            fingerprint.part(&begin.to_le_bytes());
        }
        fingerprint.part(&snapshot.fingerprint().to_le_bytes());
        if let Some(path) = &source.media {
            if media.domains().is_empty() {
                return Err(CorpusError::NoCodecs { path: path.clone() });
            }
            let read = media.fingerprint(path);
            let read = read.map_err(|reason| CorpusError::Media { path: source.path.clone(), reason })?;
            fingerprint.part(&read.to_le_bytes());
        }
        let fingerprint = fingerprint.finish();
        let path = folder.join(format!("{}-{fingerprint:016x}.tokens", name_of(&source.path)));
        let found = Shard::open(&path).ok().filter(|shard| shard.fingerprint() == fingerprint);
        let found = found.and_then(|shard| Some((shard.read_counts(&source.path).ok()?, shard)));
        let reused = found.is_some();
        let (counts, shard) = match found {
            Some(found) => found,
            None => {
                let texts = Texts { snapshot, vocabulary, media };
                write(&texts, fingerprint, &path, &mut |counts| {
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
        let domains =
            media.domains().into_iter().filter(|_| source.media.is_some()).map(|(_, domain)| domain).collect();
        Ok(Packed { shard, domains, begin, repeat: source.repeat, reused, report })
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

/// What a shard is made of.
struct Texts<'texts> {
    snapshot: &'texts SourceSnapshot,
    vocabulary: &'texts Vocabulary,
    media: &'texts dyn MediaCodes,
}

fn write(
    texts: &Texts<'_>,
    fingerprint: u64,
    path: &Path,
    progress: &mut dyn FnMut(Counts) -> bool,
) -> Result<(), CorpusError> {
    let Texts { snapshot, vocabulary, .. } = texts;
    let end = vocabulary.required(Role::End)?;
    // The stream's errors are the file system's; ours wait here while the stream is taken down.
    let mut failure = None;
    let written = write_atomically(path, |out| {
        let mut writer = Writer::new(out, (texts.ids(), vocabulary.text_begin()), fingerprint)?;
        let counts = match stream(texts, end, &mut writer, progress) {
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

/// What waits to become tokens.
enum Held {
    Text(String),
    /// The codes of a file, and how the text names it.
    Codes(String, Vec<TokenId>),
    EndDocument,
}

impl Held {
    /// Its text in parts that are encoded together.
    fn parts(&self) -> impl Iterator<Item = &str> {
        let text = if let Self::Text(text) = self { text } else { "" };
        cut::parts(text, PART)
    }
}

impl Texts<'_> {
    /// How many ids there are: those of text, and where there are media those of codes behind them.
    fn ids(&self) -> usize {
        let text = self.vocabulary.len();
        match self.snapshot.source().media {
            None => text,
            Some(_) => self.media.domains().iter().map(|(_, domain)| domain.ids.end as usize).fold(text, usize::max),
        }
    }

    /// A passage in its parts; a reason where a file that it names does not become codes.
    fn hold(&self, passage: Passage, held: &mut Vec<Held>) -> Result<(), String> {
        let Passage { text, ends_document, .. } = passage;
        match &self.snapshot.source().media {
            None => held.push(Held::Text(text)),
            Some(media) => {
                let part = |piece| match piece {
                    Piece::Text(text) => Ok(Held::Text(text.to_owned())),
                    Piece::File { file, .. } if !is_within(&file) => Err(format!("`{file}` is not within `media`")),
                    Piece::File { whole, domain, file } => {
                        Ok(Held::Codes(whole.to_owned(), self.media.tokens(domain, media, &file)?))
                    }
                };
                let parts = pieces(&text, &self.media.domains()).into_iter().map(part);
                held.extend(parts.collect::<Result<Vec<Held>, String>>()?);
            }
        }
        if ends_document {
            held.push(Held::EndDocument);
        }
        Ok(())
    }
}

/// Passages wait in `held` until there are enough of them to be encoded together.
fn stream(
    texts: &Texts<'_>,
    end: TokenId,
    writer: &mut Writer<'_>,
    progress: &mut dyn FnMut(Counts) -> bool,
) -> Result<ReadCounts, Stop> {
    let mut passages = texts.snapshot.passages();
    let (mut held, mut size) = (Vec::new(), 0);
    loop {
        let passage = passages.next().transpose()?;
        let last = passage.is_none();
        if let Some(passage) = passage {
            size += passage.text.len();
            let row = passage.row;
            if let Err(reason) = texts.hold(passage, &mut held) {
                passages.refuse(row, reason)?;
            }
        }
        if size < BATCH && !last {
            continue;
        }
        let parts: Vec<&str> = held.iter().flat_map(Held::parts).collect();
        let encoded = texts.vocabulary.encode_many(&parts).map_err(CorpusError::from)?;
        let mut encoded = parts.iter().zip(encoded);
        for held in &held {
            for (part, encoded) in encoded.by_ref().take(held.parts().count()) {
                writer.text(part, &encoded).map_err(Stop::Writing)?;
            }
            match held {
                Held::Text(_) => {}
                Held::Codes(name, codes) => writer.codes(name, codes).map_err(Stop::Writing)?,
                Held::EndDocument => writer.end_document(end).map_err(Stop::Writing)?,
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
