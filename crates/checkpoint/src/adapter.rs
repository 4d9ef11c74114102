//! Adapters as folders in the form of PEFT: `adapter_config.json` says what is added to which matrices, and
//! `adapter_model.safetensors` holds the two tensors of each addition, `base_model.model.MODULE.lora_A.weight` `[rank, K]`
//! and `….lora_B.weight` `[N, rank]`, where `MODULE` is what the files of the base call a matrix `[N, K]`.

mod advice;
mod config;

pub use config::AdapterConfig;

use advice::Advice;

use crate::order::is_order;
use crate::read::read;
use crate::safetensors_writer::write_weights;
use crate::weights::Weights;
use crate::{Checkpoint, CheckpointError, GenerationDefaults, Origin, Storage, Tensor, builtin, gguf};
use aquatint_files::write_atomically;
use aquatint_network::families::{self, Family};
use aquatint_network::{AdapterSpec, Learner, LowRankHalf, LowRankSpec, TensorData, TensorSpec};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The description in a folder of an adapter.
pub(crate) const CONFIG: &str = "adapter_config.json";
/// The weights in it.
const WEIGHTS: &str = "adapter_model.safetensors";
/// Where its chat template stands.
const TOKENIZER_CONFIG: &str = "tokenizer_config.json";
/// Where its advice on sampling stands.
const GENERATION_CONFIG: &str = "generation_config.json";
/// What PEFT puts before the names of the base's modules.
const PREFIX: &str = "base_model.model.";
/// What the names of matrices end with.
const WEIGHT: &str = ".weight";

/// An adapter in its folder, for a base that is known.
#[derive(Debug)]
pub(crate) struct Adapter {
    /// What it adds to the base.
    pub(crate) spec: AdapterSpec,
    /// How the model is used with it.
    advice: Advice,
    weights: Weights,
    /// What its tensors are called in the file, by what they are called here.
    names: BTreeMap<String, String>,
}

/// What the folder of an adapter holds besides its weights.
#[derive(Debug, Clone, Copy)]
pub struct AdapterDescription<'a> {
    /// How its additions are to be read.
    pub config: &'a AdapterConfig,
    /// What it adds, and to what.
    pub adapter: &'a AdapterSpec,
    /// In whose words the files of the model are.
    pub family: &'static dyn Family,
    /// How to sample from the model with it, where that is not as from the model alone.
    pub generation: Option<&'a GenerationDefaults>,
    /// `tokenizer_config.json`, where conversations have another template than the model's.
    pub tokenizer_config: Option<&'a Value>,
}

impl Adapter {
    /// Opens the folder of an adapter for this base. Its rank is that of its tensors; everything in it has to have a place.
    pub(crate) fn open(folder: &Path, name: &str, beside: &Checkpoint) -> Result<Self, CheckpointError> {
        let (family, base) = (beside.family, &beside.spec);
        let config = AdapterConfig::load(folder)?;
        let path = folder.join(WEIGHTS);
        let weights = Weights::open_file(&path)?;
        let mut spec = AdapterSpec { name: name.to_owned(), matrices: BTreeMap::new() };
        let (mut names, mut places) = (BTreeMap::new(), BTreeSet::new());
        for tensor in base.without_adapters().tensors() {
            let file_name = families::file_name(family, &tensor.name);
            let Some(module) = file_name.strip_suffix(WEIGHT) else { continue };
            let halves = LowRankHalf::ALL.map(|half| tensor_name(module, half));
            if halves.iter().all(|name| weights.shape(name).is_none()) {
                continue;
            }
            let [down, up] = &halves;
            let (rows, columns) = tensor.rows_and_columns();
            // Where it is missing, the check says so.
            let rank = weights.shape(down).and_then(|shape| shape.first().copied()).unwrap_or_default();
            for (name, shape) in [(down, [rank, columns]), (up, [rows, rank])] {
                weights.check(name, &shape, None)?;
            }
            let addition = LowRankSpec { rank, factor: config.factor(module, rank) };
            spec.matrices.insert(tensor.name.clone(), addition);
            for (half, there) in LowRankHalf::ALL.into_iter().zip(halves) {
                names.insert(spec.tensor_name(&tensor.name, half), there.clone());
                places.insert(there);
            }
        }
        let unknown: Vec<&str> = weights.names().filter(|name| !places.contains(*name)).collect();
        if let Some(first) = unknown.first() {
            let (file, count, first) = (path.display().to_string(), unknown.len(), (*first).to_owned());
            return Err(CheckpointError::OtherBase { file, count, first, base: config.base });
        }
        if spec.matrices.is_empty() {
            return Err(CheckpointError::EmptyAdapter { file: path.display().to_string() });
        }
        Ok(Self { spec, advice: Advice::load(folder, beside)?, weights, names })
    }

    /// The files of its weights, by name, with their content.
    pub(crate) fn files(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.weights.files()
    }

    /// One of its tensors, by its name here; `None` where it is another one's.
    pub(crate) fn read(&self, tensor: &TensorSpec) -> Option<Result<TensorData, CheckpointError>> {
        let name = self.names.get(&tensor.name)?;
        Some(self.weights.read_data(name, &tensor.shape, None))
    }
}

impl Checkpoint {
    /// Opens `MODEL+FOLDER+…`.
    pub(crate) fn open_with_adapters(name: &str) -> Result<Self, CheckpointError> {
        let parts: Vec<&str> = name.split('+').collect();
        let is_folder_of_adapter = is_adapter(Path::new(parts[0]));
        if is_folder_of_adapter || parts.iter().any(|part| part.is_empty()) {
            return Err(CheckpointError::NotAdapted { name: name.to_owned() });
        }
        let mut checkpoint = Self::open(parts[0])?;
        for folder in parts[1..].iter().map(Path::new) {
            match is_order(folder) {
                true => checkpoint.add_order(folder)?,
                false => checkpoint.add_adapter(&adapter_name(folder), folder)?,
            }
        }
        if !checkpoint.adapters.is_empty() {
            // With a learnt order it is the same model still.
            checkpoint.origin = Origin::Folder(PathBuf::from(name));
        }
        Ok(checkpoint)
    }

    /// Opens the base that an adapter names, with the adapter, which has the name of its folder.
    pub(crate) fn open_adapter(folder: &Path) -> Result<Self, CheckpointError> {
        let base = AdapterConfig::load(folder)?.base;
        let there = |base: &String| {
            let path = Path::new(base);
            builtin::find(base).is_some() || (path.is_dir() && !is_adapter(path)) || gguf::is_gguf(path)
        };
        let Some(base) = base.as_ref().filter(|base| there(base)) else {
            return Err(CheckpointError::NoBase { folder: folder.to_path_buf(), base });
        };
        let mut checkpoint = Self::open(base)?;
        checkpoint.add_adapter(&adapter_name(folder), folder)?;
        checkpoint.origin = Origin::Folder(folder.to_path_buf());
        Ok(checkpoint)
    }

    /// Opens an adapter's folder in the form of PEFT, and has it stand beside the network under this name. Networks that are
    /// made from now on apply the first adapter, or the one that is chosen; with it, its own chat template and advice on
    /// sampling hold, where its folder has them.
    ///
    /// # Errors
    /// When the folder cannot be read, describes what is not computed here, or is of another base; and when there is an
    /// adapter of that name.
    pub fn add_adapter(&mut self, name: &str, folder: &Path) -> Result<(), CheckpointError> {
        let adapter = Adapter::open(folder, name, self)?;
        let mut spec = self.spec.clone();
        spec.adapters.push(adapter.spec.clone());
        spec.validate()?;
        self.spec = spec;
        self.adapters.push(adapter);
        Ok(())
    }
}

/// Writes the folder of an adapter that a learner has, or replaces the weights in one that holds the same adapter.
///
/// # Errors
/// When the folder holds another adapter, the learner has no such adapter, or the folder cannot be written.
pub fn save_adapter(
    folder: &Path,
    description: &AdapterDescription<'_>,
    learner: &dyn Learner,
    storage: Storage,
) -> Result<(), CheckpointError> {
    let AdapterDescription { config, adapter, family, generation, tokenizer_config } = *description;
    let mut tensors = Vec::new();
    let shapes: BTreeMap<String, Vec<usize>> =
        learner.parameter_list().into_iter().map(|parameter| (parameter.name, parameter.shape)).collect();
    let mut modules = Vec::new();
    for matrix in adapter.matrices.keys() {
        let file_name = families::file_name(family, matrix);
        let module = file_name.strip_suffix(WEIGHT).unwrap_or(&file_name).to_owned();
        for half in LowRankHalf::ALL {
            let name = adapter.tensor_name(matrix, half);
            let values = learner.read_parameter(&name)?;
            let shape = shapes.get(&name).cloned().unwrap_or_default();
            tensors.push(Tensor { name: tensor_name(&module, half), shape, values });
        }
        modules.push(module);
    }
    let absent = |file: &'static str, text: &[u8], is_same: &dyn Fn(&[u8]) -> bool| {
        let path = folder.join(file);
        match std::fs::read(&path) {
            Ok(there) if is_same(&there) => Ok(None),
            Ok(_) => Err(CheckpointError::Occupied { folder: folder.to_path_buf(), file }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Some((path, text.to_vec()))),
            Err(error) => Err(CheckpointError::io("read", &path, error)),
        }
    };
    let text = json_file(CONFIG, &config.to_json(&modules))?;
    // A base may have moved.
    let config = absent(CONFIG, &text, &|there| config::but_for_base(there) == config::but_for_base(&text))?;
    let template = match tokenizer_config {
        Some(config) => {
            let text = json_file(TOKENIZER_CONFIG, config)?;
            absent(TOKENIZER_CONFIG, &text, &|there| there == text)?
        }
        None => None,
    };
    let generation = generation.map(|generation| generation.to_file(family)).transpose();
    let generation = generation.map_err(|error| json_error(GENERATION_CONFIG, &error))?;
    write_weights(&folder.join(WEIGHTS), &tensors, storage)?;
    let put = |path: &Path, bytes: &[u8]| {
        write_atomically(path, |out| out.write_all(bytes)).map_err(|e| CheckpointError::io("write", path, e))
    };
    if let Some(generation) = &generation {
        put(&folder.join(GENERATION_CONFIG), &json_file(GENERATION_CONFIG, generation)?)?;
    }
    // The description comes last: a folder has one only when everything that it describes is there.
    template.into_iter().chain(config).try_for_each(|(path, text)| put(&path, &text))
}

/// The text of a file.
fn json_file(file: &str, value: &Value) -> Result<Vec<u8>, CheckpointError> {
    let mut text = serde_json::to_vec_pretty(value).map_err(|error| json_error(file, &error))?;
    text.push(b'\n');
    Ok(text)
}

fn json_error(file: &str, error: &serde_json::Error) -> CheckpointError {
    CheckpointError::Json { file: file.to_owned(), reason: error.to_string() }
}

/// Whether a folder holds an adapter and no model.
pub(crate) fn is_adapter(folder: &Path) -> bool {
    folder.join(CONFIG).is_file() && !folder.join("config.json").exists()
}

/// What the adapter of a folder is called: as its folder, with dashes for dots.
pub fn adapter_name(folder: &Path) -> String {
    folder.file_name().and_then(|name| name.to_str()).unwrap_or("adapter").replace('.', "-")
}

fn tensor_name(module: &str, half: LowRankHalf) -> String {
    format!("{PREFIX}{module}.{}{WEIGHT}", half.name())
}

pub(crate) fn read_config(folder: &Path) -> Result<Vec<u8>, CheckpointError> {
    read(&folder.join(CONFIG))
}
