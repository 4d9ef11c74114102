//! Rotary positions in the words of Hugging Face configurations: `rope_theta` with `rope_scaling`, or all of it in
//! `rope_parameters`, as transformers 5 writes it.
//!
//! Read against `modeling_rope_utils.py` of huggingface/transformers.

use super::Object;
use super::config::{Config, wrong};
use crate::{NetworkError, QueryGrowth, RopeSpec, RotationScaling, Yarn};
use serde_json::{Value, json};

/// The base of the frequencies where a configuration names none.
const THETA: f64 = 10_000.0;

/// The rotary positions of whole heads.
pub(super) fn read(config: Config<'_>) -> Result<RopeSpec, NetworkError> {
    let none = Object::new();
    let parameters = config.value("rope_parameters").as_object().or(config.value("rope_scaling").as_object());
    let parameters = Config(parameters.unwrap_or(&none));
    let theta = config.optional("rope_theta", Config::number)?;
    let theta = theta.or(parameters.optional("rope_theta", Config::number)?).unwrap_or(THETA);
    let kind = [parameters.value("rope_type"), parameters.value("type")].into_iter().find(|kind| !kind.is_null());
    let scaling = match kind.map_or(Some("default"), Value::as_str) {
        Some("default") => RotationScaling::None,
        Some("yarn") => RotationScaling::Yarn(yarn(parameters)?),
        _ => {
            let (key, given) = ("rope_type", kind.unwrap_or(&Value::Null).to_string());
            return Err(NetworkError::Unsupported { key, given, needed: "rotary frequencies of that kind" });
        }
    };
    let query_growth = match parameters.optional("llama_4_scaling_beta", Config::number)? {
        Some(beta) => Some(QueryGrowth { beta, every: parameters.size("original_max_position_embeddings")? }),
        None => None,
    };
    Ok(RopeSpec { theta, scaling, query_growth, ..RopeSpec::default() })
}

fn yarn(parameters: Config<'_>) -> Result<Yarn, NetworkError> {
    if parameters.optional("truncate", Config::flag)? == Some(false) {
        let (key, given) = ("truncate", "false".to_owned());
        return Err(NetworkError::Unsupported { key, given, needed: "a ramp of YaRN that is not rounded" });
    }
    let number = |key| parameters.optional(key, Config::number);
    let factor = parameters.number("factor")?;
    let grown = |scale: f64| if factor > 1.0 { 0.1 * scale * factor.ln() + 1.0 } else { 1.0 };
    let attention_factor = match (number("attention_factor")?, number("mscale")?, number("mscale_all_dim")?) {
        (Some(given), _, _) => given,
        (None, Some(own), Some(all)) if own != 0.0 && all != 0.0 => grown(own) / grown(all),
        _ => grown(1.0),
    };
    if !(factor >= 1.0 && factor.is_finite()) {
        return Err(wrong("factor", parameters.value("factor"), "1 or more"));
    }
    Ok(Yarn {
        factor,
        original_context: parameters.size("original_max_position_embeddings")?,
        beta_fast: number("beta_fast")?.unwrap_or(32.0),
        beta_slow: number("beta_slow")?.unwrap_or(1.0),
        attention_factor,
    })
}

/// The keys that [`read`] reads as this.
pub(super) fn write(rope: &RopeSpec) -> Value {
    let (RotationScaling::Yarn(yarn), growth) = (rope.scaling, rope.query_growth) else {
        return json!({"rope_theta": rope.theta, "rope_scaling": null});
    };
    let mut parameters = json!({
        "rope_type": "yarn",
        "rope_theta": rope.theta,
        "factor": yarn.factor,
        "original_max_position_embeddings": yarn.original_context,
        "beta_fast": yarn.beta_fast,
        "beta_slow": yarn.beta_slow,
        "attention_factor": yarn.attention_factor,
    });
    if let Some(growth) = growth {
        parameters["llama_4_scaling_beta"] = json!(growth.beta);
    }
    json!({"rope_parameters": parameters})
}
