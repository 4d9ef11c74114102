//! A canvas and its steps as JSON.

use aquatint::vocabulary::TokenId;
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
}

/// The work on a block begins.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct Block {
    pub(crate) index: usize,
    pub(crate) block: usize,
    pub(crate) of: usize,
    pub(crate) positions: Vec<usize>,
    pub(crate) steps: usize,
}

/// One step of denoising.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct Step {
    pub(crate) index: usize,
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
