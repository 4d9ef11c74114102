//! Families with mixtures of experts.

use super::{forwards, logits, open};
use aquatint_checkpoint::Checkpoint;
use aquatint_compute::{Cpu, CpuPath, Cuda, Device, Element, RouterLogits};
use aquatint_diffusion::Layout;
use aquatint_network::{
    Activation, ExpertsSpec, FeedForwardKind, FeedForwardSpec, GatedSpec, HeadSpec, InferenceNetwork, LayerSpec,
    NetworkInput, NetworkSpec, TensorData, WholeRows,
};
use aquatint_testing::{Comparison, Golden};

#[test]
fn llada_moe_predicts_what_its_own_code_does() {
    forwards("llada_moe", &[("plain", None), ("padded", None)]);
}

#[test]
fn rnd1_predicts_what_its_own_code_does() {
    forwards("rnd1", &[("plain", None)]);
}

#[test]
fn sdar_moe_predicts_what_its_own_code_does() {
    forwards("sdar_moe", &[("plain", None), ("one_block", Some(Layout::Block { length: 40 }))]);
}

#[test]
fn llada2_predicts_what_its_own_code_does() {
    let blocks = |length| Some(Layout::Block { length });
    forwards("llada2_moe", &[("plain", blocks(16)), ("blocks_32", None), ("one_block", blocks(48))]);
}

/// LLaDA2.1 names its settings of editing in `generation_config.json`, 2.2 the tokens of its own in `config.json`, and 2.0
/// edits nothing. What 2.2 does not say is as SGLang has it.
#[test]
fn what_a_llada2_edits_with_is_read_from_its_files() {
    let golden = Golden::folder("llada2_moe");
    let folder = tempfile::tempdir().unwrap();
    for file in ["config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors"] {
        std::fs::write(folder.path().join(file), std::fs::read(golden.join(file)).unwrap()).unwrap();
    }
    let edits = || {
        let Checkpoint { generation, unknown_keys, .. } = Checkpoint::load(folder.path()).unwrap();
        assert_eq!(unknown_keys, [""; 0]);
        let (policy, tokens) = (generation.policy.unwrap(), (generation.delete_token, generation.insert_token));
        (policy, generation.edit_threshold, generation.edit_steps, tokens)
    };
    let policy = |threshold: f64| format!("dynamic:{threshold}");
    assert_eq!(edits(), (policy(0.95), None, None, (None, None)));
    let config = std::fs::read(golden.join("config.json")).unwrap();
    let mut config: serde_json::Value = serde_json::from_slice(&config).unwrap();
    (config["delete_token_id"], config["split_token_id"]) = (354.into(), 325.into());
    std::fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
    assert_eq!(edits(), (policy(0.5), Some(0.0), None, (Some(354), Some(325))));
    let own = golden.join("generation_config.json");
    std::fs::write(folder.path().join("generation_config.json"), std::fs::read(own).unwrap()).unwrap();
    assert_eq!(edits(), (policy(0.95), Some(0.9), Some(16), (Some(354), Some(325))));
}

#[test]
fn makers_settings_are_the_defaults() {
    let llada = open("llada_moe").generation;
    assert_eq!(
        (llada.policy.as_deref(), llada.steps, llada.block_length, llada.temperature),
        (Some("confidence"), Some(32), Some(32), Some(0.0))
    );
    let llada2 = open("llada2_moe").generation;
    assert_eq!(
        (llada2.policy.as_deref(), llada2.steps, llada2.block_length, llada2.temperature),
        (Some("dynamic:0.95"), Some(32), Some(32), Some(0.0))
    );
    let rnd1 = open("rnd1").generation;
    assert_eq!((rnd1.policy.as_deref(), rnd1.steps, rnd1.temperature), (Some("entropy"), Some(256), Some(0.0)));
    let sdar = open("sdar_moe").generation;
    assert_eq!((sdar.policy.as_deref(), sdar.temperature, sdar.top_k), (Some("dynamic:0.9"), Some(0.6), Some(20)));
}

#[test]
fn a_row_reads_some_of_the_parameters() {
    // Three layers, of which the first is dense, with 8 experts of 48 columns and a width of 64, 3 for each row.
    let spec = open("llada_moe").spec;
    assert_eq!(spec.parameter_count() - spec.active_parameter_count(), 2 * 5 * 3 * 64 * 48);
    assert_eq!(spec.layers[1].feed_forward.kind.to_string(), "3 of 8 experts of 48");
    let spec = open("llada2_moe").spec;
    assert_eq!(spec.parameter_count() - spec.active_parameter_count(), 2 * 12 * 3 * 64 * 24);
    assert_eq!(spec.layers[2].feed_forward.kind.to_string(), "4 of 16 experts of 24 and a shared one of 24");
}

/// The logits of the router of a layer, by a network that ends there: behind the layer's attention and norm, with the
/// router as its head.
fn router_logits<D: Device>(name: &str, layer: usize, device: &D) -> (ExpertsSpec, Vec<f64>, Vec<f64>) {
    let (checkpoint, golden) = (open(name), logits(name));
    let whole = &checkpoint.spec;
    let experts = whole.layers[layer].feed_forward.experts().unwrap();
    // A part that adds nothing.
    let gated = GatedSpec { width: 1, activation: Activation::Swiglu };
    let last = LayerSpec {
        feed_forward: FeedForwardSpec { kind: FeedForwardKind::Gated(gated), ..whole.layers[layer].feed_forward },
        ..whole.layers[layer]
    };
    let layers = whole.layers[..layer].iter().copied().chain([last]).collect();
    let head = HeadSpec { logit_shift: false, ..HeadSpec::default() };
    let spec = NetworkSpec { layers, head, ..whole.clone() };
    let of_layer = |module: &str| format!("model.layers.{layer}.{module}");
    let (norm, router) = (of_layer("post_attention_layernorm.weight"), of_layer("mlp.gate.weight"));
    let (size, width) = (spec.vocabulary_size, spec.width);
    let mut bias = vec![0.0; experts.experts];
    let network = checkpoint.build(|weights| {
        if experts.router.bias {
            let values = weights(&of_layer("mlp.gate.expert_bias")).map(TensorData::into_real);
            bias = values.unwrap().into_iter().map(f64::from).collect();
        }
        let mut give = |name: &str| match name {
            "model.norm.weight" => weights(&norm),
            "lm_head.weight" => {
                let mut values = weights(&router)?.into_real();
                values.resize(size * width, 0.0);
                Some(TensorData::Real(values))
            }
            name if name.starts_with(&of_layer("mlp.")) => Some(TensorData::Real(vec![0.0; width])),
            name => weights(name),
        };
        InferenceNetwork::new(device.clone(), spec.clone(), device.format(), &mut give)
    });
    let tokens: Vec<u32> = golden.ids("plain.ids")[..golden.shape("plain.ids")[1]].to_vec();
    let mut rows = aquatint_network::RowLayout::default();
    rows.push(layout(name, spec.attention), tokens.len(), &[]);
    let (positions, visibility) = rows.finish().unwrap();
    let input = NetworkInput::of_tokens(&tokens, &positions, &visibility);
    let rows: Vec<u32> = (0..tokens.len() as u32).collect();
    let given = network.unwrap().logits(&input, &rows).unwrap();
    let given = given.chunks(size).flat_map(|row| &row[..experts.experts]).map(|&logit| f64::from(logit));
    (experts, given.collect(), bias)
}

/// Of the reference's forward pass.
fn layout(name: &str, of_config: Layout) -> Layout {
    match name {
        "llada2_moe" => Layout::Block { length: 16 },
        _ => of_config,
    }
}

fn compare_routers<D: Device>(device: &D, comparison: &mut Comparison) {
    let words = device.describe();
    let (_, given, _) = router_logits("sdar_moe", 0, device);
    comparison.check(&format!("sdar_moe on {words}"), &given, logits("sdar_moe").values("router.logits"), 5e-4);

    let golden = logits("llada2_moe");
    let (experts, given, bias) = router_logits("llada2_moe", 1, device);
    comparison.check(&format!("llada2_moe on {words}"), &given, golden.values("router.logits"), 5e-4);
    let up = |values: &[f64]| {
        let values: Vec<D::Element> = values.iter().map(|&value| D::Element::from_f64(value)).collect();
        device.upload(&values).unwrap()
    };
    let (given, bias) = (up(&given), up(&bias));
    let mut weights = up(&vec![0.0; golden.values("router.weights").len()]);
    let operands = RouterLogits { logits: &given, bias: Some(&bias), blocks: None };
    let chosen = device.route(&experts.router(), operands, &mut weights).unwrap();
    assert_eq!(chosen, golden.ids("router.experts"), "on {words}");
    let weights: Vec<f64> = device.download(&weights).into_iter().map(Element::to_f64).collect();
    comparison.check(&format!("weights on {words}"), &weights, golden.values("router.weights"), 5e-4);
}

#[test]
fn routers_score_experts_as_their_own_code_does() {
    let mut comparison = Comparison::new();
    for path in CpuPath::available() {
        compare_routers(&Cpu::<f32>::new(path, 1).unwrap(), &mut comparison);
    }
    for device in Cuda::tested() {
        compare_routers(&device, &mut comparison);
    }
    comparison.finish();
}
