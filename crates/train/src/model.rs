//! The model of a run: a network, its optimiser's state, and what it is saved with.

use crate::TrainError;
use crate::objective::{Objective, TrainedModel};
use crate::optimiser::Optimiser;
use crate::parallel::Ranks;
use crate::saved_format::SavedFormat;
use aquatint_checkpoint::{Checkpoint, GenerationDefaults, Storage, save_adapter, save_learner};
use aquatint_compute::Device;
use aquatint_network::{Denoiser, Network};
use aquatint_vocabulary::Vocabulary;
use std::path::Path;

/// A network that learns.
pub(crate) struct Model<'a, D: Device> {
    pub(crate) network: Network<D>,
    pub(crate) optimiser: Optimiser<D>,
    pub(crate) vocabulary: &'a Vocabulary,
    pub(crate) format: SavedFormat,
    /// Type in which weights are saved.
    pub(crate) storage: Storage,
}

impl<D: Device> Model<'_, D> {
    /// Saves the weights that the network has at the moment.
    pub(crate) fn save(&self, folder: &Path, objective: &dyn Objective) -> Result<(), TrainError> {
        self.save_described(folder, &|defaults| objective.describe_generation(defaults))
    }

    fn save_described(&self, folder: &Path, describe: &dyn Fn(&mut GenerationDefaults)) -> Result<(), TrainError> {
        let mut generation = self.format.generation.clone();
        describe(&mut generation);
        if let Some(description) = self.format.adapter_description(self.network.spec(), &generation) {
            save_adapter(folder, &description, &self.network, self.storage)?;
            return Ok(());
        }
        let description = self.format.description(self.network.spec(), self.vocabulary, &generation);
        save_learner(folder, &description, &self.network, self.storage)?;
        Ok(())
    }
}

impl<D: Device> TrainedModel for Model<'_, D> {
    fn denoiser(&self) -> &dyn Denoiser {
        &self.network
    }

    fn save_average(
        &mut self,
        ranks: &dyn Ranks,
        folder: &Path,
        describe: &dyn Fn(&mut GenerationDefaults),
    ) -> Result<(), TrainError> {
        self.optimiser.swap_ema(self.network.weights_mut(), ranks)?;
        let saved = if ranks.rank() == 0 { self.save_described(folder, describe) } else { Ok(()) };
        self.optimiser.swap_ema(self.network.weights_mut(), ranks)?;
        saved
    }

    fn open(&self, folder: &Path) -> Result<Box<dyn Denoiser>, TrainError> {
        open(folder, self.network.device())
    }
}

/// The model of a folder on a device.
pub(crate) fn open<D: Device>(folder: &Path, device: &D) -> Result<Box<dyn Denoiser>, TrainError> {
    Ok(Box::new(Checkpoint::load(folder)?.network(device.clone())?))
}
