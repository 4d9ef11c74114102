//! Models inside the binary, so that the first command works without a download.

use crate::checkpoint::{Checkpoint, Config, Origin};
use crate::weights::Weights;
use crate::{CheckpointError, CodecFiles, GenerationDefaults, roles};
use aquatint_vocabulary::Vocabulary;
use serde_json::Value;
use std::sync::Arc;

/// The model that is used where none is named.
pub const DEFAULT: &str = "tales";

/// The files of a model in the binary.
#[derive(Debug)]
pub(crate) struct Files {
    name: &'static str,
    config: &'static [u8],
    generation: &'static [u8],
    tokenizer: &'static [u8],
    weights: &'static [u8],
    /// By what they make codes of.
    codecs: &'static [(&'static str, CodecInside)],
}

/// The files of a codec in the binary.
#[derive(PartialEq, Eq)]
pub struct CodecInside {
    /// What stands for its folder in messages.
    pub(crate) place: &'static str,
    pub(crate) config: &'static [u8],
    pub(crate) weights: &'static [u8],
}

impl std::fmt::Debug for CodecInside {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CodecInside").field("place", &self.place).finish_non_exhaustive()
    }
}

static BUILTIN: [Files; 1] = [Files {
    name: "tales",
    config: include_bytes!("../../../models/tales/config.json"),
    generation: include_bytes!("../../../models/tales/generation_config.json"),
    tokenizer: include_bytes!("../../../models/tales/tokenizer.json"),
    weights: include_bytes!("../../../models/tales/model.safetensors"),
    codecs: &[],
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
        let files_of = |name: &str| {
            let codec = self.codecs.iter().find(|(codec, _)| *codec == name);
            codec.map(|(_, inside)| CodecFiles::Builtin(inside))
        };
        let Config { family, spec, quantisation, codecs, roles: stated, unknown_keys } =
            Config::parse(&file("config.json"), self.config, &vocabulary, &files_of)?;
        roles::assign(&mut vocabulary, &spec, stated, &[])?;
        Ok(Checkpoint {
            family,
            spec,
            quantisation,
            weights: Arc::new(Weights::embedded(&file("model.safetensors"), self.weights)?),
            adapters: Vec::new(),
            vocabulary,
            codecs,
            generation: GenerationDefaults::parse(&file("generation_config.json"), self.generation, family)?,
            unknown_keys,
            tokenizer_config: Value::Null,
            origin: Origin::Builtin(self.name),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::path::Path;

    static CODECS: [(&str, CodecInside); 1] = [(
        "picture",
        CodecInside {
            place: "tales (built in)/picture",
            config: include_bytes!("../../../models/pictures/config.json"),
            weights: include_bytes!("../../../models/pictures/model.safetensors"),
        },
    )];

    /// The built-in model with one more codec named in its description, whose codes lie behind its tokens.
    fn with_codec(name: &str) -> Files {
        let tales = &BUILTIN[0];
        let mut config: Value = serde_json::from_slice(tales.config).unwrap();
        let tokens = config["vocab_size"].as_u64().unwrap();
        let (open, close, first) = (tokens, tokens + 1, tokens + 2);
        config["vocab_size"] = json!(tokens + 12);
        config["codecs"] = json!([{ "name": name, "first_code": first, "codes": 10, "open": open, "close": close }]);
        let config = Box::leak(serde_json::to_vec(&config).unwrap().into_boxed_slice());
        Files {
            name: "tales",
            config,
            generation: tales.generation,
            tokenizer: tales.tokenizer,
            weights: tales.weights,
            codecs: &CODECS,
        }
    }

    #[test]
    fn a_codec_inside_is_the_one_of_its_folder_and_is_saved_with_its_model() {
        let loaded = with_codec("picture").load().unwrap();
        let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../models/pictures"));
        let (inside, beside) = (&loaded.codecs[0].files, CodecFiles::from(folder));
        assert_eq!(inside.fingerprint().unwrap(), beside.fingerprint().unwrap());
        assert_eq!(inside.config(1 << 20).unwrap(), beside.config(1 << 20).unwrap());
        assert!(beside.config(10).unwrap_err().to_string().contains("more than 10 bytes"));
        let (there, also) = (inside.weights().unwrap(), beside.weights().unwrap());
        let name = there.names().next().unwrap();
        assert_eq!((there.len(), there.read(name).unwrap()), (also.len(), also.read(name).unwrap()));
        let room = tempfile::tempdir().unwrap();
        loaded.codecs[0].write_folder(room.path()).unwrap();
        let saved = CodecFiles::from(&room.path().join("picture"));
        assert_eq!(saved.fingerprint().unwrap(), inside.fingerprint().unwrap());
    }

    #[test]
    fn a_codec_that_is_not_inside_is_refused_by_its_name() {
        let error = with_codec("sound").load().unwrap_err().to_string();
        assert!(error.contains("`codecs.0.name` is \"sound\""), "{error}");
    }
}
