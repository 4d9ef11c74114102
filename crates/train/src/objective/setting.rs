//! What an objective is made from, before the first step.

use super::{Objective, ObjectiveState};
use crate::preflight::Texts;
use crate::recipe::Resolved;
use crate::train_data::TrainData;
use crate::{TrainError, TrainingEvent};
use aquatint_checkpoint::{Checkpoint, ModelCodec};
use aquatint_diffusion::TokenId;
use aquatint_network::{Denoiser, NetworkSpec};
use aquatint_vocabulary::Vocabulary;
use serde::de::DeserializeOwned;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// Makes an objective for a run.
pub type BeginObjective<'a> = dyn Fn(&mut Setting<'_>) -> Result<Box<dyn Objective>, TrainError> + 'a;

/// Opens the model of a folder on the device of the run.
pub(crate) type OpenModel<'a> = dyn Fn(&Path) -> Result<Box<dyn Denoiser>, TrainError> + 'a;

/// What an objective is made from.
pub struct Setting<'a> {
    /// The recipe.
    pub recipe: &'a Resolved,
    /// The network that is trained.
    pub spec: &'a NetworkSpec,
    /// Its tokens.
    pub vocabulary: &'a Vocabulary,
    /// What makes codes of pictures and sounds, with their tokens.
    pub codecs: &'a [ModelCodec],
    /// The model that the run begins with.
    pub(crate) initial: Option<&'a Checkpoint>,
    pub(crate) saved: Option<&'a ObjectiveState>,
    pub(crate) open: &'a OpenModel<'a>,
    /// Makes the network once more with the weights that the run begins with.
    pub(crate) begin: &'a dyn Fn() -> Result<Box<dyn Denoiser>, TrainError>,
    pub(crate) texts: &'a Texts,
    pub(crate) stop: &'a AtomicBool,
    pub(crate) events: &'a mut (dyn FnMut(TrainingEvent<'_>) + 'a),
    pub(crate) train_data: Option<Arc<TrainData>>,
}

impl Setting<'_> {
    /// The texts that the recipe names, packed on first use. An objective that never uses them needs none.
    ///
    /// # Errors
    /// When there are none, or too few for one step.
    pub fn train_data(&mut self) -> Result<Arc<TrainData>, TrainError> {
        if let Some(data) = &self.train_data {
            return Ok(Arc::clone(data));
        }
        let data = Arc::new(TrainData::prepare(
            self.recipe,
            (self.vocabulary, self.codecs),
            self.initial,
            self.texts,
            self.stop,
            self.events,
        )?);
        self.train_data = Some(Arc::clone(&data));
        Ok(data)
    }

    /// Tokens that the advice of the model that the run begins with suppresses.
    pub(crate) fn suppressed(&self) -> &[TokenId] {
        self.initial.and_then(|model| model.generation.suppress_tokens.as_deref()).unwrap_or_default()
    }

    /// What the objective of a resumed run had counted; `None` in a new run.
    ///
    /// # Errors
    /// When another objective counted it.
    pub fn saved<T: DeserializeOwned>(&self) -> Result<Option<T>, TrainError> {
        self.saved.map(ObjectiveState::read).transpose()
    }

    /// The network as the run begins with it, beside the one that learns: the same numbers, to the bit.
    ///
    /// # Errors
    /// When the device lacks the memory.
    pub fn open_initial(&self) -> Result<Box<dyn Denoiser>, TrainError> {
        (self.begin)()
    }

    /// Opens the model of a folder, a teacher say, on the device of the run.
    ///
    /// # Errors
    /// When there is none, or the device lacks the memory.
    pub fn open(&self, folder: &Path) -> Result<Box<dyn Denoiser>, TrainError> {
        (self.open)(folder)
    }
}
