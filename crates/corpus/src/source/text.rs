//! Text files: documents with separators between them, read a megabyte at a time.

use super::counts::{ReadCounts, to_text};
use super::input::Input;
use super::{Passage, Reader, Source};
use crate::{CorpusError, cut};
use memchr::memmem::Finder;
use std::io::Read;
use std::path::PathBuf;

/// A passage has about this many bytes.
const PASSAGE: usize = 1 << 20;
/// A text without line breaks is cut anyway when this much has gathered.
const LONGEST: usize = 8 << 20;

pub(super) struct TextFile {
    path: PathBuf,
    input: Input,
    /// `None` where the whole file is one document.
    separator: Option<Finder<'static>>,
    /// What was read; not yet given out from `start` on.
    held: Vec<u8>,
    start: usize,
    /// Up to here there is no separator.
    searched: usize,
    /// Whether what follows stands directly behind a separator.
    behind_separator: bool,
    at_end: bool,
    /// Malformed sequences of the input that were counted.
    malformed: u64,
    done: bool,
}

impl TextFile {
    pub(super) fn open(path: PathBuf, source: &Source) -> Result<Self, CorpusError> {
        let input = Input::open(&path, source.encoding)?;
        let separator = (!source.separator.is_empty()).then(|| Finder::new(&source.separator).into_owned());
        Ok(Self {
            path,
            input,
            separator,
            held: Vec::new(),
            start: 0,
            searched: 0,
            behind_separator: false,
            at_end: false,
            malformed: 0,
            done: false,
        })
    }

    /// What was read and not given out.
    fn rest(&self) -> &[u8] {
        &self.held[self.start..]
    }

    /// Reads about a megabyte more.
    fn read(&mut self, counts: &mut ReadCounts) -> Result<(), CorpusError> {
        self.held.drain(..self.start);
        self.searched -= self.start;
        self.start = 0;
        let chunk = self.input.by_ref().take(PASSAGE as u64).read_to_end(&mut self.held);
        self.at_end = chunk.map_err(CorpusError::io("read", &self.path))? == 0;
        counts.replaced += self.input.malformed() - self.malformed;
        self.malformed = self.input.malformed();
        Ok(())
    }

    /// Drops line breaks behind a separator, which belong to its line. Whether something else is there.
    fn skip_breaks(&mut self) -> bool {
        if self.behind_separator {
            let breaks = self.rest().iter().take_while(|&&byte| cut::is_break(byte)).count();
            self.start += breaks;
            self.searched = self.searched.max(self.start);
            self.behind_separator = self.rest().is_empty();
        }
        !self.behind_separator
    }

    /// Where the next separator stands.
    fn separator_at(&mut self) -> Option<usize> {
        let finder = self.separator.as_ref()?;
        let found = finder.find(&self.held[self.searched..]).map(|at| self.searched + at);
        // The first bytes of one may stand at the end of what was read.
        self.searched = self.searched.max((self.held.len() + 1).saturating_sub(finder.needle().len()));
        found
    }

    /// Where to cut what is held within a document, once there is enough of it.
    fn end_of_passage(&self) -> Option<usize> {
        let rest = self.rest();
        if rest.len() < PASSAGE {
            return None;
        }
        // No cut may go through a separator of which only the beginning was read. One without line breaks is in no
        // danger of it at a line break.
        let needle = self.separator.as_ref().map_or(&[][..], Finder::needle);
        let safe = &rest[..(rest.len() + 1).saturating_sub(needle.len().max(1))];
        let breakable = if needle.iter().any(|&byte| cut::is_break(byte)) { safe } else { rest };
        let cut = cut::last_break(breakable);
        let cut = cut.or_else(|| (rest.len() >= LONGEST).then(|| cut::last_blank(safe)));
        cut.map(|cut| self.start + cut)
    }

    fn give(&mut self, end: usize, ends_document: bool, counts: &mut ReadCounts) -> Passage {
        let text = to_text(self.held[self.start..end].to_vec(), counts);
        self.start = end;
        self.searched = self.searched.max(end);
        Passage { text, ends_document, row: None }
    }
}

impl Reader for TextFile {
    fn next(&mut self, source: &Source, counts: &mut ReadCounts) -> Result<Option<Passage>, CorpusError> {
        if self.done {
            return Ok(None);
        }
        if !source.filter.is_empty() {
            self.done = true;
            counts.left_out += 1;
            return Ok(None);
        }
        loop {
            if self.skip_breaks() {
                if let Some(at) = self.separator_at() {
                    let passage = self.give(at, true, counts);
                    self.start += source.separator.len();
                    self.searched = self.start;
                    self.behind_separator = true;
                    return Ok(Some(passage));
                }
                if self.at_end {
                    self.done = true;
                    return Ok(Some(self.give(self.held.len(), true, counts)));
                }
                if let Some(end) = self.end_of_passage() {
                    return Ok(Some(self.give(end, false, counts)));
                }
            } else if self.at_end {
                // The file ends with a separator.
                self.done = true;
                return Ok(None);
            }
            self.read(counts)?;
        }
    }
}
