//! The network of the model that a run begins with, and what the recipe makes of it.
//!
//! What decides the shape of tensors, or what they compute, stays as it is: a recipe may state it, and is refused where it
//! states something else. The layout, the shift of logits, the process and conditions may change.

use crate::preflight::Tokens;
use crate::recipe::{NetworkOverrides, ObjectiveKind, Resolved, check_layout, check_times};
use crate::{RecipeError, TrainError};
use aquatint_diffusion::Layout;
use aquatint_network::{LayerSpec, NetworkError, NetworkKind, NetworkSpec, SelfConditioningSpec, TimeSpec};

/// The network of a run that begins with a model of the description `there`.
pub(super) fn spec(
    recipe: &Resolved,
    stated: &NetworkOverrides,
    tokens: Tokens,
    there: &NetworkSpec,
) -> Result<NetworkSpec, TrainError> {
    if let Some((field, found, expected)) = contradiction(stated, there) {
        return Err(TrainError::OtherNetwork { field, found, expected });
    }
    let kind = recipe.objective.kind;
    let mut spec = there.clone();
    tokens.grow(&mut spec);
    spec.attention = stated.attention.unwrap_or(match kind {
        ObjectiveKind::Causal => Layout::Causal,
        _ if there.attention == Layout::Causal => Layout::Full,
        _ => there.attention,
    });
    spec.head.logit_shift = stated.logit_shift.unwrap_or(there.head.logit_shift);
    spec.process = recipe.process_spec(there.process).map_err(NetworkError::from)?;
    spec.time_conditioning = there.time_conditioning.or(stated.time_conditioning.map(TimeSpec::new));
    if stated.self_conditioning == Some(true) {
        spec.self_conditioning.get_or_insert(SelfConditioningSpec::Added);
    }
    check_layout(spec.attention, kind)?;
    let features = spec.time_conditioning.filter(|_| spec.reads_time()).map(|time| time.features);
    check_times(features, spec.attention)?;
    // A causal network reads no mask, but its tokenizer may have one.
    let mask = if there.kind() == NetworkKind::Causal { tokens.mask } else { there.mask_token };
    spec.mask_token = mask.filter(|_| spec.kind() != NetworkKind::Causal);
    let process = spec.process().map_err(NetworkError::from)?;
    spec.word_vector_size = process.and_then(|process| process.vector_size());
    let (length, context) = (recipe.data.canvas_length, spec.context_length);
    if length > context {
        let given = format!("{length}, where `initial` has {context} positions");
        return Err(RecipeError::value("data.canvas_length", given, "as many as the model has, or fewer").into());
    }
    Ok(spec)
}

/// What a recipe states that is otherwise in a model: the key, its value there and in the recipe.
fn contradiction(stated: &NetworkOverrides, there: &NetworkSpec) -> Option<(&'static str, String, String)> {
    let text = |number: Option<usize>| number.map(|number| number.to_string());
    let flag = |flag: Option<bool>| flag.map(|flag| flag.to_string());
    let whole = [
        ("width", text(stated.width), there.width.to_string()),
        ("layers", text(stated.layers), there.layers.len().to_string()),
        ("tied_head", flag(stated.tied_head), there.head.tied.to_string()),
    ];
    let whole = whole.into_iter().filter_map(|(key, stated, found)| Some((key, found, stated?)));
    // A condition can be added, and not be taken away.
    let time = there.time_conditioning.map(|time| time.features.to_string());
    let time = time.zip(text(stated.time_conditioning)).map(|(found, stated)| ("time_conditioning", found, stated));
    let lost = there.self_conditioning.is_some() && stated.self_conditioning == Some(false);
    let lost = lost.then(|| ("self_conditioning", true.to_string(), false.to_string()));
    let of_layer = |layer: &LayerSpec| {
        let (attention, feed_forward) = (layer.attention, layer.feed_forward.kind);
        let settings = [
            ("heads", text(stated.heads), attention.heads.to_string()),
            ("key_value_heads", text(stated.key_value_heads), attention.key_value_heads.to_string()),
            ("head_size", text(stated.head_size), attention.head_size.to_string()),
            ("feed_forward_width", text(stated.feed_forward_width), feed_forward.to_string()),
            ("rope_theta", stated.rope_theta.map(|theta| theta.to_string()), attention.rope.theta.to_string()),
            ("qk_norm", flag(stated.qk_norm), attention.qk_norm.is_some().to_string()),
        ];
        settings.into_iter().filter_map(|(key, stated, found)| Some((key, found, stated?)))
    };
    let windows = stated.windows(there.layers.len()).unwrap_or_default();
    let window = |(layer, window): (&LayerSpec, Option<usize>)| {
        let shown = |window: Option<usize>| text(window).unwrap_or_else(|| "none".to_owned());
        ("window", shown(layer.attention.window), shown(window))
    };
    let windows = there.layers.iter().zip(windows).map(window);
    let mut all = whole.chain(time).chain(lost).chain(there.layers.iter().flat_map(of_layer)).chain(windows);
    all.find(|(_, found, stated)| found != stated)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Overrides, Recipe};
    use aquatint_network::{AttentionSpec, FeedForwardSpec, NormSpec};

    const TOKENS: Tokens = Tokens { count: 290, mask: Some(7), axes: 1, codes: false };

    /// A model with more rows than tokens, whose second layer has a window.
    fn model() -> NetworkSpec {
        let attention = AttentionSpec { qk_norm: Some(NormSpec::default()), ..AttentionSpec::new(4, 2, 8) };
        let mut layers = vec![LayerSpec::new(attention, FeedForwardSpec::new(48)); 2];
        layers[1].attention.window = Some(6);
        let spec = NetworkSpec { mask_token: Some(1), context_length: 64, ..NetworkSpec::new(300, 32, layers) };
        NetworkSpec { attention: Layout::Block { length: 8 }, ..spec }
    }

    fn of(set: &[&str], there: &NetworkSpec) -> Result<NetworkSpec, String> {
        let text = "output = 'x'\ninitial = 'a'\n[data]\ntrain = [{ path = 'a' }]\nvalid = [{ path = 'b' }]\n\
                    canvas_length = 64\n";
        let recipe = Recipe::parse(text, &Overrides::parse(set).unwrap()).unwrap().resolve().unwrap();
        spec(&recipe, &recipe.network.stated(), TOKENS, there).map_err(|error| error.to_string())
    }

    #[test]
    fn a_model_stays_what_it_is_and_may_be_stated_as_it_is() {
        let there = model();
        assert_eq!(of(&[], &there).unwrap(), there);
        let stated = [
            "network.width=32",
            "network.layers=2",
            "network.heads=4",
            "network.key_value_heads=2",
            "network.head_size=8",
            "network.feed_forward_width=48",
            "network.rope_theta=10000.0",
            "network.qk_norm=true",
            "network.tied_head=false",
            "network.attention=block:8",
            "network.window=6",
            "network.layer_types=['full_attention', 'sliding_attention']",
        ];
        assert_eq!(of(&stated, &there).unwrap(), there);
    }

    #[test]
    fn what_contradicts_a_model_is_refused_by_name_with_both_values() {
        for (set, expected) in [
            ("network.width=64", "width is 32, the recipe's 64"),
            ("network.layers=3", "layers is 2, the recipe's 3"),
            ("network.heads=2", "heads is 4, the recipe's 2"),
            ("network.key_value_heads=4", "key_value_heads is 2, the recipe's 4"),
            ("network.head_size=16", "head_size is 8, the recipe's 16"),
            ("network.feed_forward_width=96", "feed_forward_width is 48, the recipe's 96"),
            ("network.rope_theta=500.0", "rope_theta is 10000, the recipe's 500"),
            ("network.qk_norm=false", "qk_norm is true, the recipe's false"),
            ("network.tied_head=true", "tied_head is false, the recipe's true"),
            ("network.window=6", "window is none, the recipe's 6"),
        ] {
            assert_eq!(of(&[set], &model()).unwrap_err(), format!("`initial` holds another network: its {expected}"));
        }
        let mut conditioned = NetworkSpec { time_conditioning: Some(TimeSpec::new(16)), ..model() };
        conditioned.self_conditioning = Some(SelfConditioningSpec::Added);
        conditioned.attention = Layout::Full;
        assert_eq!(of(&["network.time_conditioning=16"], &conditioned).unwrap(), conditioned);
        assert!(of(&["network.time_conditioning=8"], &conditioned).unwrap_err().ends_with("is 16, the recipe's 8"));
        assert!(of(&["network.self_conditioning=false"], &conditioned).unwrap_err().ends_with("the recipe's false"));
        assert!(of(&["network.attention=block:4"], &conditioned).unwrap_err().contains("16 under blocks"));
        let short = NetworkSpec { context_length: 32, ..model() };
        assert!(of(&[], &short).unwrap_err().contains("64, where `initial` has 32 positions"));
    }

    #[test]
    fn layouts_shifts_processes_and_conditions_change_as_the_recipe_says() {
        let there = model();
        let changed = of(&["network.attention=full", "network.logit_shift=true", "objective.process=uniform"], &there);
        let changed = changed.unwrap();
        assert_eq!((changed.attention, changed.head.logit_shift), (Layout::Full, true));
        assert_eq!(changed.process.kind.to_string(), "uniform");
        let field = of(&["objective.process=gaussian:8", "network.self_conditioning=true"], &there).unwrap();
        assert_eq!((field.word_vector_size, field.self_conditioning), (Some(8), Some(SelfConditioningSpec::Added)));
        // A causal model becomes one that reads masks, by the mask of its tokenizer, and the reverse.
        let causal = NetworkSpec { attention: Layout::Causal, mask_token: None, ..there.clone() };
        let masked = of(&[], &causal).unwrap();
        assert_eq!((masked.attention, masked.mask_token), (Layout::Full, Some(7)));
        assert_eq!(of(&["objective.kind=causal"], &there).unwrap(), causal);
        let refused = of(&["network.attention=causal"], &there).unwrap_err();
        assert!(refused.starts_with("`network.attention` is causal; allowed: "), "{refused}");
    }
}
