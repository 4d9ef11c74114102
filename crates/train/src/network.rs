//! From a recipe to a network: its description, and its first weights, random or another model's.

mod difference;
mod initial;

use crate::preflight::Tokens;
use crate::recipe::{NetworkPlan, NetworkRecipe, Resolved};
use crate::{RecipeError, TrainError};
use aquatint_checkpoint::Checkpoint;
use aquatint_compute::Device;
use aquatint_diffusion::ProcessSpec;
use aquatint_network::{
    AttentionSpec, FeedForwardSpec, HeadSpec, LayerSpec, Network, NetworkError, NetworkKind, NetworkSpec, NormSpec,
    RopeSpec, SelfConditioningSpec, TimeSpec,
};
use difference::difference;
use std::path::Path;

/// The network of a run, for the tokens of its vocabulary: described by the recipe, or that of the model that the run begins
/// with.
pub(crate) fn spec(recipe: &Resolved, tokens: Tokens, initial: Option<&Checkpoint>) -> Result<NetworkSpec, TrainError> {
    let mut spec = base(recipe, tokens, initial)?;
    if let Some(adapter) = &recipe.adapter {
        spec.adapters = vec![adapter.spec(&spec)?];
    }
    Ok(spec)
}

/// The same without what learns in its place.
fn base(recipe: &Resolved, tokens: Tokens, initial: Option<&Checkpoint>) -> Result<NetworkSpec, TrainError> {
    match (&recipe.network, initial) {
        (NetworkPlan::Described(network), None) => described(recipe, network, tokens),
        (NetworkPlan::Described(network), Some(checkpoint)) => {
            let mut spec = described(recipe, network, tokens)?;
            if network.window.is_none() {
                // Windows have no weights: what the recipe does not say is as the model was trained.
                let windows = checkpoint.spec.layers.iter().map(|layer| layer.attention.window);
                spec.layers.iter_mut().zip(windows).for_each(|(layer, window)| layer.attention.window = window);
            }
            Ok(spec)
        }
        (NetworkPlan::Initial(stated), Some(checkpoint)) => initial::spec(recipe, stated, tokens, &checkpoint.spec),
        (NetworkPlan::Initial(_), None) => {
            Err(RecipeError::value("initial", "unset", "a model where the recipe describes no network").into())
        }
    }
}

/// The network that a recipe describes.
pub(crate) fn described(recipe: &Resolved, n: &NetworkRecipe, tokens: Tokens) -> Result<NetworkSpec, TrainError> {
    let attention = AttentionSpec {
        rope: RopeSpec { theta: n.rope_theta, ..RopeSpec::default() },
        qk_norm: n.qk_norm.then(NormSpec::default),
        ..AttentionSpec::new(n.heads, n.key_value_heads, n.head_size)
    };
    let layer = LayerSpec::new(attention, FeedForwardSpec::new(n.feed_forward_width));
    let mut spec = NetworkSpec {
        head: HeadSpec { tied: n.tied_head, logit_shift: n.logit_shift, ..HeadSpec::default() },
        time_conditioning: n.time_conditioning.map(TimeSpec::new),
        self_conditioning: n.self_conditioning.then_some(SelfConditioningSpec::Added),
        context_length: recipe.data.canvas_length,
        attention: n.attention,
        process: recipe.process_spec(ProcessSpec::default()).map_err(NetworkError::from)?,
        ..NetworkSpec::new(tokens.count, n.width, layer.repeated(n.layers)?)
    };
    tokens.grow(&mut spec);
    // A causal network reads no noise: it has neither a mask nor points.
    spec.mask_token = tokens.mask.filter(|_| spec.kind() != NetworkKind::Causal);
    let process = spec.process().map_err(NetworkError::from)?;
    spec.word_vector_size = process.and_then(|process| process.vector_size());
    if let Some(windows) = n.windows() {
        spec.layers.iter_mut().zip(windows).for_each(|(layer, window)| layer.attention.window = window);
    }
    Ok(spec)
}

/// The model that a run begins with: a folder, or a built-in one by its name.
pub(crate) fn open_initial(initial: &Path) -> Result<Checkpoint, TrainError> {
    Ok(match initial.to_str() {
        Some(name) => Checkpoint::open(name)?,
        None => Checkpoint::load(initial)?,
    })
}

/// Refuses weights that are those of another network. Tokens of codecs, and axes for them, may be added.
pub(crate) fn check_initial(checkpoint: &Checkpoint, spec: &NetworkSpec, tokens: Tokens) -> Result<(), TrainError> {
    let mut there = checkpoint.spec.clone();
    tokens.grow(&mut there);
    match difference(&there, spec) {
        Some((field, found, expected)) => Err(TrainError::OtherNetwork { field, found, expected }),
        None => Ok(()),
    }
}

/// The network with its first weights on the device; those of `initial` fit it.
pub(crate) fn build<D: Device>(
    recipe: &Resolved,
    spec: NetworkSpec,
    initial: Option<&Checkpoint>,
    device: D,
) -> Result<Network<D>, TrainError> {
    let Some(checkpoint) = initial else { return Ok(Network::new(device, spec, recipe.seed)?) };
    // The layout, the context, the mask and the process may change, and conditions begin as if they were not there: that
    // is how a causal model becomes a masked one, and a masked one a field.
    let groups = recipe.optimiser.parameter_groups()?;
    if groups.iter().any(|group| group.precision.is_some())
        && checkpoint.spec.tensors() == spec.without_adapters().tensors()
    {
        // What is kept in few bits is never there in f32 beside everything else.
        return Ok(checkpoint.network_in_groups(device, (spec, recipe.seed), &groups)?);
    }
    Ok(checkpoint.grown(device, spec, recipe.seed)?)
}
