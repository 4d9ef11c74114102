//! A checkpoint as a folder of Hugging Face shape: `config.json`, `model.safetensors` (or shards and their index),
//! `tokenizer.json`, `generation_config.json`.
//!
//! Each file is replaced by one rename. A folder whose description or vocabulary differ is never written into, so the
//! weights are the only file that changes when a model is saved again, and a kill at any moment leaves a folder that
//! can be loaded.

use crate::quantised::write_data;
use crate::weights::{Tensor, Weights, write_weights};
use crate::{CheckpointError, GenerationDefaults, Quantisation, Storage, builtin};
use aquatint_compute::{Device, WeightFormat};
use aquatint_files::write_atomically;
use aquatint_network::{InferenceNetwork, Network, NetworkError, NetworkSpec, TensorData, families};
use aquatint_vocabulary::Vocabulary;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
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
    /// How its quantised matrices are kept, if some are.
    pub quantisation: Option<Quantisation>,
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
        let (spec, quantisation) = parse_config(&name("config.json"), &config)?;
        let vocabulary = Vocabulary::from_json(&read("tokenizer.json")?)?;
        let generation = GenerationDefaults::load(folder, is_native(&config))?;
        let weights = Weights::open(folder)?;
        Ok(Self { spec, quantisation, weights, vocabulary, generation, origin: Origin::Folder(folder.to_path_buf()) })
    }

    /// The network with these weights on a device, for learning and for belief in full; what is quantised is taken as the
    /// real numbers that it stands for.
    ///
    /// # Errors
    /// As [`Checkpoint::build`].
    pub fn network<D: Device>(&self, device: D) -> Result<Network<D>, CheckpointError> {
        self.build(|weights| {
            let mut real = |name: &str| weights(name).map(TensorData::into_real);
            Network::from_weights(device, self.spec.clone(), &mut real)
        })
    }

    /// A network of another description on a device, with these weights where it has the same tensors and fresh ones, by
    /// `seed`, where it has more; for learning on under another process.
    ///
    /// # Errors
    /// As [`Checkpoint::build`].
    pub fn grown<D: Device>(&self, device: D, spec: NetworkSpec, seed: u64) -> Result<Network<D>, CheckpointError> {
        let mut network = Network::new(device, spec, seed).map_err(CheckpointError::from)?;
        self.build(|weights| {
            network.load(&mut |name| weights(name).map(TensorData::into_real))?;
            Ok(network)
        })
    }

    /// The network with these weights on a device, to be run: its matrices are kept in `format` only, and what is
    /// quantised stays as it is.
    ///
    /// # Errors
    /// As [`Checkpoint::build`], and when a matrix cannot be quantised.
    pub fn frozen<D: Device>(&self, device: D, format: WeightFormat) -> Result<InferenceNetwork<D>, CheckpointError> {
        self.build(|weights| InferenceNetwork::new(device, self.spec.clone(), format, weights))
    }

    /// What `build` makes of the weights, which it asks for by their names and gets as the files keep them.
    ///
    /// # Errors
    /// When a tensor is missing, has another shape or type, or there are tensors that the network has no place for; when
    /// a number is not finite or does not fit its bits; and what `build` says itself.
    pub fn build<T>(
        &self,
        build: impl FnOnce(&mut dyn FnMut(&str) -> Option<TensorData>) -> Result<T, NetworkError>,
    ) -> Result<T, CheckpointError> {
        let expected = families::native::tensors(&self.spec);
        // A first pass over the headers alone: a mismatch is told before anything large is read.
        for (name, shape) in &expected {
            self.weights.check(name, shape, self.quantisation.as_ref())?;
        }
        let places: BTreeSet<String> = expected.iter().flat_map(|(name, _)| self.weights.parts(name)).collect();
        let unknown: Vec<&str> = self.weights.names().filter(|name| !places.contains(*name)).collect();
        if let Some(first) = unknown.first() {
            return Err(CheckpointError::UnknownTensors {
                file: self.weights.origin().to_owned(),
                count: unknown.len(),
                first: (*first).to_owned(),
            });
        }
        let shapes: BTreeMap<&str, &[usize]> = expected.iter().map(|(n, s)| (n.as_str(), s.as_slice())).collect();
        let mut failure = None;
        let built = build(&mut |name: &str| {
            let shape = shapes.get(name)?;
            let data = self.weights.read_data(name, shape, self.quantisation.as_ref());
            data.map_err(|error| failure.get_or_insert(error)).ok()
        });
        // The file's own trouble is the cause of whatever the network then says.
        match failure {
            Some(error) => Err(error),
            None => Ok(built?),
        }
    }

    /// Numbers in all weights together, and bytes that they take in the files.
    pub fn size(&self) -> (u64, u64) {
        let numbers = |shape: &[usize]| shape.iter().product::<usize>() as u64;
        let numbers = families::native::tensors(&self.spec).iter().map(|(_, shape)| numbers(shape)).sum();
        (numbers, self.weights.size().1)
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
    let config = describe(spec, storage, None);
    write_folder(folder, &config, vocabulary, generation, |path| write_weights(path, tensors, storage))
}

/// Like [`save`] with weights of which some are quantised, as `quantisation` describes them.
///
/// # Errors
/// When the folder holds a model of another description or vocabulary, or cannot be written.
pub fn save_quantised(
    folder: &Path,
    spec: &NetworkSpec,
    vocabulary: &Vocabulary,
    generation: &GenerationDefaults,
    (tensors, quantisation): (&[Tensor<TensorData>], &Quantisation),
    storage: Storage,
) -> Result<(), CheckpointError> {
    let config = describe(spec, storage, Some(quantisation));
    write_folder(folder, &config, vocabulary, generation, |path| write_data(path, tensors, storage))
}

/// A `config.json`.
fn describe(spec: &NetworkSpec, storage: Storage, quantisation: Option<&Quantisation>) -> Value {
    let mut config = families::native::to_config(spec);
    config["torch_dtype"] = storage.torch_name().into();
    if let Some(quantisation) = quantisation {
        config["quantization_config"] = quantisation.to_config();
    }
    config
}

fn write_folder(
    folder: &Path,
    config: &Value,
    vocabulary: &Vocabulary,
    generation: &GenerationDefaults,
    write_weights: impl FnOnce(&Path) -> Result<(), CheckpointError>,
) -> Result<(), CheckpointError> {
    let json = |file: &str, value: serde_json::Result<Vec<u8>>| {
        let reason = |e: serde_json::Error| CheckpointError::Json { file: file.to_owned(), reason: e.to_string() };
        value.map_err(reason).map(|mut text| {
            text.push(b'\n');
            text
        })
    };
    let description = json("config.json", serde_json::to_vec_pretty(config))?;
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
    write_weights(&folder.join("model.safetensors"))?;
    put(&folder.join("generation_config.json"), &generation)?;
    // The description comes last: a folder has one only when everything that it describes is there.
    for (path, bytes) in absent {
        put(&path, bytes)?;
    }
    Ok(())
}

/// What a `config.json` says of the network, and of how its matrices are kept.
pub(crate) fn parse_config(file: &str, config: &[u8]) -> Result<(NetworkSpec, Option<Quantisation>), CheckpointError> {
    let config: Value = serde_json::from_slice(config)
        .map_err(|e| CheckpointError::Json { file: file.to_owned(), reason: e.to_string() })?;
    Ok((families::from_config(&config)?, Quantisation::from_config(file, &config)?))
}

/// Whether a description is of this project's own family, whose keys are all known.
fn is_native(config: &[u8]) -> bool {
    let config: Value = serde_json::from_slice(config).unwrap_or_default();
    config.get("model_type").and_then(Value::as_str) == Some("aquatint")
}
