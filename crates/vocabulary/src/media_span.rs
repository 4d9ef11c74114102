//! Pictures and sounds between a template and its canvas: the tokens that they take, and what stands there later.

use crate::{MediaKind, TokenId};
use aquatint_diffusion::Domain;
use std::ops::Range;

/// How a picture or a sound lies on a canvas.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MediaSpan {
    /// Stands before its codes.
    pub open: TokenId,
    /// Stands behind them.
    pub close: TokenId,
    /// Which tokens are its codes, and how they lie.
    pub domain: Domain,
    /// Its codes, in the order of the canvas; `None` where one is to be made.
    pub codes: Vec<Option<TokenId>>,
}

/// A picture or a sound on a template canvas.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MediaStretch {
    /// Which of them.
    pub kind: MediaKind,
    /// The positions of its codes.
    pub positions: Range<usize>,
    /// Whether something of it is made, and not all given.
    pub is_made: bool,
}

/// A stretch of what a canvas says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CanvasPiece {
    /// Text, given and written; never empty.
    Text(String),
    /// A picture or a sound.
    Media {
        /// Where it lies.
        stretch: MediaStretch,
        /// Its codes; `None` where one is still open.
        codes: Vec<Option<TokenId>>,
    },
}
