//! `adapter_config.json`, in the keys of PEFT.

use super::{CONFIG, read_config};
use crate::CheckpointError;
use regex::Regex;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::path::Path;

/// What the description of an adapter says beside its tensors.
#[derive(Debug, Clone)]
pub struct AdapterConfig {
    /// The model that it was trained on: a path, the name of a built-in model, or a repository of the Hub.
    pub base: Option<String>,
    /// The rank of its additions.
    pub rank: usize,
    /// What the additions are multiplied by, times their rank.
    pub alpha: f64,
    /// Whether they are divided by the root of their rank instead (rsLoRA: Kalajdzievski, 2312.03732).
    pub rank_stabilised: bool,
    /// The share of inputs that were dropped in training.
    pub dropout: f64,
    /// Other alphas, by a pattern of modules.
    alphas: Vec<(Regex, f64)>,
}

/// The keys that are read, as the file has them.
#[derive(Deserialize)]
struct File {
    peft_type: String,
    #[serde(default)]
    base_model_name_or_path: Option<String>,
    r: usize,
    lora_alpha: f64,
    #[serde(default)]
    use_rslora: bool,
    #[serde(default)]
    lora_dropout: f64,
    #[serde(default)]
    alpha_pattern: Map<String, Value>,
}

/// Keys of which another value means something that is not computed here, with the values that mean nothing.
fn neutral() -> [(&'static str, Vec<Value>); 12] {
    [
        ("bias", vec![json!("none")]),
        ("use_dora", vec![json!(false)]),
        // Others (PiSSA, OLoRA, …) change the base as well.
        ("init_lora_weights", vec![json!(true), json!(false), json!("gaussian"), json!("orthogonal")]),
        ("use_qalora", vec![json!(false)]),
        ("use_bdlora", vec![json!(false)]),
        ("fan_in_fan_out", vec![json!(false)]),
        ("lora_bias", vec![json!(false)]),
        ("modules_to_save", vec![json!([])]),
        ("layer_replication", vec![json!([])]),
        ("trainable_token_indices", vec![json!([])]),
        ("target_parameters", vec![json!([])]),
        ("alora_invocation_tokens", vec![json!([])]),
    ]
}

impl AdapterConfig {
    /// An adapter of one rank.
    pub fn new(base: Option<String>, rank: usize, alpha: f64) -> Self {
        Self { base, rank, alpha, rank_stabilised: false, dropout: 0.0, alphas: Vec::new() }
    }

    /// The description in a folder.
    ///
    /// # Errors
    /// When it is missing or cannot be understood, or describes what is not computed here.
    pub fn load(folder: &Path) -> Result<Self, CheckpointError> {
        let file = folder.join(CONFIG).display().to_string();
        let wrong = |reason: String| CheckpointError::Json { file: file.clone(), reason };
        let value: Value = serde_json::from_slice(&read_config(folder)?).map_err(|error| wrong(error.to_string()))?;
        let setting = |key: &str, given: &Value, allowed: &str| CheckpointError::Setting {
            file: file.clone(),
            key: key.to_owned(),
            given: given.to_string(),
            allowed: allowed.to_owned(),
        };
        for (key, allowed) in neutral() {
            let given = &value[key];
            if !given.is_null() && !allowed.contains(given) {
                let allowed: Vec<String> = allowed.iter().map(ToString::to_string).collect();
                return Err(setting(key, given, &format!("{} or nothing", allowed.join(", "))));
            }
        }
        let read: File = serde_json::from_value(value.clone()).map_err(|error| wrong(error.to_string()))?;
        if read.peft_type != "LORA" {
            return Err(setting("peft_type", &value["peft_type"], "\"LORA\""));
        }
        let mut alphas = Vec::new();
        for (pattern, alpha) in &read.alpha_pattern {
            // A pattern is the whole name of a module, or its end.
            let regex = Regex::new(&format!(r"^(?:.*\.)?(?:{pattern})$"));
            let key = format!("alpha_pattern.{pattern}");
            let (Ok(regex), Some(alpha)) = (regex, alpha.as_f64()) else {
                return Err(setting(&key, alpha, "a number, behind a regular expression"));
            };
            alphas.push((regex, alpha));
        }
        let File { base_model_name_or_path, r, lora_alpha, use_rslora, lora_dropout, .. } = read;
        let (base, rank_stabilised) = (base_model_name_or_path, use_rslora);
        Ok(Self { base, rank: r, alpha: lora_alpha, rank_stabilised, dropout: lora_dropout, alphas })
    }

    /// What the product of both halves is multiplied by, for a module that the files of the base call so.
    pub fn factor(&self, module: &str, rank: usize) -> f64 {
        let own = self.alphas.iter().find(|(pattern, _)| pattern.is_match(module));
        let alpha = own.map_or(self.alpha, |(_, alpha)| *alpha);
        alpha / if self.rank_stabilised { (rank as f64).sqrt() } else { rank as f64 }
    }

    /// The file, for these modules.
    pub(crate) fn to_json(&self, modules: &[String]) -> Value {
        json!({
            "peft_type": "LORA",
            "task_type": "CAUSAL_LM",
            "base_model_name_or_path": self.base,
            "r": self.rank,
            "lora_alpha": self.alpha,
            "lora_dropout": self.dropout,
            "use_rslora": self.rank_stabilised,
            "target_modules": modules,
            "bias": "none",
            "fan_in_fan_out": false,
            "inference_mode": true,
            "init_lora_weights": true,
            "modules_to_save": null,
        })
    }
}

/// A file without the path of the base; null where it is no JSON.
pub(super) fn but_for_base(text: &[u8]) -> Value {
    let mut value: Value = serde_json::from_slice(text).unwrap_or_default();
    if let Some(keys) = value.as_object_mut() {
        keys.shift_remove("base_model_name_or_path");
    }
    value
}
