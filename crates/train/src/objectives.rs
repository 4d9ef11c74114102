//! The objectives that a recipe can ask for: one file and one line for each.

mod bound;
mod causal;
mod diffusion;
mod distillation;
mod instruct;
mod preference;
mod reference;
pub(crate) mod reward;
mod self_conditioning;
mod spans;

pub(crate) use reward::require_masks;

use crate::RecipeError;
use crate::TrainError;
use crate::objective::{Objective, Setting};
use crate::recipe::Resolved;

/// An objective that a recipe can ask for.
pub(crate) struct Registered {
    /// Whether a recipe names it.
    pub(crate) is_requested: fn(&Resolved) -> bool,
    /// What a recipe that names it needs besides.
    pub(crate) check: fn(&Resolved) -> Result<(), RecipeError>,
    /// How many neighbouring canvases of a step belong together, so that one rank has to learn them all.
    pub(crate) canvases_together: fn(&Resolved) -> usize,
    /// Makes it.
    pub(crate) begin: fn(&mut Setting<'_>) -> Result<Box<dyn Objective>, TrainError>,
}

/// The first that matches a recipe is used; the last matches every recipe.
const REGISTRY: [Registered; 6] = [
    distillation::REGISTERED,
    causal::REGISTERED,
    instruct::REGISTERED,
    preference::REGISTERED,
    reward::REGISTERED,
    bound::REGISTERED,
];

/// The objective of a recipe.
pub(crate) fn of(recipe: &Resolved) -> &'static Registered {
    static ALL: [Registered; REGISTRY.len()] = REGISTRY;
    ALL.iter().find(|registered| (registered.is_requested)(recipe)).unwrap_or(&ALL[REGISTRY.len() - 1])
}
