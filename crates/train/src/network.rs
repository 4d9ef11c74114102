//! From a recipe to a network: its description, and its first weights, random or another model's.

use crate::TrainError;
use crate::recipe::{ObjectiveKind, Resolved};
use aquatint_checkpoint::Checkpoint;
use aquatint_compute::Device;
use aquatint_network::{
    AttentionSpec, FeedForwardSpec, HeadSpec, LayerSpec, Network, NetworkError, NetworkSpec, NormSpec, ProcessSpec,
    RopeSpec,
};
use aquatint_vocabulary::{Role, Vocabulary};

/// The network that a recipe describes, for a vocabulary.
pub(crate) fn spec(recipe: &Resolved, vocabulary: &Vocabulary) -> Result<NetworkSpec, TrainError> {
    let n = &recipe.network;
    let diffuses = recipe.objective.kind == ObjectiveKind::Diffusion;
    let attention = AttentionSpec {
        rope: RopeSpec { theta: n.rope_theta },
        qk_norm: n.qk_norm.then(NormSpec::default),
        ..AttentionSpec::new(n.heads, n.key_value_heads, n.head_size)
    };
    let layer = LayerSpec::new(attention, FeedForwardSpec::new(n.feed_forward_width));
    let mut spec = NetworkSpec {
        head: HeadSpec { tied: n.tied_head, logit_shift: n.logit_shift },
        time_conditioning: n.time_conditioning,
        self_conditioning: n.self_conditioning,
        context_length: recipe.data.canvas_length,
        attention: n.attention,
        mask_token: vocabulary.role(Role::Mask).filter(|_| diffuses),
        process: ProcessSpec {
            kind: recipe.objective.process.parse().map_err(NetworkError::from)?,
            schedule: recipe.objective.schedule.parse().map_err(NetworkError::from)?,
        },
        ..NetworkSpec::new(vocabulary.len(), n.width, vec![layer; n.layers])
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
        ("layers", a.layers.len(), b.layers.len()),
    ];
    let layers = a.layers.iter().zip(&b.layers).flat_map(|(a, b)| {
        let (c, d) = (a.attention, b.attention);
        [
            ("heads", c.heads, d.heads),
            ("key_value_heads", c.key_value_heads, d.key_value_heads),
            ("head_size", c.head_size, d.head_size),
            ("feed_forward_width", a.feed_forward.width, b.feed_forward.width),
        ]
    });
    if let Some((field, found, expected)) =
        shapes.into_iter().chain(layers).find(|(_, found, expected)| found != expected)
    {
        return Err(differs(field, &found, &expected));
    }
    let options = |spec: &NetworkSpec| spec.layers.iter().flat_map(LayerSpec::options).collect::<Vec<_>>();
    if options(a) != options(b) {
        return Err(differs("options of layers", &options(a), &options(b)));
    }
    if a.head.tied != b.head.tied {
        return Err(differs("tied_head", &a.head.tied, &b.head.tied));
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
