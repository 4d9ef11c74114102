//! What a request took.

use aquatint::diffusion::PositionState;
use aquatint::{Canvas, Statistics};
use serde::Serialize;
use utoipa::ToSchema;

/// What a request took, in OpenAI's fields and ours.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, ToSchema)]
pub(crate) struct Usage {
    /// Tokens that were given, or written by an earlier request and kept.
    pub(crate) prompt_tokens: usize,
    /// Tokens that were written and are part of the result.
    pub(crate) completion_tokens: usize,
    /// Both.
    pub(crate) total_tokens: usize,
    /// Times that the network read the canvas; a guided step counts two.
    pub(crate) forward_passes: usize,
    /// Tokens written for each of them.
    pub(crate) tokens_per_forward: f64,
    /// Rows computed in all of them together.
    pub(crate) rows_read: usize,
    /// Steps of denoising.
    pub(crate) steps: usize,
    /// Of the tokens that were given.
    pub(crate) prompt_tokens_details: PromptTokensDetails,
}

/// What became of the tokens that were given.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, ToSchema)]
pub(crate) struct PromptTokensDetails {
    /// Those that were not read, because an earlier request had begun with them.
    pub(crate) cached_tokens: usize,
}

impl Usage {
    /// What filling a canvas took, which is taken as it began.
    pub(crate) fn new(canvas: &Canvas, statistics: &Statistics) -> Self {
        let is_given =
            |position: &usize| matches!(canvas.state(*position), Some(PositionState::Given | PositionState::Committed));
        let given = (0..canvas.len()).filter(is_given).count();
        Self {
            prompt_tokens: given,
            completion_tokens: statistics.tokens,
            total_tokens: given + statistics.tokens,
            forward_passes: statistics.forward_passes,
            tokens_per_forward: statistics.tokens_per_forward(),
            rows_read: statistics.rows_read,
            steps: statistics.steps,
            // A row that is taken over may hold what stands before the text.
            prompt_tokens_details: PromptTokensDetails { cached_tokens: statistics.rows_reused.min(given) },
        }
    }

    /// The sum over several results of one prompt.
    pub(crate) fn sum(all: impl IntoIterator<Item = Self>) -> Self {
        all.into_iter().fold(Self::default(), |sum, one| {
            let forward_passes = sum.forward_passes + one.forward_passes;
            let (prompt_tokens, completion_tokens) = (one.prompt_tokens, sum.completion_tokens + one.completion_tokens);
            Self {
                prompt_tokens,
                completion_tokens,
                total_tokens: prompt_tokens + completion_tokens,
                forward_passes,
                tokens_per_forward: completion_tokens as f64 / forward_passes.max(1) as f64,
                rows_read: sum.rows_read + one.rows_read,
                steps: sum.steps + one.steps,
                prompt_tokens_details: PromptTokensDetails {
                    cached_tokens: one.prompt_tokens_details.cached_tokens.max(sum.prompt_tokens_details.cached_tokens),
                },
            }
        })
    }
}
