//! A recipe with every gap filled from the one dial, checked as a whole.

use super::{
    AdapterRecipe, CanvasSharing, Data, Distil, GroupRecipe, LrSchedule, Masking, NetworkPlan, ObjectiveKind,
    ObjectiveRecipe, OptimiserKind, OptimiserOverrides, OrderRecipe, Recipe, RewardRecipe, Run, order, reward,
};
use crate::RecipeError;
use crate::preflight::ranges;
use crate::size::{self, Size};
use aquatint_diffusion::{Alphabet, ProcessSpec, SettingError};
use aquatint_vocabulary::PreTokenizer;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// An alphabet on which every process can be built whose own numbers are possible.
const ANY_TOKENS: Alphabet = Alphabet { size: 260, mask: Some(0) };
/// The process of a network that the recipe describes, and its schedule, where nothing is said.
const MASKED: &str = "masked";
const LINEAR: &str = "linear";

impl OptimiserRecipe {
    /// Refuses passes that do not divide the batch.
    pub(super) fn check_passes(&self) -> Result<(), RecipeError> {
        if !self.batch.is_multiple_of(self.accumulate) {
            let given = self.accumulate.to_string();
            return Err(RecipeError::value("optimiser.accumulate", given, "a divisor of `optimiser.batch`"));
        }
        Ok(())
    }
}

/// How the objective is minimised, in full.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OptimiserRecipe {
    /// AdamW or Muon.
    pub kind: OptimiserKind,
    /// Peak learning rate.
    pub learning_rate: f64,
    /// Multiple of it for embeddings and head.
    pub embedding_rate: f64,
    /// Canvases of one step.
    pub batch: usize,
    /// Passes over which the batch is spread.
    pub accumulate: usize,
    /// AdamW's decay of the first moment.
    pub beta1: f64,
    /// AdamW's decay of the second moment.
    pub beta2: f64,
    /// AdamW's epsilon.
    pub epsilon: f64,
    /// Decoupled weight decay of matrices.
    pub weight_decay: f64,
    /// Muon's momentum.
    pub momentum: f64,
    /// Largest norm of the whole gradient; 0 for no clipping.
    pub clip: f64,
    /// Decay of the averaged weights; 0 for none.
    pub ema: f64,
    /// Shape of the learning rate.
    pub lr_schedule: LrSchedule,
    /// Steps of warm-up.
    pub warm_up: u64,
    /// Last share of the steps, over which `wsd` decays.
    pub decay: f64,
    /// Learning rate at the end, as a share of the peak.
    pub floor: f64,
    /// Recompute all activations in the backward pass.
    pub recompute: bool,
    /// Each of several ranks keeps moments and averages of its share of the parameters only.
    #[serde(default, skip_serializing_if = "super::is_off")]
    pub shard: bool,
    /// Parameters that learn otherwise than the rest, or not at all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<GroupRecipe>,
}

/// A recipe with nothing left to guess.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resolved {
    /// The run's folder.
    pub output: PathBuf,
    /// The dial as it was set; `None` where the network is that of `initial`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<Size>,
    /// The seed.
    pub seed: u64,
    /// A model whose weights and tokenizer the run begins with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub initial: Option<PathBuf>,
    /// What learns in place of that model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub adapter: Option<AdapterRecipe>,
    /// What the model learns from.
    pub data: Data,
    /// The network, or where it is described.
    #[serde(default, skip_serializing_if = "NetworkPlan::says_nothing")]
    pub network: NetworkPlan,
    /// What is minimised.
    pub objective: ObjectiveRecipe,
    /// A teacher whose steps the model learns to take two at a time, instead of the objective.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub distillation: Option<Distil>,
    /// What completions are worth, and how the model learns from that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reward: Option<RewardRecipe>,
    /// What learns in place of the model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order: Option<OrderRecipe>,
    /// How it is minimised.
    pub optimiser: OptimiserRecipe,
    /// How long, how often, where.
    pub run: Run,
}

/// What an optimiser is where its recipe says nothing.
pub(super) struct OptimiserDefaults {
    pub(super) learning_rate: f64,
    pub(super) batch: usize,
    /// Steps of the run.
    pub(super) steps: u64,
}

impl OptimiserOverrides {
    /// Fills every gap.
    pub(super) fn resolve(self, defaults: OptimiserDefaults) -> OptimiserRecipe {
        OptimiserRecipe {
            kind: self.kind.unwrap_or_default(),
            learning_rate: self.learning_rate.unwrap_or(defaults.learning_rate),
            embedding_rate: self.embedding_rate.unwrap_or(1.0),
            batch: self.batch.unwrap_or(defaults.batch),
            accumulate: self.accumulate.unwrap_or(1),
            beta1: self.beta1.unwrap_or(0.9),
            beta2: self.beta2.unwrap_or(0.98),
            epsilon: self.epsilon.unwrap_or(1e-8),
            weight_decay: self.weight_decay.unwrap_or(0.1),
            momentum: self.momentum.unwrap_or(0.95),
            clip: self.clip.unwrap_or(1.0),
            ema: self.ema.unwrap_or(0.999),
            lr_schedule: self.lr_schedule.unwrap_or_default(),
            warm_up: self.warm_up.unwrap_or((defaults.steps / 20).clamp(1, 500)),
            decay: self.decay.unwrap_or(0.25),
            floor: self.floor.unwrap_or(0.0),
            recompute: self.recompute.unwrap_or(false),
            shard: self.shard.unwrap_or(false),
            groups: self.groups,
        }
    }
}

impl Recipe {
    /// Fills every gap from `size` and checks that the whole makes sense. What is left to the files of `initial` is filled
    /// when they are read.
    ///
    /// # Errors
    /// When a value makes no sense, by itself or beside the others.
    pub fn resolve(self) -> Result<Resolved, RecipeError> {
        self.data.require_sources(self.objective.kind)?;
        let resolved = self.resolve_without_corpus()?;
        (crate::objectives::of(&resolved).check)(&resolved)?;
        Ok(resolved)
    }

    /// As [`Recipe::resolve`], for an objective that is given as a value ([`crate::Training::objective`]) and may bring
    /// its own canvases: `data.train` and `data.valid` may be missing, and what the recipe's own objective needs is
    /// not checked.
    ///
    /// # Errors
    /// When a value makes no sense, by itself or beside the others.
    pub fn resolve_without_corpus(self) -> Result<Resolved, RecipeError> {
        let size = match self.initial {
            Some(_) => self.size,
            None => Some(self.size.unwrap_or_default()),
        };
        let dial = size.map(Size::dial);
        let o = self.optimiser;
        let mut objective = self.objective;
        let network = match dial {
            Some(dial) => {
                objective.process.get_or_insert_with(|| MASKED.to_owned());
                objective.schedule.get_or_insert_with(|| LINEAR.to_owned());
                NetworkPlan::Described(self.network.resolve(dial, objective.kind))
            }
            None => NetworkPlan::Initial(self.network),
        };
        let (learning_rate, batch) = dial.map_or(size::TUNING, |dial| (dial.learning_rate, dial.batch));
        let o = match &self.adapter {
            Some(adapter) => {
                if self.initial.is_none() || self.size.is_some() {
                    let (given, allowed) = ("a table", "nothing but with `initial`, and without `size`");
                    return Err(RecipeError::value("adapter", given, allowed));
                }
                adapter.optimiser(o, learning_rate)?
            }
            None => o,
        };
        let optimiser = o.resolve(OptimiserDefaults { learning_rate, batch, steps: self.run.steps });
        let order = match objective.kind {
            ObjectiveKind::Order => Some(self.order.unwrap_or_default()),
            _ => self.order,
        };
        let resolved = Resolved {
            output: self.output,
            size,
            seed: self.seed,
            initial: self.initial,
            adapter: self.adapter,
            data: self.data,
            network,
            objective,
            distillation: self.distillation,
            reward: self.reward,
            order,
            optimiser,
            run: self.run,
        };
        resolved.check()?;
        Ok(resolved)
    }
}

impl Resolved {
    /// The recipe as TOML, as it is printed and saved.
    ///
    /// # Errors
    /// When TOML has no form for a value.
    pub fn to_toml(&self) -> Result<String, RecipeError> {
        toml::to_string(self).map_err(|e| RecipeError::Parse { reason: e.to_string() })
    }

    /// The process with its schedule: what the recipe does not say is as `initial` has it, where the network is its own.
    pub(crate) fn process_spec(&self, initial: ProcessSpec) -> Result<ProcessSpec, SettingError> {
        let ObjectiveRecipe { process, schedule, .. } = &self.objective;
        Ok(ProcessSpec {
            kind: process.as_deref().map_or(Ok(initial.kind), str::parse)?,
            schedule: schedule.as_deref().map_or(Ok(initial.schedule), str::parse)?,
        })
    }

    /// Canvases of one pass.
    pub fn canvases_per_pass(&self) -> usize {
        self.optimiser.batch / self.optimiser.accumulate
    }

    /// Where packed tokens are kept.
    pub fn cache(&self) -> PathBuf {
        self.data.cache.clone().unwrap_or_else(|| self.output.join("tokens"))
    }

    fn check(&self) -> Result<(), RecipeError> {
        ranges::check(self)?;
        let wrong =
            |key: &'static str, given: String, allowed: &'static str| Err(RecipeError::value(key, given, allowed));
        let (o, r, objective) = (&self.optimiser, &self.run, &self.objective);
        self.network.check(objective.kind)?;
        if let (NetworkPlan::Initial(_), Some(path)) = (&self.network, &self.data.vocabulary) {
            let allowed = "nothing without `size`, since the tokenizer is that of `initial`";
            return wrong("data.vocabulary", format!("\"{}\"", path.display()), allowed);
        }
        let trains_no_vocabulary = self.initial.is_some() || self.data.vocabulary.is_some();
        if trains_no_vocabulary && self.data.pre_tokenizer != PreTokenizer::default() {
            let allowed = "nothing where no vocabulary is trained: with `data.vocabulary` or `initial`";
            return wrong("data.pre_tokenizer", format!("\"{}\"", self.data.pre_tokenizer), allowed);
        }
        let of_texts = matches!(objective.kind, ObjectiveKind::Diffusion | ObjectiveKind::Causal);
        if self.data.canvases == CanvasSharing::Filled && !of_texts {
            let allowed = "nothing but where `objective.kind` is \"diffusion\" or \"causal\"";
            return wrong("data.canvases", "\"filled\"".to_owned(), allowed);
        }
        let texts_begin = match (&self.network, objective.kind) {
            (NetworkPlan::Initial(_), _) => Some("nothing without `size`, since texts begin as those of `initial`"),
            (_, ObjectiveKind::Causal) => {
                Some("nothing under a causal objective, whose texts all begin with that token")
            }
            (_, ObjectiveKind::Instruct) => Some("nothing for conversations, which begin as their template says"),
            _ => None,
        };
        if let (Some(adds_begin), Some(allowed)) = (self.data.add_bos_token, texts_begin) {
            return wrong("data.add_bos_token", adds_begin.to_string(), allowed);
        }
        o.check_passes()?;
        if objective.masking == Masking::Complementary && !self.canvases_per_pass().is_multiple_of(2) {
            let given = self.canvases_per_pass().to_string();
            return wrong("optimiser.batch", given, "an even number in each pass under complementary masks");
        }
        o.parameter_groups()?;
        if let (true, Some(budget)) = (o.recompute, r.activation_memory) {
            let allowed = "nothing where `optimiser.recompute` is true, since then no layer keeps its activations";
            return wrong("run.activation_memory", budget.to_string(), allowed);
        }
        if self.adapter.is_some() && self.distillation.is_some() {
            return wrong("distillation", "a table".into(), "nothing where an adapter learns");
        }
        if objective.prompt >= self.data.canvas_length {
            return wrong("objective.prompt", objective.prompt.to_string(), "fewer than `data.canvas_length`");
        }
        if objective.answer_length > self.data.canvas_length {
            let allowed = "0 or more, at most `data.canvas_length`";
            return wrong("objective.answer_length", objective.answer_length.to_string(), allowed);
        }
        let of_conversations = [
            (
                "objective.chat_template",
                objective.chat_template.is_some() && objective.kind != ObjectiveKind::Preference,
            ),
            ("objective.answer_length", objective.answer_length > 0),
            ("objective.packing", objective.packing),
        ];
        let stated = of_conversations.into_iter().find(|(_, is_stated)| *is_stated);
        if let (true, Some((key, _))) = (objective.kind != ObjectiveKind::Instruct, stated) {
            return wrong(key, "set".to_owned(), "nothing but where `objective.kind` is \"instruct\"");
        }
        reward::check(self)?;
        order::check(self)?;
        if objective.preference.is_some() && objective.kind != ObjectiveKind::Preference {
            let allowed = "nothing but where `objective.kind` is \"preference\"";
            return wrong("objective.preference", "a table".to_owned(), allowed);
        }
        let schedule = objective.schedule.as_deref().unwrap_or(LINEAR);
        aquatint_diffusion::schedule(schedule).map_err(RecipeError::Schedule)?;
        let process = self.process_spec(ProcessSpec::default()).and_then(|spec| spec.build(ANY_TOKENS));
        process.map(|_| ()).map_err(RecipeError::Process)
    }
}
