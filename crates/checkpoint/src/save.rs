//! Writing a checkpoint folder.
//!
//! Each file is replaced by one rename. A folder whose description or vocabulary differ is never written into, so the
//! weights are the only file that changes when a model is saved again, and a kill at any moment leaves a folder that
//! can be loaded.

use crate::order::{remove_order, save_order};
use crate::quantised_writer::{PlannedTensor, write_data, write_planned};
use crate::safetensors_writer::write_weights;
use crate::{CheckpointError, GenerationDefaults, ModelCodec, Quantisation, Storage, Tensor, codecs};
use aquatint_files::write_atomically;
use aquatint_network::families::{self, Family, TokenRoles};
use aquatint_network::{Learner, NetworkError, NetworkSpec, ParameterInfo, TensorData};
use aquatint_vocabulary::{Role, Vocabulary};
use serde_json::Value;
use std::borrow::Cow;
use std::path::Path;

/// What a checkpoint folder holds besides weights.
#[derive(Debug, Clone, Copy)]
pub struct Description<'a> {
    /// In whose words.
    pub family: &'static dyn Family,
    /// What the network is.
    pub spec: &'a NetworkSpec,
    /// Text to tokens and back.
    pub vocabulary: &'a Vocabulary,
    /// What makes codes of pictures and sounds; their folders are written within the model's.
    pub codecs: &'a [ModelCodec],
    /// How to sample.
    pub generation: &'a GenerationDefaults,
    /// `tokenizer_config.json`, where there is to be one.
    pub tokenizer_config: Option<&'a Value>,
}

impl<'a> Description<'a> {
    /// A model of this project's own family.
    pub fn native(spec: &'a NetworkSpec, vocabulary: &'a Vocabulary, generation: &'a GenerationDefaults) -> Self {
        Self { family: families::NATIVE, spec, vocabulary, codecs: &[], generation, tokenizer_config: None }
    }

    /// Its `config.json`, but for how weights are kept.
    ///
    /// # Errors
    /// When the family has no words for the network.
    pub fn config(&self) -> Result<Value, NetworkError> {
        let role = |role| self.vocabulary.role(role);
        let roles =
            TokenRoles { mask: role(Role::Mask), end: role(Role::End), pad: role(Role::Pad), begin: role(Role::Begin) };
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

/// Like [`save_quantised`] of weights that are made one by one: `give` is asked for each of `tensors` by its index, in
/// their order, and nothing is kept, so that a model of any size needs the memory of one tensor. What it gives in another
/// form than the planned one is brought into it. Names are those of the family's files.
///
/// # Errors
/// As [`save`], what `give` fails with, and when numbers cannot be quantised.
pub fn save_planned<'a>(
    folder: &Path,
    description: &Description<'_>,
    (tensors, quantisation): (&[PlannedTensor], Option<&Quantisation>),
    storage: Storage,
    give: &mut dyn FnMut(usize) -> Result<Cow<'a, TensorData>, CheckpointError>,
) -> Result<(), CheckpointError> {
    write_folder(folder, description, (storage, quantisation), |path| write_planned(path, tensors, storage, give))
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
    if !learner.spec().adapters.is_empty() {
        return Err(CheckpointError::HasAdapters { model: folder.display().to_string() });
    }
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
    if !description.codecs.is_empty() {
        config[codecs::KEY] = ModelCodec::to_config(description.codecs);
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
    description.codecs.iter().try_for_each(|codec| codec.write_folder(folder))?;
    write_weights(&folder.join("model.safetensors"))?;
    put(&folder.join("generation_config.json"), &generation)?;
    match &description.generation.order {
        Some(order) => save_order(folder, order)?,
        // One that an earlier model had would be opened with this one.
        None => remove_order(folder)?,
    }
    // The description comes last: a folder has one only when everything that it describes is there.
    for (path, bytes) in absent {
        put(&path, bytes)?;
    }
    Ok(())
}
