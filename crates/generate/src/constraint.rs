//! What the text of a span may be: the interface of constrained decoding.
//!
//! A [`Constraint`] is shared by requests; what it knows of one span of one request is a [`SpanFiller`]. At each step the
//! filler draws the open positions of the block jointly, from whole rows of logits, so that the policy chooses among
//! tokens that fit together. Requests without a constraint do not come here.

use aquatint_diffusion::constraint::{Cell, SpanLanguage, TokenAutomaton};
use aquatint_diffusion::{Canvas, Commit, CommitPolicy, Key, PlanPart, Proposal, Span, Step, TokenId};
use std::fmt::Debug;
use std::ops::Range;
use std::sync::Arc;

/// In which order the positions of a constrained span may become final.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CommitOrder {
    /// In any: each subset of a joint draw leaves a completion.
    Any,
    /// From left to right. A policy that says how many positions become final has as many of the first ones, one that
    /// also has a threshold (`dynamic`, `learnt`) as many as the plan still has left for the step; of what a threshold or
    /// another policy chooses, only the first positions become final, up to a gap, and the first one where there is a gap before
    /// all of them.
    LeftToRight,
}

/// A span as it is before its first step.
#[derive(Debug, Clone, Copy)]
pub struct SpanStart<'a> {
    /// What its positions hold; none has a prediction.
    pub cells: &'a [Cell<'a>],
    /// The end token, where it may close the span.
    pub closing: Option<TokenId>,
    /// Tokens that are never written.
    pub forbidden: &'a [TokenId],
    /// The tokens of its document that stand before it; `None` where a position there is open.
    pub before: Option<&'a [TokenId]>,
    /// The tokens behind it, likewise.
    pub after: Option<&'a [TokenId]>,
}

/// Why a span cannot be filled as a constraint says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConstraintError {
    /// No text of the language fits into the positions.
    #[error("the text takes at least {shortest} tokens, and {open} positions are open")]
    NoRoom {
        /// Open positions.
        open: usize,
        /// Tokens of the shortest text.
        shortest: usize,
    },
    /// No text of the language has the exact length.
    #[error("no text has exactly {open} tokens; the shortest one has {shortest}")]
    NoSuchLength {
        /// Open positions.
        open: usize,
        /// Tokens of the shortest text.
        shortest: usize,
    },
    /// The language has no text of tokens that may be written.
    #[error("the model's tokens cannot write any text of it")]
    Empty,
    /// What some positions hold already leaves nothing for the others.
    #[error("no text agrees with the tokens that the span holds already")]
    Contradicted,
    /// Tokens behind an open position are not for a constraint that writes from left to right.
    #[error("the span holds a token behind an open position, and the constraint is kept from left to right")]
    OutOfOrder,
    /// A span of exact length has more positions than can be planned.
    #[error("the span has {positions} positions and no end token may close it; allowed are at most {most}")]
    TooLong {
        /// Positions of the span.
        positions: usize,
        /// The most that are allowed.
        most: usize,
    },
    /// The constraint's own machinery refused, with its message.
    #[error("{0}")]
    Refused(String),
}

impl ConstraintError {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoRoom { shortest, .. } => Some(format!("leave at least {shortest} positions open (`max_tokens`)")),
            Self::NoSuchLength { .. } | Self::TooLong { .. } => {
                Some("let the hole have about that many tokens, as in `[[~16]]`".to_owned())
            }
            Self::Empty => Some("choose a model whose tokenizer has a token for each byte".to_owned()),
            Self::Contradicted => Some("open more of the span, or change what is written in it".to_owned()),
            Self::OutOfOrder => Some("open everything behind the first open position".to_owned()),
            Self::Refused(_) => None,
        }
    }
}

/// What the text of a span may be.
pub trait Constraint: Debug + Send + Sync {
    /// What it is, for messages.
    fn name(&self) -> String;

    /// In which order positions may become final.
    fn order(&self) -> CommitOrder;

    /// Makes ready to fill a span.
    ///
    /// # Errors
    /// When the span cannot be filled.
    fn begin(&self, span: &SpanStart<'_>) -> Result<Box<dyn SpanFiller>, ConstraintError>;
}

/// One span of one request while it is filled.
pub trait SpanFiller: Debug + Send {
    /// Draws a token for each cell with a prediction, in order, so that all of them together leave a completion.
    ///
    /// Where positions become final from left to right, only those have a prediction that a step may commit: no draw may
    /// depend on a prediction behind it.
    ///
    /// # Errors
    /// When there is none, which nothing that this filler drew brings about.
    fn draw(&mut self, cells: &[Cell<'_>]) -> Result<Vec<TokenId>, ConstraintError>;
}

/// A constraint on one span of a request's canvas.
#[derive(Debug, Clone)]
pub struct SpanConstraint {
    /// The number of the span among those of the canvas.
    pub span: usize,
    /// What its text may be.
    pub constraint: Arc<dyn Constraint>,
}

/// A constraint on texts wherever they stand.
#[derive(Debug, Clone)]
pub struct TextConstraint {
    /// For a span whose text is what its tokens say.
    pub plain: Arc<dyn Constraint>,
    /// For a span behind a blank that the tokenizer joins with the first token: the span's text begins behind it.
    pub behind_blank: Arc<dyn Constraint>,
}

impl TextConstraint {
    /// The same constraint for each span of a canvas that has something open, behind a blank where `is_behind_blank`
    /// says so.
    pub fn of_spans(&self, canvas: &Canvas, is_behind_blank: impl Fn(&Span) -> bool) -> Vec<SpanConstraint> {
        let spans = canvas.spans().iter().enumerate();
        let open = spans.filter(|(_, span)| span.positions.clone().any(|position| canvas.is_open(position)));
        let constraint = |span: &Span| if is_behind_blank(span) { &self.behind_blank } else { &self.plain };
        open.map(|(number, span)| SpanConstraint { span: number, constraint: Arc::clone(constraint(span)) }).collect()
    }
}

/// The most positions of a span of exact length times the states of its automaton.
const MOST_LAYERED: usize = 1 << 26;

/// A regular language, kept whatever the order of commits: see [`aquatint_diffusion::constraint`].
#[derive(Debug, Clone)]
pub struct AnyOrder {
    name: String,
    automaton: Arc<TokenAutomaton>,
}

impl AnyOrder {
    /// The sentences of an automaton, under a name for messages.
    pub fn new(name: impl Into<String>, automaton: Arc<TokenAutomaton>) -> Self {
        Self { name: name.into(), automaton }
    }
}

impl Constraint for AnyOrder {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn order(&self) -> CommitOrder {
        CommitOrder::Any
    }

    fn begin(&self, span: &SpanStart<'_>) -> Result<Box<dyn SpanFiller>, ConstraintError> {
        let is_written = |token: &TokenId| self.automaton.writes(*token);
        let forbidden: Vec<TokenId> = span.forbidden.iter().copied().filter(is_written).collect();
        let automaton = match forbidden.is_empty() {
            true => Arc::clone(&self.automaton),
            false => Arc::new(self.automaton.without(&forbidden)),
        };
        let shortest = automaton.shortest().ok_or(ConstraintError::Empty)?;
        let layered = automaton.states().saturating_mul(span.cells.len());
        if span.closing.is_none() && layered > MOST_LAYERED {
            return Err(ConstraintError::TooLong {
                positions: span.cells.len(),
                most: MOST_LAYERED / automaton.states().max(1),
            });
        }
        let language = SpanLanguage::new(automaton, span.closing, span.cells.len());
        if language.has_completion(span.cells) {
            return Ok(Box::new(language));
        }
        let open = span.cells.len();
        let is_fixed = span.cells.iter().any(|cell| matches!(cell, Cell::Fixed(_)));
        Err(match span.closing {
            _ if is_fixed => ConstraintError::Contradicted,
            Some(_) => ConstraintError::NoRoom { open, shortest },
            None => ConstraintError::NoSuchLength { open, shortest },
        })
    }
}

impl SpanFiller for SpanLanguage {
    fn draw(&mut self, cells: &[Cell<'_>]) -> Result<Vec<TokenId>, ConstraintError> {
        SpanLanguage::draw(self, cells).ok_or(ConstraintError::Contradicted)
    }
}

/// A policy under which some spans become final from left to right.
#[derive(Debug, Clone)]
pub(crate) struct InOrder {
    policy: Arc<dyn CommitPolicy>,
    spans: Vec<Range<usize>>,
}

impl InOrder {
    /// Restricts a policy in these spans.
    pub(crate) fn new(policy: Arc<dyn CommitPolicy>, spans: Vec<Range<usize>>) -> Self {
        Self { policy, spans }
    }
}

impl CommitPolicy for InOrder {
    fn name(&self) -> String {
        self.policy.name()
    }

    fn select(&self, step: &Step, proposal: &Proposal, key: Key) -> Commit {
        let chosen = self.policy.select(step, proposal, key).positions;
        let is_free = |position: &usize| !self.spans.iter().any(|span| span.contains(position));
        let mut positions: Vec<usize> = chosen.iter().copied().filter(is_free).collect();
        for span in &self.spans {
            let open = proposal.positions().iter().copied().filter(|position| span.contains(position));
            let own = chosen.iter().filter(|position| span.contains(position)).count();
            let up_to_gap = open.clone().take_while(|position| chosen.contains(position)).count();
            let counted = match self.policy.reads() {
                PlanPart::Counts => own.min(step.commits),
                PlanPart::Staying => own,
                PlanPart::Nothing => 0,
            };
            // A policy that never chooses the first one would leave all of them to the last step.
            let least = usize::from(own > 0);
            positions.extend(open.take(up_to_gap.max(counted).max(least)));
        }
        positions.sort_unstable();
        Commit { positions }
    }

    fn steps(&self, open: usize, requested: usize) -> usize {
        self.policy.steps(open, requested)
    }

    fn reads(&self) -> PlanPart {
        self.policy.reads()
    }
}

/// What a policy chose before constraints drew for it.
#[derive(Debug)]
pub(crate) struct Chosen<'a> {
    pub(crate) policy: &'a dyn CommitPolicy,
    pub(crate) positions: &'a [usize],
}

impl CommitPolicy for Chosen<'_> {
    fn name(&self) -> String {
        self.policy.name()
    }

    fn select(&self, _: &Step, _: &Proposal, _: Key) -> Commit {
        Commit { positions: self.positions.to_vec() }
    }

    fn steps(&self, open: usize, requested: usize) -> usize {
        self.policy.steps(open, requested)
    }

    fn reads(&self) -> PlanPart {
        self.policy.reads()
    }
}
