//! A checkpoint as a folder of Hugging Face shape: `config.json`, `model.safetensors` (or shards and their index),
//! `tokenizer.json`, `generation_config.json`.
//!
//! Each file is replaced by one rename. A folder whose description or vocabulary differ is never written into, so the
//! weights are the only file that changes when a model is saved again, and a kill at any moment leaves a folder that
//! can be loaded.

use crate::weights::{Tensor, Weights, write_weights};
use crate::{CheckpointError, GenerationDefaults, Storage, builtin};
use aquatint_compute::{Device, WeightFormat};
use aquatint_files::write_atomically;
use aquatint_network::{Frozen, Network, NetworkSpec, TensorData, families};
use aquatint_vocabulary::Vocabulary;
use std::path::{Path, PathBuf};

/// Where a checkpoint came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A folder.
    Folder(PathBuf),
    /// A model inside the binary, by its name.
    Builtin(&'static str),
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Folder(path) => path.display().fmt(f),
            Self::Builtin(name) => f.write_str(name),
        }
    }
}

/// A model that can be run: its description, its weights (read when asked for), its vocabulary, its makers' advice.
#[derive(Debug)]
pub struct Checkpoint {
    /// What the network is.
    pub spec: NetworkSpec,
    /// The numbers in it.
    pub weights: Weights,
    /// Text to tokens and back.
    pub vocabulary: Vocabulary,
    /// How to sample where the user says nothing.
    pub generation: GenerationDefaults,
    /// Where it came from.
    pub origin: Origin,
}

impl Checkpoint {
    /// Opens a folder, or a built-in model by its name. A folder of that name wins.
    pub fn open(name: &str) -> Result<Self, CheckpointError> {
        let path = Path::new(name);
        if path.is_dir() {
            return Self::load(path);
        }
        match builtin::find(name) {
            Some(files) => files.load(),
            None => Err(CheckpointError::Unknown { name: name.to_owned(), builtin: builtin::names().join(", ") }),
        }
    }

    /// Opens a checkpoint folder.
    pub fn load(folder: &Path) -> Result<Self, CheckpointError> {
        let read = |name: &str| {
            let path = folder.join(name);
            std::fs::read(&path).map_err(|e| CheckpointError::io("read", &path, e))
        };
        let name = |name: &str| folder.join(name).display().to_string();
        let config = read("config.json")?;
        let spec = parse_spec(&name("config.json"), &config)?;
        let vocabulary = Vocabulary::from_json(&read("tokenizer.json")?)?;
        let generation = GenerationDefaults::load(folder, is_native(&config))?;
        let weights = Weights::open(folder)?;
        Ok(Self { spec, weights, vocabulary, generation, origin: Origin::Folder(folder.to_path_buf()) })
    }

    /// The network with these weights on a device, to be trained further.
    ///
    /// # Errors
    /// When a tensor is missing, has another shape or type, or there are tensors that the network has no place for.
    pub fn network<D: Device>(&self, device: D) -> Result<Network<D>, CheckpointError> {
        self.check()?;
        let mut failure = None;
        let network = Network::from_weights(device, self.spec.clone(), &mut |name| self.give(name, &mut failure));
        // The file's own trouble is the cause of whatever the network then says.
        failure.map_or_else(|| Ok(network?), Err)
    }

    /// The network with these weights on a device, to be run; its matrices are kept in `format` only.
    ///
    /// # Errors
    /// As for [`Checkpoint::network`], and when a matrix cannot be quantised.
    pub fn frozen<D: Device>(&self, device: D, format: WeightFormat) -> Result<Frozen<D>, CheckpointError> {
        self.check()?;
        let mut failure = None;
        let network = Frozen::new(device, self.spec.clone(), format, &mut |name| {
            self.give(name, &mut failure).map(TensorData::Real)
        });
        failure.map_or_else(|| Ok(network?), Err)
    }

    /// A first pass over the headers alone: a mismatch is told before anything large is read.
    fn check(&self) -> Result<(), CheckpointError> {
        let expected = families::native::tensors(&self.spec);
        for (name, shape) in &expected {
            match self.weights.shape(name) {
                Some(found) if found != shape => self.weights.read_shaped(name, shape).map(|_| ())?,
                Some(_) => {}
                None => self.weights.read(name).map(|_| ())?,
            }
        }
        let unknown: Vec<&str> = self.weights.names().filter(|n| !expected.iter().any(|(e, _)| e == n)).collect();
        match unknown.first() {
            Some(first) => Err(CheckpointError::UnknownTensors {
                file: self.weights.origin().to_owned(),
                count: unknown.len(),
                first: (*first).to_owned(),
            }),
            None => Ok(()),
        }
    }

    /// The values of a tensor; what goes wrong for the first time is put aside.
    fn give(&self, name: &str, failure: &mut Option<CheckpointError>) -> Option<Vec<f32>> {
        match self.weights.read(name) {
            Ok(values) => Some(values),
            Err(error) => {
                failure.get_or_insert(error);
                None
            }
        }
    }
}

/// Writes a checkpoint folder, or replaces the weights and the advice in one that holds the same model.
///
/// # Errors
/// When the folder holds a model of another description or vocabulary, or cannot be written.
pub fn save(
    folder: &Path,
    spec: &NetworkSpec,
    vocabulary: &Vocabulary,
    generation: &GenerationDefaults,
    tensors: &[Tensor<Vec<f32>>],
    storage: Storage,
) -> Result<(), CheckpointError> {
    let mut config = families::native::to_config(spec);
    if let Some(map) = config.as_object_mut() {
        map.insert("torch_dtype".to_owned(), storage.torch_name().into());
    }
    let json = |file: &str, value: serde_json::Result<Vec<u8>>| {
        let reason = |e: serde_json::Error| CheckpointError::Json { file: file.to_owned(), reason: e.to_string() };
        value.map_err(reason).map(|mut text| {
            text.push(b'\n');
            text
        })
    };
    let description = json("config.json", serde_json::to_vec_pretty(&config))?;
    let generation = json("generation_config.json", serde_json::to_vec_pretty(generation))?;
    let tokenizer = vocabulary.to_json()?;
    let mut absent = Vec::new();
    for (file, bytes) in [("tokenizer.json", &tokenizer), ("config.json", &description)] {
        let path = folder.join(file);
        match std::fs::read(&path) {
            Ok(there) if there == *bytes => {}
            Ok(_) => return Err(CheckpointError::Occupied { folder: folder.to_path_buf(), file }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => absent.push((path, bytes)),
            Err(error) => return Err(CheckpointError::io("read", &path, error)),
        }
    }
    let put = |path: &Path, bytes: &[u8]| {
        write_atomically(path, |out| out.write_all(bytes)).map_err(|e| CheckpointError::io("write", path, e))
    };
    write_weights(&folder.join("model.safetensors"), tensors, storage)?;
    put(&folder.join("generation_config.json"), &generation)?;
    // The description comes last: a folder has one only when everything that it describes is there.
    for (path, bytes) in absent {
        put(&path, bytes)?;
    }
    Ok(())
}

pub(crate) fn parse_spec(file: &str, config: &[u8]) -> Result<NetworkSpec, CheckpointError> {
    let config: serde_json::Value = serde_json::from_slice(config)
        .map_err(|e| CheckpointError::Json { file: file.to_owned(), reason: e.to_string() })?;
    Ok(families::from_config(&config)?)
}

/// Whether a description is of this project's own family, whose keys are all known.
fn is_native(config: &[u8]) -> bool {
    let config: serde_json::Value = serde_json::from_slice(config).unwrap_or_default();
    config.get("model_type").and_then(serde_json::Value::as_str) == Some("aquatint")
}
