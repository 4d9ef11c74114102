//! Ollama's options as ours.
//!
//! | option | here |
//! |---|---|
//! | `temperature`, `top_p`, `seed`, `presence_penalty`, `frequency_penalty` | the same; a negative seed is a random one |
//! | `top_k`, `min_p` | the same; 0 limits nothing |
//! | `repeat_penalty` | `repetition_penalty` |
//! | `repeat_last_n` | -1, the whole canvas; 0 switches the penalty off; other values are refused |
//! | `num_predict` | tokens at most; -1 and -2 leave it to the model's advice |
//! | `stop` | strings at which the text ends |
//! | `typical_p`, `tfs_z`, `mirostat`, `penalize_newline` | only the values that change nothing |
//! | `num_ctx`, `num_keep`, `num_batch`, `num_gpu`, `main_gpu`, `num_thread`, `numa`, `use_mmap`, `use_mlock`, `low_vram`, `f16_kv` | accepted with a warning: the server and the model decide |
//! | our own fields of sampling (`steps`, `policy` …) | the same |
//! | others | refused |

use crate::body;
use crate::error::ApiError;
use crate::sampling::SamplingFields;
use serde_json::{Map, Value, json};

/// What the server and the model decide, whatever a request says.
const DECIDED: [&str; 11] = [
    "num_ctx",
    "num_keep",
    "num_batch",
    "num_gpu",
    "main_gpu",
    "num_thread",
    "numa",
    "use_mmap",
    "use_mlock",
    "low_vram",
    "f16_kv",
];

/// Options that have only one value here, which changes nothing.
const NEUTRAL: [(&str, f64); 3] = [("typical_p", 1.0), ("tfs_z", 1.0), ("mirostat", 0.0)];

/// What options come to.
#[derive(Debug, Default)]
pub(crate) struct Options {
    pub(super) sampling: SamplingFields,
    pub(super) max_tokens: Option<usize>,
    pub(super) stop: Vec<String>,
    pub(super) warnings: Vec<String>,
}

impl Options {
    /// Reads options.
    ///
    /// # Errors
    /// When one is unknown, or has a value that it cannot have here.
    pub(crate) fn parse(given: Map<String, Value>) -> Result<Self, ApiError> {
        let (mut fields, mut options) = (Map::new(), Self::default());
        let mut penalises = true;
        for (name, value) in given.into_iter().filter(|(_, value)| !value.is_null()) {
            let place = format!("options.{name}");
            let refuse = |allowed: &str| ApiError::field(&place, &value, allowed);
            match name.as_str() {
                "repeat_penalty" => drop(fields.insert("repetition_penalty".to_owned(), value)),
                "repeat_last_n" => match value.as_i64() {
                    Some(-1) => {}
                    Some(0) => penalises = false,
                    _ => return Err(refuse("-1, the whole canvas, or 0, no penalty")),
                },
                "num_predict" => match value.as_i64() {
                    Some(-2..=-1) => {}
                    Some(count) if count > 0 => options.max_tokens = usize::try_from(count).ok(),
                    _ => return Err(refuse("1 or more, or -1")),
                },
                "stop" => options.stop = strings(&value).ok_or_else(|| refuse("a string or several"))?,
                "seed" if value.as_i64().is_some_and(|seed| seed < 0) => {}
                "top_k" if value.as_u64() == Some(0) => drop(fields.insert(name, json!(u32::MAX))),
                "penalize_newline" => match value {
                    Value::Bool(true) => {}
                    _ => return Err(refuse("true: a penalty is one for all tokens")),
                },
                _ => {
                    if let Some((_, neutral)) = NEUTRAL.iter().find(|(known, _)| *known == name) {
                        if value.as_f64() != Some(*neutral) {
                            return Err(refuse(&format!("{neutral}, which changes nothing")));
                        }
                    } else if DECIDED.contains(&name.as_str()) {
                        if !value.is_boolean() && !value.is_number() {
                            return Err(refuse("a number, or true or false"));
                        }
                        options.warnings.push(format!("`{place}` has no effect: the server and the model decide"));
                    } else {
                        // `repeat_penalty` came before it.
                        if fields.insert(name, value).is_some() {
                            let message = "`options.repeat_penalty` and `options.repetition_penalty` are one; give one";
                            return Err(ApiError::invalid(message).of(place));
                        }
                    }
                }
            }
        }
        if !penalises {
            fields.insert("repetition_penalty".to_owned(), json!(1.0));
        }
        options.sampling = body::read(fields).map_err(|error| error.within("options"))?;
        Ok(options)
    }
}

fn strings(value: &Value) -> Option<Vec<String>> {
    match value {
        Value::String(one) => Some(vec![one.clone()]),
        Value::Array(several) => several.iter().map(|one| one.as_str().map(str::to_owned)).collect(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(given: Value) -> Result<Options, String> {
        let Value::Object(given) = given else { panic!("{given} is no object") };
        Options::parse(given).map_err(|error| error.message().to_owned())
    }

    #[test]
    fn every_option_means_something_or_is_refused() {
        let options = parsed(json!({
            "num_predict": 7, "temperature": 0.5, "top_p": 0.9, "top_k": 0, "seed": 3, "stop": "##",
            "repeat_penalty": 1.5, "repeat_last_n": -1, "mirostat": 0, "num_ctx": 4096, "steps": 4,
        }));
        let options = options.unwrap();
        let same = json!({
            "temperature": 0.5, "top_p": 0.9, "top_k": u32::MAX, "seed": 3, "repetition_penalty": 1.5, "steps": 4,
        });
        assert_eq!(options.sampling, serde_json::from_value(same).unwrap());
        assert_eq!((options.max_tokens, options.stop), (Some(7), vec!["##".to_owned()]));
        assert_eq!(options.warnings.len(), 1);

        let off = parsed(json!({ "repeat_penalty": 1.5, "repeat_last_n": 0, "seed": -1, "num_predict": -1 })).unwrap();
        assert_eq!(off.sampling, serde_json::from_value(json!({ "repetition_penalty": 1.0 })).unwrap());
        assert_eq!(off.max_tokens, None);

        for refused in [
            json!({ "num_predict": 0 }),
            json!({ "num_predict": 1.5 }),
            json!({ "repeat_last_n": 64 }),
            json!({ "mirostat": 2 }),
            json!({ "stop": [1] }),
            json!({ "penalize_newline": false }),
            json!({ "num_ctx": "large" }),
            json!({ "temperature": "hot" }),
            json!({ "temprature": 1 }),
            json!({ "repeat_penalty": 1.1, "repetition_penalty": 1.2 }),
        ] {
            let name = refused.as_object().unwrap().keys().next().unwrap().clone();
            let message = parsed(refused).unwrap_err();
            assert!(message.contains(&format!("`options.{name}`")), "{message}");
        }
    }
}
