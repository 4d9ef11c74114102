//! How a canvas is filled: checked once, when the settings are built.

mod builder;

pub use builder::SettingsBuilder;

use crate::constraint::TextConstraint;
use crate::{BlocksFrom, Cache, ClassifierGuidance, ConfidenceOf, Mark, StopAt, Watermark};
use aquatint_diffusion::{
    CommitPolicy, Counting, Editing, LengthTokens, Remasking, Shaping, Stability, TimeGrid, TokenId,
};
use std::sync::Arc;

/// The name of the process's own policy.
const AUTO: &str = "auto";

/// How a canvas is filled. [`Settings::builder`] makes others; the default is the process's own policy in 64 steps over
/// the whole canvas, drawing from the prediction as it is, with seed 0.
#[derive(Debug, Clone)]
pub struct Settings {
    pub(crate) steps: usize,
    pub(crate) block_length: Option<usize>,
    /// `None` for the process's own.
    pub(crate) policy: Option<Arc<dyn CommitPolicy>>,
    pub(crate) remasking: Remasking,
    pub(crate) shaping: Shaping,
    /// Ascending by token.
    pub(crate) logit_bias: Vec<(TokenId, f64)>,
    pub(crate) choice: TokenChoice,
    pub(crate) guidance_scale: f64,
    pub(crate) unconditional_prompt: Option<Vec<TokenId>>,
    pub(crate) classifier: Option<ClassifierGuidance>,
    pub(crate) stability: Option<Stability>,
    pub(crate) cache: Option<Cache>,
    pub(crate) cache_refresh: Option<usize>,
    pub(crate) churn: Option<f64>,
    pub(crate) correctors: usize,
    pub(crate) revise: bool,
    pub(crate) commit_likeliest: bool,
    pub(crate) grid: TimeGrid,
    pub(crate) stepping: Stepping,
    /// Steps that only edit, whether anything is edited or not.
    pub(crate) edit_steps: usize,
    /// `None` where nothing is edited.
    pub(crate) editing: Option<Editing>,
    pub(crate) length_tokens: Option<LengthTokens>,
    pub(crate) constraint: Option<TextConstraint>,
    pub(crate) watermark: Option<Arc<dyn Watermark>>,
    pub(crate) seed: u64,
}

impl Settings {
    /// Begins with the default settings.
    pub fn builder() -> SettingsBuilder {
        SettingsBuilder::default()
    }

    /// Denoising steps for each block.
    pub fn steps(&self) -> usize {
        self.steps
    }

    /// Open positions that are filled together; `None` for all of them.
    pub fn block_length(&self) -> Option<usize> {
        self.block_length
    }

    /// The commit policy's name; `auto` for the process's own.
    pub fn policy_name(&self) -> String {
        self.policy.as_ref().map_or_else(|| AUTO.to_owned(), |policy| policy.name())
    }

    /// The remasking rule.
    pub fn remasking(&self) -> &Remasking {
        &self.remasking
    }

    /// How tokens are drawn from a prediction.
    pub fn shaping(&self) -> &Shaping {
        &self.shaping
    }

    /// What is added to the logits of tokens before one is drawn, ascending by token.
    pub fn logit_bias(&self) -> &[(TokenId, f64)] {
        &self.logit_bias
    }

    /// `s` in `log p = u + s (c - u)`; 1 is neutral.
    pub fn guidance_scale(&self) -> f64 {
        self.guidance_scale
    }

    /// What the unconditional branch reads in place of what is given before the first open position; `None` for noise in
    /// each given position.
    pub fn unconditional_prompt(&self) -> Option<&[TokenId]> {
        self.unconditional_prompt.as_deref()
    }

    /// By what a classifier guides; `None` where none does.
    pub fn classifier(&self) -> Option<&ClassifierGuidance> {
        self.classifier.as_ref()
    }

    /// The KV cache; `None` for the exact one where the network allows it, else none.
    pub fn cache(&self) -> Option<Cache> {
        self.cache
    }

    /// Steps after which an approximate cache is recomputed; at the beginning of a block it always is.
    pub fn cache_refresh(&self) -> Option<usize> {
        self.cache_refresh
    }

    /// How much of the noise at positions that stay open is drawn again at each step; `None` as the process has it.
    pub fn churn(&self) -> Option<f64> {
        self.churn
    }

    /// Corrector steps after each step but the last.
    pub fn correctors(&self) -> usize {
        self.correctors
    }

    /// Whether what the policy accepts stays open up to the last step.
    pub fn revises(&self) -> bool {
        self.revise
    }

    /// Whether a step that makes all open positions final writes the likeliest tokens.
    pub fn commits_likeliest(&self) -> bool {
        self.commit_likeliest
    }

    /// What is watched to end a block early.
    pub fn stability(&self) -> Option<&Stability> {
        self.stability.as_ref()
    }

    /// The times that the steps lead to.
    pub fn time_grid(&self) -> &TimeGrid {
        &self.grid
    }

    /// Tokens that are never written and have no part in a prediction, ascending.
    pub fn suppress_tokens(&self) -> &[TokenId] {
        &self.choice.suppressed
    }

    /// Tokens in which there is no confidence, ascending.
    pub fn defer_tokens(&self) -> &[TokenId] {
        &self.choice.deferred
    }

    /// Of which distribution confidence, entropy and margin are.
    pub fn confidence_of(&self) -> ConfidenceOf {
        self.choice.confidence_of
    }

    /// The token that ends a text; `None` for that of the request.
    pub fn end_token(&self) -> Option<TokenId> {
        self.choice.end
    }

    /// How many positions each step leaves open.
    pub fn counting(&self) -> Counting {
        self.stepping.counting
    }

    /// The time to which steps are spread evenly.
    pub fn end_time(&self) -> f64 {
        self.stepping.end_time
    }

    /// Whether the first step of a block makes its first position final and no other.
    pub fn leads(&self) -> bool {
        self.stepping.leads
    }

    /// From where blocks are counted.
    pub fn blocks_from(&self) -> BlocksFrom {
        self.stepping.blocks_from
    }

    /// Whether blocks are drafts, of which the causal pass keeps what it would have written.
    pub fn self_speculation(&self) -> bool {
        self.stepping.self_speculation
    }

    /// When an end token closes its span.
    pub fn stop_at(&self) -> StopAt {
        self.stepping.stop_at
    }

    /// How committed tokens are edited; `None` where they stay.
    pub fn editing(&self) -> Option<&Editing> {
        self.editing.as_ref()
    }

    /// The tokens by which positions are deleted and inserted; `None` where a text has none.
    pub fn length_tokens(&self) -> Option<&LengthTokens> {
        self.length_tokens.as_ref()
    }

    /// What the text of each span may be; `None` for anything.
    pub fn constraint(&self) -> Option<&TextConstraint> {
        self.constraint.as_ref()
    }

    /// The mark on what is written; `None` for none.
    pub fn watermark(&self) -> Option<&dyn Watermark> {
        self.watermark.as_deref()
    }

    /// The seed.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// The same settings with another seed.
    #[must_use]
    pub fn with_seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// The same settings with a constraint, which belongs to a vocabulary.
    #[must_use]
    pub fn with_constraint(mut self, constraint: Option<TextConstraint>) -> Self {
        self.constraint = constraint;
        self
    }

    /// The same settings with guidance by a classifier, whose target belongs to a vocabulary.
    #[must_use]
    pub fn with_classifier(mut self, classifier: Option<ClassifierGuidance>) -> Self {
        self.classifier = classifier;
        self
    }

    /// The same settings with a mark on what is written.
    #[must_use]
    pub fn with_watermark(mut self, watermark: Option<Arc<dyn Watermark>>) -> Self {
        self.watermark = watermark;
        self
    }

    /// Whether a mark acts where tokens are drawn, on the host.
    pub(crate) fn marks_draws(&self) -> bool {
        self.watermark().is_some_and(|watermark| !matches!(watermark.mark(), Mark::Order(_)))
    }

    /// Whether a mark acts on the order of commits.
    pub(crate) fn marks_order(&self) -> bool {
        self.watermark().is_some_and(|watermark| matches!(watermark.mark(), Mark::Order(_)))
    }

    /// Whether a step reads the canvas twice, with and without what is given.
    pub(crate) fn is_guided(&self) -> bool {
        self.guidance_scale != 1.0
    }
}

impl Default for Settings {
    fn default() -> Self {
        SettingsBuilder::default().assemble(None, Remasking::None, (None, None))
    }
}

/// Which tokens may be written, and what the confidence in one is.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct TokenChoice {
    /// Ascending, each once.
    pub(crate) suppressed: Vec<TokenId>,
    /// Ascending, each once.
    pub(crate) deferred: Vec<TokenId>,
    pub(crate) confidence_of: ConfidenceOf,
    pub(crate) end: Option<TokenId>,
}

/// How many positions a step makes final, and when a text ends.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Stepping {
    pub(crate) counting: Counting,
    pub(crate) end_time: f64,
    pub(crate) leads: bool,
    pub(crate) stop_at: StopAt,
    pub(crate) blocks_from: BlocksFrom,
    pub(crate) self_speculation: bool,
}
