//! From a recipe and some text to a trained model, in a folder that can be resumed at any moment.
//!
//! ```no_run
//! use aquatint_compute::Cpu;
//! use aquatint_train::{Overrides, Recipe, TrainingEvent, train};
//! use std::path::Path;
//! use std::sync::atomic::AtomicBool;
//!
//! # fn main() -> Result<(), aquatint_train::TrainError> {
//! let overrides = Overrides::parse(&["run.steps=100"])?;
//! let recipe = Recipe::load(Path::new("recipes/smoke.toml"), &overrides)?.resolve()?;
//! let mut last = None;
//! let summary = train(&recipe, Cpu::<f32>::scalar(), false, &AtomicBool::new(false), &mut |event| {
//!     if let TrainingEvent::Step(figures) = event {
//!         last = Some(figures.loss);
//!     }
//! })?;
//! # Ok(())
//! # }
//! ```
#![forbid(unsafe_code)]

mod byte_size;
mod codec;
mod counters;
mod error;
mod event;
mod folder;
mod identity;
mod language;
mod lr_schedule;
mod matcher;
mod mean_figures;
mod media;
mod metrics;
mod model;
mod muon;
mod network;
mod objective;
mod objectives;
mod optimiser;
mod order;
mod overrides;
mod parallel;
mod plot;
mod preflight;
pub mod recipe;
mod sample;
mod saved_format;
mod size;
mod train_data;
mod trainer;
mod training;
mod vocabulary;

pub use byte_size::{ByteSize, ParseByteSizeError};
pub use codec::Vary;
pub use error::{Bytes, Difference, RecipeError, TrainError};
pub use event::{
    CodeFigures, CorpusFigures, Ending, HeldOutPairs, HeldOutSamples, PairFigures, Retrieved, SampleFigures,
    ShardFigures, StartFigures, StepFigures, Summary, TrainingEvent,
};
pub use lr_schedule::learning_rate_factor;
pub use muon::Muon;
pub use objective::{
    BeginObjective, Figure, HeldOutCost, Objective, ObjectiveState, PER_TOKEN, Pass, PassCost, Setting, Step,
    TrainedModel,
};
pub use overrides::Overrides;
pub use parallel::{Alone, Launch, LaunchError, ParallelError, Ranks, Ring};
pub use preflight::AvailableMemory;
pub use recipe::{CodecRecipe, MatcherRecipe, Recipe, RecipeKind, Resolved, ResolvedCodec, ResolvedMatcher};
pub use size::Size;
pub use train_data::{TrainData, VALIDATION_SEED};
pub use training::{RunRecipe, Training, train};
