//! What is trained, as the loop sees it: a language model, a codec.

use super::Measured;
use crate::TrainError;
use crate::objective::{Figure, ObjectiveState};
use crate::optimiser::Optimiser;
use crate::parallel::Ranks;
use crate::plot::PlotLabels;
use aquatint_compute::Device;
use aquatint_network::{ExpertLoads, Weights};
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::AtomicBool;

/// What a run trains. What a step learns from and what is saved is its own; when that happens, and how gradients become
/// updates, is the loop's.
pub(crate) trait Trainee {
    /// Where it lives.
    type Device: Device;

    /// Its weights.
    fn weights(&self) -> &Weights<Self::Device>;

    /// Its weights, and what updates them.
    fn learner(&mut self) -> (&mut Weights<Self::Device>, &mut Optimiser<Self::Device>);

    /// What its costs are called in the plot.
    fn plot_labels(&self) -> PlotLabels;

    /// Decides how many layers recompute their activations; returns that number, and layers in all.
    fn limit_memory(&mut self) -> (usize, usize);

    /// Adds the gradient of this rank's part of a step to what is collected; `None` where it was given up because the run
    /// is to stop. Ranks that share a step finish it.
    fn learn(&mut self, part: StepPart<'_>) -> Result<Option<StepCost>, TrainError>;

    /// Takes note of what all ranks observed in a step, in the order of its parts, and of how their rows went to experts,
    /// before the weights are updated. Not called for a step whose gradient was
    /// not finite.
    fn observe(&mut self, observed: &[f64], loads: &ExpertLoads);

    /// What else is to be known of the steps since the last call, by name.
    fn means(&mut self) -> Vec<Figure>;

    /// Measures held-out data under the weights of the moment. `go_on` is called every so often.
    fn validate(&self, go_on: &mut dyn FnMut() -> bool) -> Result<Held, TrainError>;

    /// Saves the model with the weights of the moment.
    fn save(&self, folder: &Path) -> Result<(), TrainError>;

    /// Something for people to look at, made with the weights of the moment; `None` where there is nothing.
    fn sample(&self, step: u64, stop: &AtomicBool) -> Result<Option<String>, TrainError>;

    /// What it counts itself, saved with the run's state.
    fn state(&self) -> Result<ObjectiveState, TrainError>;
}

/// One rank's part of a step.
#[derive(Clone)]
pub(crate) struct StepPart<'a> {
    /// The step, counted from 0.
    pub(crate) number: u64,
    /// Which of the step's canvases, pictures or sounds.
    pub(crate) own: Range<usize>,
    pub(crate) ranks: &'a dyn Ranks,
    pub(crate) stop: &'a AtomicBool,
}

/// What a part of a step cost.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct StepCost {
    /// This part of the step's loss; the parts of a step are added.
    pub(crate) nats: f64,
    /// What is to be handed to [`Trainee::observe`].
    pub(crate) observed: Vec<f64>,
    /// How the rows of this part went to experts; nothing where there are none.
    pub(crate) loads: ExpertLoads,
    /// Tokens of the whole step.
    pub(crate) tokens: u64,
    /// Those of them that the loss is a mean over.
    pub(crate) learned: u64,
    /// Bytes of text of the whole step, where text is learned.
    pub(crate) bytes: Option<u64>,
}

/// What a look at held-out data came to.
pub(crate) enum Held {
    /// What was found.
    Measured(Box<dyn Measured>),
    /// There is nothing to measure.
    Nothing,
    /// The run is to stop; nothing was measured.
    Stopped,
}
