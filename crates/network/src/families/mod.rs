//! Checkpoint families: for each, how its `config.json` reads as a [`NetworkSpec`] and what its tensors are called.

pub mod native;

use crate::{NetworkError, NetworkSpec};

/// The description in a `config.json`, whichever known family it is of.
pub fn from_config(config: &serde_json::Value) -> Result<NetworkSpec, NetworkError> {
    match config.get("model_type").and_then(serde_json::Value::as_str) {
        Some(native::MODEL_TYPE) => native::from_config(config),
        other => Err(NetworkError::Family {
            given: other.map_or_else(|| "missing".to_owned(), |name| format!("\"{name}\"")),
            allowed: "\"aquatint\"",
        }),
    }
}
