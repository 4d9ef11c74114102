//! What a span holds: the tokens that may be drawn there, and the axes along which its positions lie.

use crate::TokenId;
use std::ops::Range;

/// Text, codes of a picture, codes of a sound: a range of the joint vocabulary, and how its tokens lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Domain {
    /// The tokens that may be drawn; those beyond the vocabulary count for nothing.
    pub ids: Range<TokenId>,
    /// How the positions lie.
    pub axes: Axes,
}

/// How the positions of a span lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Axes {
    /// One behind the other, as in a text or a sound.
    #[default]
    Line,
    /// Row after row.
    Grid {
        /// Rows.
        rows: usize,
        /// Positions of a row.
        columns: usize,
    },
}

/// The index of a position on each axis: time, row and column (M-RoPE of Qwen2-VL, 2409.12191, section 2.1).
pub type Place = [u32; 3];

impl Domain {
    /// Any token, one behind the other.
    pub const ANY: Self = Self { ids: 0..TokenId::MAX, axes: Axes::Line };

    /// These tokens, one behind the other.
    pub fn line(ids: Range<TokenId>) -> Self {
        Self { ids, axes: Axes::Line }
    }

    /// These tokens in rows.
    pub fn grid(ids: Range<TokenId>, rows: usize, columns: usize) -> Self {
        Self { ids, axes: Axes::Grid { rows, columns } }
    }

    /// Whether its positions lie in rows.
    pub fn is_grid(&self) -> bool {
        self.axes != Axes::Line
    }
}

impl Default for Domain {
    fn default() -> Self {
        Self::ANY
    }
}

impl Axes {
    /// The number of positions; `None` for any.
    pub fn positions(self) -> Option<usize> {
        match self {
            Self::Line => None,
            Self::Grid { rows, columns } => rows.checked_mul(columns),
        }
    }
}
