//! Fast-dLLM v2 (2509.26328): Qwen2.5 in blocks of `bd_size` positions that see themselves and earlier blocks, in which the
//! row before a position answers for it. The last row of a block answers for the first position of the next.
//!
//! Read against `modeling.py` of Efficient-Large-Model/Fast_dLLM_v2_7B and `generation_functions.py` of NVlabs/Fast-dLLM.

use super::chat::CHATML;
use super::config::Config;
use super::qwen::Qwen;
use super::{Family, FamilyFacts, Object, TokenRoles, hugging_face};
use crate::{HeadSpec, NetworkError, NetworkSpec};
use aquatint_diffusion::Layout;
use serde_json::json;

/// See the module.
#[derive(Debug)]
pub struct FastDllmV2;

/// Keys beside Qwen2's. The second, spelled as in its files, is of training.
const OWN: [&str; 2] = ["bd_size", "conplemenrary_mask"];

/// Positions of a block where nothing is said.
const BLOCK: usize = 32;

/// What is constant about it.
pub(super) const FACTS: FamilyFacts = FamilyFacts {
    mask_token: Some("|<MASK>|"),
    // Padding is what its other files have.
    ignored_roles: &[("config.json", "pad_token_id")],
    chat_template: Some(CHATML),
    ..FamilyFacts::new("Fast_dLLM_Qwen")
};

impl Family for FastDllmV2 {
    fn facts(&self) -> &FamilyFacts {
        &FACTS
    }

    fn read_config(&self, config: &Object) -> Result<NetworkSpec, NetworkError> {
        let config = Config(config);
        let length = config.optional("bd_size", Config::size)?.unwrap_or(BLOCK);
        let spec = Qwen::network(config, &OWN, || Qwen::Two.layers(config))?;
        Ok(NetworkSpec {
            attention: Layout::Block { length },
            head: HeadSpec { logit_shift: true, ..spec.head },
            ..spec
        })
    }

    fn config_keys(&self) -> Option<Vec<&'static str>> {
        Some(Qwen::keys(&OWN))
    }

    fn write_config(&self, spec: &NetworkSpec, roles: &TokenRoles) -> Object {
        let own = json!({
            "model_type": FACTS.model_type,
            "architectures": ["Fast_dLLM_QwenForCausalLM"],
            "bd_size": spec.attention.block_length(),
        });
        Qwen::write(spec, roles, own)
    }

    fn roles(&self, config: &Object) -> TokenRoles {
        Config(config).token_roles()
    }

    /// Its `generation_config.json` is Qwen2.5's, which its own sampler does not read: that takes the likeliest tokens above
    /// a threshold of 0.9. A file that names a policy is one of ours.
    fn read_generation(&self, file: Object) -> Result<Object, NetworkError> {
        let mut file = hugging_face::read_generation(file)?;
        if !file.contains_key("policy") {
            for key in ["temperature", "top_k", "top_p", "repetition_penalty"] {
                file.shift_remove(key);
            }
            file.insert("policy".to_owned(), json!("threshold:0.9"));
            file.insert("temperature".to_owned(), json!(0.0));
            // Sub-blocks of 8, whose first token a block has from the row before it.
            for (key, value) in [("block_length", json!(8)), ("stop_at", json!("block")), ("leads", json!(true))] {
                file.entry(key).or_insert(value);
            }
            file.entry("max_new_tokens").or_insert(json!(2048));
        }
        Ok(file)
    }

    fn write_generation(&self, settings: Object) -> Object {
        settings
    }
}
