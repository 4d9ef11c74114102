//! Nemotron-Labs-Diffusion: Ministral 3 with a causal prefix, behind which a block sees all of itself.
//!
//! Read against `models/nemotron_labs_diffusion` of mlx-vlm 0.7.10 and `modeling_ministral3.py` of huggingface/transformers;
//! the hub's own file was not to be had. There the threshold is compared after a schedule of `block_length` steps.
//!
//! Self-speculation is a setting (`self_speculation`). Deviations: drafts have one length, which mlx-vlm's grow from; and
//! the text is the same at any temperature as without drafts, where theirs take the likeliest token.

use super::config::Config;
use super::qwen::Qwen;
use super::{Family, FamilyFacts, Object, TokenRoles, hugging_face};
use crate::{NetworkError, NetworkSpec};
use aquatint_diffusion::Layout;
use serde_json::json;

/// See the module.
#[derive(Debug)]
pub struct NemotronLabsDiffusion;

/// Keys beside those of its base. All but the first two are of training.
const OWN: [&str; 6] =
    ["block_size", "dlm_paradigm", "ar_loss_weight", "dlm_loss_weight", "dp_varying_mask_ratio", "mlp_bias"];

/// Positions of a block where nothing is said.
const BLOCK: usize = 32;

/// What is constant about it.
pub(super) const FACTS: FamilyFacts = FamilyFacts {
    mask_token: Some("<mask>"),
    names: &[
        ("model.embed_tokens", "encoder.embed_tokens"),
        ("model.layers.*.input_layernorm", "encoder.layers.*.input_layernorm"),
        ("model.layers.*.self_attn.q_proj", "encoder.layers.*.self_attn.q_proj"),
        ("model.layers.*.self_attn.k_proj", "encoder.layers.*.self_attn.k_proj"),
        ("model.layers.*.self_attn.v_proj", "encoder.layers.*.self_attn.v_proj"),
        ("model.layers.*.self_attn.o_proj", "encoder.layers.*.self_attn.o_proj"),
        ("model.layers.*.post_attention_layernorm", "encoder.layers.*.post_attention_layernorm"),
        ("model.layers.*.mlp.gate_proj", "encoder.layers.*.mlp.gate_proj"),
        ("model.layers.*.mlp.up_proj", "encoder.layers.*.mlp.up_proj"),
        ("model.layers.*.mlp.down_proj", "encoder.layers.*.mlp.down_proj"),
        ("model.norm", "encoder.norm"),
        ("lm_head", "diffusion_head"),
    ],
    ..FamilyFacts::new("nemotron_labs_diffusion")
};

impl Family for NemotronLabsDiffusion {
    fn facts(&self) -> &FamilyFacts {
        &FACTS
    }

    fn read_config(&self, config: &Object) -> Result<NetworkSpec, NetworkError> {
        let config = Config(config);
        config.insist("dlm_paradigm", &json!("bidirectional"))?;
        config.insist("mlp_bias", &json!(false))?;
        let length = config.optional("block_size", Config::size)?.unwrap_or(BLOCK);
        let spec = Qwen::network(config, &OWN, || Qwen::Neither.layers(config))?;
        Ok(NetworkSpec { attention: Layout::CausalPrefix { length }, ..spec })
    }

    fn config_keys(&self) -> Option<Vec<&'static str>> {
        Some(Qwen::keys(&OWN))
    }

    fn write_config(&self, spec: &NetworkSpec, roles: &TokenRoles) -> Object {
        let own = json!({
            "model_type": FACTS.model_type,
            "architectures": ["NemotronLabsDiffusionModel"],
            "dlm_paradigm": "bidirectional",
            "block_size": spec.attention.block_length(),
        });
        Qwen::write(spec, roles, own)
    }

    fn roles(&self, config: &Object) -> TokenRoles {
        Config(config).token_roles()
    }

    /// As its sampler is called: greedy, what is more probable than 0.9 at once.
    fn read_generation(&self, file: Object) -> Result<Object, NetworkError> {
        let mut file = hugging_face::read_generation(file)?;
        for (key, value) in
            [("policy", json!("threshold:0.9")), ("temperature", json!(0.0)), ("max_new_tokens", json!(256))]
        {
            file.entry(key).or_insert(value);
        }
        Ok(file)
    }

    fn write_generation(&self, settings: Object) -> Object {
        settings
    }
}
