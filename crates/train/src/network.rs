//! From a recipe to a network: its description, and its first weights, random or another model's.

use crate::TrainError;
use crate::material::Material;
use crate::recipe::{ObjectiveKind, Resolved};
use aquatint_checkpoint::Checkpoint;
use aquatint_compute::Device;
use aquatint_diffusion::Layout;
use aquatint_network::{Network, NetworkSpec};

/// The network that a recipe describes, for a vocabulary.
pub(crate) fn spec(recipe: &Resolved, material: &Material) -> NetworkSpec {
    let n = &recipe.network;
    let masked = recipe.objective.kind == ObjectiveKind::Masked;
    NetworkSpec {
        vocabulary_size: material.vocabulary.len(),
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
        attention: if masked { Layout::Full } else { Layout::Causal },
        logit_shift: false,
        mask_token: masked.then_some(material.special),
    }
}

/// The network with its first weights on the device.
pub(crate) fn build<D: Device>(recipe: &Resolved, material: &Material, device: D) -> Result<Network<D>, TrainError> {
    let spec = spec(recipe, material);
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
    let flags = [
        ("qk_norm", a.qk_norm, b.qk_norm),
        ("tied_head", a.tied_head, b.tied_head),
        ("self_conditioning", a.self_conditioning, b.self_conditioning),
        ("time_conditioning", a.time_conditioning.is_some(), b.time_conditioning.is_some()),
    ];
    if let Some((field, found, expected)) = flags.into_iter().find(|(_, found, expected)| found != expected) {
        return Err(differs(field, &found, &expected));
    }
    // The layout, the context and the mask may change: that is how a causal model becomes a masked one.
    Ok(Checkpoint { spec, ..checkpoint }.network(device)?)
}
