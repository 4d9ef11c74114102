//! Everything that can be checked before work begins, in one place: `--dry-run`, a new run and a resumed one all come
//! through here. Nothing is written.
//!
//! The recipe's own values are checked when it is resolved ([`ranges`]). Here it meets the disk and the machine: the run
//! that is resumed, the texts, the tokenizer, the model that the run begins with, the network, memory and room.

pub(crate) mod groups;
mod initial;
pub(crate) mod ranges;
pub(crate) mod resources;
mod samples;
mod spans;
mod texts;

pub use resources::AvailableMemory;
pub(crate) use samples::SampleFindings;
pub(crate) use texts::Texts;

use crate::counters::Counters;
use crate::event::{Ending, Summary, TrainingEvent};
use crate::identity::Identity;
use crate::recipe::{NetworkPlan, NetworkRecipe, ObjectiveKind, Resolved, Run};
use crate::{RecipeError, TrainError, folder, media, metrics, network, objectives, saved_format, vocabulary};
use aquatint_checkpoint::{Checkpoint, CheckpointError, ModelCodec, RunState};
use aquatint_network::NetworkSpec;
use aquatint_vocabulary::{Role, Vocabulary};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

/// What is to be checked.
#[derive(Clone, Copy)]
pub(crate) struct Preflight<'a> {
    pub(crate) recipe: &'a Resolved,
    pub(crate) resume: bool,
    pub(crate) memory: AvailableMemory,
    /// Bytes of a number on the device.
    pub(crate) element_bytes: usize,
    /// How many processes share the run.
    pub(crate) ranks: usize,
    pub(crate) stop: &'a AtomicBool,
}

/// What was found, for the run itself.
#[derive(Debug)]
pub(crate) struct Findings {
    pub(crate) state: Option<RunState<Counters>>,
    /// The model that the run begins with.
    pub(crate) initial: Option<Checkpoint>,
    pub(crate) texts: Texts,
    /// None where one has to be trained first.
    pub(crate) vocabulary: Option<Vocabulary>,
    /// The codecs, with the tokens that they have behind those of the vocabulary; none before that is known.
    pub(crate) codecs: Vec<ModelCodec>,
    /// Without its tokenizer where that has to be trained first.
    pub(crate) identity: Identity,
    /// Where the run stands, if none of its steps is left.
    pub(crate) finished: Option<Summary>,
}

impl Preflight<'_> {
    /// Bytes of a number on the device, and how many ranks have one.
    fn elements(&self) -> (f64, usize) {
        (self.element_bytes as f64, self.ranks)
    }

    /// Checks everything.
    ///
    /// # Errors
    /// What the run would fail with, before it does anything.
    pub(crate) fn check(&self, events: &mut dyn FnMut(TrainingEvent<'_>)) -> Result<Findings, TrainError> {
        let recipe = self.recipe;
        let state = folder::find(&recipe.output, self.resume)?;
        // An absurd description is refused before anything is made of it.
        let provisional = Tokens { count: recipe.data.vocabulary_size, mask: Some(0), axes: 1, codes: false };
        if let NetworkPlan::Described(network) = &recipe.network {
            resources::check_weights(self, network, provisional)?;
        }
        let initial = recipe.initial.as_deref().map(network::open_initial).transpose()?;
        if let Some(checkpoint) = initial.as_ref().filter(|checkpoint| !checkpoint.spec.adapters.is_empty()) {
            return Err(CheckpointError::HasAdapters { model: checkpoint.origin.to_string() }.into());
        }
        let mut known = vocabulary::known(recipe, initial.as_ref(), state.is_some(), events)?;
        let codecs = match &mut known {
            Some(vocabulary) => media::codecs(recipe, initial.as_ref(), vocabulary, events)?,
            None => Vec::new(),
        };
        if known.is_none() && recipe.data.train.is_empty() {
            return Err(vocabulary::missing());
        }
        spans::require_media(recipe)?;
        if let Some(vocabulary) = &known {
            match recipe.objective.kind {
                ObjectiveKind::Instruct => drop(saved_format::chat_template(recipe, vocabulary, initial.as_ref())?),
                ObjectiveKind::Preference => {
                    drop(saved_format::chat_template_if_any(recipe, vocabulary, initial.as_ref())?);
                }
                ObjectiveKind::Diffusion | ObjectiveKind::Causal | ObjectiveKind::Reward | ObjectiveKind::Order => {}
            }
        }
        let texts = Texts::find(recipe, self.stop, events)?;
        let mut identity = Identity::of(recipe, &texts, initial.as_ref(), self.stop)?;
        if let Some(vocabulary) = &known {
            identity = identity.with_tokenizer(vocabulary)?;
        }
        if let Some(state) = &state {
            identity.require(&recipe.output, &state.counters.identity)?;
        }
        let tokens = known.as_ref().map_or(provisional, |vocabulary| Tokens::of(vocabulary, &codecs));
        let spec = network::spec(recipe, tokens, initial.as_ref())?;
        spec.validate()?;
        if let Some(checkpoint) = &initial {
            network::check_initial(checkpoint, &spec, tokens)?;
            if recipe.order.is_none() {
                initial::check(recipe, (checkpoint, &codecs), &spec, events)?;
            }
            initial::check_adapter(recipe, checkpoint, &spec)?;
        }
        let learned = match recipe.order {
            Some(order) => order.tensors()?,
            None => spec.tensors(),
        };
        groups::check(&recipe.optimiser, &learned)?;
        if let Some(weight) = recipe.objective.balance.filter(|_| !spec.has_experts()) {
            let allowed = "nothing where the network has no experts";
            return Err(RecipeError::value("objective.balance", weight.to_string(), allowed).into());
        }
        spans::require_no_time(recipe, &spec)?;
        if recipe.objective.kind.draws_completions() {
            objectives::require_masks(&spec)?;
        }
        if let (ObjectiveKind::Reward, Some(reward)) = (recipe.objective.kind, &recipe.reward) {
            reward.policy(initial.as_ref())?;
        }
        match (&initial, recipe.order) {
            (Some(initial), Some(_)) => resources::check_order(self, initial, &learned)?,
            _ => resources::check_memory(self, &spec)?,
        }
        resources::check_disk(recipe, &learned, &texts, state.is_some())?;
        if self.stop.load(Ordering::SeqCst) {
            return Err(TrainError::Stopped);
        }
        let finished = state.as_ref().and_then(|state| finished(&recipe.output, &recipe.run, &state.counters));
        Ok(Findings { state, initial, texts, vocabulary: known, codecs, identity, finished })
    }
}

/// What a network has to know of its vocabulary.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tokens {
    pub(crate) count: usize,
    pub(crate) mask: Option<u32>,
    /// Axes of positions: three where some tokens lie in rows.
    pub(crate) axes: usize,
    /// Whether some tokens are codes of pictures or sounds.
    pub(crate) codes: bool,
}

impl Tokens {
    pub(crate) fn of(vocabulary: &Vocabulary, codecs: &[ModelCodec]) -> Self {
        let count = codecs.iter().map(|codec| codec.domain.ids.end as usize).fold(vocabulary.len(), usize::max);
        let axes = if codecs.iter().any(|codec| codec.domain.is_grid()) { 3 } else { 1 };
        Self { count, mask: vocabulary.role(Role::Mask), axes, codes: !codecs.is_empty() }
    }

    /// Gives a network what codes need: rows for them, and positions on the axes along which they lie.
    pub(crate) fn grow(self, spec: &mut NetworkSpec) {
        if self.codes {
            spec.vocabulary_size = spec.vocabulary_size.max(self.count);
            let axes = spec.position_axes().max(self.axes);
            spec.layers.iter_mut().for_each(|layer| layer.attention.rope.axes = axes);
        }
    }
}

/// Where a run stands that has taken all its steps, measured its model and saved all it has, or more steps than it is
/// asked for: nothing of it is written again.
pub(crate) fn finished(output: &Path, run: &Run, counters: &Counters) -> Option<Summary> {
    // A run that was killed or interrupted behind its last step has still to measure its model and to save it.
    let whole = || metrics::ended(output).is_some_and(|(step, whole)| whole && step >= counters.step);
    let steps = run.steps;
    let finished = counters.step > steps || counters.step == steps && whole();
    finished.then(|| counters.summary(Ending::Complete, counters.seconds()))
}

/// A network that is small enough to be described at all, for what is asked of each layer.
fn with_layers(
    recipe: &Resolved,
    network: &NetworkRecipe,
    tokens: Tokens,
    layers: usize,
) -> Result<NetworkSpec, TrainError> {
    network::described(recipe, &NetworkRecipe { layers, ..network.clone() }, tokens)
}
