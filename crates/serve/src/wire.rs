//! A canvas and its steps as JSON.

use aquatint::OutputPiece;
use aquatint::vocabulary::{self, MediaKind, TokenId};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// A canvas.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct Canvas {
    pub(crate) positions: Vec<Position>,
    /// The holes.
    pub(crate) spans: Vec<Span>,
}

/// What a position is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum State {
    /// It never changes.
    Given,
    /// It is to be filled.
    Open,
    /// It was filled.
    Written,
    /// It fell away behind an end token.
    Closed,
}

/// One position.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct Position {
    pub(crate) state: State,
    /// Its token, where it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) token: Option<TokenId>,
    /// What it adds to the text.
    pub(crate) text: String,
    /// Of a written token, in the prediction in which it was committed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) probability: Option<f64>,
    /// The step of this request in which it was committed, from 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) step: Option<usize>,
    /// The likeliest tokens of that prediction, where they were requested.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) alternatives: Vec<Alternative>,
}

/// A token that a position could hold.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct Alternative {
    pub(crate) token: TokenId,
    pub(crate) text: String,
    pub(crate) probability: f64,
}

/// A hole.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Span {
    pub(crate) start: usize,
    pub(crate) end: usize,
    /// Whether an end token may close it early.
    pub(crate) approximate: bool,
    /// What its positions are codes of, where they are no text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) media: Option<Kind>,
    /// The given picture of which a part is made anew.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) original: Option<Original>,
}

/// A given picture of which a part is made anew. What is not made has its pixels.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = OriginalPicture)]
pub(crate) struct Original {
    /// All of it, in the size of the model's pictures: `data:image/png;base64,…`.
    pub(crate) url: String,
    /// The positions whose codes are made. Those that are not `given` are among them in any case.
    pub(crate) made: Vec<usize>,
}

impl Original {
    /// An original whose codes begin at a position.
    pub(crate) fn of(original: &vocabulary::Original, start: usize) -> Self {
        let made = (start..).zip(&original.made).filter(|(_, made)| **made).map(|(position, _)| position);
        let url = format!("data:image/png;base64,{}", BASE64_STANDARD.encode(&original.file));
        Self { url, made: made.collect() }
    }
}

/// What codes stand for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = MediaKind)]
pub(crate) enum Kind {
    Picture,
    Sound,
}

impl From<Kind> for MediaKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Picture => Self::Picture,
            Kind::Sound => Self::Sound,
        }
    }
}

impl From<MediaKind> for Kind {
    fn from(kind: MediaKind) -> Self {
        match kind {
            MediaKind::Picture => Self::Picture,
            MediaKind::Sound => Self::Sound,
        }
    }
}

/// A stretch of what a canvas says.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(tag = "type", rename_all = "lowercase")]
pub(crate) enum Piece {
    /// Text, given and written.
    Text { text: String },
    /// A picture.
    Picture {
        /// Whether something of it was made.
        made: bool,
        /// All of it: `data:image/png;base64,…`.
        url: String,
    },
    /// A sound.
    Sound { made: bool, url: String },
}

impl Piece {
    /// A picture or a sound.
    pub(crate) fn of_media(kind: MediaKind, made: bool, url: String) -> Self {
        match kind {
            MediaKind::Picture => Self::Picture { made, url },
            MediaKind::Sound => Self::Sound { made, url },
        }
    }
}

impl From<OutputPiece> for Piece {
    fn from(piece: OutputPiece) -> Self {
        match piece {
            OutputPiece::Text(text) => Self::Text { text },
            OutputPiece::Media { file, is_made } => Self::of_media(file.kind, is_made, file.data_url()),
        }
    }
}

/// The work begins.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct Started {
    /// Which result.
    pub(crate) index: usize,
    pub(crate) seed: u64,
    /// Forward passes that the plan needs at most.
    pub(crate) forward_passes: usize,
    pub(crate) canvas: Canvas,
    /// The given pictures by their first positions, where they were requested: `data:image/png;base64,…`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) pictures: BTreeMap<usize, String>,
}

/// The work on a block begins.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct Block {
    pub(crate) index: usize,
    /// Of which part of the canvas: the text, where some is open, then each picture and sound that is made. Each has blocks
    /// and steps of its own.
    pub(crate) part: usize,
    pub(crate) block: usize,
    pub(crate) of: usize,
    pub(crate) positions: Vec<usize>,
    pub(crate) steps: usize,
}

/// One step of denoising.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct Step {
    pub(crate) index: usize,
    /// Of which part of the canvas: the text, where some is open, then each picture and sound that is made. Each has blocks
    /// and steps of its own.
    pub(crate) part: usize,
    pub(crate) block: usize,
    pub(crate) step: usize,
    pub(crate) of: usize,
    /// Positions of the whole canvas that are still open.
    pub(crate) open: usize,
    /// Forward passes of this result up to this step.
    pub(crate) forward_passes: usize,
    /// The mean entropy of the predictions about the open positions of the block, in nats.
    pub(crate) entropy: f64,
    pub(crate) changes: Vec<Change>,
    /// Positions that fell away behind an end token.
    pub(crate) closed: Vec<usize>,
    /// The text of each position whose text changed.
    pub(crate) texts: BTreeMap<usize, String>,
    /// The pictures that changed by their first positions, where they were requested: `data:image/png;base64,…`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) pictures: BTreeMap<usize, String>,
}

/// A change of one position.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct Change {
    pub(crate) position: usize,
    pub(crate) token: TokenId,
    /// Of the token in the model's prediction.
    pub(crate) probability: f64,
    /// `committed`, `revised` (another token, still open), `edited` (another token in place of a committed one) or
    /// `renoised` (open again).
    pub(crate) kind: &'static str,
    /// The likeliest tokens of the prediction, where they were requested.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) alternatives: Vec<Alternative>,
}
