//! Settings while they are collected; what they may be is checked in [`SettingsBuilder::build`].

use super::{AUTO, Settings, Stepping, TokenChoice};
use crate::{BlocksFrom, Cache, ConfidenceOf, GenerateError, StopAt};
use aquatint_diffusion::{
    CommitPolicy, Counting, Editing, LengthTokens, OrderNetwork, Remasking, SettingError, Shaping, Stability, TimeGrid,
    TokenId, policy,
};
use std::collections::BTreeSet;
use std::sync::Arc;

/// A setting as a value, or by a name that is looked up when everything is checked.
#[derive(Debug, Clone)]
enum Choice<T> {
    Given(T),
    Named(String),
}

/// Collects settings and checks them all in [`SettingsBuilder::build`].
#[derive(Debug, Clone)]
pub struct SettingsBuilder {
    steps: usize,
    block_length: Option<usize>,
    policy: Choice<Arc<dyn CommitPolicy>>,
    learnt_order: Option<Arc<OrderNetwork>>,
    remasking: Choice<Remasking>,
    shaping: Shaping,
    logit_bias: Vec<(TokenId, f64)>,
    choice: TokenChoice,
    guidance_scale: f64,
    unconditional_prompt: Option<Vec<TokenId>>,
    stability: Option<Stability>,
    cache: Option<Cache>,
    cache_refresh: Option<usize>,
    churn: Option<f64>,
    correctors: usize,
    revise: bool,
    commit_likeliest: bool,
    grid: TimeGrid,
    stepping: Stepping,
    edit_threshold: f64,
    edit_steps: usize,
    delete_token: Option<TokenId>,
    insert_token: Option<TokenId>,
    seed: u64,
}

impl Default for SettingsBuilder {
    fn default() -> Self {
        Self {
            steps: 64,
            block_length: None,
            policy: Choice::Named(AUTO.to_owned()),
            learnt_order: None,
            remasking: Choice::Given(Remasking::None),
            shaping: Shaping::NONE,
            logit_bias: Vec::new(),
            choice: TokenChoice::default(),
            guidance_scale: 1.0,
            unconditional_prompt: None,
            stability: None,
            cache: None,
            cache_refresh: None,
            churn: None,
            correctors: 0,
            revise: false,
            commit_likeliest: false,
            grid: TimeGrid::default(),
            stepping: Stepping::default(),
            edit_threshold: 1.0,
            edit_steps: Editing::STEPS,
            delete_token: None,
            insert_token: None,
            seed: 0,
        }
    }
}

impl SettingsBuilder {
    /// Denoising steps for each block, 1 or more.
    #[must_use]
    pub fn steps(mut self, steps: usize) -> Self {
        self.steps = steps;
        self
    }

    /// Open positions that are filled together, block after block, 1 or more. Without it all of them are one block.
    #[must_use]
    pub fn block_length(mut self, length: usize) -> Self {
        self.block_length = Some(length);
        self
    }

    /// Which predictions become final at a step: one of [`aquatint_diffusion::policy`], or one of your own.
    #[must_use]
    pub fn policy(mut self, policy: Arc<dyn CommitPolicy>) -> Self {
        self.policy = Choice::Given(policy);
        self
    }

    /// The same by name: see [`aquatint_diffusion::policy::by_name_with`]; `auto` for the process's own.
    #[must_use]
    pub fn policy_named(mut self, name: &str) -> Self {
        self.policy = Choice::Named(name.to_owned());
        self
    }

    /// The model's learnt order, by which the policy `learnt` commits.
    #[must_use]
    pub fn learnt_order(mut self, order: Option<Arc<OrderNetwork>>) -> Self {
        self.learnt_order = order;
        self
    }

    /// Which tokens are taken back (ReMDM).
    #[must_use]
    pub fn remasking(mut self, remasking: Remasking) -> Self {
        self.remasking = Choice::Given(remasking);
        self
    }

    /// The same by name: `none`, `cap:0.02`, …
    #[must_use]
    pub fn remasking_named(mut self, name: &str) -> Self {
        self.remasking = Choice::Named(name.to_owned());
        self
    }

    /// 0 takes the likeliest token, 1 draws from the prediction.
    #[must_use]
    pub fn temperature(mut self, temperature: f64) -> Self {
        self.shaping.temperature = temperature;
        self
    }

    /// The temperature that the steps of a block approach, evenly from `temperature` at its first step.
    #[must_use]
    pub fn final_temperature(mut self, temperature: f64) -> Self {
        self.shaping.final_temperature = Some(temperature);
        self
    }

    /// Draws among the `k` likeliest tokens only.
    #[must_use]
    pub fn top_k(mut self, k: usize) -> Self {
        self.shaping.top_k = Some(k);
        self
    }

    /// Draws among the likeliest tokens that hold this share of the probability.
    #[must_use]
    pub fn top_p(mut self, share: f64) -> Self {
        self.shaping.top_p = Some(share);
        self
    }

    /// Draws among the tokens that are at least this share as likely as the likeliest one, after the temperature and
    /// before top-k and top-p; from 0 to 1, and 0 is neutral.
    #[must_use]
    pub fn min_p(mut self, share: f64) -> Self {
        self.shaping.min_p = Some(share);
        self
    }

    /// Makes tokens that are on the canvas already, given or written, less likely; 1 is neutral.
    #[must_use]
    pub fn repetition_penalty(mut self, penalty: f64) -> Self {
        self.shaping.repetition_penalty = penalty;
        self
    }

    /// Is taken from the logits of tokens that are on the canvas already, given or written; from −2 to 2, and 0 is
    /// neutral.
    #[must_use]
    pub fn presence_penalty(mut self, penalty: f64) -> Self {
        self.shaping.presence_penalty = penalty;
        self
    }

    /// Is taken from the logit of a token for each time that it is on the canvas already, given or written; from −2 to 2,
    /// and 0 is neutral.
    #[must_use]
    pub fn frequency_penalty(mut self, penalty: f64) -> Self {
        self.shaping.frequency_penalty = penalty;
        self
    }

    /// Adds to the logits of tokens, from −100 to 100 and once for each token, behind the repetition penalty: −100 keeps a
    /// token from being drawn, 100 has it drawn wherever it is allowed. Confidence and entropy stay those of the prediction
    /// itself.
    #[must_use]
    pub fn logit_bias(mut self, biases: impl IntoIterator<Item = (TokenId, f64)>) -> Self {
        self.logit_bias = biases.into_iter().collect();
        self.logit_bias.sort_by_key(|(token, _)| *token);
        self
    }

    /// `s` in `log p = u + s (c - u)`, 0 or more; 1 is neutral and costs nothing, any other doubles the work.
    #[must_use]
    pub fn guidance_scale(mut self, scale: f64) -> Self {
        self.guidance_scale = scale;
        self
    }

    /// What the unconditional branch of guidance reads in place of all that is given before the first open position; what is
    /// given behind it stays (MMaDA, 2505.15809; elsewhere a negative prompt). No longer than what it replaces. Without it,
    /// the branch reads noise in each given position. The token with which a model's texts begin stays in both
    /// ([`Request::begin`](crate::Request::begin)).
    #[must_use]
    pub fn unconditional_prompt(mut self, tokens: impl IntoIterator<Item = TokenId>) -> Self {
        self.unconditional_prompt = Some(tokens.into_iter().collect());
        self
    }

    /// Fills the rest of a block at once when its predictions are sure and have stopped to change. With `revise`, a block
    /// may then take all steps that are asked for, even more than it has positions.
    #[must_use]
    pub fn stability(mut self, stability: Stability) -> Self {
        self.stability = Some(stability);
        self
    }

    /// The KV cache. Default: the exact one where the network allows it, else none.
    #[must_use]
    pub fn cache(mut self, cache: Cache) -> Self {
        self.cache = Some(cache);
        self
    }

    /// Reads everything again after this many steps, 1 or more, where the cache is approximate.
    #[must_use]
    pub fn cache_refresh(mut self, steps: usize) -> Self {
        self.cache_refresh = Some(steps);
        self
    }

    /// How much of the noise at positions that stay open is drawn again at each step, from 0 to 1; without it, as the
    /// process itself has it.
    #[must_use]
    pub fn churn(mut self, churn: f64) -> Self {
        self.churn = Some(churn);
        self
    }

    /// Steps after each but the last that stay at its time and draw the noise again (predictor-corrector).
    #[must_use]
    pub fn correctors(mut self, steps: usize) -> Self {
        self.correctors = steps;
        self
    }

    /// What the policy accepts is shown and stays open, and the rest becomes pure noise again, up to the last step
    /// (DiffusionGemma, 2608.00146).
    #[must_use]
    pub fn revise(mut self, revise: bool) -> Self {
        self.revise = revise;
        self
    }

    /// A step that makes all open positions final, the last of a block among them, writes the likeliest token of each and
    /// not the one that was drawn (DiffusionGemma, 2608.00146). A constraint's tokens are those that it drew.
    #[must_use]
    pub fn commit_likeliest(mut self, likeliest: bool) -> Self {
        self.commit_likeliest = likeliest;
        self
    }

    /// The times that the steps lead to; without it they are even.
    #[must_use]
    pub fn time_grid(mut self, grid: TimeGrid) -> Self {
        self.grid = grid;
        self
    }

    /// Tokens that are never written. They have no part in predictions, so that confidence and entropy are of what is left
    /// (LLaDA's `logits_eos_inf`, dllm's `suppress_tokens`).
    #[must_use]
    pub fn suppress_tokens(mut self, tokens: impl IntoIterator<Item = TokenId>) -> Self {
        self.choice.suppressed = once_each(tokens);
        self
    }

    /// Tokens that are written as late as possible: their confidence is 0, and that of other tokens is of the prediction
    /// without them (LLaDA's `confidence_eos_eot_inf`, dllm's `begin_suppress_tokens`). A policy by confidence takes them
    /// last.
    #[must_use]
    pub fn defer_tokens(mut self, tokens: impl IntoIterator<Item = TokenId>) -> Self {
        self.choice.deferred = once_each(tokens);
        self
    }

    /// Of which distribution confidence, entropy and margin are: the prediction, or that from which is drawn.
    #[must_use]
    pub fn confidence_of(mut self, of: ConfidenceOf) -> Self {
        self.choice.confidence_of = of;
        self
    }

    /// The token that ends a text, in place of that of the request.
    #[must_use]
    pub fn end_token(mut self, end: TokenId) -> Self {
        self.choice.end = Some(end);
        self
    }

    /// How many positions each step leaves open, for policies that count.
    #[must_use]
    pub fn counting(mut self, counting: Counting) -> Self {
        self.stepping.counting = counting;
        self
    }

    /// The time to which the steps of a block are spread evenly, from 0 to below 1; the last one goes on to 0 (Dream's
    /// `eps`).
    #[must_use]
    pub fn end_time(mut self, time: f64) -> Self {
        self.stepping.end_time = time;
        self
    }

    /// Whether the first step of a block makes its first open position final and no other, whatever the policy says
    /// (Fast-dLLM's block samplers): under a logit shift, the row before the block answers about it. In a network of
    /// blocks, only those have such a step whose first position is open.
    #[must_use]
    pub fn leads(mut self, leads: bool) -> Self {
        self.stepping.leads = leads;
        self
    }

    /// From where the blocks of a network of blocks are counted.
    #[must_use]
    pub fn blocks_from(mut self, from: BlocksFrom) -> Self {
        self.stepping.blocks_from = from;
        self
    }

    /// Self-speculation, for networks with a causal prefix: a block is a draft that is proposed in one pass, and a causal
    /// pass over it keeps what it would have written itself, and one token more (Nemotron-Labs-Diffusion). The text is that
    /// of blocks of one position with the same seed, at any temperature.
    #[must_use]
    pub fn self_speculation(mut self, speculates: bool) -> Self {
        self.stepping.self_speculation = speculates;
        self
    }

    /// When an end token closes its span.
    #[must_use]
    pub fn stop_at(mut self, stop_at: StopAt) -> Self {
        self.stepping.stop_at = stop_at;
        self
    }

    /// Edits committed tokens: each step also predicts the committed positions of the current block, and replaces a token
    /// where another one is more probable than this (LLaDA2.1's `editing_threshold`). From 0 to 1; at 1, the default,
    /// nothing is edited. Tokens of constrained spans, and those that were committed before, stay.
    #[must_use]
    pub fn edit_threshold(mut self, probability: f64) -> Self {
        self.edit_threshold = probability;
        self
    }

    /// Steps that only edit when a block is full, at most; they end with one that edits nothing (LLaDA2.1's
    /// `max_post_steps`). 16 by default.
    #[must_use]
    pub fn edit_steps(mut self, steps: usize) -> Self {
        self.edit_steps = steps;
        self
    }

    /// The token that deletes its position, where tokens are edited: what stands behind it moves up, and the last position
    /// of its block is open (LLaDA2.2). It belongs to [`SettingsBuilder::insert_token`], and neither of them is left in a
    /// text.
    #[must_use]
    pub fn delete_token(mut self, token: TokenId) -> Self {
        self.delete_token = Some(token);
        self
    }

    /// The token that inserts an open position before its own, where tokens are edited: what stands behind it moves on, and
    /// the last position of its block is lost (LLaDA2.2).
    #[must_use]
    pub fn insert_token(mut self, token: TokenId) -> Self {
        self.insert_token = Some(token);
        self
    }

    /// Same seed, same canvas.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Checks everything.
    ///
    /// # Errors
    /// [`GenerateError::Setting`] for the first setting that has a value it cannot have.
    pub fn build(self) -> Result<Settings, GenerateError> {
        let refuse = |parameter, given: String, allowed: &str, hint: &str| {
            let hint = Some(hint.to_owned());
            Err(GenerateError::Setting(SettingError { parameter, given, allowed: allowed.to_owned(), hint }))
        };
        if self.steps == 0 {
            return refuse("steps", "0".into(), "1 or more", "as many steps as open positions fill them one by one");
        }
        if self.block_length == Some(0) {
            return refuse("block_length", "0".into(), "1 or more", "leave it out to fill all positions together");
        }
        // A larger one leaves the range of f32, as it multiplies logits.
        if !(0.0..=1e6).contains(&self.guidance_scale) {
            let given = self.guidance_scale.to_string();
            return refuse("guidance_scale", given, "0 or more, at most 1000000", "1 is neutral, 2 a usual value");
        }
        if self.cache_refresh == Some(0) {
            return refuse("cache_refresh", "0".into(), "1 or more", "leave it out to refresh at each block only");
        }
        if let Some(churn) = self.churn.filter(|churn| !(0.0..=1.0).contains(churn)) {
            return refuse("churn", churn.to_string(), "from 0 to 1", "1 predicts and draws all noise afresh");
        }
        if !(0.0..1.0).contains(&self.stepping.end_time) {
            let hint = "0 spreads the steps over all times, Dream's own samplers use 0.001";
            return refuse("end_time", self.stepping.end_time.to_string(), "from 0 to below 1", hint);
        }
        self.choice.confidence_of.validate()?;
        self.shaping.validate()?;
        if let Some((token, bias)) = self.logit_bias.iter().find(|(_, bias)| !(-100.0..=100.0).contains(bias)) {
            let given = format!("{bias} for token {token}");
            return refuse("logit_bias", given, "from -100 to 100", "0 changes nothing, -100 bans a token");
        }
        if let Some(pair) = self.logit_bias.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            let given = format!("{} and {} for token {}", pair[0].1, pair[1].1, pair[0].0);
            return refuse("logit_bias", given, "one number for each token", "leave one of them out");
        }
        let policy = match &self.policy {
            Choice::Named(name) if name == AUTO => None,
            Choice::Named(name) => Some(policy::by_name_with(name, self.learnt_order.as_ref())?),
            Choice::Given(policy) => Some(Arc::clone(policy)),
        };
        let remasking: Remasking = match &self.remasking {
            Choice::Named(name) => name.parse()?,
            Choice::Given(remasking) => *remasking,
        };
        remasking.validate()?;
        let editing = Editing::new(self.edit_threshold, self.edit_steps)?;
        let editing = Some(editing).filter(|editing| editing.threshold() < 1.0);
        let length_tokens = LengthTokens::new(self.delete_token, self.insert_token)?;
        Ok(self.assemble(policy, remasking, (editing, length_tokens)))
    }

    pub(super) fn assemble(
        self,
        policy: Option<Arc<dyn CommitPolicy>>,
        remasking: Remasking,
        (editing, length_tokens): (Option<Editing>, Option<LengthTokens>),
    ) -> Settings {
        Settings {
            steps: self.steps,
            block_length: self.block_length,
            policy,
            remasking,
            shaping: self.shaping,
            logit_bias: self.logit_bias,
            choice: self.choice,
            guidance_scale: self.guidance_scale,
            unconditional_prompt: self.unconditional_prompt,
            classifier: None,
            stability: self.stability,
            cache: self.cache,
            cache_refresh: self.cache_refresh,
            churn: self.churn,
            correctors: self.correctors,
            revise: self.revise,
            commit_likeliest: self.commit_likeliest,
            grid: self.grid,
            stepping: self.stepping,
            edit_steps: self.edit_steps,
            editing,
            length_tokens,
            constraint: None,
            watermark: None,
            seed: self.seed,
        }
    }
}

/// The tokens ascending, each once.
fn once_each(tokens: impl IntoIterator<Item = TokenId>) -> Vec<TokenId> {
    tokens.into_iter().collect::<BTreeSet<_>>().into_iter().collect()
}
