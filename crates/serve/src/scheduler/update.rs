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
    Block { block: usize, of: usize, positions: Vec<usize>, steps: usize },
    /// One step was taken.
    Step(StepUpdate),
    /// Every position of a block is final.
    BlockCommitted,
    /// Nothing more comes.
    Ended(Box<Ended>),
}

/// One step of denoising.
#[derive(Debug, Clone)]
pub(crate) struct StepUpdate {
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
            Self::Started { .. } | Self::BlockCommitted => 1,
            Self::Block { positions, .. } => 1 + positions.len(),
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
            DenoisingEvent::BlockStarted { block, of, positions, steps, .. } => {
                Self::Block { block, of, positions: positions.to_vec(), steps }
            }
            DenoisingEvent::Step {
                block,
                step,
                of,
                changes,
                closed,
                open,
                forward_passes,
                entropy,
                alternatives,
                ..
            } => {
                let (changes, closed, alternatives) = (changes.to_vec(), closed.to_vec(), alternatives.to_vec());
                Self::Step(StepUpdate { block, step, of, changes, closed, open, forward_passes, entropy, alternatives })
            }
            DenoisingEvent::BlockCommitted { .. } => Self::BlockCommitted,
            DenoisingEvent::Finished { .. } => return None,
        })
    }
}
