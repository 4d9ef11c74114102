//! Dream 7B (2508.15487), DiffuCoder (2506.20639) and Dream-Coder (2509.01142): Qwen2.5 with full attention, in which the
//! row before a position answers for it; the first answers for itself.
//!
//! Read against `modeling_dream.py` and `generation_utils.py` of Dream-org/Dream-v0-Instruct-7B.

use super::chat::CHATML;
use super::config::{Config, wrong};
use super::qwen::Qwen;
use super::{Family, FamilyFacts, Object, TokenRoles, hugging_face};
use crate::{HeadSpec, NetworkError, NetworkSpec};
use serde_json::json;

/// See the module.
#[derive(Debug)]
pub struct Dream;

/// The names that its sampler has for the policies here.
const POLICIES: [(&str, &str); 5] = [
    ("origin", "ancestral"),
    ("maskgit_plus", "confidence"),
    ("topk_margin", "margin"),
    ("entropy", "entropy"),
    ("confidence_threshold", "threshold"),
];

/// What is constant about it.
pub(super) const FACTS: FamilyFacts = FamilyFacts {
    mask_token: Some("<|mask|>"),
    // Texts begin with what the tokenizer says, which other files call an end.
    ignored_roles: &[("config.json", "bos_token_id"), ("generation_config.json", "bos_token_id")],
    chat_template: Some(CHATML),
    ..FamilyFacts::new("Dream")
};

impl Family for Dream {
    fn facts(&self) -> &FamilyFacts {
        &FACTS
    }

    fn read_config(&self, config: &Object) -> Result<NetworkSpec, NetworkError> {
        let config = Config(config);
        let spec = Qwen::network(config, &[], || Qwen::Two.layers(config))?;
        Ok(NetworkSpec { head: HeadSpec { logit_shift: true, ..spec.head }, ..spec })
    }

    fn config_keys(&self) -> Option<Vec<&'static str>> {
        Some(Qwen::keys(&[]))
    }

    fn write_config(&self, spec: &NetworkSpec, roles: &TokenRoles) -> Object {
        Qwen::write(spec, roles, json!({"model_type": FACTS.model_type, "architectures": ["DreamModel"]}))
    }

    fn roles(&self, config: &Object) -> TokenRoles {
        Config(config).token_roles()
    }

    /// `alg` is the policy; what is not said is as the makers' examples have it: as many steps as tokens, the predictions of
    /// the least entropy first, drawn at temperature 0.2 from the likeliest tokens that hold 0.95.
    fn read_generation(&self, file: Object) -> Result<Object, NetworkError> {
        let mut file = hugging_face::read_generation(file)?;
        if let Some(sharpness) = file.shift_remove("alg_temp").filter(|given| given.as_f64() != Some(0.0)) {
            return Err(NetworkError::Unsupported {
                key: "alg_temp",
                given: sharpness.to_string(),
                needed: "positions drawn by their confidence",
            });
        }
        // `eps` and how many positions a step commits, and that positions are ranked after shaping.
        let end_time = file.shift_remove("eps").unwrap_or(json!(0.001));
        let own = [("end_time", end_time), ("counting", json!("down")), ("confidence_of", json!("shaped"))];
        for (key, value) in own {
            file.entry(key).or_insert(value);
        }
        let Some(algorithm) = file.shift_remove("alg") else {
            if !file.contains_key("policy") {
                for (key, value) in [("policy", json!("entropy")), ("temperature", json!(0.2)), ("top_p", json!(0.95))]
                {
                    file.entry(key).or_insert(value);
                }
                for key in ["steps", "max_new_tokens"] {
                    file.entry(key).or_insert(json!(512));
                }
            }
            return Ok(file);
        };
        let policy = POLICIES.iter().find(|(name, _)| algorithm == *name);
        let (_, policy) = policy
            .ok_or_else(|| wrong("alg", &algorithm, &POLICIES.map(|(name, _)| format!("\"{name}\"")).join(", ")))?;
        file.entry("policy").or_insert_with(|| (*policy).into());
        for (key, value) in [("temperature", json!(0.0)), ("steps", json!(512)), ("max_new_tokens", json!(512))] {
            file.entry(key).or_insert(value);
        }
        Ok(file)
    }

    fn write_generation(&self, settings: Object) -> Object {
        settings
    }
}
