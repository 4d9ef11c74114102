//! Whether the groups of the optimiser choose anything, known from the network's description alone.

use crate::TrainError;
use crate::recipe::OptimiserRecipe;
use aquatint_network::{Role, TensorSpec};

/// Refuses a group that chooses nothing, and groups that leave nothing to learn.
pub(crate) fn check(recipe: &OptimiserRecipe, tensors: &[TensorSpec]) -> Result<(), TrainError> {
    let groups = recipe.parameter_groups()?;
    let group_of =
        |tensor: &TensorSpec| groups.iter().position(|group| group.parameters.matches(&tensor.name, tensor.role));
    let chosen: Vec<Option<usize>> = tensors.iter().map(group_of).collect();
    // What `embedding_rate` is for comes after the recipe's own groups, and may find nothing.
    let empty = recipe.groups.iter().enumerate().find(|(index, _)| !chosen.contains(&Some(*index)));
    if let Some((_, empty)) = empty {
        let example = tensors.iter().find(|tensor| tensor.role == Role::Matrix).or(tensors.first());
        let example = example.map(|tensor| tensor.name.clone()).unwrap_or_default();
        return Err(TrainError::EmptyGroup { pattern: empty.parameters.clone(), example });
    }
    match chosen.iter().any(|group| group.is_none_or(|group| groups[group].trainable)) {
        true => Ok(()),
        false => Err(TrainError::NothingTrains),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Overrides, Recipe};
    use aquatint_network::families;
    use aquatint_testing::Example;
    use std::path::Path;

    #[test]
    fn groups_that_choose_nothing_and_runs_that_learn_nothing_are_refused() {
        let checked = |pattern: &str| {
            let text = format!(
                "output = 'x'\n[data]\ntrain = [{{ path = 'a' }}]\nvalid = [{{ path = 'b' }}]\n\
                 [[optimiser.groups]]\nparameters = '{pattern}'\ntrainable = false\n"
            );
            let recipe = Recipe::parse(&text, &Overrides::default()).unwrap().resolve().unwrap().optimiser;
            check(&recipe, &Example::named("plain").spec.tensors())
        };
        assert_eq!(
            checked("model.layer.*").unwrap_err().to_string(),
            "`optimiser.groups` chooses nothing by `model.layer.*`: no parameter has such a name or role, or earlier \
             groups have them all; one is called `model.layers.0.self_attn.q_proj.weight`"
        );
        let none = checked("*").unwrap_err().to_string();
        assert_eq!(none, "`optimiser.groups` leaves no parameter trainable; a run needs at least one");
        checked("model.layers.0.*").unwrap();
    }

    #[test]
    fn groups_of_the_recipe_for_other_families_fit_the_model_that_it_names() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let recipe = Recipe::load(&root.join("recipes/tune/texts.toml"), &Overrides::default()).unwrap();
        let recipe = recipe.resolve().unwrap().optimiser;
        let config = std::fs::read(root.join("benches/networks/sdar-1.7b.json")).unwrap();
        let mut config: serde_json::Value = serde_json::from_slice(&config).unwrap();
        for tied in [true, false] {
            config["tie_word_embeddings"] = tied.into();
            check(&recipe, &families::from_config(&config).unwrap().tensors()).unwrap();
        }
    }
}
