//! Weights in several files, named by `model.safetensors.index.json`.

use crate::read::read;
use crate::{CheckpointError, Weights};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// The index: the shard of each tensor.
#[derive(serde::Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

impl Weights {
    /// Opens the shards that an index names.
    ///
    /// # Errors
    /// When a shard is missing, lies elsewhere or is no safetensors file, or a tensor is not where the index says, or twice.
    pub(crate) fn open_shards(folder: &Path, index: &Path) -> Result<Self, CheckpointError> {
        let text = read(index)?;
        let file = index.display().to_string();
        let index: Index = serde_json::from_slice(&text)
            .map_err(|e| CheckpointError::Json { file: file.clone(), reason: e.to_string() })?;
        let shards: BTreeSet<&String> = index.weight_map.values().collect();
        // A shard is a file name; a path would let a downloaded index read files elsewhere.
        if let Some(shard) =
            shards.iter().find(|shard| Path::new(shard).file_name().is_none_or(|n| n != shard.as_str()))
        {
            let (file, reason) = ((*shard).clone(), "a shard must lie in the same folder".into());
            return Err(CheckpointError::Header { file, reason });
        }
        let missing: Vec<&&String> = shards.iter().filter(|shard| !folder.join(shard).exists()).collect();
        if let Some(first) = missing.first() {
            let (of, missing, first) = (shards.len(), missing.len(), first.to_string());
            return Err(CheckpointError::MissingShards { index: file, of, missing, first });
        }
        let mut weights = Self::empty();
        shards.iter().try_for_each(|shard| weights.add_file(&folder.join(shard)))?;
        for (name, shard) in &index.weight_map {
            if weights.holder(name) != Some(&folder.join(shard).display().to_string()) {
                return Err(CheckpointError::Index { name: name.clone(), file: shard.clone() });
            }
        }
        Ok(weights)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Storage, Tensor, write_weights};
    use std::fs;

    fn tensors() -> Vec<Tensor<Vec<f32>>> {
        let tensor = |name: &str| Tensor { name: name.into(), shape: vec![2], values: vec![1.0, name.len() as f32] };
        vec![tensor("a"), tensor("b.weight")]
    }

    #[test]
    fn shards_are_read_through_their_index() {
        let folder = tempfile::tempdir().unwrap();
        let [a, b] = <[_; 2]>::try_from(tensors()).unwrap();
        write_weights(&folder.path().join("model-1.safetensors"), std::slice::from_ref(&a), Storage::F32).unwrap();
        write_weights(&folder.path().join("model-2.safetensors"), std::slice::from_ref(&b), Storage::F32).unwrap();
        let index = |text: &str| fs::write(folder.path().join("model.safetensors.index.json"), text).unwrap();
        index(r#"{"weight_map": {"a": "model-1.safetensors", "b.weight": "model-2.safetensors"}}"#);
        let weights = Weights::open(folder.path()).unwrap();
        assert_eq!((weights.read("a").unwrap(), weights.read("b.weight").unwrap()), (a.values, b.values));

        index(r#"{"weight_map": {"a": "model-2.safetensors"}}"#);
        assert!(matches!(Weights::open(folder.path()), Err(CheckpointError::Index { .. })));
        index(r#"{"weight_map": {"a": "../elsewhere.safetensors"}}"#);
        assert!(matches!(Weights::open(folder.path()), Err(CheckpointError::Header { .. })));
        index(
            r#"{"weight_map": {"a": "model-1.safetensors", "b": "model-3.safetensors", "c": "model-4.safetensors"}}"#,
        );
        let error = Weights::open(folder.path()).unwrap_err().to_string();
        assert!(
            error.ends_with("names 3 shards, of which 2 are missing, the first being `model-3.safetensors`"),
            "{error}"
        );

        // The same tensor in a shard that is to hold another one.
        write_weights(&folder.path().join("model-2.safetensors"), &tensors(), Storage::F32).unwrap();
        index(r#"{"weight_map": {"a": "model-1.safetensors", "b.weight": "model-2.safetensors"}}"#);
        let error = Weights::open(folder.path()).unwrap_err();
        assert!(
            matches!(&error, CheckpointError::DuplicateTensor { name, file, other }
            if name == "a" && file.ends_with("model-1.safetensors") && other.ends_with("model-2.safetensors")),
            "{error}"
        );
    }
}
