//! Events of a running generation: the only output of this crate while it runs.
//!
//! For each request of one part the events follow the grammar
//! `Started (BlockStarted Step* BlockCommitted)* Finished`; with several parts those of each one, told apart by its number,
//! do so between the same `Started` and `Finished`. A request that is cancelled may leave a block without its
//! `BlockCommitted`, and `Finished` still comes last, alone where the request was still waiting. A request that fails
//! ends with its error and without `Finished`. Where an [`Audit`](crate::Audit) has positions of a full block opened again, the
//! step that filled it has them as [`ChangeKind::Renoised`], and more steps follow. Replaying all changes over the canvas of `Started` gives the canvas of
//! the outcome.

use aquatint_diffusion::{Canvas, TokenId};
use std::ops::ControlFlow;

/// Hears the events of one request; breaks to cancel it.
pub(crate) type Listener<'a> = dyn FnMut(DenoisingEvent<'_>) -> ControlFlow<()> + 'a;

/// One thing that happened to one request.
#[derive(Debug, Clone, Copy)]
pub enum DenoisingEvent<'a> {
    /// The request was accepted and its work begins.
    Started {
        /// The canvas as it was given.
        canvas: &'a Canvas,
        /// Forward passes that the plan needs at most; a policy that commits more at once needs fewer, and repairs of an audit
        /// need more.
        forward_passes: usize,
    },
    /// The work on a block of open positions begins.
    BlockStarted {
        /// Of which part of the request, from 0.
        part: usize,
        /// Which block of the part, from 0.
        block: usize,
        /// Blocks in all.
        of: usize,
        /// The block's open positions, ascending.
        positions: &'a [usize],
        /// Steps that the plan gives to the block, at most.
        steps: usize,
    },
    /// One step of denoising was done.
    Step {
        /// Of which part of the request, from 0.
        part: usize,
        /// Which block of the part, from 0.
        block: usize,
        /// Which step of the block, from 0; it goes back where an audit had positions opened again.
        step: usize,
        /// Steps that the plan gives to the block, at most.
        of: usize,
        /// What changed on the canvas, by ascending position.
        changes: &'a [Change],
        /// For each change the likeliest tokens of the prediction that it was drawn from, with their probabilities,
        /// descending, as many as [`Request::alternatives`](crate::Request::alternatives) says: at temperature 1, without
        /// the tokens that are never written there, and before everything that shapes a draw. None of a position that was
        /// renoised, or to which a token was moved. The whole slice is empty where none were asked for.
        alternatives: &'a [Vec<(TokenId, f64)>],
        /// The mean entropy of the predictions about the positions that were open in the block, in nats and before
        /// everything that shapes a draw; 0 where none was.
        entropy: f64,
        /// Positions that fell away because an end token closed their span early, ascending.
        closed: &'a [usize],
        /// Positions of the whole canvas that are still open after the step.
        open: usize,
        /// Forward passes up to this step, as [`Statistics::forward_passes`] counts them.
        forward_passes: usize,
    },
    /// Every position of the block is final.
    BlockCommitted {
        /// Of which part of the request, from 0.
        part: usize,
        /// Which block of the part, from 0.
        block: usize,
        /// Blocks in all.
        of: usize,
    },
    /// Nothing more comes for this request.
    Finished {
        /// Why it ended.
        reason: FinishReason,
        /// What it took.
        statistics: Statistics,
    },
}

/// A change of one position.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Change {
    /// Position on the canvas.
    pub position: usize,
    /// The token now there; the mask where the position was renoised.
    pub token: TokenId,
    /// Probability of the token in the model's prediction at temperature 1, in `[0, 1]`.
    pub confidence: f64,
    /// The entropy of that prediction, in nats; `None` of a position that was renoised, or to which a token was moved.
    pub entropy: Option<f64>,
    /// What was done.
    pub kind: ChangeKind,
}

/// What was done to a position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ChangeKind {
    /// It was open and holds a token now.
    Committed,
    /// It held a token, or would have held one after this step, and is open again.
    Renoised,
    /// It is open and shows another token now.
    Refined,
    /// It held a token and holds another one now.
    Edited,
}

/// Why a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FinishReason {
    /// Every open position was filled.
    Filled,
    /// Every open position was filled or lies behind the end token that closed the last span.
    End,
    /// The listener asked to stop; open positions may be left.
    Cancelled,
}

impl FinishReason {
    /// The reason's name: `filled`, `end` or `cancelled`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Filled => "filled",
            Self::End => "end",
            Self::Cancelled => "cancelled",
        }
    }
}

impl std::fmt::Display for FinishReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// What a request took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Statistics {
    /// Tokens written that are part of the result: neither given nor written before, nor an end token, nor behind one.
    pub tokens: usize,
    /// Times that the network read the canvas, once for all parts; a guided step counts two, since it reads it with and
    /// without the given, and a classifier each of its readings.
    pub forward_passes: usize,
    /// Rows read in all of them together: fewer than passes times positions where some are cached.
    pub rows_read: usize,
    /// Rows that were not read because an earlier request had begun with the same tokens; see
    /// [`Limits::reuse_bytes`](crate::Limits::reuse_bytes).
    pub rows_reused: usize,
    /// Steps of denoising over all blocks of all parts.
    pub steps: usize,
    /// Times that an audit had positions of a block opened again.
    pub repairs: usize,
}

impl Statistics {
    /// Tokens written for each forward pass, 0 without one.
    pub fn tokens_per_forward(&self) -> f64 {
        if self.forward_passes == 0 { 0.0 } else { self.tokens as f64 / self.forward_passes as f64 }
    }
}
