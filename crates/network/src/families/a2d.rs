//! The models that dllm (ZHZisZZ) makes of autoregressive ones: Qwen2 and Qwen3 with full attention, without a shift.
//!
//! Read against `dllm/pipelines/a2d` and `dllm/core/samplers` (`mdlm.py`, `bd3lm.py`) of ZHZisZZ/dllm. Which sampler a model
//! is for is in no file of it: those of `bd3lm.py` are read with `--layout block:LENGTH` and `--blocks-from hole`. There are no weights here that its
//! causal base has not, so that both families are read in the same words.

use super::chat::{CHATML, THINKING_CHATML};
use super::config::Config;
use super::qwen::Qwen;
use super::{Family, FamilyFacts, Object, TokenRoles, hugging_face};
use crate::{NetworkError, NetworkSpec};
use serde_json::json;

/// A family of these; see the module.
#[derive(Debug)]
pub struct A2d {
    facts: FamilyFacts,
    base: Qwen,
    architecture: &'static str,
}

/// Made of Qwen2.
pub const A2D_QWEN2: A2d = A2d {
    facts: FamilyFacts { mask_token: MASK, chat_template: Some(CHATML), ..FamilyFacts::new("a2d-qwen2") },
    base: Qwen::Two,
    architecture: "A2DQwen2LMHeadModel",
};

/// Made of Qwen3, whose template dllm calls without thoughts.
pub const A2D_QWEN3: A2d = A2d {
    facts: FamilyFacts {
        mask_token: MASK,
        chat_template: Some(THINKING_CHATML),
        chat_variables: &[("enable_thinking", false)],
        ..FamilyFacts::new("a2d-qwen3")
    },
    base: Qwen::Three,
    architecture: "A2DQwen3LMHeadModel",
};

/// What both call it.
const MASK: Option<&str> = Some("<|mask|>");

impl Family for A2d {
    fn facts(&self) -> &FamilyFacts {
        &self.facts
    }

    fn read_config(&self, config: &Object) -> Result<NetworkSpec, NetworkError> {
        let config = Config(config);
        Qwen::network(config, &[], || self.base.layers(config))
    }

    fn config_keys(&self) -> Option<Vec<&'static str>> {
        Some(Qwen::keys(&[]))
    }

    fn write_config(&self, spec: &NetworkSpec, roles: &TokenRoles) -> Object {
        Qwen::write(spec, roles, json!({"model_type": self.facts.model_type, "architectures": [self.architecture]}))
    }

    fn roles(&self, config: &Object) -> TokenRoles {
        Config(config).token_roles()
    }

    /// Its `generation_config.json` is that of the causal base, which dllm's sampler does not read: that fills 128 positions
    /// in as many steps, by the likeliest tokens. A file that names a policy is one of ours.
    fn read_generation(&self, file: Object) -> Result<Object, NetworkError> {
        let mut file = hugging_face::read_generation(file)?;
        if !file.contains_key("policy") {
            for key in ["top_k", "top_p", "repetition_penalty"] {
                file.shift_remove(key);
            }
            file.insert("policy".to_owned(), json!("confidence"));
            file.insert("temperature".to_owned(), json!(0.0));
            file.entry("max_new_tokens").or_insert(json!(128));
            file.entry("steps").or_insert(json!(128));
        }
        Ok(file)
    }

    fn write_generation(&self, settings: Object) -> Object {
        settings
    }
}
