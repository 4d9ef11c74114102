//! The model beside which another learns, as it was when the run began.

use crate::TrainError;
use crate::objective::Setting;
use aquatint_network::{Denoiser, Learner};

/// A copy of the model that the run begins with; none where only an adapter learns, beside a network that stays as it is.
pub(super) struct Reference(Option<Box<dyn Denoiser>>);

impl Reference {
    /// The reference of a run.
    ///
    /// # Errors
    /// When the device lacks the memory.
    pub(super) fn begin(setting: &Setting<'_>) -> Result<Self, TrainError> {
        let is_there = setting.recipe.adapter.is_some();
        Ok(Self(if is_there { None } else { Some(setting.open_initial()?) }))
    }

    /// What is read of it, beside the model that learns.
    pub(super) fn read<T>(&self, model: &dyn Learner, read: impl FnOnce(&dyn Denoiser) -> T) -> T {
        match &self.0 {
            Some(copy) => read(copy.as_ref()),
            None => read(model.without_adapter().as_ref()),
        }
    }
}
