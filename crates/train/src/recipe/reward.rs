//! What a model learns from rewards: how completions are drawn, what they are worth, and what follows from it.

use super::{ObjectiveKind, Resolved, SourceRecipe};
use crate::RecipeError;
use aquatint_checkpoint::Checkpoint;
use aquatint_diffusion::CommitPolicy;
use aquatint_diffusion::policy::{self, Learnt};
use aquatint_reward::{RewardError, Rewards, Seconds};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// The reward of a completion, and how the model learns from it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RewardRecipe {
    /// What a completion is worth: the weighted sum of these.
    pub terms: Vec<RewardTerm>,
    /// Completions of each prompt, a group; divides `optimiser.batch`, which counts completions.
    #[serde(default = "defaults::completions")]
    pub completions: usize,
    /// Positions of a completion behind its prompt, which an end token may close early. 0 for as many as the text has
    /// behind the first `objective.prompt` tokens.
    #[serde(default)]
    pub completion_length: usize,
    /// Steps of the optimiser on the completions of one rollout.
    #[serde(default = "defaults::updates")]
    pub updates: u64,
    /// How the log-probability of a completion is estimated.
    #[serde(default)]
    pub estimator: EstimatorKind,
    /// Readings of each completion that the estimators `bound`, `two-sided` and `trace` take.
    #[serde(default = "defaults::readings")]
    pub readings: usize,
    /// The share of the prompt that the estimator `mean-field` hides.
    #[serde(default = "defaults::hidden_prompt")]
    pub hidden_prompt: f64,
    /// What is minimised of the estimates.
    #[serde(default)]
    pub surrogate: SurrogateKind,
    /// What an advantage is in units of.
    #[serde(default)]
    pub scale: AdvantageScale,
    /// How far from 1 the ratio of probabilities counts, under the surrogate `clipped`.
    #[serde(default = "defaults::clip")]
    pub clip: f64,
    /// What the divergence from the model of `initial` weighs; 0 for none, which saves that model's passes and memory.
    #[serde(default)]
    pub kl: f64,
    /// How that divergence is estimated.
    #[serde(default)]
    pub kl_estimator: KlEstimator,
    /// Nats per token below which the model's entropy is raised beside its reward; 0 for no floor, which saves a reading.
    #[serde(default)]
    pub entropy_floor: f64,
    /// Steps of denoising of each block of a completion.
    #[serde(default = "defaults::steps")]
    pub steps: usize,
    /// Positions that are filled together; all of them where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub block_length: Option<usize>,
    /// The commit policy by its name.
    #[serde(default = "defaults::policy")]
    pub policy: String,
    /// Temperature of the draws.
    #[serde(default = "defaults::temperature")]
    pub temperature: f64,
    /// Seconds that a program may take over the completions of a rollout.
    #[serde(default = "defaults::program_seconds")]
    pub program_seconds: f64,
}

/// One reward with its weight.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RewardTerm {
    /// Its name, as the crate `aquatint-reward` lists them: `sudoku`, `length:40`, …
    pub name: String,
    /// What it is multiplied by.
    #[serde(default = "defaults::weight")]
    pub weight: f64,
}

/// How the log-probability of a completion is estimated, which no diffusion model states.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EstimatorKind {
    /// Each token by itself, from a completion that is hidden whole (d1, 2504.12216).
    MeanField,
    /// Each token from a completion hidden whole and from one of two masks that complement each other (coupled-GRPO,
    /// 2506.20639).
    #[default]
    Coupled,
    /// The bound of the completion as a whole, in nats per token (UniGRPO, 2505.15809; ESPO, 2512.03759).
    Bound,
    /// Each token from the canvas on which it was committed (TraceRL, 2509.06949).
    Trace,
    /// The bound where the advantage is above 0, an upper bound where it is below (SPG, 2510.09541).
    TwoSided,
}

/// What is minimised of the estimates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SurrogateKind {
    /// The clipped ratio to the probability when the completion was drawn, times the advantage (PPO, GRPO).
    #[default]
    Clipped,
    /// The log-probability times the advantage.
    Plain,
    /// The log-probability, weighted within its group by the softmax of the advantages and of their opposites (wd1,
    /// 2507.08838).
    Weighted,
}

/// What an advantage, a reward without the mean of its group, is in units of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AdvantageScale {
    /// The standard deviation of the group's rewards (GRPO, 2402.03300).
    #[default]
    Deviation,
    /// The reward itself.
    Reward,
}

/// How the divergence from the reference is estimated, with `d` the difference of log-probabilities.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KlEstimator {
    /// `d²/2`.
    K2,
    /// `exp(−d) − 1 + d`.
    #[default]
    K3,
}

impl RewardRecipe {
    /// What its keys are where nothing is said, without terms.
    pub(super) fn usual() -> Self {
        Self {
            terms: Vec::new(),
            completions: defaults::completions(),
            completion_length: 0,
            updates: defaults::updates(),
            estimator: EstimatorKind::default(),
            readings: defaults::readings(),
            hidden_prompt: defaults::hidden_prompt(),
            surrogate: SurrogateKind::default(),
            scale: AdvantageScale::default(),
            clip: defaults::clip(),
            kl: 0.0,
            kl_estimator: KlEstimator::default(),
            entropy_floor: 0.0,
            steps: defaults::steps(),
            block_length: None,
            policy: defaults::policy(),
            temperature: defaults::temperature(),
            program_seconds: defaults::program_seconds(),
        }
    }

    /// The rewards.
    pub(crate) fn rewards(&self) -> Result<Rewards, RewardError> {
        let seconds = Seconds::new(self.program_seconds)?;
        Rewards::new(self.terms.iter().map(|term| (term.name.as_str(), term.weight)), seconds)
    }

    /// The commit policy, which may be the learnt order of the model that the run begins with.
    pub(crate) fn policy(&self, initial: Option<&Checkpoint>) -> Result<Arc<dyn CommitPolicy>, RecipeError> {
        let order = initial.and_then(|checkpoint| checkpoint.generation.order.as_ref());
        policy::by_name_with(&self.policy, order).map_err(RecipeError::Policy)
    }

    /// Prompts of a step of so many completions.
    pub(crate) fn prompts(&self, completions: usize) -> usize {
        completions / self.completions.max(1)
    }
}

/// Refuses a recipe that has one without the other, or keys that rewards leave without an effect.
pub(super) fn check(recipe: &Resolved) -> Result<(), RecipeError> {
    let wrong = |key, given: &str, allowed: &'static str| Err(RecipeError::value(key, given, allowed));
    let Some(reward) = &recipe.reward else {
        return match recipe.objective.kind.draws_completions() {
            true => wrong("reward", "unset", "a table with `terms` where `objective.kind` is \"reward\" or \"order\""),
            false => Ok(()),
        };
    };
    if !recipe.objective.kind.draws_completions() {
        return wrong("reward", "a table", "nothing but where `objective.kind` is \"reward\" or \"order\"");
    }
    if recipe.initial.is_none() {
        let allowed = "another objective without `initial`: a model learns to write before it is rewarded";
        return wrong("objective.kind", &format!("\"{}\"", recipe.objective.kind.name()), allowed);
    }
    if recipe.distillation.is_some() {
        return wrong("distillation", "a table", "nothing where `objective.kind` is \"reward\" or \"order\"");
    }
    if !recipe.data.codecs.is_empty() || recipe.data.train.iter().any(|SourceRecipe { media, .. }| media.is_some()) {
        return wrong(
            "data.codecs",
            "set",
            "nothing where `objective.kind` is \"reward\" or \"order\": completions are text",
        );
    }
    // A prompt has its meaning here, too.
    if let Some(key) = recipe.objective.stated_of_the_bound().find(|key| *key != "objective.prompt") {
        return wrong(
            key,
            "set",
            "nothing where `objective.kind` is \"reward\" or \"order\", which reads completions of the model's own",
        );
    }
    let batch = recipe.optimiser.batch;
    if !batch.is_multiple_of(reward.completions) {
        let allowed = "a divisor of `optimiser.batch`, which counts completions";
        return wrong("reward.completions", &reward.completions.to_string(), allowed);
    }
    match (recipe.objective.prompt, reward.completion_length) {
        (0, 0) => {
            let allowed = "1 or more, for texts that hold their own completions, or 0 with `reward.completion_length`";
            return wrong("objective.prompt", "0", allowed);
        }
        (1.., 1..) => {
            let allowed = "0 with `reward.completion_length`, where all of a text is the prompt";
            return wrong("objective.prompt", &recipe.objective.prompt.to_string(), allowed);
        }
        (_, length) if length >= recipe.data.canvas_length => {
            let allowed = "fewer than `data.canvas_length`";
            return wrong("reward.completion_length", &length.to_string(), allowed);
        }
        _ => {}
    }
    if recipe.objective.kind == ObjectiveKind::Reward && reward.temperature == 0.0 {
        let allowed = "above 0, at most 100: completions of temperature 0 are all alike";
        return wrong("reward.temperature", "0", allowed);
    }
    let takes_pairs = matches!(reward.estimator, EstimatorKind::Bound | EstimatorKind::TwoSided);
    if takes_pairs && reward.readings > 1 && !reward.readings.is_multiple_of(2) {
        let allowed = "1 or an even number under the estimators `bound` and `two-sided`, whose masks are pairs";
        return wrong("reward.readings", &reward.readings.to_string(), allowed);
    }
    if reward.estimator == EstimatorKind::TwoSided && reward.entropy_floor > 0.0 {
        let allowed = "0 under the estimator `two-sided`, which reads a completion by the sign of its advantage";
        return wrong("reward.entropy_floor", &reward.entropy_floor.to_string(), allowed);
    }
    for RewardTerm { name, weight } in &reward.terms {
        if !(-1e6..=1e6).contains(weight) {
            let given = format!("{weight} for `{name}`");
            return wrong("reward.terms.weight", &given, "-1000000 to 1000000");
        }
    }
    // Whether the model has a learnt order is known when that is opened; its name may be there.
    if reward.policy.split(':').next() != Some(Learnt::NAME) {
        policy::by_name(&reward.policy).map_err(RecipeError::Policy)?;
    }
    reward.rewards().map(drop).map_err(RecipeError::Reward)
}

mod defaults {
    pub(super) fn completions() -> usize {
        8
    }
    pub(super) fn updates() -> u64 {
        1
    }
    pub(super) fn readings() -> usize {
        2
    }
    pub(super) fn hidden_prompt() -> f64 {
        0.15
    }
    pub(super) fn clip() -> f64 {
        0.2
    }
    pub(super) fn steps() -> usize {
        64
    }
    pub(super) fn policy() -> String {
        "confidence".to_owned()
    }
    pub(super) fn temperature() -> f64 {
        1.0
    }
    pub(super) fn program_seconds() -> f64 {
        60.0
    }
    pub(super) fn weight() -> f64 {
        1.0
    }
}
