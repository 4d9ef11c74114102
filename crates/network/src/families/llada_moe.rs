//! LLaDA-MoE-7B-A1B (2509.24389), Base and Instruct: full attention, no shift, keys of Qwen3 with its own for experts.
//!
//! `config.json` says `llada` as LLaDA's does; the architecture tells them apart.
//!
//! Read against `modeling_lladamoe.py` of inclusionAI/LLaDA-MoE-7B-A1B-Instruct. The weights of a row's experts are not
//! divided by their sum, whatever `norm_topk_prob` says: its code does not read the key there. A bias of experts, which
//! its code adds to the weights themselves, is refused, since no published model has one.

use super::config::{Config, wrong};
use super::llada::{self, Llada};
use super::qwen::Qwen;
use super::{Family, FamilyFacts, Object, TokenRoles, experts};
use crate::{Activation, AttentionSpec, ExpertsSpec, NetworkError, NetworkSpec, RouterSpec};
use serde_json::{Value, json};

/// See the module.
#[derive(Debug)]
pub struct LladaMoe;

const ARCHITECTURE: &str = "LLaDAMoEModelLM";

/// Keys beside Qwen3's. The last three say nothing about what the network computes.
const OWN: [&str; 17] = [
    "dense_intermediate_size",
    "expert_intermediate_size",
    "shared_expert_intermediate_size",
    "moe_layer_freq",
    "moe_router_enable_expert_bias",
    "moe_router_score_function",
    "num_experts",
    "num_experts_per_tok",
    "partial_rotary_factor",
    "qk_layernorm",
    "routed_scaling_factor",
    "router_num_group",
    "router_topk_group",
    "clip_qkv",
    "norm_topk_prob",
    "output_router_logits",
    "router_aux_loss_coef",
];

/// Keys that its code knows and no published model uses, with the value that says so.
fn fixed() -> [(&'static str, Value); 8] {
    [
        ("shared_expert_intermediate_size", Value::Null),
        ("moe_router_enable_expert_bias", json!(false)),
        ("moe_router_score_function", json!("softmax")),
        ("partial_rotary_factor", json!(1)),
        ("routed_scaling_factor", json!(1)),
        ("router_num_group", Value::Null),
        ("router_topk_group", Value::Null),
        ("clip_qkv", Value::Null),
    ]
}

/// What is constant about it.
pub(super) const FACTS: FamilyFacts = FamilyFacts {
    architecture: Some(ARCHITECTURE),
    mask_token: Some("<|mask|>"),
    chat_template: Some(experts::LING),
    ..FamilyFacts::new(llada::FACTS.model_type)
};

impl Family for LladaMoe {
    fn facts(&self) -> &FamilyFacts {
        &FACTS
    }

    fn read_config(&self, config: &Object) -> Result<NetworkSpec, NetworkError> {
        let config = Config(config);
        Qwen::network(config, &OWN, || {
            fixed().iter().try_for_each(|(key, value)| config.insist(key, value))?;
            let attention = Qwen::Three.attention(config)?;
            let normed = config.optional("qk_layernorm", Config::flag)?.unwrap_or(false);
            let attention = AttentionSpec { qk_norm: attention.qk_norm.filter(|_| normed), ..attention };
            let mixture = ExpertsSpec {
                experts: config.size("num_experts")?,
                per_token: config.size("num_experts_per_tok")?,
                width: config.size("expert_intermediate_size")?,
                activation: Activation::Swiglu,
                router: RouterSpec::softmax(false),
                shared_width: None,
            };
            let kinds = config.value("moe_layer_freq");
            let layers = config.size("num_hidden_layers")?;
            let fits = |kinds: &&Vec<Value>| {
                kinds.len() == layers && kinds.iter().all(|kind| [json!(0), json!(1)].contains(kind))
            };
            let Some(kinds) = kinds.as_array().filter(fits) else {
                let allowed = format!("0 (a gated part) or 1 (experts) for each of the {layers} layers");
                return Err(wrong("moe_layer_freq", kinds, &allowed));
            };
            experts::layers(config, attention, (mixture, "dense_intermediate_size"), |index| kinds[index] == 1)
        })
    }

    fn config_keys(&self) -> Option<Vec<&'static str>> {
        Some(Qwen::keys(&OWN))
    }

    fn write_config(&self, spec: &NetworkSpec, roles: &TokenRoles) -> Object {
        let own = json!({"model_type": FACTS.model_type, "architectures": [ARCHITECTURE]});
        let mut config = Qwen::write(spec, roles, own);
        let gated = config.shift_remove("intermediate_size");
        let mixture = experts::first(&spec.layers);
        let kinds = spec.layers.iter().map(|layer| u8::from(layer.feed_forward.experts().is_some()));
        let keys = json!({
            "dense_intermediate_size": gated,
            "expert_intermediate_size": mixture.map(|mixture| mixture.width),
            "num_experts": mixture.map(|mixture| mixture.experts),
            "num_experts_per_tok": mixture.map(|mixture| mixture.per_token),
            "moe_layer_freq": kinds.collect::<Vec<u8>>(),
            "qk_layernorm": spec.layers.first().is_some_and(|layer| layer.attention.qk_norm.is_some()),
            "norm_topk_prob": null,
        });
        experts::extend(&mut config, keys);
        config.extend(fixed().map(|(key, value)| (key.to_owned(), value)));
        config
    }

    fn roles(&self, config: &Object) -> TokenRoles {
        Config(config).token_roles()
    }

    /// As LLaDA's, whose sampler it uses.
    fn read_generation(&self, file: Object) -> Result<Object, NetworkError> {
        Llada.read_generation(file)
    }

    fn write_generation(&self, settings: Object) -> Object {
        Llada.write_generation(settings)
    }
}
