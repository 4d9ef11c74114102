//! What handlers hear of their work: the events of the engine as values of their own.

use aquatint::generate::Change;
use aquatint::vocabulary::TokenId;
use aquatint::{DenoisingEvent, Error, Outcome};
use std::time::Duration;

/// One thing that happened to one request, in the order of [`DenoisingEvent`].
#[derive(Debug)]
pub(crate) enum Update {
    /// The work begins.
    Started { forward_passes: usize },
    /// The work on a block begins.
    Block(BlockUpdate),
    /// One step was taken.
    Step(StepUpdate),
    /// Every position of a block of this part is final.
    BlockCommitted { part: usize },
    /// Nothing more comes.
    Ended(Box<Ended>),
}

/// The beginning of a block.
#[derive(Debug, Clone)]
pub(crate) struct BlockUpdate {
    /// Of which part of the canvas: the text, or a picture or a sound.
    pub(crate) part: usize,
    pub(crate) block: usize,
    pub(crate) of: usize,
    pub(crate) positions: Vec<usize>,
    pub(crate) steps: usize,
}

/// One step of denoising.
#[derive(Debug, Clone)]
pub(crate) struct StepUpdate {
    /// Of which part of the canvas: the text, or a picture or a sound.
    pub(crate) part: usize,
    pub(crate) block: usize,
    pub(crate) step: usize,
    pub(crate) of: usize,
    pub(crate) changes: Vec<Change>,
    pub(crate) closed: Vec<usize>,
    pub(crate) open: usize,
    /// Forward passes up to this step.
    pub(crate) forward_passes: usize,
    /// The mean entropy of the predictions about the open positions of the block, in nats.
    pub(crate) entropy: f64,
    /// The likeliest tokens for each change; empty where they were not requested.
    pub(crate) alternatives: Vec<Vec<(TokenId, f64)>>,
}

/// How a request ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) outcome: Result<Outcome, Error>,
    /// How long it waited for its first step.
    pub(crate) queued: Duration,
    /// How long it took from there.
    pub(crate) took: Duration,
}

impl Update {
    /// What it takes of the memory, about, in changes of positions.
    pub(super) fn weight(&self) -> usize {
        match self {
            Self::Started { .. } | Self::BlockCommitted { .. } => 1,
            Self::Block(BlockUpdate { positions, .. }) => 1 + positions.len(),
            Self::Step(StepUpdate { changes, closed, alternatives, .. }) => {
                1 + changes.len() + closed.len() + alternatives.iter().map(Vec::len).sum::<usize>()
            }
            Self::Ended(_) => 1,
        }
    }

    /// The same event as a value; `None` for the last one, which comes with the outcome.
    pub(crate) fn of(event: DenoisingEvent<'_>) -> Option<Self> {
        Some(match event {
            DenoisingEvent::Started { forward_passes, .. } => Self::Started { forward_passes },
            DenoisingEvent::BlockStarted { part, block, of, positions, steps } => {
                Self::Block(BlockUpdate { part, block, of, positions: positions.to_vec(), steps })
            }
            DenoisingEvent::Step {
                part,
                block,
                step,
                of,
                changes,
                closed,
                open,
                forward_passes,
                entropy,
                alternatives,
            } => {
                let (changes, closed, alternatives) = (changes.to_vec(), closed.to_vec(), alternatives.to_vec());
                Self::Step(StepUpdate {
                    part,
                    block,
                    step,
                    of,
                    changes,
                    closed,
                    open,
                    forward_passes,
                    entropy,
                    alternatives,
                })
            }
            DenoisingEvent::BlockCommitted { part, .. } => Self::BlockCommitted { part },
            DenoisingEvent::Finished { .. } => return None,
        })
    }
}
