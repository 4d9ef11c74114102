//! The checks of a run that learns from samples beside which no text is packed: a codec, or a matcher.

use super::{finished, groups, resources};
use crate::counters::Counters;
use crate::event::Summary;
use crate::identity::Identity;
use crate::training::{RunRecipe, Training};
use crate::{TrainError, folder};
use aquatint_checkpoint::RunState;
use aquatint_network::TensorSpec;

/// What is known of such a run before work begins.
pub(crate) struct SampleFindings {
    pub(crate) state: Option<RunState<Counters>>,
    pub(crate) identity: Identity,
    /// Where the run stands, if none of its steps is left.
    pub(crate) finished: Option<Summary>,
}

impl<R: RunRecipe> Training<'_, R> {
    /// Checks everything that can be checked before work begins, and writes nothing. `tensors` are what learns, in numbers of
    /// so many bytes; `contents` gives the fingerprints of the sources of each list of the recipe's `data`, which are read
    /// last.
    pub(crate) fn find_samples(
        &self,
        (tensors, element_bytes): (&[TensorSpec], usize),
        contents: impl FnOnce() -> Result<Vec<(&'static str, Vec<String>)>, TrainError>,
    ) -> Result<SampleFindings, TrainError> {
        let Self { recipe, resume, memory, ranks, .. } = *self;
        let (output, optimiser, run) = (recipe.output(), recipe.optimiser(), recipe.run_settings());
        let state = folder::find(output, resume)?;
        groups::check(optimiser, tensors)?;
        let machine = (memory, element_bytes, ranks.size());
        resources::check_room(tensors, (optimiser, run), machine, (output, state.is_some()))?;
        let identity = Identity::with_contents(&recipe.to_toml()?, contents()?)?;
        if let Some(state) = &state {
            identity.require(output, &state.counters.identity)?;
        }
        let finished = state.as_ref().and_then(|state| finished(output, run, &state.counters));
        Ok(SampleFindings { state, identity, finished })
    }
}
