//! How a canvas is filled: what is requested, over what the checkpoint advises, over the defaults.

use crate::{ClassifierOptions, Error, MediaOptions};
use aquatint_checkpoint::GenerationDefaults;
use aquatint_constraint::ConstraintSpec;
use aquatint_diffusion::{Counting, SettingError, Stability, TimeGrid, TokenId};
use aquatint_generate::{BlocksFrom, Cache, ConfidenceOf, GenerateError, Settings, SettingsBuilder, StopAt};
use aquatint_provenance::WatermarkKey;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::str::FromStr;

/// Open tokens of a continuation where neither the user nor the checkpoint says.
const MAX_TOKENS: usize = 128;
/// Proposals in a row that have to agree before a block ends early, where only an entropy is given.
const PATIENCE: usize = 1;
/// The mean entropy in nats below which a block ends early, where only a number of proposals is given (DiffusionGemma's).
const MEAN_ENTROPY: f64 = 0.005;

/// What a user requests. What is `None` comes from the model's `generation_config.json` and, where that says nothing,
/// from the defaults of [`Settings`].
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SamplingOptions {
    /// Maximum number of tokens when a text is continued, 128 by default.
    pub max_tokens: Option<usize>,
    /// See [`SettingsBuilder::steps`].
    pub steps: Option<usize>,
    /// See [`SettingsBuilder::block_length`].
    pub block_length: Option<usize>,
    /// See [`SettingsBuilder::policy_named`].
    pub policy: Option<String>,
    /// See [`SettingsBuilder::remasking_named`].
    pub remasking: Option<String>,
    /// See [`SettingsBuilder::temperature`].
    pub temperature: Option<f64>,
    /// See [`SettingsBuilder::final_temperature`].
    pub final_temperature: Option<f64>,
    /// See [`SettingsBuilder::min_p`].
    pub min_p: Option<f64>,
    /// See [`SettingsBuilder::top_k`].
    pub top_k: Option<usize>,
    /// See [`SettingsBuilder::top_p`].
    pub top_p: Option<f64>,
    /// See [`SettingsBuilder::repetition_penalty`].
    pub repetition_penalty: Option<f64>,
    /// See [`SettingsBuilder::presence_penalty`].
    pub presence_penalty: Option<f64>,
    /// See [`SettingsBuilder::frequency_penalty`].
    pub frequency_penalty: Option<f64>,
    /// See [`SettingsBuilder::logit_bias`].
    pub logit_bias: Vec<(TokenId, f64)>,
    /// See [`SettingsBuilder::suppress_tokens`].
    pub suppress_tokens: Option<Vec<TokenId>>,
    /// See [`SettingsBuilder::defer_tokens`].
    pub defer_tokens: Option<Vec<TokenId>>,
    /// See [`SettingsBuilder::confidence_of`].
    pub confidence_of: Option<ConfidenceOf>,
    /// See [`SettingsBuilder::end_token`].
    pub end_token: Option<TokenId>,
    /// See [`SettingsBuilder::counting`].
    pub counting: Option<Counting>,
    /// See [`SettingsBuilder::end_time`].
    pub end_time: Option<f64>,
    /// See [`SettingsBuilder::leads`].
    pub leads: Option<bool>,
    /// See [`SettingsBuilder::stop_at`].
    pub stop_at: Option<StopAt>,
    /// See [`SettingsBuilder::blocks_from`].
    pub blocks_from: Option<BlocksFrom>,
    /// See [`SettingsBuilder::self_speculation`].
    pub self_speculation: Option<bool>,
    /// See [`SettingsBuilder::edit_threshold`].
    pub edit_threshold: Option<f64>,
    /// See [`SettingsBuilder::edit_steps`].
    pub edit_steps: Option<usize>,
    /// See [`SettingsBuilder::delete_token`].
    pub delete_token: Option<TokenId>,
    /// See [`SettingsBuilder::insert_token`].
    pub insert_token: Option<TokenId>,
    /// See [`SettingsBuilder::guidance_scale`].
    pub guidance_scale: Option<f64>,
    /// See [`SettingsBuilder::unconditional_prompt`].
    pub unconditional_prompt: Option<Vec<TokenId>>,
    /// Of guidance by a classifier.
    pub classifier: ClassifierOptions,
    /// See [`SettingsBuilder::cache`].
    pub cache: Option<Cache>,
    /// See [`SettingsBuilder::cache_refresh`].
    pub cache_refresh: Option<usize>,
    /// See [`SettingsBuilder::churn`].
    pub churn: Option<f64>,
    /// See [`SettingsBuilder::correctors`].
    pub correctors: Option<usize>,
    /// See [`SettingsBuilder::revise`].
    pub revise: Option<bool>,
    /// See [`SettingsBuilder::commit_likeliest`].
    pub commit_likeliest: Option<bool>,
    /// See [`aquatint_diffusion::Stability::new`]; 1 where only the other threshold is given.
    pub stability_threshold: Option<usize>,
    /// See [`aquatint_diffusion::Stability::new`]; 0.005 nats where only the other threshold is given.
    pub confidence_threshold: Option<f64>,
    /// What the text of each hole may be. It is compiled for the model's vocabulary by [`Model::prepare`](crate::Model::prepare)
    /// and its sisters.
    pub constraint: Option<ConstraintSpec>,
    /// The key of the mark on what is written; `None` for that of the model ([`Model::with_watermark`](crate::Model::with_watermark)).
    pub watermark: Option<WatermarkKey>,
    /// Of pictures and sounds alone.
    pub media: MediaOptions,
    /// See [`SettingsBuilder::seed`]; drawn at random by default.
    pub seed: Option<u64>,
}

/// The same with every value decided.
#[derive(Debug, Clone)]
pub struct Sampling {
    settings: Settings,
    max_tokens: usize,
    max_tokens_requested: bool,
}

impl SamplingOptions {
    /// Merges the three sources and checks the result.
    ///
    /// # Errors
    /// When a value is impossible.
    pub fn resolve(&self, advised: &GenerationDefaults) -> Result<Sampling, Error> {
        let refuse = |parameter, given: String, allowed: &str, hint: Option<&str>| {
            let (allowed, hint) = (allowed.to_owned(), hint.map(str::to_owned));
            GenerateError::Setting(SettingError { parameter, given, allowed, hint })
        };
        let max_tokens = self.max_tokens.or(advised.max_new_tokens).unwrap_or(MAX_TOKENS);
        if max_tokens == 0 {
            return Err(refuse("max_tokens", "0".to_owned(), "1 or more", None).into());
        }
        let mut builder = self.builder(advised)?;
        if let Some(length) = self.block_length.or(advised.block_length) {
            builder = builder.block_length(length);
        }
        Ok(Sampling { settings: builder.build()?, max_tokens, max_tokens_requested: self.max_tokens.is_some() })
    }

    /// Whether a value is requested for a parameter, by the name of its field.
    pub fn requests(&self, parameter: &str) -> bool {
        // Taken apart, so that a new field has to be named here.
        let Self {
            max_tokens,
            steps,
            block_length,
            policy,
            remasking,
            temperature,
            final_temperature,
            min_p,
            top_k,
            top_p,
            repetition_penalty,
            presence_penalty,
            frequency_penalty,
            logit_bias,
            suppress_tokens,
            defer_tokens,
            confidence_of,
            end_token,
            counting,
            end_time,
            leads,
            stop_at,
            blocks_from,
            self_speculation,
            edit_threshold,
            edit_steps,
            delete_token,
            insert_token,
            guidance_scale,
            unconditional_prompt,
            classifier:
                ClassifierOptions {
                    target: classifier_target,
                    scale: classifier_scale,
                    method: classifier_method,
                    candidates: classifier_candidates,
                },
            cache,
            cache_refresh,
            churn,
            correctors,
            revise,
            commit_likeliest,
            stability_threshold,
            confidence_threshold,
            constraint,
            watermark,
            media:
                MediaOptions { steps: media_steps, temperature: media_temperature, guidance_scale: media_guidance_scale },
            seed,
        } = self;
        let requested = [
            ("max_tokens", max_tokens.is_some()),
            ("steps", steps.is_some()),
            ("block_length", block_length.is_some()),
            ("policy", policy.is_some()),
            ("remasking", remasking.is_some()),
            ("temperature", temperature.is_some()),
            ("final_temperature", final_temperature.is_some()),
            ("min_p", min_p.is_some()),
            ("top_k", top_k.is_some()),
            ("top_p", top_p.is_some()),
            ("repetition_penalty", repetition_penalty.is_some()),
            ("presence_penalty", presence_penalty.is_some()),
            ("frequency_penalty", frequency_penalty.is_some()),
            ("logit_bias", !logit_bias.is_empty()),
            ("suppress_tokens", suppress_tokens.is_some()),
            ("defer_tokens", defer_tokens.is_some()),
            ("confidence_of", confidence_of.is_some()),
            ("end_token", end_token.is_some()),
            ("counting", counting.is_some()),
            ("end_time", end_time.is_some()),
            ("leads", leads.is_some()),
            ("stop_at", stop_at.is_some()),
            ("blocks_from", blocks_from.is_some()),
            ("self_speculation", self_speculation.is_some()),
            ("edit_threshold", edit_threshold.is_some()),
            ("edit_steps", edit_steps.is_some()),
            ("delete_token", delete_token.is_some()),
            ("insert_token", insert_token.is_some()),
            ("guidance_scale", guidance_scale.is_some()),
            ("unconditional_prompt", unconditional_prompt.is_some()),
            ("classifier_target", classifier_target.is_some()),
            ("classifier_scale", classifier_scale.is_some()),
            ("classifier_method", classifier_method.is_some()),
            ("classifier_candidates", classifier_candidates.is_some()),
            ("cache", cache.is_some()),
            ("cache_refresh", cache_refresh.is_some()),
            ("churn", churn.is_some()),
            ("correctors", correctors.is_some()),
            ("revise", revise.is_some()),
            ("commit_likeliest", commit_likeliest.is_some()),
            ("stability_threshold", stability_threshold.is_some()),
            ("confidence_threshold", confidence_threshold.is_some()),
            ("constraint", constraint.is_some()),
            ("watermark", watermark.is_some()),
            ("media_steps", media_steps.is_some()),
            ("media_temperature", media_temperature.is_some()),
            ("media_guidance_scale", media_guidance_scale.is_some()),
            ("seed", seed.is_some()),
        ];
        requested.contains(&(parameter, true))
    }

    /// Everything but the block length.
    fn builder(&self, advised: &GenerationDefaults) -> Result<SettingsBuilder, GenerateError> {
        let mut builder = Settings::builder().correctors(self.correctors.unwrap_or(0)).seed(self.seed());
        builder = builder.learnt_order(advised.order.clone());
        if let Some(steps) = self.steps.or(advised.steps) {
            builder = builder.steps(steps);
        }
        if let Some(name) = self.policy.as_ref().or(advised.policy.as_ref()) {
            builder = builder.policy_named(name);
        }
        if let Some(name) = self.remasking.as_ref().or(advised.remasking.as_ref()) {
            builder = builder.remasking_named(name);
        }
        if let Some(temperature) = self.temperature.or(advised.temperature) {
            builder = builder.temperature(temperature);
        }
        if let Some(temperature) = self.final_temperature.or(advised.final_temperature) {
            builder = builder.final_temperature(temperature);
        }
        if let Some(revise) = self.revise.or(advised.revise) {
            builder = builder.revise(revise);
        }
        if let Some(likeliest) = self.commit_likeliest.or(advised.commit_likeliest) {
            builder = builder.commit_likeliest(likeliest);
        }
        let patience = self.stability_threshold.or(advised.stability_threshold);
        let entropy = self.confidence_threshold.or(advised.confidence_threshold);
        if patience.is_some() || entropy.is_some() {
            let (patience, entropy) = (patience.unwrap_or(PATIENCE), entropy.unwrap_or(MEAN_ENTROPY));
            builder = builder.stability(Stability::new(patience, entropy).map_err(GenerateError::Setting)?);
        }
        if let Some(share) = self.min_p.or(advised.min_p) {
            builder = builder.min_p(share);
        }
        if let Some(k) = self.top_k.or(advised.top_k) {
            builder = builder.top_k(k);
        }
        if let Some(p) = self.top_p.or(advised.top_p) {
            builder = builder.top_p(p);
        }
        if let Some(penalty) = self.repetition_penalty.or(advised.repetition_penalty) {
            builder = builder.repetition_penalty(penalty);
        }
        if let Some(penalty) = self.presence_penalty {
            builder = builder.presence_penalty(penalty);
        }
        if let Some(penalty) = self.frequency_penalty {
            builder = builder.frequency_penalty(penalty);
        }
        builder = builder.logit_bias(self.logit_bias.iter().copied());
        if let Some(tokens) = self.suppress_tokens.as_ref().or(advised.suppress_tokens.as_ref()) {
            builder = builder.suppress_tokens(tokens.iter().copied());
        }
        if let Some(tokens) = self.defer_tokens.as_ref().or(advised.defer_tokens.as_ref()) {
            builder = builder.defer_tokens(tokens.iter().copied());
        }
        if let Some(of) = self.confidence_of.or(named(&advised.confidence_of)?) {
            builder = builder.confidence_of(of);
        }
        if let Some(token) = self.end_token {
            builder = builder.end_token(token);
        }
        if let Some(counting) = self.counting.or(named(&advised.counting)?) {
            builder = builder.counting(counting);
        }
        if let Some(time) = self.end_time.or(advised.end_time) {
            builder = builder.end_time(time);
        }
        if let Some(leads) = self.leads.or(advised.leads) {
            builder = builder.leads(leads);
        }
        if let Some(stop_at) = self.stop_at.or(named(&advised.stop_at)?) {
            builder = builder.stop_at(stop_at);
        }
        if let Some(from) = self.blocks_from.or(named(&advised.blocks_from)?) {
            builder = builder.blocks_from(from);
        }
        if let Some(speculates) = self.self_speculation.or(advised.self_speculation) {
            builder = builder.self_speculation(speculates);
        }
        if let Some(threshold) = self.edit_threshold.or(advised.edit_threshold) {
            builder = builder.edit_threshold(threshold);
        }
        if let Some(steps) = self.edit_steps.or(advised.edit_steps) {
            builder = builder.edit_steps(steps);
        }
        if let Some(token) = self.delete_token.or(advised.delete_token) {
            builder = builder.delete_token(token);
        }
        if let Some(token) = self.insert_token.or(advised.insert_token) {
            builder = builder.insert_token(token);
        }
        if let Some(scale) = self.guidance_scale {
            builder = builder.guidance_scale(scale);
        }
        if let Some(prompt) = &self.unconditional_prompt {
            builder = builder.unconditional_prompt(prompt.iter().copied());
        }
        if let Some(cache) = self.cache.or(named(&advised.cache)?) {
            builder = builder.cache(cache);
        }
        if let Some(steps) = self.cache_refresh {
            builder = builder.cache_refresh(steps);
        }
        if let Some(churn) = self.churn {
            builder = builder.churn(churn);
        }
        if let Some(grid) = advised_time_grid(advised)? {
            builder = builder.time_grid(grid);
        }
        Ok(builder)
    }

    /// The requested seed, or one drawn at random.
    fn seed(&self) -> u64 {
        self.seed.unwrap_or_else(random_seed)
    }
}

/// A seed from the operating system's randomness that is short enough to be typed again.
pub fn random_seed() -> u64 {
    // The keys of the standard library's hashers come from there.
    RandomState::new().build_hasher().finish() >> 40
}

/// What a checkpoint advises by a name.
fn named<T: FromStr<Err = SettingError>>(name: &Option<String>) -> Result<Option<T>, GenerateError> {
    name.as_deref().map(str::parse).transpose().map_err(GenerateError::Setting)
}

/// The times to which a checkpoint advises to put the steps; `None` where it advises none.
///
/// # Errors
/// When its ranks do not rise from 0 to 1.
pub fn advised_time_grid(advised: &GenerationDefaults) -> Result<Option<TimeGrid>, GenerateError> {
    let Some(ranks) = &advised.time_grid else { return Ok(None) };
    let refused = || SettingError {
        parameter: "time_grid",
        given: format!("{} numbers", ranks.len()),
        allowed: "numbers that rise from 0 to 1".to_owned(),
        hint: Some("mend the model's generation_config.json".to_owned()),
    };
    TimeGrid::new(ranks.clone()).map(Some).ok_or_else(|| GenerateError::Setting(refused()))
}

impl Sampling {
    /// The settings.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Maximum number of tokens when a text is continued.
    pub fn max_tokens(&self) -> usize {
        self.max_tokens
    }

    /// Tokens of a continuation where the model can read so many more positions. Only a number that was not requested
    /// is shortened.
    pub(crate) fn continuation(&self, room: usize) -> usize {
        if self.max_tokens_requested { self.max_tokens } else { self.max_tokens.min(room.max(1)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Hint;

    #[test]
    fn what_is_requested_goes_over_what_is_advised_and_that_over_the_defaults() {
        let advised = GenerationDefaults {
            steps: Some(5),
            temperature: Some(0.5),
            min_p: Some(0.1),
            max_new_tokens: Some(40),
            block_length: Some(8),
            cache: Some("dual".to_owned()),
            ..GenerationDefaults::default()
        };
        let options = SamplingOptions {
            steps: Some(3),
            seed: Some(7),
            presence_penalty: Some(1.5),
            logit_bias: vec![(9, 2.0), (3, -100.0)],
            ..SamplingOptions::default()
        };
        let sampling = options.resolve(&advised).unwrap();
        let settings = sampling.settings();
        assert_eq!((settings.steps(), settings.shaping().temperature, settings.seed()), (3, 0.5, 7));
        assert_eq!((settings.shaping().min_p, settings.shaping().presence_penalty), (Some(0.1), 1.5));
        assert_eq!(settings.logit_bias(), [(3, -100.0), (9, 2.0)]);
        assert_eq!((settings.policy_name().as_str(), sampling.max_tokens()), ("auto", 40));
        assert_eq!((settings.block_length(), settings.cache()), (Some(8), Some(Cache::Dual)));
        let uncached = SamplingOptions { cache: Some(Cache::None), ..options.clone() }.resolve(&advised).unwrap();
        assert_eq!(uncached.settings().cache(), Some(Cache::None));
        assert_eq!([sampling.continuation(12), sampling.continuation(0)], [12, 1]);
        let requested = SamplingOptions { max_tokens: Some(40), ..options }.resolve(&advised).unwrap();
        assert_eq!(requested.continuation(12), 40);
    }

    #[test]
    fn what_is_advised_can_be_switched_off() {
        let advised = GenerationDefaults {
            revise: Some(true),
            commit_likeliest: Some(true),
            self_speculation: Some(true),
            leads: Some(true),
            ..GenerationDefaults::default()
        };
        let of = |requested: Option<bool>| {
            let options = SamplingOptions {
                revise: requested,
                commit_likeliest: requested,
                self_speculation: requested,
                leads: requested,
                ..SamplingOptions::default()
            };
            let sampling = options.resolve(&advised).unwrap();
            let settings = sampling.settings();
            [settings.revises(), settings.commits_likeliest(), settings.self_speculation(), settings.leads()]
        };
        assert_eq!((of(None), of(Some(false))), ([true; 4], [false; 4]));
    }

    #[test]
    fn impossible_values_are_refused_wherever_they_come_from() {
        let refused = |options: SamplingOptions, advised: GenerationDefaults| {
            let error = options.resolve(&advised).unwrap_err();
            (error.to_string(), error.hint())
        };
        let none = SamplingOptions::default;
        let (message, _) = refused(SamplingOptions { max_tokens: Some(0), ..none() }, GenerationDefaults::default());
        assert_eq!(message, "`max_tokens` is 0; allowed: 1 or more");
        let (message, _) = refused(none(), GenerationDefaults { block_length: Some(0), ..Default::default() });
        assert_eq!(message, "`block_length` is 0; allowed: 1 or more");
        let grid = GenerationDefaults { time_grid: Some(vec![0.0, 0.7, 0.6, 1.0]), ..Default::default() };
        let (message, hint) = refused(none(), grid);
        assert_eq!(message, "`time_grid` is 4 numbers; allowed: numbers that rise from 0 to 1");
        assert_eq!(hint.as_deref(), Some("mend the model's generation_config.json"));
    }
}
