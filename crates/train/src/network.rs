//! From a recipe to a network: its description, and its first weights, random or another model's.

use crate::TrainError;
use crate::recipe::{ObjectiveKind, Resolved};
use aquatint_checkpoint::Checkpoint;
use aquatint_compute::Device;
use aquatint_network::{Network, NetworkError, NetworkSpec, ProcessSpec};
use aquatint_vocabulary::{Role, Vocabulary};

/// The network that a recipe describes, for a vocabulary.
pub(crate) fn spec(recipe: &Resolved, vocabulary: &Vocabulary) -> Result<NetworkSpec, TrainError> {
    let n = &recipe.network;
    let diffuses = recipe.objective.kind == ObjectiveKind::Diffusion;
    let mut spec = NetworkSpec {
        vocabulary_size: vocabulary.len(),
        width: n.width,
        layers: n.layers,
        heads: n.heads,
        key_value_heads: n.key_value_heads,
        head_size: n.head_size,
        feed_forward_width: n.feed_forward_width,
        norm_epsilon: 1e-6,
        rope_theta: n.rope_theta,
        qk_norm: n.qk_norm,
        tied_head: n.tied_head,
        time_conditioning: n.time_conditioning,
        self_conditioning: n.self_conditioning,
        context_length: recipe.data.canvas_length,
        attention: n.attention,
        logit_shift: n.logit_shift,
        mask_token: vocabulary.role(Role::Mask).filter(|_| diffuses),
        word_vector_size: None,
        process: ProcessSpec {
            kind: recipe.objective.process.parse().map_err(NetworkError::from)?,
            schedule: recipe.objective.schedule.parse().map_err(NetworkError::from)?,
        },
    };
    if diffuses {
        spec.word_vector_size = spec.process().map_err(NetworkError::from)?.vector_size();
    }
    Ok(spec)
}

/// The network with its first weights on the device.
pub(crate) fn build<D: Device>(recipe: &Resolved, spec: NetworkSpec, device: D) -> Result<Network<D>, TrainError> {
    let Some(folder) = &recipe.initial else { return Ok(Network::new(device, spec, recipe.seed)?) };
    let checkpoint = Checkpoint::load(folder)?;
    let differs = |field, found: &dyn std::fmt::Debug, expected: &dyn std::fmt::Debug| TrainError::OtherNetwork {
        field,
        found: format!("{found:?}"),
        expected: format!("{expected:?}"),
    };
    let (a, b) = (&checkpoint.spec, &spec);
    let shapes = [
        ("vocabulary_size", a.vocabulary_size, b.vocabulary_size),
        ("width", a.width, b.width),
        ("layers", a.layers, b.layers),
        ("heads", a.heads, b.heads),
        ("key_value_heads", a.key_value_heads, b.key_value_heads),
        ("head_size", a.head_size, b.head_size),
        ("feed_forward_width", a.feed_forward_width, b.feed_forward_width),
    ];
    if let Some((field, found, expected)) = shapes.into_iter().find(|(_, found, expected)| found != expected) {
        return Err(differs(field, &found, &expected));
    }
    let flags = [("qk_norm", a.qk_norm, b.qk_norm), ("tied_head", a.tied_head, b.tied_head)];
    if let Some((field, found, expected)) = flags.into_iter().find(|(_, found, expected)| found != expected) {
        return Err(differs(field, &found, &expected));
    }
    let grows = [
        ("self_conditioning", a.self_conditioning, b.self_conditioning),
        ("time_conditioning", a.time_conditioning.is_some(), b.time_conditioning.is_some()),
        ("word_vector_size", a.word_vector_size.is_some(), b.word_vector_size.is_some()),
    ];
    if let Some((field, found, expected)) = grows.into_iter().find(|(_, found, expected)| *found && !expected) {
        return Err(differs(field, &found, &expected));
    }
    // The layout, the context, the mask and the process may change, and conditions begin as if they were not there: that
    // is how a causal model becomes a masked one, and a masked one a field.
    Ok(checkpoint.grown(device, spec, recipe.seed)?)
}
