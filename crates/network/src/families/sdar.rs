//! SDAR (2510.06303) and TraDo (2509.06949): Qwen3 in blocks of `block_size` positions that see themselves and earlier
//! blocks, without a shift.
//!
//! Read against `modeling_sdar.py` and `generate.py` of JetAstra/SDAR.

use super::chat::THINKING_CHATML;
use super::config::Config;
use super::qwen::Qwen;
use super::{Family, FamilyFacts, Object, TokenRoles, hugging_face};
use crate::{NetworkError, NetworkSpec};
use aquatint_diffusion::Layout;
use serde_json::json;

/// See the module.
#[derive(Debug)]
pub struct Sdar;

/// Keys beside Qwen3's. All but the first are of training.
pub(super) const OWN: [&str; 7] =
    ["block_size", "debug", "ep_size", "fuse_cross_entropy", "micro_forward", "skip_checkpoint", "use_deepep"];

/// Positions of a block where nothing is said.
pub(super) const BLOCK: usize = 4;

/// What is constant about it.
pub(super) const FACTS: FamilyFacts = FamilyFacts {
    mask_token: Some("<|MASK|>"),
    // A text ends at the end of a turn, as its other files have it.
    ignored_roles: &[("config.json", "eos_token_id")],
    chat_template: Some(THINKING_CHATML),
    ..FamilyFacts::new("sdar")
};

impl Family for Sdar {
    fn facts(&self) -> &FamilyFacts {
        &FACTS
    }

    fn read_config(&self, config: &Object) -> Result<NetworkSpec, NetworkError> {
        let config = Config(config);
        let length = config.optional("block_size", Config::size)?.unwrap_or(BLOCK);
        let spec = Qwen::network(config, &OWN, || Qwen::Three.layers(config))?;
        Ok(NetworkSpec { attention: Layout::Block { length }, ..spec })
    }

    fn config_keys(&self) -> Option<Vec<&'static str>> {
        Some(Qwen::keys(&OWN))
    }

    fn write_config(&self, spec: &NetworkSpec, roles: &TokenRoles) -> Object {
        let own = json!({
            "model_type": FACTS.model_type,
            "architectures": ["SDARForCausalLM"],
            "block_size": spec.attention.block_length(),
        });
        Qwen::write(spec, roles, own)
    }

    fn roles(&self, config: &Object) -> TokenRoles {
        Config(config).token_roles()
    }

    /// As its makers run it (`low_confidence_dynamic`): what is more probable than 0.9 after shaping is committed at once, and
    /// a text ends with its block. The rest is as the file says.
    fn read_generation(&self, file: Object) -> Result<Object, NetworkError> {
        let mut file = hugging_face::read_generation(file)?;
        let own = [("policy", "dynamic:0.9"), ("counting", "even"), ("confidence_of", "shaped"), ("stop_at", "block")];
        for (key, value) in own {
            file.entry(key).or_insert(json!(value));
        }
        file.entry("max_new_tokens").or_insert(json!(256));
        Ok(file)
    }

    fn write_generation(&self, settings: Object) -> Object {
        settings
    }
}
