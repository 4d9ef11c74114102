//! The folder of a codec or a matcher: `config.json`, which says what it is, and `model.safetensors`.

use crate::{CodecError, Medium, Pictures, Sounds};
use aquatint_checkpoint::{CheckpointError, CodecFiles, Storage, Tensor, Weights, write_weights};
use aquatint_compute::Device;
use aquatint_files::write_atomically;
use aquatint_network::TensorSpec;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// What `config.json` says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Config<C> {
    model_type: String,
    codec: C,
    /// The type in which the weights are kept, for other readers of such files.
    torch_dtype: String,
}

const MODEL_TYPE: &str = "aquatint-codec";
/// The largest description that is read.
pub(crate) const MOST_BYTES: u64 = 1 << 20;

/// Writes a codec's folder, or replaces the weights in one that holds the same codec.
pub(crate) fn save<D: Device, C: Serialize>(
    folder: &Path,
    codec: &C,
    weights: &aquatint_network::Weights<D>,
    storage: Storage,
) -> Result<(), CodecError> {
    let config = Config { model_type: MODEL_TYPE.to_owned(), codec, torch_dtype: storage.torch_name().to_owned() };
    write(folder, &config, weights, storage)
}

/// Writes weights and their description, or replaces the weights where the same description lies.
pub(crate) fn write<D: Device, C: Serialize>(
    folder: &Path,
    config: &C,
    weights: &aquatint_network::Weights<D>,
    storage: Storage,
) -> Result<(), CodecError> {
    let path = folder.join("config.json");
    let text = serde_json::to_string_pretty(config).map_err(|error| CodecError::NoCodec {
        folder: folder.to_path_buf(),
        kind: None,
        reason: error.to_string(),
    })? + "\n";
    let is_there = match std::fs::read_to_string(&path) {
        Ok(there) if there == text => true,
        Ok(_) => return Err(CodecError::Occupied { folder: folder.to_path_buf() }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => false,
        Err(error) => return Err(CodecError::io("read", &path, error)),
    };
    let tensors = weights.parameter_list().into_iter().map(|info| {
        let values = weights.read_parameter(&info.name)?;
        Ok(Tensor { name: info.name, shape: info.shape, values })
    });
    let tensors = tensors.collect::<Result<Vec<_>, CodecError>>()?;
    write_weights(&folder.join("model.safetensors"), &tensors, storage)?;
    // The description comes last: a folder has one only when everything that it describes is there.
    if !is_there {
        write_atomically(&path, |out| out.write_all(text.as_bytes()))
            .map_err(|source| CodecError::io("write", &path, source))?;
    }
    Ok(())
}

/// What a codec's folder says that it is, which is to be of this kind, and its weights.
pub(crate) fn open<C: DeserializeOwned>(files: &CodecFiles, kind: &'static str) -> Result<(C, Weights), CodecError> {
    let unfit = |reason: String| CodecError::NoCodec { folder: files.place(), kind: Some(kind), reason };
    let found = read::<Kind>(files, &unfit)?.codec.kind;
    if found != kind {
        return Err(unfit(format!("its `codec.kind` is \"{found}\"")));
    }
    Ok((read::<C>(files, &unfit)?.codec, files.weights()?))
}

/// The part of a description that says what is encoded.
#[derive(Deserialize)]
struct Kind {
    kind: String,
}

/// What a codec encodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CodecKind {
    /// See [`Pictures`].
    Pictures,
    /// See [`Sounds`].
    Sounds,
}

/// What a codec encodes, as its configuration says.
///
/// # Errors
/// When there is no codec, or one of an unknown kind.
pub fn kind_of(files: impl Into<CodecFiles>) -> Result<CodecKind, CodecError> {
    let files = files.into();
    let unfit = |reason: String| CodecError::NoCodec { folder: files.place(), kind: None, reason };
    match &read::<Kind>(&files, &unfit)?.codec.kind[..] {
        Pictures::KIND => Ok(CodecKind::Pictures),
        Sounds::KIND => Ok(CodecKind::Sounds),
        other => {
            let allowed = format!("\"{}\", \"{}\"", Pictures::KIND, Sounds::KIND);
            Err(unfit(format!("its `codec.kind` is \"{other}\"; allowed: {allowed}")))
        }
    }
}

fn read<C: DeserializeOwned>(
    files: &CodecFiles,
    unfit: &dyn Fn(String) -> CodecError,
) -> Result<Config<C>, CodecError> {
    let text = files.config(MOST_BYTES)?;
    let config: Config<C> = serde_json::from_slice(&text).map_err(|error| unfit(format!("config.json: {error}")))?;
    match config.model_type == MODEL_TYPE {
        true => Ok(config),
        false => Err(unfit(format!("its `model_type` is \"{}\"", config.model_type))),
    }
}

/// The values of each of these tensors by its name, for an autoencoder that is made of them. The first failure, such as a
/// tensor of another shape, stays in `failed`.
pub(crate) fn values<'a>(
    weights: &'a Weights,
    tensors: &'a [TensorSpec],
    failed: &'a mut Option<CheckpointError>,
) -> impl FnMut(&str) -> Option<Vec<f32>> + 'a {
    move |name| {
        weights.shape(name)?;
        let tensor = tensors.iter().find(|tensor| tensor.name == name)?;
        match weights.read_data(name, &tensor.shape, None) {
            Ok(data) => Some(data.into_real()),
            Err(error) => {
                failed.get_or_insert(error);
                None
            }
        }
    }
}
