//! What a recipe says of pictures and sounds, against what there is.

use crate::RecipeError;
use crate::recipe::{Resolved, SourceRecipe};
use aquatint_network::NetworkSpec;

fn sources(recipe: &Resolved) -> impl Iterator<Item = &SourceRecipe> {
    recipe.data.train.iter().chain(&recipe.data.valid)
}

/// Refuses media that are not there.
pub(super) fn require_media(recipe: &Resolved) -> Result<(), RecipeError> {
    match sources(recipe).filter_map(|source| source.media.as_ref()).find(|media| !media.exists()) {
        Some(absent) => {
            Err(RecipeError::value("media", absent.display().to_string(), "a folder or an archive that is there"))
        }
        None => Ok(()),
    }
}

/// Refuses a network that is conditioned on one time where spans have times of their own.
pub(super) fn require_no_time(recipe: &Resolved, spec: &NetworkSpec) -> Result<(), RecipeError> {
    let has_media = sources(recipe).any(|source| source.media.is_some());
    match spec.time_conditioning.filter(|_| spec.reads_time() && has_media) {
        Some(time) => {
            let allowed = "nothing where texts name pictures or sounds, which become noisy at times of their own";
            Err(RecipeError::value("network.time_conditioning", time.features.to_string(), allowed))
        }
        None => Ok(()),
    }
}
