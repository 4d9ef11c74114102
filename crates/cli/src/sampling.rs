//! How a canvas will be filled: what was typed, over what the checkpoint advises, over this program's own defaults.

use crate::arguments::SamplingArguments;
use crate::failure::Failure;
use crate::printer::Printer;
use crate::wire;
use aquatint_checkpoint::GenerationDefaults;
use aquatint_diffusion::TimeGrid;
use aquatint_generate::{Cache, GenerateError, Settings};
use std::hash::{BuildHasher, Hasher, RandomState};

/// Open tokens of a continuation where neither the user nor the checkpoint says.
const MAX_TOKENS: usize = 128;

/// Everything that, with the model and the template, makes the result.
#[derive(Debug, Clone)]
pub(crate) struct Resolved {
    /// What the generator takes.
    pub(crate) settings: Settings,
    /// The same for scripts.
    pub(crate) shown: wire::Settings,
    /// The seed.
    pub(crate) seed: u64,
    /// Open tokens of a continuation.
    pub(crate) max_tokens: usize,
    /// Whether that many were set explicitly, or it is a default that may be shortened to fit the model.
    pub(crate) max_tokens_given: bool,
    /// Whether this block length was set explicitly, or it is the checkpoint's advice.
    block_length_given: bool,
}

impl Resolved {
    /// The settings for a canvas with that many open positions. A block length that was only advised and does not
    /// divide them is left out; one that was set explicitly stays, and is refused with the nearest that do.
    pub(crate) fn settings_for(&self, open: usize, printer: &Printer) -> Result<Settings, Failure> {
        match self.shown.block_length {
            Some(length) if !self.block_length_given && length < open && !open.is_multiple_of(length.max(1)) => {
                printer.detail(format_args!(
                    "the advised block length {length} does not divide {open} open positions: one block"
                ));
                build(&wire::Settings { block_length: None, ..self.shown.clone() }, self.seed)
            }
            _ => Ok(self.settings.clone()),
        }
    }
}

/// Merges the three sources and checks the result.
pub(crate) fn resolve(typed: &SamplingArguments, advised: &GenerationDefaults) -> Result<Resolved, Failure> {
    let neutral = Settings::default();
    let policy = match (typed.threshold, typed.entropy_bound) {
        (Some(threshold), _) => format!("threshold:{threshold}"),
        (None, Some(bound)) => format!("entropy-bound:{bound}"),
        (None, None) => {
            typed.policy.clone().or_else(|| advised.policy.clone()).unwrap_or_else(|| neutral.policy_name())
        }
    };
    let shown = wire::Settings {
        steps: typed.steps.or(advised.steps).unwrap_or_else(|| neutral.steps()),
        block_length: typed.block_length.or(advised.block_length),
        policy,
        remasking: typed
            .remasking
            .clone()
            .or_else(|| advised.remasking.clone())
            .unwrap_or_else(|| neutral.remasking().to_string()),
        temperature: typed.temperature.or(advised.temperature).unwrap_or(1.0),
        top_k: typed.top_k.or(advised.top_k),
        top_p: typed.top_p.or(advised.top_p),
        repetition_penalty: typed.repetition_penalty.or(advised.repetition_penalty).unwrap_or(1.0),
        // LLaDA's w is 0 where ours is 1 (log p = u + s (c - u) with s = w + 1).
        guidance_scale: typed.guidance_scale.or(typed.cfg_scale.map(|w| w + 1.0)).unwrap_or(1.0),
        cache: typed.cache.clone(),
        cache_refresh: typed.cache_refresh,
        churn: typed.churn,
        correctors: typed.correctors.unwrap_or(0),
        revise: typed.revise,
        time_grid: advised.time_grid.clone(),
    };
    if let Some(name @ ("low_confidence" | "low-confidence" | "random")) = typed.remasking.as_deref() {
        let policy = if name == "random" { name } else { "confidence" };
        return Err(Failure::new(format!("unknown remasking `{name}`")).hint(format!(
            "what LLaDA calls remasking chooses what to commit and takes nothing back: --policy {policy}"
        )));
    }
    let seed = typed.seed.unwrap_or_else(fresh_seed);
    let settings = build(&shown, seed)?;
    let max_tokens = typed.max_tokens.or(advised.max_new_tokens).unwrap_or(MAX_TOKENS);
    if max_tokens == 0 {
        return Err(Failure::new("`max-tokens` is 0; allowed: 1 or more"));
    }
    Ok(Resolved {
        settings,
        shown,
        seed,
        max_tokens,
        max_tokens_given: typed.max_tokens.is_some(),
        block_length_given: typed.block_length.is_some(),
    })
}

fn build(shown: &wire::Settings, seed: u64) -> Result<Settings, Failure> {
    let mut builder = Settings::builder()
        .steps(shown.steps)
        .policy_named(&shown.policy)
        .remasking_named(&shown.remasking)
        .temperature(shown.temperature)
        .repetition_penalty(shown.repetition_penalty)
        .guidance_scale(shown.guidance_scale)
        .seed(seed);
    if let Some(length) = shown.block_length {
        builder = builder.block_length(length);
    }
    if let Some(k) = shown.top_k {
        builder = builder.top_k(k);
    }
    if let Some(p) = shown.top_p {
        builder = builder.top_p(p);
    }
    if let Some(cache) = &shown.cache {
        builder = builder.cache(cache.parse::<Cache>().map_err(GenerateError::Setting)?);
    }
    if let Some(steps) = shown.cache_refresh {
        builder = builder.cache_refresh(steps);
    }
    if let Some(churn) = shown.churn {
        builder = builder.churn(churn);
    }
    if let Some(ranks) = &shown.time_grid {
        builder = builder.time_grid(grid(ranks.clone())?);
    }
    Ok(builder.correctors(shown.correctors).revise(shown.revise).build()?)
}

/// The times of a checkpoint's advice.
pub(crate) fn grid(ranks: Vec<f64>) -> Result<TimeGrid, Failure> {
    TimeGrid::new(ranks).ok_or_else(|| {
        Failure::new("the model's `time_grid` does not rise from 0 to 1").hint("mend its generation_config.json")
    })
}

/// A seed drawn at random, short enough to be typed again.
fn fresh_seed() -> u64 {
    // The standard library's hasher keys come from the operating system's randomness.
    RandomState::new().build_hasher().finish() >> 40
}
