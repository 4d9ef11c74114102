//! Pictures and sounds between a template and its canvas: the tokens that they take, and what stands there later.

use crate::{MediaKind, TokenId};
use aquatint_diffusion::Domain;
use std::ops::Range;
use std::sync::Arc;

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
    /// The file that gives it, as its codec fits it, where only some of its codes are to be made.
    pub original: Option<Arc<[u8]>>,
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
    /// What stays of a given one of which a part is made.
    pub original: Option<Original>,
}

/// A given picture or sound of which a part is made anew. All else of it stays as it was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Original {
    /// The file, as its codec fits it.
    pub file: Arc<[u8]>,
    /// Of each of its codes, whether it is made.
    pub made: Vec<bool>,
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
