//! What keeps a network from beginning with the weights of another.

use aquatint_network::{AttentionSpec, LayerSpec, NetworkSpec};

/// The setting that differs, its value there and here.
pub(super) fn difference(there: &NetworkSpec, here: &NetworkSpec) -> Option<(&'static str, String, String)> {
    let of = |spec: &NetworkSpec| {
        vec![
            ("vocabulary_size", spec.vocabulary_size.to_string()),
            ("width", spec.width.to_string()),
            ("layers", spec.layers.len().to_string()),
            ("tied_head", spec.head.tied.to_string()),
            ("head_bias", spec.head.bias.to_string()),
            ("norm_epsilon", spec.norm.epsilon().to_string()),
        ]
    };
    let of_layer = |layer: &LayerSpec| {
        let AttentionSpec { norm, heads, key_value_heads, head_size, rope, qk_norm, .. } = layer.attention;
        let AttentionSpec { value_norm, score_scale, fused, qkv_bias, window, .. } = layer.attention;
        let or_none = |number: Option<String>| number.unwrap_or_else(|| "none".to_owned());
        vec![
            ("heads", heads.to_string()),
            ("key_value_heads", key_value_heads.to_string()),
            ("head_size", head_size.to_string()),
            ("feed_forward_width", layer.feed_forward.kind.to_string()),
            ("rope_theta", rope.theta.to_string()),
            ("position_axes", rope.axes.to_string()),
            ("qk_norm", qk_norm.is_some().to_string()),
            ("fused", fused.to_string()),
            ("qkv_bias", qkv_bias.to_string()),
            ("rotated", or_none(rope.rotated.map(|columns| columns.to_string()))),
            ("value_norm", value_norm.to_string()),
            ("score_scale", or_none(score_scale.map(|scale| scale.to_string()))),
            ("window", or_none(window.map(|window| window.to_string()))),
            ("norm_epsilon", norm.epsilon().to_string()),
        ]
    };
    let settings = |spec: &NetworkSpec| [of(spec), spec.layers.iter().flat_map(of_layer).collect()].concat();
    let pairs = settings(there).into_iter().zip(settings(here));
    let named = pairs.map(|((name, there), (_, here))| (name, there, here)).find(|(_, there, here)| there != here);
    // An option of layers that has no name above counts, too.
    let text = |spec: &NetworkSpec| format!("{:?}", spec.layers);
    let any = || (there.layers != here.layers).then(|| ("layers", text(there), text(here)));
    let lost = || {
        let grows = [
            ("self_conditioning", there.self_conditioning.is_some(), here.self_conditioning.is_some()),
            ("time_conditioning", there.time_conditioning.is_some(), here.time_conditioning.is_some()),
            ("word_vector_size", there.word_vector_size.is_some(), here.word_vector_size.is_some()),
        ];
        let lost = grows.into_iter().find(|(_, there, here)| *there && !here);
        lost.map(|(name, there, here)| (name, there.to_string(), here.to_string()))
    };
    named.or_else(any).or_else(lost)
}

#[cfg(test)]
mod tests {
    use super::*;
    use aquatint_network::{FeedForwardSpec, NormSpec, SelfConditioningSpec, TimeSpec};

    fn spec() -> NetworkSpec {
        let attention = AttentionSpec { qk_norm: Some(NormSpec::default()), ..AttentionSpec::new(4, 2, 8) };
        let layer = LayerSpec::new(attention, FeedForwardSpec::new(48));
        NetworkSpec { mask_token: Some(1), ..NetworkSpec::new(300, 32, vec![layer; 2]) }
    }

    /// The name of a setting, and a change of it.
    type Change = (&'static str, fn(&mut NetworkSpec));

    #[test]
    fn weights_of_a_network_that_computes_something_else_are_refused_by_the_name_of_the_setting() {
        let changes: [Change; 13] = [
            ("vocabulary_size", |spec| spec.vocabulary_size = 301),
            ("position_axes", |spec| spec.layers.iter_mut().for_each(|layer| layer.attention.rope.axes = 3)),
            ("layers", |spec| spec.layers.truncate(1)),
            ("tied_head", |spec| spec.head.tied = true),
            ("norm_epsilon", |spec| spec.norm = NormSpec::Rms { epsilon: 1e-5 }),
            ("heads", |spec| spec.layers[1].attention.heads = 2),
            ("rope_theta", |spec| spec.layers[1].attention.rope.theta = 500_000.0),
            ("qk_norm", |spec| spec.layers[0].attention.qk_norm = None),
            ("window", |spec| spec.layers[1].attention.window = Some(8)),
            ("qkv_bias", |spec| spec.layers[0].attention.qkv_bias = true),
            ("layers", |spec| spec.layers[1].feed_forward.norm = NormSpec::Rms { epsilon: 1e-5 }),
            ("self_conditioning", |spec| spec.self_conditioning = Some(SelfConditioningSpec::Added)),
            ("time_conditioning", |spec| spec.time_conditioning = Some(TimeSpec::new(8))),
        ];
        for (name, change) in changes {
            let mut there = spec();
            change(&mut there);
            assert_eq!(difference(&there, &spec()).map(|(name, ..)| name), Some(name));
        }
    }

    #[test]
    fn a_process_a_layout_and_conditions_may_be_added() {
        let mut here = spec();
        (here.attention, here.context_length, here.mask_token) = (aquatint_diffusion::Layout::Causal, 64, None);
        (here.self_conditioning, here.time_conditioning, here.word_vector_size) =
            (Some(SelfConditioningSpec::Added), Some(TimeSpec::new(8)), Some(16));
        assert_eq!(difference(&spec(), &here), None);
    }
}
