//! The recipe of a codec: what people write, and the same with every gap filled.

use super::resolved::OptimiserDefaults;
use super::{OptimiserOverrides, OptimiserRecipe, Run, extends};
use crate::preflight::ranges;
use crate::{Overrides, RecipeError};
use aquatint_codec::collection::Collection;
use aquatint_codec::{Medium, MediumConfig};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// What people write. Paths are relative to the folder in which the program is started, but for that of `extends`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, bound = "")]
pub struct CodecRecipe<C: MediumConfig> {
    /// The run's folder, where the codec, its state and its figures go.
    pub output: PathBuf,
    /// Seed of the first weights, of the order of samples, and of what is held out.
    #[serde(default)]
    pub seed: u64,
    /// What the codec is.
    pub codec: C,
    /// What it learns from.
    pub data: SampleData,
    /// What is minimised.
    #[serde(default)]
    pub cost: C::Cost,
    /// How it is minimised. Its `batch` counts pictures or sounds.
    #[serde(default)]
    pub optimiser: OptimiserOverrides,
    /// How long, how often, where. Its canvases are pictures or sounds here, and its samples sheets of them.
    #[serde(default)]
    pub run: Run,
}

/// What a codec learns from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SampleData {
    /// Where the pictures or sounds come from.
    pub train: Vec<SampleSource>,
    /// The share of the concepts whose pictures or sounds are held out: for measuring, never for training.
    #[serde(default = "held_out")]
    pub held_out: f64,
    /// Mirrors and shifts pictures at random, and makes sounds louder, softer and later, so that each is learned in many
    /// forms.
    #[serde(default = "vary")]
    pub vary: bool,
}

/// One collection of pictures or sounds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SampleSource {
    /// An archive (`.tar`, `.tar.zst`), or a folder that holds files at any depth.
    pub path: PathBuf,
    /// The folders in it whose files are learned; all where none is named.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub folders: Vec<String>,
}

impl SampleSource {
    /// The collection of a medium as it is read.
    pub(crate) fn collection<M: Medium>(&self) -> Collection {
        Collection { path: self.path.clone(), folders: self.folders.clone(), files: M::FILES }
    }
}

fn held_out() -> f64 {
    0.05
}

fn vary() -> bool {
    true
}

/// Pictures or sounds of a step where nothing is said.
const BATCH: usize = 32;
/// Peak learning rate where nothing is said.
const LEARNING_RATE: f64 = 3e-3;

/// A recipe of a codec with nothing left to guess.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, bound = "")]
pub struct ResolvedCodec<C: MediumConfig> {
    /// The run's folder.
    pub output: PathBuf,
    /// The seed.
    pub seed: u64,
    /// What the codec is.
    pub codec: C,
    /// What it learns from.
    pub data: SampleData,
    /// What is minimised.
    pub cost: C::Cost,
    /// How it is minimised.
    pub optimiser: OptimiserRecipe,
    /// How long, how often, where.
    pub run: Run,
}

impl<C: MediumConfig> CodecRecipe<C> {
    /// Reads a recipe file as [`Recipe::load`](super::Recipe::load) does.
    ///
    /// # Errors
    /// As there.
    pub fn load(path: &Path, overrides: &Overrides) -> Result<Self, RecipeError> {
        extends::load(path, overrides, extends::of_kind)
    }

    /// Reads a recipe's text, which extends nothing, and applies overrides.
    ///
    /// # Errors
    /// When it cannot be understood, or an override does not fit.
    pub fn parse(text: &str, overrides: &Overrides) -> Result<Self, RecipeError> {
        extends::parse(text, overrides, extends::of_kind)
    }

    /// Fills every gap and checks that the whole makes sense.
    ///
    /// # Errors
    /// When a value makes no sense, by itself or beside the others.
    pub fn resolve(self) -> Result<ResolvedCodec<C>, RecipeError> {
        let Self { output, seed, codec, data, cost, optimiser, run } = self;
        let defaults = OptimiserDefaults { learning_rate: LEARNING_RATE, batch: BATCH, steps: run.steps };
        let optimiser = optimiser.resolve(defaults);
        let resolved = ResolvedCodec { output, seed, codec, data, cost, optimiser, run };
        resolved.check()?;
        Ok(resolved)
    }
}

impl<C: MediumConfig> ResolvedCodec<C> {
    /// Pictures or sounds of one pass.
    pub(crate) fn samples_per_pass(&self) -> usize {
        self.optimiser.batch / self.optimiser.accumulate
    }

    fn check(&self) -> Result<(), RecipeError> {
        ranges::check_run(&self.optimiser, &self.run)?;
        self.optimiser.check_passes()?;
        self.optimiser.parameter_groups()?;
        ranges::check_share("data.held_out", self.data.held_out)?;
        if self.data.train.is_empty() {
            return Err(RecipeError::value("data.train", "[]", "at least one collection"));
        }
        for (key, weight) in C::Medium::cost_weights(&self.cost) {
            if !(0.0..=1e6).contains(&weight) {
                return Err(RecipeError::value(key, weight.to_string(), "0 or more, at most 1000000"));
            }
        }
        if let Some(budget) = self.run.activation_memory {
            let allowed = "nothing in the recipe of a codec; `optimiser.recompute` recomputes all layers";
            return Err(RecipeError::value("run.activation_memory", budget.to_string(), allowed));
        }
        Ok(())
    }
}
