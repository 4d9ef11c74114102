//! A canvas and its steps as JSON.

use crate::scheduler::StepUpdate;
use aquatint::diffusion::Kind;
use aquatint::generate::{Change as EngineChange, ChangeKind};
use aquatint::vocabulary::{TokenId, Vocabulary};
use serde::Serialize;
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// A canvas.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct Canvas {
    pub(crate) positions: Vec<Position>,
    /// The holes.
    pub(crate) spans: Vec<Span>,
}

/// One position.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct Position {
    /// `given`, `open`, `written` or `closed`.
    pub(crate) state: &'static str,
    /// Its token, where it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) token: Option<TokenId>,
    /// What it adds to the text.
    pub(crate) text: String,
}

/// A hole.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct Span {
    pub(crate) start: usize,
    pub(crate) end: usize,
    /// Whether an end token may close it early.
    pub(crate) approximate: bool,
}

/// The work begins.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Started {
    pub(crate) index: usize,
    pub(crate) forward_passes: usize,
    pub(crate) canvas: Canvas,
}

/// One step of denoising.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Step {
    pub(crate) index: usize,
    pub(crate) block: usize,
    pub(crate) step: usize,
    pub(crate) of: usize,
    /// Positions of the whole canvas that are still open.
    pub(crate) open: usize,
    pub(crate) changes: Vec<Change>,
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
    /// `committed`, `revised` (another token, still open) or `renoised` (open again).
    pub(crate) kind: &'static str,
}

impl Canvas {
    /// A canvas as it is given.
    pub(crate) fn of(canvas: &aquatint::Canvas, vocabulary: &Vocabulary) -> Self {
        let position = |position: usize| {
            let token = canvas.tokens()[position];
            let (state, shown) = match canvas.kind(position) {
                Some(Kind::Given) => ("given", true),
                _ if canvas.is_committed(position) => ("written", true),
                _ if canvas.is_open(position) => ("open", false),
                _ => ("closed", false),
            };
            let text = if shown { vocabulary.token_text(token) } else { String::new() };
            Position { state, token: shown.then_some(token), text }
        };
        let span = |span: &aquatint::diffusion::Span| Span {
            start: span.positions.start,
            end: span.positions.end,
            approximate: span.approximate,
        };
        Self { positions: (0..canvas.len()).map(position).collect(), spans: canvas.spans().iter().map(span).collect() }
    }
}

impl Step {
    pub(crate) fn of(index: usize, step: &StepUpdate, vocabulary: &Vocabulary) -> Self {
        let change = |change: &EngineChange| Change {
            position: change.position,
            token: change.token,
            probability: change.confidence,
            kind: match change.kind {
                ChangeKind::Committed => "committed",
                ChangeKind::Refined => "revised",
                ChangeKind::Renoised => "renoised",
            },
        };
        let text = |change: &EngineChange| match change.kind {
            ChangeKind::Renoised => (change.position, String::new()),
            ChangeKind::Committed | ChangeKind::Refined => (change.position, vocabulary.token_text(change.token)),
        };
        let StepUpdate { block, step: number, of, open, .. } = *step;
        let changes = step.changes.iter().map(change).collect();
        let texts = step.changes.iter().map(text).collect();
        Self { index, block, step: number, of, open, changes, closed: step.closed.clone(), texts }
    }
}
