//! Whether the model that a run begins with can be trained and saved again.

use crate::recipe::{NetworkPlan, OptimiserRecipe, Resolved};
use crate::saved_format::SavedFormat;
use crate::{RecipeError, TrainError, TrainingEvent};
use aquatint_checkpoint::{Checkpoint, ModelCodec};
use aquatint_diffusion::ProcessKind;
use aquatint_network::{NetworkError, NetworkSpec, ParameterPattern, TensorSpec};

/// Where the network is that model's own, refuses one whose weights are integers that are to be trained, one without an
/// objective, and one that its family cannot say. Keys of its `config.json` that nothing here knows are named: a saved model
/// does not have them.
pub(super) fn check(
    recipe: &Resolved,
    (checkpoint, codecs): (&Checkpoint, &[ModelCodec]),
    spec: &NetworkSpec,
    events: &mut dyn FnMut(TrainingEvent<'_>),
) -> Result<(), TrainError> {
    if !matches!(recipe.network, NetworkPlan::Initial(_)) {
        // What the recipe describes is learned and saved in real numbers, whatever it begins with.
        return Ok(());
    }
    check_quantised(&recipe.optimiser, checkpoint)?;
    let family = checkpoint.family.facts().model_type;
    if spec.process.kind == ProcessKind::ScoreEntropy {
        return Err(TrainError::NoObjective { family, process: spec.process.kind.to_string() });
    }
    let format = SavedFormat::of(recipe, spec, (&checkpoint.vocabulary, codecs), Some(checkpoint));
    format.description(&spec.without_adapters(), &checkpoint.vocabulary, &format.generation).config().map_err(
        |error| match (error, changes(recipe)) {
            (NetworkError::Inexpressible { family }, keys) if !keys.is_empty() => {
                TrainError::Inexpressible { family, keys }
            }
            (error, _) => error.into(),
        },
    )?;
    if !checkpoint.unknown_keys.is_empty() {
        let keys = checkpoint.unknown_keys.iter().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", ");
        events(TrainingEvent::Warning(&format!(
            "the config.json of `initial` has keys that are unknown here, and saved models will not have them: {keys}"
        )));
    }
    Ok(())
}

/// Refuses an adapter for another network than that of `initial`: its folder says nothing of a network.
pub(super) fn check_adapter(recipe: &Resolved, checkpoint: &Checkpoint, spec: &NetworkSpec) -> Result<(), TrainError> {
    if recipe.adapter.is_none() || spec.without_adapters() == checkpoint.spec {
        return Ok(());
    }
    let keys: Vec<String> = changes(recipe).into_iter().map(|key| format!("`{key}`")).collect();
    let given = match keys.is_empty() {
        true => "a table, and the objective changes the network of `initial`".to_owned(),
        false => format!("a table beside {}", keys.join(", ")),
    };
    Err(RecipeError::value("adapter", given, "a table where the network stays that of `initial`").into())
}

/// The keys of the recipe that may change the network of `initial`.
fn changes(recipe: &Resolved) -> Vec<&'static str> {
    let (network, objective) = (recipe.network.stated(), &recipe.objective);
    let keys = [
        ("network.attention", network.attention.is_some()),
        ("network.logit_shift", network.logit_shift.is_some()),
        ("network.self_conditioning", network.self_conditioning.is_some()),
        ("network.time_conditioning", network.time_conditioning.is_some()),
        ("objective.process", objective.process.is_some()),
        ("objective.schedule", objective.schedule.is_some()),
    ];
    keys.into_iter().filter(|(_, is_stated)| *is_stated).map(|(key, _)| key).collect()
}

/// Refuses to train what is kept as integers: it would be saved as other numbers than it was trained from.
fn check_quantised(recipe: &OptimiserRecipe, checkpoint: &Checkpoint) -> Result<(), TrainError> {
    let groups = recipe.parameter_groups()?;
    let trains = |tensor: &TensorSpec| {
        let group = groups.iter().find(|group| group.parameters.matches(&tensor.name, tensor.role));
        group.is_none_or(|group| group.trainable)
    };
    let (mut first, mut patterns) = (None, Vec::new());
    for tensor in checkpoint.spec.tensors().into_iter().filter(trains) {
        let Some(format) = checkpoint.quantised_format(&tensor.name) else { continue };
        let pattern = ParameterPattern::of_role(tensor.role);
        if !patterns.contains(&pattern) {
            patterns.push(pattern);
        }
        first.get_or_insert((tensor.name, format));
    }
    match first {
        None => Ok(()),
        Some((tensor, format)) => Err(TrainError::Quantised { tensor, format, patterns }),
    }
}
