//! The recipe of a matcher: what people write, and the same with every gap filled.

use super::resolved::OptimiserDefaults;
use super::{OptimiserOverrides, OptimiserRecipe, Run, extends};
use crate::preflight::ranges;
use crate::{Overrides, RecipeError};
use aquatint_codec::MatcherConfig;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// What people write. Paths are relative to the folder in which the program is started, but for that of `extends`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MatcherRecipe {
    /// The run's folder, where the matcher, its state and its figures go.
    pub output: PathBuf,
    /// Seed of the first weights, of the order of pictures and of what each is learned with.
    #[serde(default)]
    pub seed: u64,
    /// What the matcher is.
    pub matcher: MatcherConfig,
    /// What it learns from.
    pub data: PairData,
    /// How it is minimised. Its `batch` counts pictures: each is compared with the texts of all others of its step.
    #[serde(default)]
    pub optimiser: OptimiserOverrides,
    /// How long, how often, where. Its canvases are pictures here; it has no samples.
    #[serde(default)]
    pub run: Run,
}

/// What a matcher learns from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PairData {
    /// Where pictures and their captions come from.
    pub train: Vec<PairSource>,
    /// The same of concepts that are held out: for measuring, never for training.
    #[serde(default)]
    pub valid: Vec<PairSource>,
    /// The languages of the captions that are read; all where none is named.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub languages: Vec<String>,
    /// Mirrors and shifts pictures at random, so that each is learned in many forms.
    #[serde(default = "vary")]
    pub vary: bool,
    /// Tokens of the vocabulary, which is trained on the captions.
    #[serde(default = "vocabulary_size")]
    pub vocabulary_size: usize,
}

/// Rows as `recipes/canvas/prepare.py` writes them, and the pictures that they name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PairSource {
    /// JSON lines, each a caption before or behind its picture: `{"text": "fox [[picture:fox.png]]", "concept": "fox",
    /// "kind": "caption"}`. Rows of other kinds are passed over.
    pub path: PathBuf,
    /// The folder or archive (`.tar`, `.tar.zst`) that holds the pictures.
    pub media: PathBuf,
}

fn vary() -> bool {
    true
}

fn vocabulary_size() -> usize {
    2000
}

/// Pictures of a step where nothing is said.
const BATCH: usize = 256;
/// Peak learning rate where nothing is said.
const LEARNING_RATE: f64 = 1e-3;

/// A recipe of a matcher with nothing left to guess.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResolvedMatcher {
    /// The run's folder.
    pub output: PathBuf,
    /// The seed.
    pub seed: u64,
    /// What the matcher is.
    pub matcher: MatcherConfig,
    /// What it learns from.
    pub data: PairData,
    /// How it is minimised.
    pub optimiser: OptimiserRecipe,
    /// How long, how often, where.
    pub run: Run,
}

impl MatcherRecipe {
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
    pub fn resolve(self) -> Result<ResolvedMatcher, RecipeError> {
        let Self { output, seed, matcher, data, optimiser, run } = self;
        let defaults = OptimiserDefaults { learning_rate: LEARNING_RATE, batch: BATCH, steps: run.steps };
        let optimiser = optimiser.resolve(defaults);
        let resolved = ResolvedMatcher { output, seed, matcher, data, optimiser, run };
        resolved.check()?;
        Ok(resolved)
    }
}

impl ResolvedMatcher {
    fn check(&self) -> Result<(), RecipeError> {
        ranges::check_run(&self.optimiser, &self.run)?;
        self.optimiser.parameter_groups()?;
        if self.optimiser.shard {
            return Err(RecipeError::value("optimiser.shard", "true", "false for a matcher, which one rank trains"));
        }
        if self.data.train.is_empty() {
            return Err(RecipeError::value("data.train", "[]", "at least one source"));
        }
        if !(260..=1 << 20).contains(&self.data.vocabulary_size) {
            let given = self.data.vocabulary_size.to_string();
            return Err(RecipeError::value("data.vocabulary_size", given, "260 to 1048576"));
        }
        if self.optimiser.batch < 2 {
            let given = self.optimiser.batch.to_string();
            return Err(RecipeError::value(
                "optimiser.batch",
                given,
                "2 or more: pictures are compared with each other",
            ));
        }
        if self.optimiser.accumulate != 1 {
            let allowed = "1 in the recipe of a matcher: all pictures of a step are compared with each other";
            return Err(RecipeError::value("optimiser.accumulate", self.optimiser.accumulate.to_string(), allowed));
        }
        if let Some(budget) = self.run.activation_memory {
            let allowed = "nothing in the recipe of a matcher; `optimiser.recompute` recomputes all layers";
            return Err(RecipeError::value("run.activation_memory", budget.to_string(), allowed));
        }
        Ok(())
    }
}
