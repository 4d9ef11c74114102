//! Text files: one document each, read a megabyte at a time.

use super::{Passage, Reader, Source, Tally, to_text};
use crate::{CorpusError, cut};
use std::fs::File;
use std::io::Read;
use std::path::PathBuf;

/// A passage has about this many bytes.
const PASSAGE: usize = 1 << 20;
/// A text without line breaks is cut anyway when this much has gathered.
const LONGEST: usize = 8 << 20;

pub(super) struct TextFile {
    path: PathBuf,
    file: File,
    /// Read and not yet given out.
    held: Vec<u8>,
    at_start: bool,
    at_end: bool,
}

impl TextFile {
    pub(super) fn open(path: PathBuf) -> Result<Self, CorpusError> {
        let file = File::open(&path).map_err(CorpusError::io("read", &path))?;
        Ok(Self { path, file, held: Vec::new(), at_start: true, at_end: false })
    }

    /// Where to cut what is held, once there is enough of it.
    fn end_of_passage(&self) -> Option<usize> {
        if self.held.len() < PASSAGE {
            return None;
        }
        cut::last_break(&self.held).or_else(|| {
            // Behind the last whole character, so that no character is torn in two.
            let torn = self.held.iter().rev().take(3).take_while(|&&byte| byte & 0xC0 == 0x80).count();
            (self.held.len() >= LONGEST).then(|| self.held.len() - torn - 1)
        })
    }
}

impl Reader for TextFile {
    fn next(&mut self, source: &Source, tally: &mut Tally) -> Result<Option<Passage>, CorpusError> {
        if self.at_end {
            return Ok(None);
        }
        if !source.filter.is_empty() {
            self.at_end = true;
            tally.left_out += 1;
            return Ok(None);
        }
        loop {
            let read = self
                .file
                .by_ref()
                .take(PASSAGE as u64)
                .read_to_end(&mut self.held)
                .map_err(CorpusError::io("read", &self.path))?;
            if std::mem::take(&mut self.at_start) && self.held.starts_with(b"\xEF\xBB\xBF") {
                // A byte order mark says how the file is written and is no part of the text.
                self.held.drain(..3);
            }
            if read == 0 {
                self.at_end = true;
                let text = to_text(std::mem::take(&mut self.held), tally);
                return Ok(Some(Passage { text, ends_document: true }));
            }
            if let Some(end) = self.end_of_passage() {
                let rest = self.held.split_off(end);
                let text = to_text(std::mem::replace(&mut self.held, rest), tally);
                return Ok(Some(Passage { text, ends_document: false }));
            }
        }
    }
}
