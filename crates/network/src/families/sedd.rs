//! SEDD (2310.16834), as louaaron publishes it: MDLM's DiT, conditioned on the total noise σ, with its own nesting of
//! `config.json` and no `model_type`.
//!
//! Read against `model/transformer.py`, `sampling.py`, `graph_lib.py` and `noise_lib.py` of
//! louaaron/Score-Entropy-Discrete-Diffusion (0605786). It predicts log scores, `logit − log(e^σ − 1) − log(V − 1)`: the
//! process `score-entropy` says what the logits mean. Its predictors `euler` and `analytic` are the policy `ancestral`:
//! under the log-linear schedule they have one law. The absorbing token lies behind those of the tokenizer.

use super::config::{Config, wrong};
use super::dit::{self, Dit};
use super::{Family, FamilyFacts, Object, TokenRoles, hugging_face};
use crate::{NetworkError, NetworkSpec};
use aquatint_diffusion::ProcessKind;
use serde_json::{Value, json};

/// See the module.
#[derive(Debug)]
pub struct Sedd;

/// Keys that have to be there.
const REQUIRED: [&str; 4] = ["tokens", "graph", "noise", "model"];
/// Keys of training and sampling.
const OTHERS: [&str; 8] = ["sampling", "ngpus", "training", "data", "eval", "optim", "hydra", "wandb_name"];

/// Whether a `config.json` is one of its own: its makers' files have no `model_type`.
fn is_own(config: &Object) -> bool {
    let is_dit = |part: &Value| part["type"].as_str() == Some("ddit");
    config.get("model").is_some_and(is_dit) && config.contains_key("graph")
}

/// The object under a key.
fn part<'a>(config: &'a Object, key: &'static str) -> Result<&'a Object, NetworkError> {
    let value = config.get(key).unwrap_or(&Value::Null);
    value.as_object().ok_or_else(|| wrong(key, value, "an object"))
}

/// What is constant about it.
pub(super) const FACTS: FamilyFacts =
    FamilyFacts { names: &dit::NAMES_WITHOUT_PREFIX, untyped: Some(is_own), ..FamilyFacts::new("sedd") };

impl Family for Sedd {
    fn facts(&self) -> &FamilyFacts {
        &FACTS
    }

    fn read_config(&self, config: &Object) -> Result<NetworkSpec, NetworkError> {
        Config(config).check_features(&REQUIRED, &OTHERS)?;
        let (model, graph, noise) = (part(config, "model")?, part(config, "graph")?, part(config, "noise")?);
        let insist = |key, part: &Object, name: &str, allowed: &Value| {
            let given = part.get(name).unwrap_or(&Value::Null);
            if given == allowed { Ok(()) } else { Err(wrong(key, given, &allowed.to_string())) }
        };
        insist("graph.type", graph, "type", &json!("absorb"))?;
        insist("noise.type", noise, "type", &json!("loglinear"))?;
        insist("model.scale_by_sigma", model, "scale_by_sigma", &json!(true))?;
        let (config, model) = (Config(config), Config(model));
        let sizes = Dit {
            vocabulary_size: config.size("tokens")?.saturating_add(1),
            width: model.size("hidden_size")?,
            layers: model.size("n_blocks")?,
            heads: model.size("n_heads")?,
            condition_width: model.size("cond_dim")?,
            context_length: model.size("length")?,
            reads_sigma: true,
        };
        sizes.network("n_heads", ProcessKind::ScoreEntropy)
    }

    fn config_keys(&self) -> Option<Vec<&'static str>> {
        Some([&REQUIRED[..], &OTHERS].concat())
    }

    fn write_config(&self, spec: &NetworkSpec, _: &TokenRoles) -> Object {
        let Dit { vocabulary_size, width, layers, heads, condition_width, context_length, .. } = Dit::of(spec);
        let config = json!({
            "tokens": vocabulary_size.saturating_sub(1),
            "graph": {"type": "absorb", "file": "data", "report_all": false},
            "model": {
                "name": "small",
                "type": "ddit",
                "hidden_size": width,
                "cond_dim": condition_width,
                "length": context_length,
                "n_blocks": layers,
                "n_heads": heads,
                "scale_by_sigma": true,
                "dropout": 0.1,
            },
            "noise": {"type": "loglinear", "sigma_min": 0.0001, "sigma_max": 20},
            "sampling": {"predictor": "euler", "steps": 128, "noise_removal": true},
        });
        match config {
            Value::Object(config) => config,
            _ => Object::new(),
        }
    }

    fn roles(&self, config: &Object) -> TokenRoles {
        let mask = Config(config).token("tokens").ok();
        TokenRoles { mask, ..TokenRoles::default() }
    }

    /// As its `configs/config.yaml` has it: 128 steps back along the process.
    fn read_generation(&self, file: Object) -> Result<Object, NetworkError> {
        let mut file = hugging_face::read_generation(file)?;
        file.entry("policy").or_insert(json!("ancestral"));
        file.entry("steps").or_insert(json!(128));
        Ok(file)
    }

    fn write_generation(&self, settings: Object) -> Object {
        settings
    }
}
