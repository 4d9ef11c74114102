//! Why a request cannot be served.

use crate::constraint::ConstraintError;
use crate::{Demand, Limits};
use aquatint_diffusion::{CanvasError, Layout, ProposalError, SettingError};
use aquatint_network::NetworkError;
use std::sync::Arc;

/// What an [`Engine`](crate::Engine) and the builder of [`crate::Settings`] refuse, and what a request can fail with.
#[derive(Debug, Clone, thiserror::Error)]
pub enum GenerateError {
    /// A setting has a value that it cannot have.
    #[error(transparent)]
    Setting(#[from] SettingError),
    /// The canvas is longer than the model can read.
    #[error("the canvas has {length} positions, {given} of them given; the model reads at most {context_length}")]
    TooLong {
        /// Positions of the canvas.
        length: usize,
        /// Positions of it that are given.
        given: usize,
        /// The model's limit.
        context_length: usize,
    },
    /// Nothing is left to fill.
    #[error("the canvas has no open position")]
    NothingOpen,
    /// A token of the canvas is not in the model's vocabulary.
    #[error("position {position} of the canvas holds token {token}; the model's vocabulary has {vocabulary_size}")]
    ForeignToken {
        /// The position.
        position: usize,
        /// Its token.
        token: u32,
        /// Size of the vocabulary.
        vocabulary_size: usize,
    },
    /// The request takes more than the engine's limits.
    #[error("the request takes {demand}; the limits are {} rows and {} bytes", limits.rows, limits.bytes)]
    BeyondLimits {
        /// What it takes.
        demand: Demand,
        /// The limits.
        limits: Limits,
    },
    /// The network's answer does not match the query.
    #[error("the network did not answer what it was asked about position {position}")]
    OtherAnswer {
        /// The position.
        position: usize,
    },
    /// Nothing can be drawn from a prediction.
    #[error("the model's prediction at position {position} cannot be used")]
    Proposal {
        /// The position.
        position: usize,
        /// Why not.
        source: ProposalError,
    },
    /// A causal network was to be run by a process that does not write from left to right, or the other way round.
    #[error("the process {process} does not fit the model, whose attention is {attention}")]
    ForeignProcess {
        /// The process.
        process: String,
        /// What the network's positions see.
        attention: Layout,
    },
    /// A causal network has nothing to begin with.
    #[error("a causal model needs a token that begins a text, and its tokenizer has none")]
    NoBegin,
    /// A network whose finished text is causal was to fill a hole before given text.
    #[error(
        "a {attention} model writes from left to right and does not see the text behind a hole, which begins at \
         position {position} of the canvas"
    )]
    GivenBehindHole {
        /// What the network's positions see.
        attention: Layout,
        /// The first given position behind an open one.
        position: usize,
    },
    /// A span cannot be filled as its constraint says.
    #[error("span {span} of the canvas cannot be filled as the {constraint} says")]
    Constraint {
        /// The span, counted from 0.
        span: usize,
        /// What the constraint is.
        constraint: String,
        /// Why not.
        source: ConstraintError,
    },
    /// An audit refused what was written.
    #[error("what was written is refused: {reason}")]
    Refused {
        /// What offends.
        reason: String,
        /// How often it was written anew.
        repairs: usize,
    },
    /// The canvas refused a write, which no policy should bring about.
    #[error("the canvas refused a write")]
    Canvas(#[from] CanvasError),
    /// The network failed: the same error for all whose canvases it was reading.
    #[error("the network failed")]
    Network(#[source] Arc<NetworkError>),
}

impl GenerateError {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Setting(error) => error.hint(),
            Self::TooLong { given, context_length, .. } if given < context_length => Some(format!(
                "ask for at most {} open positions (`max_tokens`), or shorten the given text",
                context_length - given
            )),
            Self::TooLong { .. } => Some("shorten the given text".to_owned()),
            Self::NothingOpen => Some("leave a place open, as in `The [[3]] sat.`".to_owned()),
            Self::ForeignToken { .. } => Some("the tokenizer and the weights do not belong together".to_owned()),
            Self::Proposal { source: ProposalError::NotANumber { .. }, .. } => {
                Some("the checkpoint is broken; take an earlier one".to_owned())
            }
            Self::Proposal { .. } => Some("forbid fewer tokens".to_owned()),
            Self::ForeignProcess { .. } => Some("take the process that `process_of` gives for the model".to_owned()),
            Self::NoBegin => Some("name one in tokenizer_config.json (`bos_token`)".to_owned()),
            Self::GivenBehindHole { attention: Layout::Causal, .. } => {
                Some("put the hole at the end of the text, or choose a diffusion model".to_owned())
            }
            Self::GivenBehindHole { .. } => {
                Some("put the hole at the end of the text, or choose a model with full attention".to_owned())
            }
            Self::BeyondLimits { .. } => Some("leave fewer positions open, or raise the limits".to_owned()),
            Self::Network(error) => error.hint(),
            Self::Constraint { source, .. } => source.hint(),
            Self::Refused { .. } => Some("another seed writes another text".to_owned()),
            Self::Canvas(_) | Self::OtherAnswer { .. } => None,
        }
    }
}

impl From<NetworkError> for GenerateError {
    fn from(error: NetworkError) -> Self {
        Self::Network(Arc::new(error))
    }
}
