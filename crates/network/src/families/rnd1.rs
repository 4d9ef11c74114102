//! RND1 (Radical Numerics): Qwen3-MoE with full attention, in which the row before a position answers for it; the first
//! answers for itself.
//!
//! Read against `modeling_rnd.py`, `configuration_rnd.py` and `sampling.py` of RadicalNumerics/RND1. Its configuration class
//! puts the sizes of the published model in place of those in `config.json`; here `config.json` counts. Its `eb_gamma` is the
//! policy `entropy-bound-by-confidence`.
//!
//! Deviation: where its sampler cuts tokens off (`top_k`, `top_p`), its entropies are sums with `0 · −∞`, which are no
//! numbers, and positions are committed in the order in which `topk` happens to return those. Here `entropy` ranks by the
//! prediction, and by what is left of it with `confidence_of` `shaped`.

use super::config::Config;
use super::qwen::Qwen;
use super::{Family, FamilyFacts, Object, TokenRoles, experts, hugging_face};
use crate::{HeadSpec, NetworkError, NetworkSpec};
use serde_json::{Value, json};

/// See the module.
#[derive(Debug)]
pub struct Rnd1;

/// Keys beside Qwen3-MoE's, which say nothing about what the network computes.
const OWN: [&str; 2] = ["moe_backend", "num_diffusion_steps"];

/// Steps and new tokens where nothing is said, as in the makers' demonstration.
const STEPS: u64 = 256;

fn keys() -> Vec<&'static str> {
    experts::QWEN.into_iter().chain(OWN).collect()
}

/// What is constant about it.
pub(super) const FACTS: FamilyFacts = FamilyFacts { mask_token: Some("<|mask|>"), ..FamilyFacts::new("rnd1") };

impl Family for Rnd1 {
    fn facts(&self) -> &FamilyFacts {
        &FACTS
    }

    fn read_config(&self, config: &Object) -> Result<NetworkSpec, NetworkError> {
        let config = Config(config);
        let spec = Qwen::network(config, &keys(), || experts::qwen_layers(config, Qwen::Three.attention(config)?))?;
        Ok(NetworkSpec { head: HeadSpec { logit_shift: true, ..spec.head }, ..spec })
    }

    fn config_keys(&self) -> Option<Vec<&'static str>> {
        Some(Qwen::keys(&keys()))
    }

    fn write_config(&self, spec: &NetworkSpec, roles: &TokenRoles) -> Object {
        let own = json!({"model_type": FACTS.model_type, "architectures": ["RND1LM"]});
        let mut config = Qwen::write(spec, roles, own);
        experts::write_qwen(&spec.layers, &mut config);
        config
    }

    fn roles(&self, config: &Object) -> TokenRoles {
        Config(config).token_roles()
    }

    /// As its sampler: the predictions of the least entropy first, in `num_diffusion_steps` steps; the likeliest tokens,
    /// unless `greedy` is false.
    fn read_generation(&self, file: Object) -> Result<Object, NetworkError> {
        let mut file = hugging_face::read_generation(file)?;
        let steps = file.shift_remove("num_diffusion_steps").unwrap_or(json!(STEPS));
        let greedy = file.shift_remove("greedy");
        if !file.contains_key("policy") {
            if greedy != Some(Value::Bool(false)) {
                file.insert("temperature".to_owned(), json!(0.0));
            }
            for (key, value) in [("policy", json!("entropy")), ("steps", steps), ("max_new_tokens", json!(STEPS))] {
                file.entry(key).or_insert(value);
            }
        }
        Ok(file)
    }

    fn write_generation(&self, settings: Object) -> Object {
        settings
    }
}
