//! What a run minimises: where its canvases come from, what a pass costs and in which direction its gradient points.
//!
//! The trainer knows nothing else of an objective. It asks for the canvases of a step, hands them over pass by pass,
//! adds up what they cost, and saves what the objective counts. An objective of a recipe is one file in `objectives/`
//! and one line in the registry there; any other is given as a value:
//!
//! ```
//! use aquatint_checkpoint::GenerationDefaults;
//! use aquatint_compute::Cpu;
//! use aquatint_corpus::CanvasBatch;
//! use aquatint_diffusion::Process;
//! use aquatint_network::{Learner, LossRow};
//! use aquatint_train::{
//!     Figure, HeldOutCost, Objective, ObjectiveState, Overrides, PER_TOKEN, Pass, PassCost, Recipe, Step,
//!     TrainError, TrainedModel, Training,
//! };
//! # use aquatint_vocabulary::Vocabulary;
//!
//! /// Learns to count: canvases of its own making, each token predicted where it stands.
//! struct Counting;
//!
//! impl Objective for Counting {
//!     fn process(&self) -> Option<&dyn Process> {
//!         None
//!     }
//!     fn batch(&mut self, step: Step<'_>, _: &mut dyn TrainedModel) -> Result<CanvasBatch, TrainError> {
//!         let length = 4;
//!         let tokens = (0..step.canvases * length).map(|place| 20 + (step.number as u32 + place as u32) % 10).collect();
//!         let documents = (0..step.canvases * length).map(|place| (place / length) as u32).collect();
//!         let text_bytes = vec![1; step.canvases * length];
//!         let (spans, given) = (Vec::new(), Vec::new());
//!         Ok(CanvasBatch { length, tokens, documents, text_bytes, spans, given })
//!     }
//!     fn forward_backward(&mut self, pass: &Pass<'_>, model: &mut dyn Learner) -> Result<PassCost, TrainError> {
//!         let noisy = aquatint_batch::NoisyBatch::new(pass.rows);
//!         let weight = 1.0 / pass.tokens as f64;
//!         let ask = |(row, &target): (u32, &u32)| LossRow { row, target, weight };
//!         let rows: Vec<LossRow> = (0..).zip(&pass.rows.tokens).map(ask).collect();
//!         let spec = model.spec().clone();
//!         let costs = model.forward_backward(&noisy.input(pass.rows, &spec, None), &rows)?;
//!         Ok(PassCost { nats: costs.iter().map(|nats| nats * weight).sum(), observed: Vec::new() })
//!     }
//!     fn observe(&mut self, _: &[f64]) {}
//!     fn validate(
//!         &self,
//!         _: &dyn Learner,
//!         _: &mut dyn FnMut(u64) -> bool,
//!     ) -> Result<Option<HeldOutCost>, TrainError> {
//!         Ok(None)
//!     }
//!     fn unit(&self) -> &'static str {
//!         PER_TOKEN
//!     }
//!     fn means(&mut self) -> Vec<Figure> {
//!         Vec::new()
//!     }
//!     fn describe_generation(&self, _: &mut GenerationDefaults) {}
//!     fn state(&self) -> Result<ObjectiveState, TrainError> {
//!         Ok(ObjectiveState::default())
//!     }
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! # let (run, tokenizer) = (folder.path().join("run"), folder.path().join("tokenizer.json"));
//! # let texts = ["one two three"].map(str::to_owned);
//! # std::fs::write(&tokenizer, Vocabulary::train(texts.into_iter(), 260)?.to_json()?)?;
//! let text = "output = 'runs/counting'\nnetwork = { width = 16, layers = 1, head_size = 8 }\n\
//!             data = { canvas_length = 4 }\noptimiser = { batch = 2, warm_up = 1 }\nrun = { steps = 30 }";
//! # let place = [format!("output={}", run.display()), format!("data.vocabulary={}", tokenizer.display())];
//! # let overrides = Overrides::parse(&place)?;
//! # /*
//! let overrides = Overrides::parse(&["data.vocabulary=tokenizer.json"])?;
//! # */
//! let recipe = Recipe::parse(text, &overrides)?.resolve_without_corpus()?;
//! let summary = Training::new(&recipe)
//!     .objective(&|_| Ok(Box::new(Counting)))
//!     .run(Cpu::<f32>::scalar(), &mut |_| {})?;
//! assert_eq!(summary.step, 30);
//! # Ok(())
//! # }
//! ```

mod setting;
mod state;

pub use setting::{BeginObjective, Setting};
pub use state::ObjectiveState;

use crate::{Ranks, TrainError};
use aquatint_batch::PackedBatch;
use aquatint_checkpoint::GenerationDefaults;
use aquatint_corpus::CanvasBatch;
use aquatint_diffusion::Process;
use aquatint_evaluate::Likelihood;
use aquatint_network::{Denoiser, Learner};
use std::path::Path;
use std::sync::atomic::AtomicBool;

/// What a run minimises.
///
/// Everything is a function of the recipe, the step and what [`Objective::state`] saves, so that a resumed run takes
/// the same steps; and on all ranks the same, but for the passes that each learns.
pub trait Objective {
    /// The process by which the model fills canvases; `None` for a model that fills none. Sample canvases are filled by
    /// it.
    fn process(&self) -> Option<&dyn Process>;

    /// The canvases of a step, those of all ranks together: from the corpus, or of the objective's own making. What
    /// else a step needs (a new teacher) is made ready here, too.
    ///
    /// # Errors
    /// When there are none, or a model cannot be saved or opened.
    fn batch(&mut self, step: Step<'_>, model: &mut dyn TrainedModel) -> Result<CanvasBatch, TrainError>;

    /// Takes one pass forward and backward: adds its gradient to what the model has collected in this step, and returns
    /// what it costs.
    ///
    /// # Errors
    /// When the network refuses.
    fn forward_backward(&mut self, pass: &Pass<'_>, model: &mut dyn Learner) -> Result<PassCost, TrainError>;

    /// Takes note of what all ranks observed in a step, in the order of its canvases. Not called for a step whose
    /// gradient was not finite.
    fn observe(&mut self, observed: &[f64]);

    /// Measures held-out text under a model; `None` where there is nothing to measure. `progress` receives the canvases
    /// done and returns whether to go on.
    ///
    /// # Errors
    /// When the network refuses, and [`aquatint_evaluate::EvaluateError::Stopped`] where it is not to go on.
    fn validate(
        &self,
        model: &dyn Learner,
        progress: &mut dyn FnMut(u64) -> bool,
    ) -> Result<Option<HeldOutCost>, TrainError>;

    /// What its costs are measured in: [`PER_TOKEN`], or something else, such as nats per pair of answers.
    fn unit(&self) -> &'static str;

    /// What else is to be known of the steps since the last call, besides their cost, by name: means of what was observed, of
    /// what completions were worth. They are [`StepFigures::own`](crate::StepFigures::own).
    fn means(&mut self) -> Vec<Figure>;

    /// Adds to what `generation_config.json` says; the ids of tokens by role are there already.
    fn describe_generation(&self, defaults: &mut GenerationDefaults);

    /// What the objective counts, saved with the run's state and handed back by [`Setting::saved`].
    ///
    /// # Errors
    /// When it cannot be written down.
    fn state(&self) -> Result<ObjectiveState, TrainError>;
}

/// A step, before its canvases are known.
#[derive(Clone, Copy)]
pub struct Step<'a> {
    /// Counted from 0.
    pub number: u64,
    /// How many canvases the step takes, on all ranks together.
    pub canvases: usize,
    /// The processes that share them.
    pub ranks: &'a dyn Ranks,
    /// Whether to give the step up, by [`TrainError::Stopped`]; never set where ranks share it, which finish it together.
    pub stop: &'a AtomicBool,
}

/// Some of a step's canvases, which are processed in one pass.
#[derive(Debug, Clone, Copy)]
pub struct Pass<'a> {
    /// The step, counted from 0.
    pub step: u64,
    /// The index of the pass's first canvas among those of the step.
    pub first: usize,
    /// The canvases of the whole step.
    pub canvases: usize,
    /// The tokens of the whole step that are not given: what costs are divided by to be in nats per token.
    pub tokens: usize,
    /// The canvases of this pass as rows.
    pub rows: &'a PackedBatch,
}

/// The unit of costs that are of text: nats per token.
pub const PER_TOKEN: &str = "nats per token";

/// A figure with its name.
pub type Figure = (&'static str, f64);

/// What held-out data costs.
#[derive(Debug, Clone, PartialEq)]
pub enum HeldOutCost {
    /// Text, by the rule of the objective.
    Text(Likelihood),
    /// Anything else.
    Other {
        /// What is to become small; the model of the least is kept.
        cost: f64,
        /// What else is to be known.
        figures: Vec<Figure>,
    },
}

impl From<Likelihood> for HeldOutCost {
    fn from(likelihood: Likelihood) -> Self {
        Self::Text(likelihood)
    }
}

/// What one pass costs.
#[derive(Debug, Clone, PartialEq)]
pub struct PassCost {
    /// The pass's part of the loss of the step, in nats per token of the step or another unit of the objective; the parts of a
    /// step are added.
    pub nats: f64,
    /// Anything that the objective wants to see again, from all passes and ranks, in [`Objective::observe`].
    pub observed: Vec<f64>,
}

/// The model of a run, as an objective sees it between two steps.
pub trait TrainedModel {
    /// The model with its present weights.
    fn denoiser(&self) -> &dyn Denoiser;

    /// Saves the model with its averaged weights, on rank 0; `describe` adds to its `generation_config.json`. All ranks
    /// call it, as the averages may be sharded; it does not wait until rank 0 has saved.
    ///
    /// # Errors
    /// When the disk refuses, or a rank went away.
    fn save_average(
        &mut self,
        ranks: &dyn Ranks,
        folder: &Path,
        describe: &dyn Fn(&mut GenerationDefaults),
    ) -> Result<(), TrainError>;

    /// Opens the model of a folder on the device of the run.
    ///
    /// # Errors
    /// When there is none, or the device lacks the memory.
    fn open(&self, folder: &Path) -> Result<Box<dyn Denoiser>, TrainError>;
}
