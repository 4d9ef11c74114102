//! `generation_config.json`: the ids that end, pad and mask, and how its makers advise to sample from a model.

use crate::CheckpointError;
use crate::read::read_optional;
use aquatint_diffusion::OrderNetwork;
use aquatint_network::families::{Family, Object};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::path::Path;
use std::sync::Arc;

/// How a model is best sampled from, where the user says nothing else.
///
/// A checkpoint of this project is refused when it has a key that is not named here and that Hugging Face tools do not
/// add. Other families' files keep theirs in
/// [`GenerationDefaults::others`].
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct GenerationDefaults {
    /// Id of an open position.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mask_token_id: Option<u32>,
    /// Ids that end a text: a number, or a list of several.
    #[serde(skip_serializing_if = "Vec::is_empty", with = "one_or_many", default)]
    pub eos_token_id: Vec<u32>,
    /// Id of padding.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pad_token_id: Option<u32>,
    /// Id that begins a text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bos_token_id: Option<u32>,
    /// Denoising steps per block.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub steps: Option<usize>,
    /// Positions denoised together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub block_length: Option<usize>,
    /// Open positions of a continuation where nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_new_tokens: Option<usize>,
    /// Which predictions become final: a commit policy's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    /// The ranks of evenly spaced times, from 0 to 1, along which steps are spread: see
    /// `aquatint_diffusion::TimeGrid`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_grid: Option<Vec<f64>>,
    /// Whether committed positions may be noised again: a remasking schedule's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remasking: Option<String>,
    /// Sharpness of the draw, 0 for the likeliest token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f64>,
    /// The temperature that the steps of a block approach.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub final_temperature: Option<f64>,
    /// Draw from the tokens that are at least this share as likely as the likeliest one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_p: Option<f64>,
    /// Draw from the k likeliest tokens only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top_k: Option<usize>,
    /// Draw from the smallest set of tokens that holds this probability.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top_p: Option<f64>,
    /// Divides the odds of tokens that the canvas already has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repetition_penalty: Option<f64>,
    /// Tokens that are never written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suppress_tokens: Option<Vec<u32>>,
    /// Tokens that are written as late as possible.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub defer_tokens: Option<Vec<u32>>,
    /// Of which distribution confidence is: `prediction`, `shaped`, `shaped:TEMPERATURE`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confidence_of: Option<String>,
    /// How many positions each step leaves open: a counting's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub counting: Option<String>,
    /// The time to which steps are spread evenly.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end_time: Option<f64>,
    /// Whether the first step of a block makes its first position final and no other.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub leads: Option<bool>,
    /// Whether what is accepted stays open up to the last step of its block.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revise: Option<bool>,
    /// Whether a step that makes all open positions final writes the likeliest tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commit_likeliest: Option<bool>,
    /// Proposals in a row that have to agree before a block ends early.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stability_threshold: Option<usize>,
    /// The mean entropy in nats below which a block ends early.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confidence_threshold: Option<f64>,
    /// When an end token closes its span: `step`, `block`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_at: Option<String>,
    /// From where the blocks of a network of blocks are counted: `text`, `hole`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blocks_from: Option<String>,
    /// Whether blocks are drafts that the causal pass verifies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub self_speculation: Option<bool>,
    /// Probability above which another token replaces a committed one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub edit_threshold: Option<f64>,
    /// Steps that only edit when a block is full.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub edit_steps: Option<usize>,
    /// Id of the token that deletes its position.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delete_token: Option<u32>,
    /// Id of the token that inserts a position before its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub insert_token: Option<u32>,
    /// Which keys and values steps take over from steps before: a cache's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache: Option<String>,
    /// The learnt order beside the model, by which the policy `learnt` commits. It has files of its own.
    #[serde(skip)]
    pub order: Option<Arc<OrderNetwork>>,
    /// Keys of other families' files, kept but not used.
    #[serde(flatten)]
    pub others: serde_json::Map<String, serde_json::Value>,
}

/// The reason why a file's text is refused, with its line and column. An object has lost the places of its values, and
/// only the text has them still.
fn placed(text: &[u8], reason: Refusal) -> String {
    match reason {
        Refusal::Key(key) => {
            let quoted = format!("{key:?}");
            let found = text.windows(quoted.len()).position(|window| window == quoted.as_bytes());
            let place = found.map_or_else(String::new, |at| {
                let before = &text[..at];
                let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
                let column = 1 + before.iter().rev().take_while(|byte| **byte != b'\n').count();
                format!(" at line {line} column {column}")
            });
            format!("unknown key `{key}`{place}")
        }
        Refusal::Value(reason) => match serde_json::from_slice::<GenerationDefaults>(text) {
            Err(placed) => placed.to_string(),
            Ok(_) => reason,
        },
    }
}

/// A `generation_config.json` with what the `config.json` beside it says of sampling, where it says nothing itself.
fn completed(mut object: Object, family: &dyn Family, config: &Value) -> Object {
    for (there, name) in family.facts().sampling_keys {
        if let Some(value) = config.get(there).filter(|value| !value.is_null()) {
            object.entry(*name).or_insert_with(|| value.clone());
        }
    }
    object
}

/// Why an object is refused.
enum Refusal {
    /// A key that is unknown.
    Key(String),
    /// A value that cannot be.
    Value(String),
}

impl Refusal {
    /// The reason where there is no text.
    fn without_place(self) -> String {
        match self {
            Self::Key(key) => format!("unknown key `{key}`"),
            Self::Value(reason) => reason,
        }
    }
}

/// A number, a list of numbers, or nothing.
mod one_or_many {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(ids: &[u32], serializer: S) -> Result<S::Ok, S::Error> {
        match ids {
            [one] => one.serialize(serializer),
            many => many.serialize(serializer),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u32>, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Ids {
            One(u32),
            Many(Vec<u32>),
        }
        Ok(match Option::<Ids>::deserialize(deserializer)? {
            None => Vec::new(),
            Some(Ids::One(id)) => vec![id],
            Some(Ids::Many(ids)) => ids,
        })
    }
}

impl GenerationDefaults {
    /// Reads the file's text as its family understands it.
    ///
    /// # Errors
    /// When it is no JSON of that shape, a value cannot be, or a key is unknown to a family that knows all of its own.
    pub fn parse(file: &str, text: &[u8], family: &dyn Family) -> Result<Self, CheckpointError> {
        Self::parse_beside(file, text, family, &Value::Null)
    }

    /// The same beside a `config.json`.
    fn parse_beside(file: &str, text: &[u8], family: &dyn Family, config: &Value) -> Result<Self, CheckpointError> {
        let refused = |reason: String| CheckpointError::Json { file: file.to_owned(), reason };
        let object: Object = serde_json::from_slice(text).map_err(|e| refused(e.to_string()))?;
        Self::from_object(family, completed(object, family, config)).map_err(|reason| refused(placed(text, reason)))
    }

    fn from_object(family: &dyn Family, object: Object) -> Result<Self, Refusal> {
        let ours = family.read_generation(object).map_err(|e| Refusal::Value(e.to_string()))?;
        let parsed: Self = serde_json::from_value(Value::Object(ours)).map_err(|e| Refusal::Value(e.to_string()))?;
        match parsed.others.keys().next().filter(|_| !family.facts().keeps_other_generation_keys) {
            Some(key) => Err(Refusal::Key(key.clone())),
            None => Ok(parsed),
        }
    }

    /// Reads `generation_config.json` in a folder; where there is none, what the family advises.
    /// `config` is its `config.json`, which may say some of it.
    pub(crate) fn load(folder: &Path, family: &dyn Family, config: &Value) -> Result<Self, CheckpointError> {
        let path = folder.join("generation_config.json");
        let file = path.display().to_string();
        match read_optional(&path)? {
            Some(text) => Self::parse_beside(&file, &text, family, config),
            None => Self::from_object(family, completed(Object::new(), family, config))
                .map_err(|reason| CheckpointError::Json { file, reason: reason.without_place() }),
        }
    }

    /// Reads `generation_config.json` in the folder of an adapter, where there is one. What a family's `config.json` says of
    /// sampling is what it says beside the model.
    pub(crate) fn load_beside(
        folder: &Path,
        family: &dyn Family,
        base: &Self,
    ) -> Result<Option<Self>, CheckpointError> {
        let path = folder.join("generation_config.json");
        let Some(text) = read_optional(&path)? else { return Ok(None) };
        let file = path.display().to_string();
        let refused =
            |error: serde_json::Error| CheckpointError::Json { file: file.clone(), reason: error.to_string() };
        let of_base = base.to_file(family).map_err(refused)?;
        let names = family.facts().sampling_keys.iter();
        let config: Object =
            names.filter_map(|(there, name)| Some(((*there).to_owned(), of_base.get(name)?.clone()))).collect();
        Self::parse_beside(&file, &text, family, &Value::Object(config)).map(Some)
    }

    /// The file's contents in the words of a family.
    pub(crate) fn to_file(&self, family: &dyn Family) -> serde_json::Result<Value> {
        Ok(match serde_json::to_value(self)? {
            Value::Object(ours) => Value::Object(family.write_generation(ours)),
            other => other,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aquatint_network::families::{llada::Llada, native::Native};

    #[test]
    fn known_keys_round_trip_and_unknown_ones_are_refused_where_they_are_ours() {
        let text = br#"{"mask_token_id": 3, "eos_token_id": [7, 8], "temperature": 0.7, "top_p": 0.95}"#;
        let defaults = GenerationDefaults::parse("g", text, &Native).unwrap();
        assert_eq!((defaults.mask_token_id, &defaults.eos_token_id), (Some(3), &vec![7, 8]));
        let again = serde_json::to_vec(&defaults).unwrap();
        assert_eq!(GenerationDefaults::parse("g", &again, &Native).unwrap(), defaults);

        let foreign = br#"{"transformers_version": "5.1", "eos_token_id": 2, "speed": 3}"#;
        assert_eq!(GenerationDefaults::parse("g", foreign, &Llada).unwrap().others.len(), 2);
        let error = GenerationDefaults::parse("g", foreign, &Native).unwrap_err().to_string();
        assert_eq!(error, "`g` cannot be understood: unknown key `speed` at line 1 column 52");
    }

    #[test]
    fn a_value_of_another_type_is_refused_with_its_line_and_column() {
        let refused = |text: &str, family: &dyn Family| {
            GenerationDefaults::parse("g", text.as_bytes(), family).unwrap_err().to_string()
        };
        let text = "{\n  \"steps\": 4,\n  \"temperature\": \"hot\"\n}\n";
        let words = "`g` cannot be understood: invalid type: string \"hot\", expected f64 at line 3 column 22";
        assert_eq!(refused(text, &Native), words);
        // A family that has words of its own for the other settings refuses the same with the same words.
        assert_eq!(refused(text, &Llada), words);
        assert_eq!(
            refused("{\"steps\": -1}", &Native),
            "`g` cannot be understood: invalid value: integer `-1`, expected usize at line 1 column 12"
        );
        assert!(refused("{\"top_k\": 3\n\"top_p\": 1}", &Native).ends_with(" at line 2 column 1"));
        assert!(refused("{\n \"speed\": 3}", &Native).ends_with("unknown key `speed` at line 2 column 2"));
    }
}
