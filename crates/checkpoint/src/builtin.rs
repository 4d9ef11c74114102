//! Models inside the binary, so that the first command works without a download.

use crate::checkpoint::{Checkpoint, Config, Origin};
use crate::weights::Weights;
use crate::{CheckpointError, GenerationDefaults, roles};
use aquatint_vocabulary::Vocabulary;
use serde_json::Value;
use std::sync::Arc;

/// The model that is used where none is named.
pub const DEFAULT: &str = "tales";

/// The four files of a model in the binary.
#[derive(Debug)]
pub(crate) struct Files {
    name: &'static str,
    config: &'static [u8],
    generation: &'static [u8],
    tokenizer: &'static [u8],
    weights: &'static [u8],
}

static BUILTIN: [Files; 1] = [Files {
    name: "tales",
    config: include_bytes!("../../../models/tales/config.json"),
    generation: include_bytes!("../../../models/tales/generation_config.json"),
    tokenizer: include_bytes!("../../../models/tales/tokenizer.json"),
    weights: include_bytes!("../../../models/tales/model.safetensors"),
}];

/// The names of the built-in models.
pub fn names() -> Vec<&'static str> {
    BUILTIN.iter().map(|files| files.name).collect()
}

pub(crate) fn find(name: &str) -> Option<&'static Files> {
    BUILTIN.iter().find(|files| files.name == name)
}

impl Files {
    pub(crate) fn load(&self) -> Result<Checkpoint, CheckpointError> {
        let file = |file: &str| format!("{} (built in)/{file}", self.name);
        let mut vocabulary = Vocabulary::from_json(self.tokenizer)?;
        let Config { family, spec, quantisation, codecs, roles: stated, unknown_keys } =
            Config::parse(&file("config.json"), self.config, &vocabulary, &|_| None)?;
        roles::assign(&mut vocabulary, &spec, stated, &[])?;
        Ok(Checkpoint {
            family,
            spec,
            quantisation,
            weights: Arc::new(Weights::embedded(&file("model.safetensors"), self.weights)?),
            vocabulary,
            codecs,
            generation: GenerationDefaults::parse(&file("generation_config.json"), self.generation, family)?,
            unknown_keys,
            tokenizer_config: Value::Null,
            origin: Origin::Builtin(self.name),
        })
    }
}
