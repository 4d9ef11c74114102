//! BD3-LM (2503.09573), as kuleshov-group publishes it: MDLM's DiT in blocks that see themselves and the clean blocks
//! before them.
//!
//! Read against `models/hf/modeling_bd3lm.py` and `diffusion.py` of kuleshov-group/bd3lms (1c3e8f4). Its first-hitting
//! sampler is the policy `first-hitting`, and with steps it is `ancestral`; its key-value cache is ours, the exact one,
//! in the device's precision and not in bf16.

use super::config::Config;
use super::dit::{self, Dit};
use super::{Family, FamilyFacts, Object, TokenRoles, hugging_face};
use crate::{NetworkError, NetworkSpec};
use aquatint_diffusion::{Layout, ProcessKind};
use serde_json::{Value, json};

/// See the module.
#[derive(Debug)]
pub struct Bd3lm;

/// Keys beside those that are read always. All but the first two are of training, or of how attention is computed.
const OTHERS: [&str; 10] = [
    "time_conditioning",
    "block_size",
    "dropout",
    "attn_backend",
    "var_min",
    "sampling_eps_min",
    "sampling_eps_max",
    "adaln",
    "causal",
    "cross_attn",
];

/// Keys that choose among parts, with the one choice that a BD3-LM has.
fn fixed() -> [(&'static str, Value); 3] {
    [("adaln", json!(true)), ("causal", json!(false)), ("cross_attn", json!(true))]
}

/// What is constant about it.
pub(super) const FACTS: FamilyFacts = FamilyFacts {
    names: &dit::NAMES,
    // The frequencies of the rotation, which follow from the config, and the noise levels of its training.
    unread_tensors: &["backbone.rotary_emb.inv_freq", "sampling_eps_min", "sampling_eps_max"],
    ..FamilyFacts::new("bd3lm")
};

impl Family for Bd3lm {
    fn facts(&self) -> &FamilyFacts {
        &FACTS
    }

    fn read_config(&self, config: &Object) -> Result<NetworkSpec, NetworkError> {
        let config = Config(config);
        config.check_features(&dit::REQUIRED, &OTHERS)?;
        fixed().iter().try_for_each(|(key, value)| config.insist(key, value))?;
        let length = config.size("block_size")?;
        let spec = Dit::read(config)?.network("n_heads", ProcessKind::Masked)?;
        Ok(NetworkSpec { attention: Layout::Block { length }, ..spec })
    }

    fn config_keys(&self) -> Option<Vec<&'static str>> {
        Some([&dit::REQUIRED[..], &OTHERS].concat())
    }

    fn write_config(&self, spec: &NetworkSpec, _: &TokenRoles) -> Object {
        let mut config = Dit::of(spec).write();
        let own = json!({
            "model_type": FACTS.model_type,
            "architectures": ["BD3LM"],
            "block_size": spec.attention.block_length(),
            "dropout": 0.1,
            "attn_backend": "sdpa",
            "var_min": true,
            "sampling_eps_min": 0.001,
            "sampling_eps_max": 0.999,
        });
        if let Value::Object(own) = own {
            config.extend(own);
        }
        config.extend(fixed().map(|(key, value)| (key.to_owned(), value)));
        config
    }

    fn roles(&self, config: &Object) -> TokenRoles {
        dit::roles(Config(config))
    }

    /// As its `configs/config.yaml` has it: one position at a time.
    fn read_generation(&self, file: Object) -> Result<Object, NetworkError> {
        let mut file = hugging_face::read_generation(file)?;
        file.entry("policy").or_insert(json!("first-hitting"));
        Ok(file)
    }

    fn write_generation(&self, settings: Object) -> Object {
        settings
    }
}
