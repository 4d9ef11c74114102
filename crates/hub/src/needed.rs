//! Which files of a repository a model needs: its description, its tokenizer, its safetensors weights.
//!
//! Only files at the top of the repository are. Weights that would have to be unpickled (`.bin`, `.pt`), code, pictures
//! and other forms of the same model are left where they are.

use crate::listing::{Listing, RemoteFile};
use crate::{HubError, ModelName};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};

/// What the network is.
pub(crate) const CONFIG: &str = "config.json";
/// Weights in one file.
const WHOLE: &str = "model.safetensors";
/// The index of weights in several.
pub(crate) const INDEX: &str = "model.safetensors.index.json";
/// What a tokenizer or a chat template may be in, beside JSON.
const OTHERS: [&str; 4] = ["merges.txt", "vocab.txt", "tokenizer.model", "chat_template.jinja"];
/// A description or a vocabulary beyond this is something else.
const LARGEST_DESCRIPTION: u64 = 256 << 20;

#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

impl Listing {
    /// Everything but weights. The index of weights is among it.
    pub(crate) fn descriptions(&self) -> Vec<&RemoteFile> {
        let foreign_index = |path: &str| path.ends_with(".index.json") && path != INDEX;
        let wanted = |file: &&RemoteFile| {
            let path = file.path.as_str();
            is_plain(path)
                && (path.ends_with(".json") && !foreign_index(path) || OTHERS.contains(&path))
                && file.size <= LARGEST_DESCRIPTION
        };
        self.files.values().filter(wanted).collect()
    }

    /// The weights: the shards that an index names, or the one file.
    pub(crate) fn weights(&self, name: &ModelName, index: Option<&[u8]>) -> Result<Vec<&RemoteFile>, HubError> {
        let Some(index) = index else {
            let whole = self.files.get(WHOLE).ok_or_else(|| HubError::NoWeights {
                name: name.clone(),
                found: self.other_weights().unwrap_or("none").to_owned(),
            })?;
            return Ok(vec![whole]);
        };
        let listing = |reason: String| HubError::Listing { name: name.clone(), reason };
        let index: Index = serde_json::from_slice(index).map_err(|error| listing(format!("`{INDEX}`: {error}")))?;
        let shards: BTreeSet<String> = index.weight_map.into_values().collect();
        let find = |shard: &String| {
            // What is listed may still be called anything; a shard lies beside its index.
            let file = self.files.get(shard).filter(|file| is_plain(&file.path));
            file.ok_or_else(|| listing(format!("`{INDEX}` names `{shard}`, which is not beside it")))
        };
        shards.iter().map(find).collect()
    }

    /// A file that holds weights in a format that is not read.
    fn other_weights(&self) -> Option<&str> {
        let ends = [".safetensors", ".gguf", ".bin", ".pt", ".pth", ".ckpt"];
        ends.iter().find_map(|end| self.files.keys().find(|path| path.ends_with(end))).map(String::as_str)
    }
}

/// Whether a path is a file's name at the top of the repository, and the same in a folder and in an address.
fn is_plain(path: &str) -> bool {
    !path.starts_with('.') && path.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checksum::Checksum;

    fn listing(paths: &[&str]) -> Listing {
        let file = |path: &&str| {
            let checksum = Checksum::GitBlob("0".repeat(40));
            ((*path).to_owned(), RemoteFile { path: (*path).to_owned(), size: 1, checksum })
        };
        Listing { commit: "0".repeat(40), files: paths.iter().map(file).collect() }
    }

    fn paths(files: Vec<&RemoteFile>) -> Vec<&str> {
        files.into_iter().map(|file| file.path.as_str()).collect()
    }

    #[test]
    fn descriptions_are_json_and_the_tokenizers_at_the_top() {
        let listing = listing(&[
            "README.md",
            "config.json",
            "merges.txt",
            "model.safetensors.index.json",
            "modeling.py",
            "onnx/config.json",
            "pytorch_model.bin.index.json",
            "tokenizer.json",
            "pytorch_model.bin",
            "../../config.json",
            "..\\config.json",
            "a b.json",
            "a?b.json",
            ".json",
        ]);
        assert_eq!(
            paths(listing.descriptions()),
            ["config.json", "merges.txt", "model.safetensors.index.json", "tokenizer.json"]
        );
    }

    #[test]
    fn weights_are_one_file_or_the_shards_of_the_index() {
        let name = "a/b".parse().unwrap();
        let listing = listing(&["model.safetensors", "a.safetensors", "b.safetensors", "x/c.safetensors"]);
        assert_eq!(paths(listing.weights(&name, None).unwrap()), ["model.safetensors"]);
        let index = br#"{"weight_map": {"x": "b.safetensors", "y": "a.safetensors", "z": "a.safetensors"}}"#;
        assert_eq!(paths(listing.weights(&name, Some(index)).unwrap()), ["a.safetensors", "b.safetensors"]);
        for shard in ["c.safetensors", "../a.safetensors", "/etc/passwd", "x/c.safetensors"] {
            let index = format!(r#"{{"weight_map": {{"x": "{shard}"}}}}"#);
            let error = listing.weights(&name, Some(index.as_bytes())).unwrap_err().to_string();
            assert!(error.contains(shard) && error.contains("not beside it"), "{error}");
        }
        assert!(listing.weights(&name, Some(b"{}")).is_err());
    }

    #[test]
    fn a_model_without_weights_that_can_be_read_says_what_it_has() {
        let name = "a/b".parse().unwrap();
        let error = listing(&["config.json", "pytorch_model.bin"]).weights(&name, None).unwrap_err();
        assert!(error.to_string().contains("pytorch_model.bin"), "{error}");
    }
}
