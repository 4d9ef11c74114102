//! What a span holds: the tokens that may be drawn there, and the axes along which its positions lie.

use crate::{Span, TokenId};
use std::ops::Range;

/// Text, codes of a picture, codes of a sound: a range of the joint vocabulary, and how its tokens lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Domain {
    /// The tokens that may be drawn. Only [`Domain::ANY`] has more than the vocabulary.
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

/// The place of each of these positions among such spans, both ascending, as if there were no other positions. What lies in
/// a line goes on from index to index, the same on all axes. A grid has one index of time, that of its beginning; rows and
/// columns are counted from there, and what follows goes on behind the longer of the two.
pub fn places(spans: &[Span], positions: &[usize]) -> Vec<Place> {
    let (mut places, mut rest): (Vec<Place>, _) = (Vec::with_capacity(positions.len()), positions);
    let mut next = 0;
    for span in spans {
        let Axes::Grid { rows, columns } = span.domain.axes else { continue };
        let (before, behind) = rest.split_at(rest.partition_point(|position| *position < span.positions.start));
        let (inside, behind) = behind.split_at(behind.partition_point(|position| *position < span.positions.end));
        places.extend((next..).map(|index| [index; 3]).take(before.len()));
        next += before.len() as u32;
        let cell = |position: &usize| position - span.positions.start;
        let place = |cell: usize| [next, next + (cell / columns) as u32, next + (cell % columns) as u32];
        places.extend(inside.iter().map(cell).map(place));
        next += if inside.is_empty() { 0 } else { rows.max(columns) as u32 };
        rest = behind;
    }
    places.extend((next..).map(|index| [index; 3]).take(rest.len()));
    places
}
