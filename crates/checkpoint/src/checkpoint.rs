//! A checkpoint as a folder of Hugging Face shape: `config.json`, `model.safetensors` (or shards and their index),
//! `tokenizer.json`, `tokenizer_config.json`, `generation_config.json`. What its keys and tensors are called is up to
//! its [family](aquatint_network::families).

use crate::adapter::{Adapter, is_adapter};
use crate::order::{self, is_order};
use crate::read::{read, read_optional};
use crate::save::{Description, save_learner};
use crate::weights::Weights;
use crate::{
    CheckpointError, CodecFiles, GenerationDefaults, ModelCodec, Quantisation, Storage, builtin, gguf, roles, tied_head,
};
use aquatint_compute::{Device, WeightFormat};
use aquatint_network::families::{self, Family, Object, TokenRoles};
use aquatint_network::{
    ExpertSource, InferenceNetwork, Learner, Network, NetworkError, NetworkSpec, ParameterGroup, ReadRows, Role,
    StoredWeights, TensorData, TensorSpec,
};
use aquatint_vocabulary::{RoleFile, Vocabulary};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where a checkpoint came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A folder.
    Folder(PathBuf),
    /// A GGUF file.
    File(PathBuf),
    /// A model inside the binary, by its name.
    Builtin(&'static str),
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Folder(path) | Self::File(path) => path.display().fmt(f),
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
    /// The numbers in it; a network that reads them on demand shares them.
    pub weights: Arc<Weights>,
    /// Its adapters, in the order of those of its description.
    pub(crate) adapters: Vec<Adapter>,
    /// Text to tokens and back.
    pub vocabulary: Vocabulary,
    /// What makes codes of pictures and sounds, where it has such spans.
    pub codecs: Vec<ModelCodec>,
    /// How to sample where the user says nothing, and no adapter ([`Checkpoint::generation_with`]).
    pub generation: GenerationDefaults,
    /// The keys of its `config.json` that nothing here knows, which are passed over.
    pub unknown_keys: Vec<String>,
    /// Its `tokenizer_config.json` with the chat template; null where there is neither.
    pub(crate) tokenizer_config: Value,
    /// Where it came from.
    pub origin: Origin,
}

impl Checkpoint {
    /// Opens a built-in model by its name, or a folder or a GGUF file by its path. A folder that is called like a built-in model is
    /// opened by a path with a slash, `./tales`. `MODEL+FOLDER` is a model with the adapter or the learnt order in a
    /// folder beside it, which may be repeated; the folder of an adapter alone is the model that it names, with the adapter.
    ///
    /// # Errors
    /// As [`Checkpoint::load`] and [`Checkpoint::add_adapter`]; and when there is neither a folder nor a built-in model of that
    /// name.
    pub fn open(name: &str) -> Result<Self, CheckpointError> {
        let path = Path::new(name);
        match builtin::find(name) {
            Some(files) => files.load(),
            None if path.is_dir() && is_adapter(path) => Self::open_adapter(path),
            None if is_order(path) => Err(CheckpointError::OrderAlone { folder: path.to_path_buf() }),
            None if path.is_dir() || gguf::is_gguf(path) => Self::load(path),
            None if name.contains('+') => Self::open_with_adapters(name),
            None => Err(CheckpointError::Unknown { name: name.to_owned(), builtin: builtin::names().join(", ") }),
        }
    }

    /// Opens a checkpoint folder, or a GGUF file.
    ///
    /// # Errors
    /// When a file is missing, cannot be read or parsed, or contradicts another one.
    pub fn load(folder: &Path) -> Result<Self, CheckpointError> {
        if gguf::is_gguf(folder) {
            return gguf::load(folder);
        }
        let name = |name: &str| folder.join(name).display().to_string();
        let optional = |file: &str| match read_optional(&folder.join(file))? {
            Some(text) => parse_json(&name(file), &text),
            None => Ok(Value::Null),
        };
        let config = read(&folder.join("config.json")).map_err(|error| match gguf::files_in(folder) {
            files if !files.is_empty() && matches!(error, CheckpointError::MissingFile { .. }) => {
                CheckpointError::UnnamedGguf { folder: folder.to_path_buf(), files }
            }
            _ => error,
        })?;
        let mut vocabulary = Vocabulary::from_json(&read(&folder.join("tokenizer.json"))?)?;
        let files_of = |codec: &str| Some(CodecFiles::Folder(folder.join(codec)));
        let Config { family, spec, quantisation, codecs, roles: stated, unknown_keys } =
            Config::parse(&name("config.json"), &config, &vocabulary, &files_of)?;
        let mut generation = GenerationDefaults::load(folder, family, &parse_json(&name("config.json"), &config)?)?;
        generation.order = order::open(folder)?;
        let mut tokenizer_config = optional("tokenizer_config.json")?;
        if let Some(template) = read_optional(&folder.join("chat_template.jinja"))?
            && (tokenizer_config.is_null() || tokenizer_config.is_object())
        {
            tokenizer_config["chat_template"] = String::from_utf8_lossy(&template).into();
        }
        let mut others = [
            ("tokenizer_config.json", tokenizer_config.clone()),
            ("special_tokens_map.json", optional("special_tokens_map.json")?),
            ("generation_config.json", optional("generation_config.json")?),
        ];
        others.iter_mut().for_each(|(file, contents)| roles::ignore(family, file, contents));
        let others: Vec<RoleFile<'_>> = others.iter().map(|(name, contents)| RoleFile { name, contents }).collect();
        roles::assign(&mut vocabulary, &spec, stated, &others)?;
        let mut weights = Weights::open(folder)?;
        weights.take_apart(family.facts().stacked);
        if let Some(quantisation) = &quantisation {
            weights.resolve_packed(quantisation)?;
        }
        tied_head::resolve(&mut weights, family, &spec);
        let origin = Origin::Folder(folder.to_path_buf());
        let weights = Arc::new(weights);
        Ok(Self {
            family,
            spec,
            quantisation,
            weights,
            adapters: Vec::new(),
            vocabulary,
            codecs,
            generation,
            unknown_keys,
            tokenizer_config,
            origin,
        })
    }

    /// What is written beside the weights when this model is saved in another form, with the template and the advice of the
    /// first of its adapters, where it has any.
    pub fn description(&self) -> Description<'_> {
        let adapter = self.first_adapter();
        Description {
            family: self.family,
            spec: &self.spec,
            vocabulary: &self.vocabulary,
            codecs: &self.codecs,
            generation: self.generation_with(adapter),
            tokenizer_config: Some(self.tokenizer_config_with(adapter)).filter(|config| !config.is_null()),
        }
    }

    /// Shows the files that hold its numbers to `visit`, whole: its own by their names, those of its adapters and codecs
    /// behind the name of each, as in `picture/model.safetensors`.
    ///
    /// # Errors
    /// When the weights of a codec cannot be read.
    pub fn visit_files(&self, visit: &mut dyn FnMut(&str, &[u8])) -> Result<(), CheckpointError> {
        self.weights.files().for_each(|(name, bytes)| visit(name, bytes));
        for adapter in &self.adapters {
            adapter.files().for_each(|(name, bytes)| visit(&format!("{}/{name}", adapter.spec.name), bytes));
        }
        for codec in &self.codecs {
            codec.files.weights()?.files().for_each(|(name, bytes)| visit(&format!("{}/{name}", codec.name), bytes));
        }
        Ok(())
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
    /// and those that are quantised stay as they are. `spec` has the same tensors, and may have adapters, which are drawn by
    /// `seed`.
    ///
    /// # Errors
    /// As [`Checkpoint::build`] and [`Network::from_tensors`].
    pub fn network_in_groups<D: Device>(
        &self,
        device: D,
        (spec, seed): (NetworkSpec, u64),
        groups: &[ParameterGroup],
    ) -> Result<Network<D>, CheckpointError> {
        let all = spec.tensors();
        let own = self.spec.tensors().len();
        let added: BTreeMap<&str, (usize, &TensorSpec)> =
            all.iter().enumerate().skip(own).map(|(place, tensor)| (tensor.name.as_str(), (place, tensor))).collect();
        self.build(|weights| {
            let mut give = |name: &str| match added.get(name) {
                Some((place, tensor)) => {
                    let values = tensor.fresh(seed, *place).map(|value| value as f32);
                    Some(TensorData::Real(values.collect()))
                }
                None => weights(name),
            };
            Network::from_tensors(device, spec, groups, &mut give)
        })
    }

    /// A network of another description on a device, with these weights where it has the same tensors and fresh ones,
    /// by `seed`, where it has more; for learning on under another process, or with more tokens: a table with more rows
    /// keeps its first ones.
    ///
    /// # Errors
    /// As [`Checkpoint::build`].
    pub fn grown<D: Device>(&self, device: D, spec: NetworkSpec, seed: u64) -> Result<Network<D>, CheckpointError> {
        let sizes = |spec: &NetworkSpec| -> BTreeMap<String, usize> {
            spec.tensors().into_iter().map(|tensor| (tensor.name, tensor.shape.iter().product())).collect()
        };
        let (there, here) = (sizes(&self.spec), sizes(&spec));
        let mut network = Network::new(device, spec, seed).map_err(CheckpointError::from)?;
        let mut new_rows: BTreeMap<&str, Vec<f32>> = BTreeMap::new();
        for (name, size) in &there {
            if here.get(name).is_some_and(|larger| larger > size) {
                let fresh = network.weights().read_parameter(name).map_err(CheckpointError::from)?;
                new_rows.insert(name, fresh.get(*size..).unwrap_or_default().to_vec());
            }
        }
        self.build(|weights| {
            network.load(&mut |name| {
                let mut values = weights(name)?.into_real();
                values.extend(new_rows.get(name).into_iter().flatten());
                Some(values)
            })?;
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
        self.inference_network_of((device, format), None, Integers::Stay)
    }

    /// The same, but matrices of experts are read when rows are routed to them, and no more than `expert_memory` bytes of
    /// them stay. The files have to stay as they are for as long as the network is there.
    ///
    /// # Errors
    /// As [`Checkpoint::inference_network`]; what is wrong with the numbers of an expert is an error of the pass that reads
    /// them.
    pub fn inference_network_within<D: Device>(
        &self,
        device: D,
        format: WeightFormat,
        expert_memory: usize,
    ) -> Result<InferenceNetwork<D>, CheckpointError> {
        self.inference_network_of((device, format), Some(expert_memory), Integers::Stay)
    }

    /// The network to be run with all its matrices in `format`, also those that the files keep as integers of other bits;
    /// within a memory for experts, as [`Checkpoint::inference_network_within`] has it, if there is one.
    ///
    /// # Errors
    /// As [`Checkpoint::inference_network_within`].
    pub fn inference_network_in<D: Device>(
        &self,
        device: D,
        format: WeightFormat,
        expert_memory: Option<usize>,
    ) -> Result<InferenceNetwork<D>, CheckpointError> {
        self.inference_network_of((device, format), expert_memory, Integers::Follow)
    }

    fn inference_network_of<D: Device>(
        &self,
        (device, format): (D, WeightFormat),
        expert_memory: Option<usize>,
        integers: Integers,
    ) -> Result<InferenceNetwork<D>, CheckpointError> {
        let experts = expert_memory.map(|memory| {
            let tensors = self.spec.tensors().into_iter().map(|tensor| (tensor.name.clone(), tensor));
            let tensors: BTreeMap<String, TensorSpec> = tensors.collect();
            let (weights, family, quantisation) = (Arc::clone(&self.weights), self.family, self.quantisation.clone());
            let read = move |name: &str| {
                let tensor = tensors.get(name).ok_or("the network has no such tensor")?;
                let data = weights.read_data(&families::file_name(family, name), &tensor.shape, quantisation.as_ref());
                data.map(|data| integers.of(data, format)).map_err(|error| error.to_string())
            };
            ExpertSource { memory, read: Arc::new(read) }
        });
        let stored = StoredWeights { table: self.stored_table(), experts };
        let read = |tensor: &TensorSpec, format| Ok(integers.of(self.read_tensor_in(tensor, format)?, format));
        self.build_of(&read, |give| {
            InferenceNetwork::with_stored_weights(device, self.spec.clone(), format, give, stored)
        })
    }

    /// Reads rows of the embedding table from its file, if they lie there one by one.
    fn stored_table(&self) -> Option<Arc<ReadRows>> {
        let table = self.spec.tensors().into_iter().find(|tensor| tensor.role == Role::Embedding)?;
        let (name, shape) = (families::file_name(self.family, &table.name), table.shape);
        let (weights, quantisation) = (Arc::clone(&self.weights), self.quantisation.clone());
        self.weights.has_rows(&name).then(|| -> Arc<ReadRows> {
            Arc::new(move |rows: &[u32]| {
                weights.read_rows(&name, &shape, quantisation.as_ref(), rows).map_err(|error| error.to_string())
            })
        })
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
        self.build_of(&|tensor, _| self.read_tensor(tensor), |give| build(&mut |name| give(name, WeightFormat::F32)))
    }

    /// The same of weights as `read` reads them for the format in which they are kept.
    fn build_of<T>(
        &self,
        read: &dyn Fn(&TensorSpec, WeightFormat) -> Result<TensorData, CheckpointError>,
        build: impl FnOnce(&mut dyn FnMut(&str, WeightFormat) -> Option<TensorData>) -> Result<T, NetworkError>,
    ) -> Result<T, CheckpointError> {
        self.check()?;
        let expected = self.spec.tensors();
        let by_name: BTreeMap<&str, &TensorSpec> = expected.iter().map(|t| (t.name.as_str(), t)).collect();
        let mut failure = None;
        let built = build(&mut |name, format| {
            let data = read(by_name.get(name)?, format);
            data.map_err(|error| failure.get_or_insert(error)).ok()
        });
        // The file's own trouble is the cause of whatever the network then says.
        match failure {
            Some(error) => Err(error),
            None => Ok(built?),
        }
    }

    /// Checks from the headers alone that the files hold the network's tensors and no others, so that a mismatch is
    /// reported before anything large is read.
    pub(crate) fn check(&self) -> Result<(), CheckpointError> {
        let file_name = |name: &str| families::file_name(self.family, name);
        // Tensors of adapters were checked as they were opened.
        let expected = self.spec.without_adapters().tensors();
        for tensor in &expected {
            self.weights.check(&file_name(&tensor.name), &tensor.shape, self.quantisation.as_ref())?;
        }
        let parts = expected.iter().flat_map(|tensor| self.weights.parts(&file_name(&tensor.name)));
        let places: BTreeSet<String> = parts.collect();
        let unread = self.family.facts().unread_tensors;
        let is_unread = |name: &str| {
            let is_it =
                |unread: &&str| unread.strip_suffix('*').map_or(*unread == name, |start| name.starts_with(start));
            unread.iter().any(is_it)
        };
        let has_place = |name: &&str| places.contains(*name) || is_unread(name);
        let unknown: Vec<&str> = self.weights.names().filter(|name| !has_place(name)).collect();
        if let Some(first) = unknown.first() {
            return Err(CheckpointError::UnknownTensors {
                file: self.weights.origin().to_owned(),
                count: unknown.len(),
                first: (*first).to_owned(),
            });
        }
        self.weights.check_copies()
    }

    /// A tensor as the files keep it, but for real numbers that are quantised while they are read where `format` is one of
    /// integers.
    fn read_tensor_in(&self, tensor: &TensorSpec, format: WeightFormat) -> Result<TensorData, CheckpointError> {
        if let Some(integers) = format.integers() {
            let name = families::file_name(self.family, &tensor.name);
            if let Some(matrix) = self.weights.read_quantised(&name, &tensor.shape, integers)? {
                return Ok(TensorData::Quantised(matrix));
            }
        }
        self.read_tensor(tensor)
    }

    /// A tensor as the files keep it.
    pub(crate) fn read_tensor(&self, tensor: &TensorSpec) -> Result<TensorData, CheckpointError> {
        if let Some(data) = self.adapters.iter().find_map(|adapter| adapter.read(tensor)) {
            return data;
        }
        let name = families::file_name(self.family, &tensor.name);
        self.weights.read_data(&name, &tensor.shape, self.quantisation.as_ref())
    }

    /// How a tensor is kept, in words, where it is kept as integers; `name` is what it is called here.
    pub fn quantised_format(&self, name: &str) -> Option<String> {
        self.weights.quantised_format(&families::file_name(self.family, name))
    }

    /// Numbers in all weights together, and bytes that they take in the files.
    pub fn size(&self) -> (u64, u64) {
        (self.spec.parameter_count() as u64, self.weights.size().1)
    }

    /// The type in which what is not quantised is kept, as safetensors calls it.
    pub fn storage(&self) -> Option<String> {
        let names = self.spec.tensors().into_iter().map(|tensor| families::file_name(self.family, &tensor.name));
        let real = names.into_iter().find(|name| self.weights.bits(name).is_none())?;
        self.weights.storage(&real)
    }

    /// Writes a folder that holds this model with the weights that a learner has, whatever its device.
    ///
    /// # Errors
    /// As [`save_learner`].
    pub fn save_learner(&self, folder: &Path, learner: &dyn Learner, storage: Storage) -> Result<(), CheckpointError> {
        let description = Description { spec: learner.spec(), ..self.description() };
        save_learner(folder, &description, learner, storage)
    }
}

/// What becomes of matrices that the files keep as integers.
#[derive(Debug, Clone, Copy)]
enum Integers {
    /// They stay as they are.
    Stay,
    /// Those of other bits than a format's are brought to it.
    Follow,
}

impl Integers {
    fn of(self, data: TensorData, format: WeightFormat) -> TensorData {
        let same = |bits| format.integers().is_some_and(|(wanted, _)| wanted == bits);
        match (self, &data) {
            (Self::Follow, TensorData::Quantised(matrix)) if !same(matrix.bits()) => TensorData::Real(data.into_real()),
            _ => data,
        }
    }
}

/// What a `config.json` says.
pub(crate) struct Config {
    pub(crate) family: &'static dyn Family,
    pub(crate) spec: NetworkSpec,
    pub(crate) quantisation: Option<Quantisation>,
    pub(crate) codecs: Vec<ModelCodec>,
    pub(crate) roles: TokenRoles,
    pub(crate) unknown_keys: Vec<String>,
}

impl Config {
    /// Where it does not say which token is the mask, the vocabulary has one under the name that the family has for it.
    /// `files_of` says where the codec of a name lies, if there can be one.
    pub(crate) fn parse(
        file: &str,
        text: &[u8],
        vocabulary: &Vocabulary,
        files_of: &dyn Fn(&str) -> Option<CodecFiles>,
    ) -> Result<Self, CheckpointError> {
        let mut config = parse_json(file, text)?;
        let family = families::of_config(&config)?;
        if config["mask_token_id"].is_null()
            && let Some(mask) = family.facts().mask_token.and_then(|name| vocabulary.token_of(name))
        {
            config["mask_token_id"] = mask.into();
        }
        let (spec, quantisation) = (families::from_config(&config)?, Quantisation::from_config(file, &config)?);
        let codecs = ModelCodec::all_of(file, &config, files_of)?;
        if let Some(codec) = codecs.iter().find(|codec| codec.end() as usize > spec.vocabulary_size) {
            let (name, end, rows) = (codec.name.clone(), codec.end() as usize, spec.vocabulary_size);
            return Err(CheckpointError::TooManyCodes { name, end, rows });
        }
        let tokens = vocabulary.len();
        if let Some(codec) = codecs.iter().find(|codec| (codec.domain.ids.start as usize) < tokens) {
            let (name, first) = (codec.name.clone(), codec.domain.ids.start);
            return Err(CheckpointError::CodesInText { name, first, tokens });
        }
        let masked =
            |codec: &&ModelCodec| [codec.open, codec.close].into_iter().find(|mark| Some(*mark) == spec.mask_token);
        if let Some((codec, mask)) = codecs.iter().find_map(|codec| Some((codec, masked(&codec)?))) {
            return Err(CheckpointError::MaskAroundCodes { name: codec.name.clone(), mask });
        }
        let unknown_keys = families::unknown_keys(&config);
        roles::ignore(family, "config.json", &mut config);
        let roles = family.roles(config.as_object().unwrap_or(&Object::new()));
        Ok(Self { family, spec, quantisation, codecs, roles, unknown_keys })
    }
}

fn parse_json(file: &str, text: &[u8]) -> Result<Value, CheckpointError> {
    serde_json::from_slice(text)
        .map_err(|error| CheckpointError::Json { file: file.to_owned(), reason: error.to_string() })
}
