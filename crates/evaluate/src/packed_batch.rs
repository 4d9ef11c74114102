//! From canvases to the rows that a network reads: padding is dropped, documents do not see each other.

use crate::EvaluateError;
use aquatint_compute::Visibility;
use aquatint_corpus::CanvasBatch;
use aquatint_diffusion::{Layout, PADDING_DOCUMENT, TokenId, two_stream_intervals};
use std::ops::Range;

/// The positions of some canvases that hold a token, one row each, canvas after canvas. Of a network whose blocks see only
/// earlier ones, noise included, each canvas has its rows twice: those that become noisy, and behind them the clean ones
/// that later blocks see (BD3-LM, 2503.09573, section 4.1).
#[derive(Debug, Clone)]
pub struct PackedBatch {
    /// The clean token of each row.
    pub tokens: Vec<TokenId>,
    /// Position of each row in its canvas.
    pub positions: Vec<u32>,
    /// Whether a row is the first of its document in its canvas.
    pub first: Vec<bool>,
    /// What each row sees.
    pub visibility: Visibility,
    /// The rows of each canvas that may become noisy; empty for a canvas of padding alone.
    pub canvases: Vec<Range<usize>>,
    /// Positions of a block, where blocks become noisy one by one.
    block: Option<usize>,
}

impl PackedBatch {
    /// Lays the canvases out under a layout.
    pub fn new(batch: &CanvasBatch, layout: &Layout) -> Result<Self, EvaluateError> {
        let capacity = batch.tokens.len();
        let mut rows = Vec::with_capacity(capacity);
        let mut sequences = Vec::new();
        let (mut tokens, mut positions) = (Vec::with_capacity(capacity), Vec::with_capacity(capacity));
        let (mut first, mut canvases) = (Vec::with_capacity(capacity), Vec::new());
        let block = match layout {
            Layout::Block { length } => Some(*length),
            Layout::Full | Layout::Causal => None,
        };
        let length = batch.length.max(1);
        for (canvas, documents) in batch.tokens.chunks(length).zip(batch.documents.chunks(length)) {
            // Padding lies at the tail.
            let used = documents.iter().position(|d| *d == PADDING_DOCUMENT).unwrap_or(documents.len());
            let start = tokens.len();
            canvases.push(start..start + used);
            if used == 0 {
                continue;
            }
            let offset = start as u32;
            let shift = |range: Range<u32>| range.start + offset..range.end + offset;
            let (intervals, copies) = match block {
                Some(block) => (two_stream_intervals(used, block, &documents[..used]), 2),
                None => (layout.intervals(used, &documents[..used]), 1),
            };
            rows.extend(intervals.into_iter().map(|i| i.map(shift)));
            sequences.push(offset..offset + (copies * used) as u32);
            for _ in 0..copies {
                tokens.extend_from_slice(&canvas[..used]);
                positions.extend(0..used as u32);
                first.extend((0..used).map(|i| i == 0 || documents[i] != documents[i - 1]));
            }
        }
        let visibility = Visibility::new(sequences, rows)?;
        Ok(Self { tokens, positions, first, visibility, canvases, block })
    }

    /// The parts of a canvas that become noisy each at a time of its own: its blocks, counted from the beginning of each
    /// document, or all of it.
    pub fn parts(&self, canvas: &Range<usize>) -> Vec<Range<usize>> {
        let Some(block) = self.block else { return vec![canvas.clone()] };
        let mut parts: Vec<Range<usize>> = Vec::new();
        for row in canvas.clone() {
            match parts.last_mut() {
                Some(part) if !self.first[row] && part.len() < block.max(1) => part.end = row + 1,
                _ => parts.push(row..row + 1),
            }
        }
        parts
    }

    /// Which rows of a part may become noisy: all but the first `prompt` of each document in its canvas.
    pub fn open(&self, canvas: &Range<usize>, part: &Range<usize>, prompt: usize) -> Vec<bool> {
        let mut inside = 0;
        let mut open = Vec::with_capacity(part.len());
        for row in canvas.start..part.end {
            inside = if self.first[row] { 0 } else { inside + 1 };
            if row >= part.start {
                open.push(inside >= prompt);
            }
        }
        open
    }

    /// What a causal network reads: each row the token before it, the first row of a document the `begin` token. The
    /// row's own token is then what it has to predict, given all those before it and nothing else.
    pub fn shifted(&self, begin: TokenId) -> Vec<TokenId> {
        let before = std::iter::once(begin).chain(self.tokens.iter().copied());
        before
            .zip(&self.first)
            .map(|(token, first)| if *first { begin } else { token })
            .take(self.tokens.len())
            .collect()
    }
}

/// Bytes of text that each token of a vocabulary stands for; tokens with a role stand for none.
pub fn byte_lengths(vocabulary: &aquatint_vocabulary::Vocabulary) -> Vec<u32> {
    let length = |id| vocabulary.token_bytes(id).map_or(0, |bytes| bytes.len() as u32);
    (0..vocabulary.len() as TokenId).map(length).collect()
}
