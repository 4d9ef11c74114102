//! Layouts: which positions of a canvas see which others.
//!
//! Full (LLaDA, 2502.09992), causal, blocks in order, bidirectional inside and causal between (BD3-LM, 2503.09573), and a
//! block behind a causal prefix, which is what blocks that are finished become (Nemotron-Labs-Diffusion, DiffusionGemma).
//! Every position sees at most two intervals, which is all that an attention kernel needs to know. Documents packed into
//! one canvas do not see each other (LLaDA2.0, 2512.15745), and blocks are counted from the beginning of their document,
//! as they are when the document stands alone.

use crate::SettingError;
use std::fmt;
use std::ops::Range;
use std::str::FromStr;

/// Document id of padding: such a position sees only itself.
pub const PADDING_DOCUMENT: u32 = u32::MAX;

/// The at most two intervals of positions that a position sees: the first one never empty, the second one possibly, and
/// they do not overlap.
pub type Intervals = [Range<u32>; 2];

/// Which positions see which others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Layout {
    /// Each position sees its whole document.
    #[default]
    Full,
    /// Each position sees its own block and all earlier ones.
    Block {
        /// Positions per block; 0 is taken as 1.
        length: usize,
    },
    /// Each position of the current block sees that block and all earlier positions; positions before it see themselves
    /// and all earlier ones. Blocks are counted from where a text goes on.
    CausalPrefix {
        /// Positions per block; 0 is taken as 1.
        length: usize,
    },
    /// Each position sees itself and all earlier ones.
    Causal,
}

impl Layout {
    /// What each of `length` positions sees, in positions of this canvas.
    ///
    /// `documents` holds the document id of each position; documents are contiguous, and a document of id
    /// [`PADDING_DOCUMENT`] is padding. An empty slice means one single document; positions beyond the end of a shorter
    /// slice are padding. The last block of a document is the current one behind a causal prefix.
    pub fn intervals(self, length: usize, documents: &[u32]) -> Vec<Intervals> {
        rows(length, documents, |position, document| {
            let start = document.start;
            [
                match self {
                    Self::Full => document,
                    Self::Block { length } => start..block_end(position, &document, length),
                    Self::CausalPrefix { length } if position < block_start(document.end - 1, &document, length) => {
                        start..position + 1
                    }
                    Self::CausalPrefix { .. } => document,
                    Self::Causal => start..position + 1,
                },
                0..0,
            ]
        })
    }

    /// What each of `length` positions of one document sees whose first block is `lead` positions shorter than the others.
    pub fn intervals_behind_lead(self, lead: usize, length: usize) -> Vec<Intervals> {
        let own = |range: Range<u32>| range.start.saturating_sub(lead as u32)..range.end.saturating_sub(lead as u32);
        self.intervals(lead + length, &[]).into_iter().skip(lead).map(|two| two.map(own)).collect()
    }

    /// What each of `length` positions of one document sees where the current block begins at `prefix`, under
    /// [`Layout::CausalPrefix`].
    pub fn intervals_behind(prefix: usize, length: usize) -> Vec<Intervals> {
        let whole = length as u32;
        (0..whole).map(|position| [0..if (position as usize) < prefix { position + 1 } else { whole }, 0..0]).collect()
    }

    /// Which of `length` positions are of the current block of their document behind a causal prefix; none in other layouts.
    /// `documents` is as in [`Layout::intervals`].
    pub fn current(self, length: usize, documents: &[u32]) -> Vec<bool> {
        let Self::CausalPrefix { length: block } = self else { return vec![false; length] };
        let starts = rows(length, documents, |_, document| [block_start(document.end - 1, &document, block)..0, 0..0]);
        (0u32..).zip(starts).map(|(position, [start, _])| position >= start.start).collect()
    }

    /// The positions of a block, where positions see only their own block and earlier ones; `None` for other layouts.
    pub fn block_length(self) -> Option<usize> {
        match self {
            Self::Block { length } | Self::CausalPrefix { length } => Some(length),
            Self::Full | Self::Causal => None,
        }
    }

    /// Whether a network of blocks may read the last of them alone, so that a canvas may be longer than what it reads: blocks
    /// of a fixed place see only earlier ones, and leave nothing that a later one needs.
    pub fn slides(self) -> bool {
        matches!(self, Self::Block { .. })
    }

    /// The layout's name: `full`, `causal`, `block:LENGTH` or `causal-prefix:LENGTH`.
    pub fn name(self) -> String {
        self.to_string()
    }
}

/// What each row sees when block diffusion is trained in one pass over `[noisy ; clean]`: rows `0..length` hold the
/// noisy canvas, rows `length..2·length` the clean one (BD3-LM, 2503.09573).
///
/// A noisy row sees its own noisy block and the clean blocks before it; a clean row sees the clean blocks up to its own, or
/// in a causal prefix the clean rows up to itself. A `layout` without blocks has blocks of one position.
/// `documents` is as in [`Layout::intervals`].
pub fn two_stream_intervals(length: usize, layout: Layout, documents: &[u32]) -> Vec<Intervals> {
    let block = layout.block_length().unwrap_or(1);
    let offset = length as u32;
    let clean = |range: Range<u32>| range.start + offset..range.end + offset;
    let noisy = rows(length, documents, |position, document| {
        let start = block_start(position, &document, block);
        let earlier = if start == document.start { 0..0 } else { clean(document.start..start) };
        [start..block_end(position, &document, block), earlier]
    });
    let known = rows(length, documents, |position, document| {
        let end = match layout {
            Layout::CausalPrefix { .. } => position + 1,
            _ => block_end(position, &document, block),
        };
        [clean(document.start..end), 0..0]
    });
    noisy.into_iter().chain(known).collect()
}

/// The intervals of each position, by what `of` says of a position in its document; padding sees only itself.
fn rows(length: usize, documents: &[u32], of: impl Fn(u32, Range<u32>) -> Intervals) -> Vec<Intervals> {
    let id = |position: usize| match documents {
        [] => 0,
        _ => documents.get(position).copied().unwrap_or(PADDING_DOCUMENT),
    };
    let mut rows = Vec::with_capacity(length);
    while rows.len() < length {
        let start = rows.len();
        let document = id(start);
        let end = match document {
            PADDING_DOCUMENT => start + 1,
            _ => (start..length).find(|p| id(*p) != document).unwrap_or(length),
        };
        // A padded position is a document of length 1, so every layout lets it see itself and nothing else.
        rows.extend((start as u32..end as u32).map(|position| of(position, start as u32..end as u32)));
    }
    rows
}

fn block_start(position: u32, document: &Range<u32>, block: usize) -> u32 {
    let inside = position - document.start;
    document.start + inside - inside % block_length(block)
}

fn block_end(position: u32, document: &Range<u32>, block: usize) -> u32 {
    block_start(position, document, block).saturating_add(block_length(block)).min(document.end)
}

fn block_length(block: usize) -> u32 {
    u32::try_from(block.max(1)).unwrap_or(u32::MAX)
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => f.write_str("full"),
            Self::Block { length } => write!(f, "block:{length}"),
            Self::CausalPrefix { length } => write!(f, "causal-prefix:{length}"),
            Self::Causal => f.write_str("causal"),
        }
    }
}

impl FromStr for Layout {
    type Err = SettingError;

    fn from_str(name: &str) -> Result<Self, SettingError> {
        let refuse = || {
            let allowed = "full, causal, block:LENGTH or causal-prefix:LENGTH with a length of 1 or more";
            SettingError::new("layout", format!("\"{name}\""), allowed)
        };
        match name.split_once(':') {
            None if name == "full" => Ok(Self::Full),
            None if name == "causal" => Ok(Self::Causal),
            Some((kind @ ("block" | "causal-prefix"), length)) => match length.parse() {
                Ok(length) if length > 0 && kind == "block" => Ok(Self::Block { length }),
                Ok(length) if length > 0 => Ok(Self::CausalPrefix { length }),
                _ => Err(refuse()),
            },
            _ => Err(refuse()),
        }
    }
}
