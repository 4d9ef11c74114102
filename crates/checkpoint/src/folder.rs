//! A checkpoint as a folder of Hugging Face shape: `config.json`, `model.safetensors` (or shards and their index),
//! `tokenizer.json`, `tokenizer_config.json`, `generation_config.json`. What its keys and tensors are called is up to
//! its [family](aquatint_network::families).
//!
//! Each file is replaced by one rename. A folder whose description or vocabulary differ is never written into, so the
//! weights are the only file that changes when a model is saved again, and a kill at any moment leaves a folder that
//! can be loaded.

use crate::quantised::write_data;
use crate::read::{read, read_optional};
use crate::weights::{Tensor, Weights, write_weights};
use crate::{CheckpointError, GenerationDefaults, Quantisation, Storage, builtin, tied_head};
use aquatint_compute::{Device, WeightFormat};
use aquatint_files::write_atomically;
use aquatint_network::families::{self, Family, Object, TokenRoles};
use aquatint_network::{
    InferenceNetwork, Learner, Network, NetworkError, NetworkSpec, ParameterGroup, ParameterInfo, Role, TensorData,
};
use aquatint_vocabulary::{ChatError, ChatTemplate, Role as VocabularyRole, Vocabulary};
use serde_json::{Value, json};
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

/// A model that can be run: its description, its weights (read on demand), its vocabulary, its makers' advice.
#[derive(Debug)]
pub struct Checkpoint {
    /// Whose words its files are in.
    pub family: &'static dyn Family,
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
    /// Its `tokenizer_config.json`; null where there is none.
    pub(crate) tokenizer_config: Value,
    /// Where it came from.
    pub origin: Origin,
}

impl Checkpoint {
    /// Opens a built-in model by its name, or a folder by its path. A folder that is called like a built-in model is
    /// opened by a path with a slash, `./tales`.
    ///
    /// # Errors
    /// As [`Checkpoint::load`]; and when there is neither a folder nor a built-in model of that name.
    pub fn open(name: &str) -> Result<Self, CheckpointError> {
        let path = Path::new(name);
        match builtin::find(name) {
            Some(files) => files.load(),
            None if path.is_dir() => Self::load(path),
            None => Err(CheckpointError::Unknown { name: name.to_owned(), builtin: builtin::names().join(", ") }),
        }
    }

    /// Opens a checkpoint folder.
    ///
    /// # Errors
    /// When a file is missing, cannot be read or parsed, or contradicts another one.
    pub fn load(folder: &Path) -> Result<Self, CheckpointError> {
        let name = |name: &str| folder.join(name).display().to_string();
        let config = Config::parse(&name("config.json"), &read(&folder.join("config.json"))?)?;
        let mut vocabulary = Vocabulary::from_json(&read(&folder.join("tokenizer.json"))?)?;
        let tokenizer_config = match read_optional(&folder.join("tokenizer_config.json"))? {
            Some(text) => parse_json(&name("tokenizer_config.json"), &text)?,
            None => Value::Null,
        };
        vocabulary.assign_roles(&tokenizer_config)?;
        let TokenRoles { mask, end, pad, begin } = config.roles;
        vocabulary.assign_roles(&json!({
            "mask_token_id": mask, "eos_token_id": end, "pad_token_id": pad, "bos_token_id": begin,
        }))?;
        let generation = GenerationDefaults::load(folder, config.family)?;
        let mut weights = Weights::open(folder)?;
        let Config { family, spec, quantisation, .. } = config;
        tied_head::resolve(&mut weights, family, &spec);
        let origin = Origin::Folder(folder.to_path_buf());
        Ok(Self { family, spec, quantisation, weights, vocabulary, generation, tokenizer_config, origin })
    }

    /// The template of conversations: the one in `tokenizer_config.json`, or its family's.
    ///
    /// # Errors
    /// When there is none, or it cannot be read.
    pub fn chat_template(&self) -> Result<ChatTemplate, ChatError> {
        match (ChatTemplate::from_config(&self.tokenizer_config), self.family.chat_template()) {
            (Err(ChatError::Missing), Some(source)) => {
                let token = |role| self.vocabulary.role(role).map(|id| self.vocabulary.token_text(id));
                let text = |role| token(role).unwrap_or_default();
                ChatTemplate::new(source, &text(VocabularyRole::Begin), &text(VocabularyRole::End))
            }
            (template, _) => template,
        }
    }

    /// What is written beside the weights when this model is saved in another form.
    pub fn description(&self) -> Description<'_> {
        Description {
            family: self.family,
            spec: &self.spec,
            vocabulary: &self.vocabulary,
            generation: &self.generation,
            tokenizer_config: Some(&self.tokenizer_config).filter(|config| !config.is_null()),
        }
    }

    /// The network with these weights on a device, for learning and for prediction in full; what is quantised is taken
    /// as the real numbers that it stands for.
    ///
    /// # Errors
    /// As [`Checkpoint::build`].
    pub fn network<D: Device>(&self, device: D) -> Result<Network<D>, CheckpointError> {
        self.build(|weights| {
            let mut real = |name: &str| weights(name).map(TensorData::into_real);
            Network::from_weights(device, self.spec.clone(), &mut real)
        })
    }

    /// A network with these weights, to learn on as `groups` say: matrices of a group with a precision are kept in it only,
    /// and those that are quantised stay as they are. `spec` has the same tensors.
    ///
    /// # Errors
    /// As [`Checkpoint::build`] and [`Network::from_tensors`].
    pub fn network_in_groups<D: Device>(
        &self,
        device: D,
        spec: NetworkSpec,
        groups: &[ParameterGroup],
    ) -> Result<Network<D>, CheckpointError> {
        self.build(|weights| Network::from_tensors(device, spec, groups, weights))
    }

    /// A network of another description on a device, with these weights where it has the same tensors and fresh ones,
    /// by `seed`, where it has more; for learning on under another process.
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
    pub fn inference_network<D: Device>(
        &self,
        device: D,
        format: WeightFormat,
    ) -> Result<InferenceNetwork<D>, CheckpointError> {
        self.build(|weights| InferenceNetwork::new(device, self.spec.clone(), format, weights))
    }

    /// What `build` makes of the weights, which it reads by name, as they are in the files.
    ///
    /// # Errors
    /// When a tensor is missing, has another shape or type, or there are tensors that the network has no place for;
    /// when a number is not finite or does not fit its bits; and what `build` says itself.
    pub fn build<T>(
        &self,
        build: impl FnOnce(&mut dyn FnMut(&str) -> Option<TensorData>) -> Result<T, NetworkError>,
    ) -> Result<T, CheckpointError> {
        let file_name = |name: &str| families::file_name(self.family, name);
        let expected = self.spec.tensors();
        // A first pass over the headers alone: a mismatch is reported before anything large is read.
        for tensor in &expected {
            self.weights.check(&file_name(&tensor.name), &tensor.shape, self.quantisation.as_ref())?;
        }
        let parts = expected.iter().flat_map(|tensor| self.weights.parts(&file_name(&tensor.name)));
        let places: BTreeSet<String> = parts.collect();
        let unknown: Vec<&str> = self.weights.names().filter(|name| !places.contains(*name)).collect();
        if let Some(first) = unknown.first() {
            return Err(CheckpointError::UnknownTensors {
                file: self.weights.origin().to_owned(),
                count: unknown.len(),
                first: (*first).to_owned(),
            });
        }
        self.weights.check_copies()?;
        let shapes: BTreeMap<&str, &[usize]> = expected.iter().map(|t| (t.name.as_str(), t.shape.as_slice())).collect();
        let mut failure = None;
        let built = build(&mut |name: &str| {
            let shape = shapes.get(name)?;
            let data = self.weights.read_data(&file_name(name), shape, self.quantisation.as_ref());
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
        (self.spec.parameter_count() as u64, self.weights.size().1)
    }

    /// The type in which word vectors are kept, which are never quantised, as safetensors calls it.
    pub fn storage(&self) -> Option<String> {
        let table = self.spec.tensors().into_iter().find(|tensor| tensor.role == Role::Embedding)?;
        self.weights.storage(&families::file_name(self.family, &table.name))
    }

    /// Writes a folder that holds this model with the weights that a learner has, whatever its device.
    ///
    /// # Errors
    /// As [`save_learner`].
    pub fn save_learner(&self, folder: &Path, learner: &dyn Learner, storage: Storage) -> Result<(), CheckpointError> {
        let description = Description {
            family: self.family,
            spec: learner.spec(),
            vocabulary: &self.vocabulary,
            generation: &self.generation,
            tokenizer_config: Some(&self.tokenizer_config).filter(|config| !config.is_null()),
        };
        save_learner(folder, &description, learner, storage)
    }
}

/// Like [`save`] with the weights that a learner has at the moment, whatever its device. What it keeps as integers is
/// written as these integers.
///
/// # Errors
/// As [`save`], when the device fails, or matrices of one number of bits have groups of different sizes.
pub fn save_learner(
    folder: &Path,
    description: &Description<'_>,
    learner: &dyn Learner,
    storage: Storage,
) -> Result<(), CheckpointError> {
    let mut tensors = Vec::new();
    for ParameterInfo { name, shape, .. } in learner.parameter_list() {
        let values = learner.read_tensor(&name)?;
        tensors.push(Tensor { name, shape, values });
    }
    let quantised = tensors.iter().filter_map(|tensor| match &tensor.values {
        TensorData::Quantised(matrix) => {
            let name = families::file_name(description.family, &tensor.name);
            Some((name.trim_end_matches(".weight").to_owned(), matrix))
        }
        TensorData::Real(_) => None,
    });
    match Quantisation::of(&quantised.collect::<Vec<_>>())? {
        Some(quantisation) => save_quantised(folder, description, (&tensors, &quantisation), storage),
        None => {
            let real = |Tensor { name, shape, values }| Tensor { name, shape, values: TensorData::into_real(values) };
            save(folder, description, &tensors.into_iter().map(real).collect::<Vec<_>>(), storage)
        }
    }
}

/// What a checkpoint folder holds besides weights.
#[derive(Debug, Clone, Copy)]
pub struct Description<'a> {
    /// In whose words.
    pub family: &'static dyn Family,
    /// What the network is.
    pub spec: &'a NetworkSpec,
    /// Text to tokens and back.
    pub vocabulary: &'a Vocabulary,
    /// How to sample.
    pub generation: &'a GenerationDefaults,
    /// `tokenizer_config.json`, where there is to be one.
    pub tokenizer_config: Option<&'a Value>,
}

impl<'a> Description<'a> {
    /// A model of this project's own family.
    pub fn native(spec: &'a NetworkSpec, vocabulary: &'a Vocabulary, generation: &'a GenerationDefaults) -> Self {
        Self { family: families::NATIVE, spec, vocabulary, generation, tokenizer_config: None }
    }

    /// Its `config.json`, but for how weights are kept.
    ///
    /// # Errors
    /// When the family has no words for the network.
    pub fn config(&self) -> Result<Value, NetworkError> {
        let role = |role| self.vocabulary.role(role);
        let roles = TokenRoles {
            mask: role(VocabularyRole::Mask),
            end: role(VocabularyRole::End),
            pad: role(VocabularyRole::Pad),
            begin: role(VocabularyRole::Begin),
        };
        families::to_config(self.family, self.spec, &roles)
    }

    /// What the family's files call tensors that have these names here.
    fn named<V>(&self, tensors: &'a [Tensor<V>]) -> Vec<Tensor<&'a V>> {
        let named = tensors.iter().map(|tensor| Tensor {
            name: families::file_name(self.family, &tensor.name),
            shape: tensor.shape.clone(),
            values: &tensor.values,
        });
        named.collect()
    }
}

/// Writes a checkpoint folder, or replaces the weights and the advice in one that holds the same model.
///
/// # Errors
/// When the folder holds a model of another description or vocabulary, the family has no words for the network, or the
/// folder cannot be written.
pub fn save(
    folder: &Path,
    description: &Description<'_>,
    tensors: &[Tensor<Vec<f32>>],
    storage: Storage,
) -> Result<(), CheckpointError> {
    let tensors = description.named(tensors);
    write_folder(folder, description, (storage, None), |path| write_weights(path, &tensors, storage))
}

/// Like [`save`] with weights of which some are quantised, as `quantisation` describes them.
///
/// # Errors
/// As [`save`].
pub fn save_quantised(
    folder: &Path,
    description: &Description<'_>,
    (tensors, quantisation): (&[Tensor<TensorData>], &Quantisation),
    storage: Storage,
) -> Result<(), CheckpointError> {
    let tensors = description.named(tensors);
    write_folder(folder, description, (storage, Some(quantisation)), |path| write_data(path, &tensors, storage))
}

fn write_folder(
    folder: &Path,
    description: &Description<'_>,
    (storage, quantisation): (Storage, Option<&Quantisation>),
    write_weights: impl FnOnce(&Path) -> Result<(), CheckpointError>,
) -> Result<(), CheckpointError> {
    let mut config = description.config()?;
    config["torch_dtype"] = storage.torch_name().into();
    if let Some(quantisation) = quantisation {
        config["quantization_config"] = quantisation.to_config();
    }
    let json = |file: &str, value: serde_json::Result<Vec<u8>>| {
        let reason = |e: serde_json::Error| CheckpointError::Json { file: file.to_owned(), reason: e.to_string() };
        value.map_err(reason).map(|mut text| {
            text.push(b'\n');
            text
        })
    };
    let generation = description.generation.to_file(description.family);
    let generation = json("generation_config.json", generation.and_then(|value| serde_json::to_vec_pretty(&value)))?;
    let config = json("config.json", serde_json::to_vec_pretty(&config))?;
    let tokenizer = description.vocabulary.to_json()?;
    let tokenizer_config = description.tokenizer_config.map(serde_json::to_vec_pretty);
    let tokenizer_config = tokenizer_config.map(|text| json("tokenizer_config.json", text)).transpose()?;
    let mut absent = Vec::new();
    let files = [
        ("tokenizer.json", Some(&tokenizer)),
        ("tokenizer_config.json", tokenizer_config.as_ref()),
        ("config.json", Some(&config)),
    ];
    for (file, bytes) in files.into_iter().filter_map(|(file, bytes)| Some((file, bytes?))) {
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

/// What a `config.json` says.
pub(crate) struct Config {
    pub(crate) family: &'static dyn Family,
    pub(crate) spec: NetworkSpec,
    pub(crate) quantisation: Option<Quantisation>,
    roles: TokenRoles,
}

impl Config {
    pub(crate) fn parse(file: &str, text: &[u8]) -> Result<Self, CheckpointError> {
        let config = parse_json(file, text)?;
        let family = families::of_config(&config)?;
        let roles = family.roles(config.as_object().unwrap_or(&Object::new()));
        let (spec, quantisation) = (families::from_config(&config)?, Quantisation::from_config(file, &config)?);
        Ok(Self { family, spec, quantisation, roles })
    }
}

fn parse_json(file: &str, text: &[u8]) -> Result<Value, CheckpointError> {
    serde_json::from_slice(text)
        .map_err(|error| CheckpointError::Json { file: file.to_owned(), reason: error.to_string() })
}
