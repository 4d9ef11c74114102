//! Token shards: one source's tokens in one memory-mapped file.
//!
//! ```text
//! opening   "AQUATOKS", version u32, bytes per token u32 (2 or 4)
//! tokens    per token: its id (2 or 4 bytes), bytes of text that it stands for (1 byte); each document is closed by its
//!           end token; zeros up to a multiple of 8 bytes
//! documents per document: tokens up to its end u64, bytes of text up to its end u64, fingerprint of its text u64
//! bad rows  the first ones, as JSON: [[row, "file within the source", "reason"], …]
//! closing   tokens u64, documents u64, bytes of text u64, bytes of the bad rows u64, rows u64, bad rows u64,
//!           left out u64, replaced u64, surrogates u64, unknown characters u64, their bytes u64, vocabulary u64,
//!           fingerprint u64, "SKOTAUQA"
//! ```
//! Everything is little-endian. The counts stand at the end because they are known only there: a shard is written in
//! one pass and never fits memory. A file cut short lacks its closing and is refused. Of a token longer than 255 bytes the
//! rest counts with the tokens behind it, so that the sum is that of the text.

use crate::document_hash::DocumentHash;
use crate::source::NAMED;
use crate::{BadRow, CorpusError, ReadCounts};
use aquatint_files::MappedFile;
use aquatint_vocabulary::{EncodedText, TokenId, UnknownText};
use serde_json::{Value, json};
use std::io::{self, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Version of the layout above.
pub(crate) const VERSION: u32 = 3;
const OPENING_MAGIC: &[u8; 8] = b"AQUATOKS";
const CLOSING_MAGIC: &[u8; 8] = b"SKOTAUQA";
const OPENING: usize = 16;
const CLOSING: usize = 8 * (NUMBERS + 1);
/// Numbers of the closing.
const NUMBERS: usize = 13;
/// Bytes of one document's entry.
const ENTRY: usize = 24;

/// Bytes of one token's id for a vocabulary of this size.
fn id_width(vocabulary_size: usize) -> usize {
    if vocabulary_size <= 1 << 16 { 2 } else { 4 }
}

/// One document of a shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DocumentSpan {
    /// Its tokens, the end token included.
    pub tokens: Range<u64>,
    /// UTF-8 bytes of its text, as they were read (after replacement of what was not UTF-8).
    pub text_bytes: u64,
    /// Fingerprint of its text without white space at either end; 0 for one that is nothing else.
    pub content: u64,
}

/// Tokens of one source, mapped and not read.
#[derive(Debug)]
pub struct Shard {
    path: PathBuf,
    map: MappedFile,
    width: usize,
    /// Where the documents begin.
    table: usize,
    counts: Counts,
}

/// The numbers of the closing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Counts {
    pub(crate) tokens: u64,
    pub(crate) documents: u64,
    pub(crate) text_bytes: u64,
    /// Bytes of the section of bad rows.
    bad_row_bytes: u64,
    /// Rows, bad rows, left out, replaced, surrogates: those of [`ReadCounts`].
    read: [u64; 5],
    pub(crate) unknown: UnknownText,
    pub(crate) vocabulary_size: u64,
    pub(crate) fingerprint: u64,
}

impl Counts {
    fn numbers(&self) -> [u64; NUMBERS] {
        let [rows, bad_rows, left_out, replaced, surrogates] = self.read;
        [
            self.tokens,
            self.documents,
            self.text_bytes,
            self.bad_row_bytes,
            rows,
            bad_rows,
            left_out,
            replaced,
            surrogates,
            self.unknown.characters,
            self.unknown.bytes,
            self.vocabulary_size,
            self.fingerprint,
        ]
    }

    fn from_numbers(numbers: [u64; NUMBERS]) -> Self {
        let [tokens, documents, text_bytes, bad_row_bytes, read @ .., characters, bytes, vocabulary_size, fingerprint] =
            numbers;
        let unknown = UnknownText { characters, bytes };
        Self { tokens, documents, text_bytes, bad_row_bytes, read, unknown, vocabulary_size, fingerprint }
    }
}

/// Where the parts of a shard begin, checked against the length of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Sections {
    width: usize,
    table: usize,
    counts: Counts,
}

fn number(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at.checked_add(8)?)?.try_into().ok()?))
}

fn short_number(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

/// Why bytes are no shard.
#[derive(Debug, PartialEq, Eq)]
enum Refusal {
    Foreign,
    Version(u32),
    Damaged(String),
}

/// Reads the opening and the closing. Every length in them is checked before it is used, so arbitrary bytes are safe.
fn sections(bytes: &[u8]) -> Result<Sections, Refusal> {
    let damaged = |reason: &str| Refusal::Damaged(reason.to_owned());
    if !bytes.starts_with(OPENING_MAGIC) {
        return Err(Refusal::Foreign);
    }
    let version = short_number(bytes, 8).ok_or_else(|| damaged("it ends within its opening"))?;
    if version != VERSION {
        return Err(Refusal::Version(version));
    }
    let width = short_number(bytes, 12).ok_or_else(|| damaged("it ends within its opening"))?;
    let width = match width {
        2 => 2usize,
        4 => 4,
        other => return Err(Refusal::Damaged(format!("it has {other} bytes per token"))),
    };
    let closing = bytes.len().checked_sub(CLOSING).filter(|&at| at >= OPENING);
    let closing =
        closing.filter(|_| bytes.ends_with(CLOSING_MAGIC)).ok_or_else(|| damaged("its closing is missing"))?;
    let mut numbers = [0; NUMBERS];
    for (index, value) in numbers.iter_mut().enumerate() {
        *value = number(bytes, closing + 8 * index).ok_or_else(|| damaged("its closing is missing"))?;
    }
    let counts = Counts::from_numbers(numbers);
    let Counts { tokens, documents, text_bytes, bad_row_bytes, vocabulary_size, .. } = counts;
    let wrong = || damaged("its length does not fit the numbers in it");
    let token_bytes = tokens.checked_mul(width as u64 + 1).ok_or_else(wrong)?;
    let table = token_bytes.checked_next_multiple_of(8).and_then(|size| size.checked_add(OPENING as u64));
    let table = table.ok_or_else(wrong)?;
    let end = documents.checked_mul(ENTRY as u64).and_then(|size| size.checked_add(table)).ok_or_else(wrong)?;
    if end.checked_add(bad_row_bytes) != Some(closing as u64) {
        return Err(wrong());
    }
    if vocabulary_size > 1 << 32 || id_width(vocabulary_size as usize) != width {
        return Err(damaged("its width does not fit its vocabulary"));
    }
    let table = usize::try_from(table).map_err(|_| wrong())?;
    // Ends must never fall: every later use of a document's span relies on it.
    let mut last = [0, 0];
    for index in 0..documents as usize {
        let at = table + index * ENTRY;
        let ends = [number(bytes, at).ok_or_else(wrong)?, number(bytes, at + 8).ok_or_else(wrong)?];
        if ends[0] < last[0] || ends[1] < last[1] {
            return Err(Refusal::Damaged(format!("document {index} ends before it begins")));
        }
        last = ends;
    }
    if last != [tokens, text_bytes] {
        return Err(damaged("its documents do not add up to its tokens"));
    }
    Ok(Sections { width, table, counts })
}

impl Shard {
    /// Maps a shard and checks that it is whole.
    ///
    /// # Errors
    /// When the file cannot be mapped, is no shard, is of another version or damaged.
    pub fn open(path: &Path) -> Result<Self, CorpusError> {
        let map = MappedFile::open(path).map_err(CorpusError::io("map", path))?;
        let path = path.to_path_buf();
        match sections(&map) {
            Ok(Sections { width, table, counts }) => Ok(Self { path, map, width, table, counts }),
            Err(Refusal::Foreign) => Err(CorpusError::NotAShard { path }),
            Err(Refusal::Version(found)) => Err(CorpusError::ShardVersion { path, found, supported: VERSION }),
            Err(Refusal::Damaged(reason)) => Err(CorpusError::DamagedShard { path, reason }),
        }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How many tokens there are, end tokens included.
    pub fn tokens(&self) -> u64 {
        self.counts.tokens
    }

    /// How many documents there are.
    pub fn documents(&self) -> u64 {
        self.counts.documents
    }

    /// UTF-8 bytes of all texts.
    pub fn text_bytes(&self) -> u64 {
        self.counts.text_bytes
    }

    /// What was counted when the source was read from `path`, where its files lie now.
    ///
    /// # Errors
    /// When the bad rows in it cannot be read.
    pub(crate) fn read_counts(&self, path: &Path) -> Result<ReadCounts, CorpusError> {
        let end = self.map.len() - CLOSING;
        let bytes = &self.map[end - self.counts.bad_row_bytes as usize..end];
        let rows = bad_rows(bytes, path).ok_or_else(|| {
            let reason = "its bad rows cannot be read".to_owned();
            CorpusError::DamagedShard { path: self.path.clone(), reason }
        })?;
        Ok(ReadCounts::restored(self.counts.read, rows))
    }

    /// What the vocabulary cannot write of the texts.
    pub fn unknown(&self) -> UnknownText {
        self.counts.unknown
    }

    /// Size of the vocabulary that these tokens are of.
    pub fn vocabulary_size(&self) -> usize {
        self.counts.vocabulary_size as usize
    }

    /// What it was packed from; equal for equal files, vocabulary and way of reading.
    pub fn fingerprint(&self) -> u64 {
        self.counts.fingerprint
    }

    /// A document by its number; `None` past the last.
    pub fn document(&self, index: u64) -> Option<DocumentSpan> {
        if index >= self.counts.documents {
            return None;
        }
        let at = self.table + index as usize * ENTRY;
        let before = |offset| if index == 0 { Some(0) } else { number(&self.map, at - ENTRY + offset) };
        let tokens = before(0)?..number(&self.map, at)?;
        let text_bytes = number(&self.map, at + 8)? - before(8)?;
        Some(DocumentSpan { tokens, text_bytes, content: number(&self.map, at + 16)? })
    }

    /// All documents, in order.
    pub fn all_documents(&self) -> impl Iterator<Item = DocumentSpan> {
        (0..self.counts.documents).filter_map(|index| self.document(index))
    }

    /// The document that a token belongs to, with its number; `None` where the table of documents does not have it.
    pub(crate) fn document_at(&self, token: u64) -> Option<(u64, DocumentSpan)> {
        // The first document that ends behind the token.
        let (mut low, mut high) = (0, self.counts.documents);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.document(middle)?.tokens.end <= token { low = middle + 1 } else { high = middle }
        }
        Some((low, self.document(low)?)).filter(|(_, span)| span.tokens.contains(&token))
    }

    /// An error of this shard.
    pub(crate) fn damaged(&self, reason: impl Into<String>) -> CorpusError {
        CorpusError::DamagedShard { path: self.path.clone(), reason: reason.into() }
    }

    /// Copies the tokens from `start` on into `tokens`, and the bytes of text that each stands for into `text_bytes`,
    /// which is as long.
    ///
    /// # Errors
    /// When the range is not in the shard, or a token not in its vocabulary.
    pub fn copy(&self, start: u64, tokens: &mut [TokenId], text_bytes: &mut [u32]) -> Result<(), CorpusError> {
        let end = start.checked_add(tokens.len() as u64).filter(|&end| end <= self.counts.tokens);
        let end = end.ok_or_else(|| self.damaged(format!("tokens {start} and on are not in it")))?;
        let record = self.width + 1;
        let records = &self.map[OPENING + start as usize * record..OPENING + end as usize * record];
        for ((token, bytes), record) in tokens.iter_mut().zip(text_bytes).zip(records.chunks_exact(record)) {
            *token = match *record {
                [a, b, _] => TokenId::from(u16::from_le_bytes([a, b])),
                [a, b, c, d, _] => TokenId::from_le_bytes([a, b, c, d]),
                // A record has one of the two widths.
                _ => TokenId::MAX,
            };
            *bytes = record.last().copied().map_or(0, u32::from);
        }
        match tokens.iter().find(|&&token| u64::from(token) >= self.counts.vocabulary_size) {
            Some(token) => {
                Err(self.damaged(format!("token {token} is not in its vocabulary of {}", self.vocabulary_size())))
            }
            None => Ok(()),
        }
    }
}

/// Writes a shard into a stream, document by document.
pub(crate) struct Writer<'out> {
    out: &'out mut dyn Write,
    width: usize,
    begin: Option<TokenId>,
    counts: Counts,
    documents: Vec<[u64; 3]>,
    content: DocumentHash,
    buffer: Vec<u8>,
    /// Bytes of text that no token has yet.
    owed: u64,
}

impl<'out> Writer<'out> {
    /// A shard whose documents begin with `begin`, where there is one.
    pub(crate) fn new(
        out: &'out mut dyn Write,
        (vocabulary_size, begin): (usize, Option<TokenId>),
        fingerprint: u64,
    ) -> io::Result<Self> {
        let width = id_width(vocabulary_size);
        out.write_all(OPENING_MAGIC)?;
        out.write_all(&VERSION.to_le_bytes())?;
        out.write_all(&(width as u32).to_le_bytes())?;
        let counts = Counts { vocabulary_size: vocabulary_size as u64, fingerprint, ..Counts::default() };
        let (documents, content, buffer) = (Vec::new(), DocumentHash::default(), Vec::new());
        Ok(Self { out, width, begin, counts, documents, content, buffer, owed: 0 })
    }

    /// A part of the document that is being written, and its tokens.
    pub(crate) fn text(&mut self, text: &str, part: &EncodedText) -> io::Result<()> {
        self.content.text(text);
        self.counts.text_bytes += text.len() as u64;
        self.counts.unknown += part.unknown;
        // A part without a token owes its bytes to the next one.
        self.owed += text.len() as u64 - part.text_bytes.iter().map(|&bytes| u64::from(bytes)).sum::<u64>();
        self.buffer.clear();
        if !part.tokens.is_empty() {
            self.begin_document();
        }
        for (&token, &bytes) in part.tokens.iter().zip(&part.text_bytes) {
            self.owed += u64::from(bytes);
            self.push(token);
        }
        self.out.write_all(&self.buffer)
    }

    /// Codes in the document that is being written, which stand for no text; `name` tells them from other codes.
    pub(crate) fn codes(&mut self, name: &str, codes: &[TokenId]) -> io::Result<()> {
        self.content.text(name);
        self.buffer.clear();
        // Bytes that no token has yet are left to the next text.
        let owed = std::mem::take(&mut self.owed);
        if !codes.is_empty() {
            self.begin_document();
        }
        codes.iter().for_each(|&code| self.push(code));
        self.owed = owed;
        self.out.write_all(&self.buffer)
    }

    /// The end of the document that is being written, with its end token; one without another token is left out.
    pub(crate) fn end_document(&mut self, end: TokenId) -> io::Result<()> {
        let content = self.content.take();
        if self.counts.tokens > self.document_start() {
            self.buffer.clear();
            self.push(end);
            self.out.write_all(&self.buffer)?;
            self.documents.push([self.counts.tokens, self.counts.text_bytes, content]);
        }
        Ok(())
    }

    /// Where the document that is being written starts.
    fn document_start(&self) -> u64 {
        self.documents.last().map_or(0, |&[tokens, ..]| tokens)
    }

    /// Writes the begin token in front of the first token of a document. It stands for no text.
    fn begin_document(&mut self) {
        if let Some(begin) = self.begin.filter(|_| self.counts.tokens == self.document_start()) {
            let owed = std::mem::take(&mut self.owed);
            self.push(begin);
            self.owed = owed;
        }
    }

    fn push(&mut self, token: TokenId) {
        // The first bytes of the little-endian form are the narrower integer itself.
        self.buffer.extend_from_slice(&token.to_le_bytes()[..self.width]);
        let bytes = u8::try_from(self.owed).unwrap_or(u8::MAX);
        self.buffer.push(bytes);
        self.owed -= u64::from(bytes);
        self.counts.tokens += 1;
    }

    /// What was written so far.
    pub(crate) fn counts(&self) -> Counts {
        Counts { documents: self.documents.len() as u64, ..self.counts }
    }

    /// Closes a shard of a source whose files lie at `path`.
    pub(crate) fn finish(self, read: &ReadCounts, path: &Path) -> io::Result<Counts> {
        let rows = bad_rows_as_json(&read.first_bad_rows, path);
        let numbers = [read.rows, read.bad_rows, read.left_out, read.replaced, read.surrogates];
        let counts = Counts { read: numbers, bad_row_bytes: rows.len() as u64, ..self.counts() };
        let written = self.counts.tokens as usize * (self.width + 1);
        self.out.write_all(&[0; 8][..written.next_multiple_of(8) - written])?;
        for value in self.documents.iter().flatten() {
            self.out.write_all(&value.to_le_bytes())?;
        }
        self.out.write_all(rows.as_bytes())?;
        for value in counts.numbers() {
            self.out.write_all(&value.to_le_bytes())?;
        }
        self.out.write_all(CLOSING_MAGIC)?;
        Ok(counts)
    }
}

/// Bad rows with their files within the source at `path`, so that a source that moved has them where it is.
fn bad_rows_as_json(rows: &[BadRow], path: &Path) -> String {
    let rows = rows.iter().map(|BadRow { file, row, reason }| {
        let within = file.strip_prefix(path).unwrap_or(file);
        json!([row, within.to_string_lossy(), reason])
    });
    Value::from_iter(rows).to_string()
}

fn bad_rows(bytes: &[u8], path: &Path) -> Option<Vec<BadRow>> {
    let rows: Vec<(u64, String, String)> = serde_json::from_slice(bytes).ok()?;
    if rows.len() > NAMED {
        return None;
    }
    let file = |within: String| if within.is_empty() { path.to_path_buf() } else { path.join(within) };
    Some(rows.into_iter().map(|(row, within, reason)| BadRow { file: file(within), row, reason }).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written(vocabulary_size: usize, documents: &[Vec<TokenId>]) -> Vec<u8> {
        let mut bytes: Vec<u8> = Vec::new();
        let mut writer = Writer::new(&mut bytes, (vocabulary_size, None), 7).unwrap();
        for tokens in documents {
            let (end, tokens) = tokens.split_last().unwrap();
            let text_bytes = tokens.iter().map(|token| token % 400).collect();
            let part = EncodedText { tokens: tokens.to_vec(), text_bytes, ..EncodedText::default() };
            // Some bytes that no token stands for.
            let text = "a".repeat(part.text_bytes.iter().sum::<u32>() as usize + 3);
            writer.text(&text, &part).unwrap();
            writer.end_document(*end).unwrap();
        }
        writer.finish(&ReadCounts::default(), Path::new("texts")).unwrap();
        bytes
    }

    fn opened(bytes: &[u8]) -> Result<Shard, CorpusError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("shard");
        std::fs::write(&path, bytes).unwrap();
        Shard::open(&path)
    }

    /// Whatever comes first in it, also where a text has no token of its own; and it takes no byte from the text.
    #[test]
    fn a_document_begins_with_the_begin_token_once() {
        let [begin, end] = [3, 1];
        let mut bytes: Vec<u8> = Vec::new();
        let mut writer = Writer::new(&mut bytes, (300, Some(begin)), 7).unwrap();
        let text = |tokens: &[TokenId]| EncodedText {
            tokens: tokens.to_vec(),
            text_bytes: vec![1; tokens.len()],
            ..EncodedText::default()
        };
        // A picture, and text behind it.
        writer.codes("a.png", &[290, 291]).unwrap();
        writer.text("b", &text(&[9])).unwrap();
        writer.end_document(end).unwrap();
        // Nothing but what no token stands for: no document.
        writer.codes("b.png", &[]).unwrap();
        writer.text("  ", &text(&[])).unwrap();
        writer.end_document(end).unwrap();
        writer.text("c", &text(&[8])).unwrap();
        writer.text("d", &text(&[9])).unwrap();
        writer.end_document(end).unwrap();
        writer.finish(&ReadCounts::default(), Path::new("texts")).unwrap();

        let shard = opened(&bytes).unwrap();
        let document = |index| {
            let span = shard.document(index).unwrap();
            let length = (span.tokens.end - span.tokens.start) as usize;
            let (mut tokens, mut bytes) = (vec![0; length], vec![0; length]);
            shard.copy(span.tokens.start, &mut tokens, &mut bytes).unwrap();
            (tokens, bytes)
        };
        assert_eq!(shard.documents(), 2);
        assert_eq!(document(0), (vec![begin, 290, 291, 9, end], vec![0, 0, 0, 1, 0]));
        // The blanks of the document that was left out are those of the next text.
        assert_eq!(document(1), (vec![begin, 8, 9, end], vec![0, 3, 1, 0]));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            documents in prop::collection::vec(prop::collection::vec(0u32..70_000, 2..9), 1..6),
            wide in any::<bool>(),
        ) {
            let size = if wide { 70_000 } else { 1 << 16 };
            let documents: Vec<Vec<u32>> =
                documents.iter().map(|tokens| tokens.iter().map(|&token| token % size as u32).collect()).collect();
            let shard = opened(&written(size, &documents)).unwrap();
            prop_assert_eq!(shard.width, if wide { 4 } else { 2 });
            prop_assert_eq!(shard.documents(), documents.len() as u64);
            let mut owed = 0;
            for (index, expected) in documents.iter().enumerate() {
                let span = shard.document(index as u64).unwrap();
                let text_bytes: u32 = expected[..expected.len() - 1].iter().map(|token| token % 400).sum();
                prop_assert_eq!(span.text_bytes, u64::from(text_bytes) + 3);
                let (mut tokens, mut bytes) = (vec![0; expected.len()], vec![0; expected.len()]);
                shard.copy(span.tokens.start, &mut tokens, &mut bytes).unwrap();
                prop_assert_eq!(&tokens, expected);
                // What one token has no room for is left to the next, of another document even.
                owed += 3;
                for (index, token) in tokens.iter().enumerate() {
                    owed += if index + 1 < tokens.len() { token % 400 } else { 0 };
                    prop_assert_eq!(bytes[index], owed.min(255));
                    owed -= bytes[index];
                }
            }
            prop_assert!(shard.copy(shard.tokens(), &mut [0], &mut [0]).is_err());
            prop_assert!(shard.copy(u64::MAX, &mut [0], &mut [0]).is_err());
        }

        #[test]
        fn arbitrary_bytes_are_refused_or_whole(tail in prop::collection::vec(any::<u8>(), 0..120), closed in any::<bool>()) {
            let mut bytes = b"AQUATOKS\x03\0\0\0\x02\0\0\0".to_vec();
            bytes.extend(tail);
            if closed {
                bytes.extend(CLOSING_MAGIC);
            }
            if let Ok(found) = sections(&bytes) {
                prop_assert!(found.counts.tokens as usize * 3 <= bytes.len());
            }
        }
    }

    #[test]
    fn every_truncation_is_refused() {
        let whole = written(300, &[vec![1, 2, 3], vec![4, 5]]);
        assert!(sections(&whole).is_ok());
        for length in 0..whole.len() {
            assert!(sections(&whole[..length]).is_err(), "{length} of {} bytes", whole.len());
        }
    }

    #[test]
    fn foreign_and_damaged_files_have_different_errors() {
        let whole = written(300, &[vec![1, 2, 3], vec![4, 5]]);
        assert!(matches!(opened(b"PAR1 something else"), Err(CorpusError::NotAShard { .. })));
        let mut newer = whole.clone();
        newer[8] = 9;
        assert!(matches!(opened(&newer), Err(CorpusError::ShardVersion { found: 9, supported: 3, .. })));
        let mut falling = whole.clone();
        // Five tokens of three bytes each.
        let table = OPENING + 16;
        falling[table] = 200;
        assert_eq!(sections(&falling), Err(Refusal::Damaged("document 1 ends before it begins".into())));
        let mut rows = whole.clone();
        let at = rows.len() - CLOSING - 1;
        rows[at] = b'}';
        let error = opened(&rows).unwrap().read_counts(Path::new("texts")).unwrap_err().to_string();
        assert!(error.contains("its bad rows cannot be read"), "{error}");
        let mut outside = whole;
        outside[OPENING + 1] = 0xFF;
        let error = opened(&outside).unwrap().copy(0, &mut [0; 4], &mut [0; 4]).unwrap_err().to_string();
        assert!(error.contains("token 65281 is not in its vocabulary of 300"), "{error}");
    }
}
