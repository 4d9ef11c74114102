//! SDAR-MoE (2510.06303), such as SDAR-30B-A3B: Qwen3-MoE in blocks of `block_size` positions that see themselves and
//! earlier blocks, without a shift. All else is [SDAR](super::sdar)'s.
//!
//! Read against `modeling_qwen3_moe.py` of huggingface/transformers, and `generate.py` of JetAstra/SDAR.

use super::config::Config;
use super::qwen::Qwen;
use super::sdar::{self, Sdar};
use super::{Family, FamilyFacts, Object, TokenRoles, experts};
use crate::{NetworkError, NetworkSpec};
use aquatint_diffusion::Layout;
use serde_json::json;

/// See the module.
#[derive(Debug)]
pub struct SdarMoe;

fn keys() -> Vec<&'static str> {
    experts::QWEN.into_iter().chain(sdar::OWN).collect()
}

/// What is constant about it: all but the name is SDAR's.
pub(super) const FACTS: FamilyFacts = FamilyFacts { model_type: "sdar_moe", ..sdar::FACTS };

impl Family for SdarMoe {
    fn facts(&self) -> &FamilyFacts {
        &FACTS
    }

    fn read_config(&self, config: &Object) -> Result<NetworkSpec, NetworkError> {
        let config = Config(config);
        let length = config.optional("block_size", Config::size)?.unwrap_or(sdar::BLOCK);
        let spec = Qwen::network(config, &keys(), || experts::qwen_layers(config, Qwen::Three.attention(config)?))?;
        Ok(NetworkSpec { attention: Layout::Block { length }, ..spec })
    }

    fn config_keys(&self) -> Option<Vec<&'static str>> {
        Some(Qwen::keys(&keys()))
    }

    fn write_config(&self, spec: &NetworkSpec, roles: &TokenRoles) -> Object {
        let own = json!({
            "model_type": FACTS.model_type,
            "architectures": ["SDARMoeForCausalLM"],
            "block_size": spec.attention.block_length(),
        });
        let mut config = Qwen::write(spec, roles, own);
        experts::write_qwen(&spec.layers, &mut config);
        config
    }

    fn roles(&self, config: &Object) -> TokenRoles {
        Config(config).token_roles()
    }

    fn read_generation(&self, file: Object) -> Result<Object, NetworkError> {
        Sdar.read_generation(file)
    }

    fn write_generation(&self, settings: Object) -> Object {
        settings
    }
}
