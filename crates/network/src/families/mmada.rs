//! MMaDA (2505.15809): LLaDA with the codes of pictures behind the tokens of its text vocabulary.
//!
//! `llm_vocab_size` tokens of text come first, then `codebook_size` codes. The network reads and predicts both alike.
//!
//! Pictures are decoded as text is: their codes are open positions in one block, with the counting `cosine`, the policy
//! `confidence`, the tokens of text suppressed, and guidance whose unconditional prompt is the marks of a task and a picture
//! without a text. The codebook that makes pixels of codes is not here.
//!
//! Read against `modeling_mmada.py` of Gen-Verse/MMaDA. Deviation: its temperature is noise on the logarithms of
//! confidences, and falls by the product of `1 − k/K` over all steps so far; here confidences have no noise.

use super::config::{Config, wrong};
use super::llada;
use super::{Family, FamilyFacts, Object, TokenRoles};
use crate::{NetworkError, NetworkSpec};
use serde_json::json;

/// See the module.
#[derive(Debug)]
pub struct Mmada;

/// Keys beside LLaDA's.
const OWN: [&str; 5] = ["new_vocab_size", "llm_vocab_size", "codebook_size", "num_vq_tokens", "num_new_special_tokens"];

/// As its makers answer questions: 128 positions in one block, a step for each.
const SAMPLING: [(&str, u64); 3] = [("gen_length", 128), ("block_length", 128), ("steps", 128)];

/// As `generate.py` of Gen-Verse/MMaDA has it.
const CHAT_TEMPLATE: &str = "{{ bos_token }}{% for message in messages %}\
     {{ '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n' + message['content'] | trim + '<|eot_id|>' }}\
     {% endfor %}{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\\n' }}{% endif %}";

/// What is constant about it.
pub(super) const FACTS: FamilyFacts = FamilyFacts {
    mask_token: Some("<|mdm_mask|>"),
    names: llada::NAMES,
    chat_template: Some(CHAT_TEMPLATE),
    ..FamilyFacts::new("mmada")
};

impl Family for Mmada {
    fn facts(&self) -> &FamilyFacts {
        &FACTS
    }

    fn read_config(&self, config: &Object) -> Result<NetworkSpec, NetworkError> {
        let config = Config(config);
        let spec = llada::read(config, &OWN)?;
        // The published file counts the table by this key.
        let size = config.optional("new_vocab_size", Config::size)?.unwrap_or(spec.vocabulary_size);
        if let Some(text) = config.optional("llm_vocab_size", Config::size)? {
            let codes = config.optional("codebook_size", Config::size)?.unwrap_or(0);
            if text.saturating_add(codes) > size {
                let allowed = format!("with `codebook_size` no more than the vocabulary of {size}");
                return Err(wrong("llm_vocab_size", config.value("llm_vocab_size"), &allowed));
            }
        }
        Ok(NetworkSpec { vocabulary_size: size, ..spec })
    }

    fn config_keys(&self) -> Option<Vec<&'static str>> {
        Some(llada::keys(&OWN))
    }

    fn write_config(&self, spec: &NetworkSpec, roles: &TokenRoles) -> Object {
        let own = json!({
            "model_type": FACTS.model_type,
            "architectures": ["MMadaModelLM"],
            "new_vocab_size": spec.vocabulary_size,
        });
        llada::write(spec, roles, own)
    }

    fn roles(&self, config: &Object) -> TokenRoles {
        Config(config).token_roles()
    }

    fn read_generation(&self, file: Object) -> Result<Object, NetworkError> {
        llada::read_generation(file, &SAMPLING)
    }

    fn write_generation(&self, settings: Object) -> Object {
        llada::write_generation(settings)
    }
}
