//! A learnt order beside a model: the folder `order` in that of the model, or in one of its own, which holds `order.json`
//! and `order.safetensors`.

use crate::read::read_optional;
use crate::safetensors_writer::write_weights;
use crate::weights::Weights;
use crate::{Checkpoint, CheckpointError, Storage, Tensor, adapter};
use aquatint_diffusion::{OrderFeatures, OrderNetwork};
use aquatint_files::write_atomically;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The folder within that of a model or of a run.
const FOLDER: &str = "order";
const CONFIG: &str = "order.json";
const WEIGHTS: &str = "order.safetensors";

/// What stands in `order.json`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct OrderConfig {
    /// What it reads of each position, by name and in order.
    features: Vec<String>,
    /// Rows of its inner layers.
    width: usize,
}

fn config(folder: &Path) -> PathBuf {
    folder.join(FOLDER).join(CONFIG)
}

/// Whether a folder holds a learnt order, and neither a model nor an adapter.
pub fn is_order(folder: &Path) -> bool {
    config(folder).is_file() && !folder.join("config.json").exists() && !adapter::is_adapter(folder)
}

/// The learnt order in a folder, where there is one.
pub(crate) fn open(folder: &Path) -> Result<Option<Arc<OrderNetwork>>, CheckpointError> {
    let path = config(folder);
    let Some(text) = read_optional(&path)? else { return Ok(None) };
    let file = path.display().to_string();
    let OrderConfig { features, width } = serde_json::from_slice(&text)
        .map_err(|error| CheckpointError::Json { file: file.clone(), reason: error.to_string() })?;
    if features != OrderFeatures::NAMES {
        let reason = format!("it reads {}; allowed: {}", features.join(", "), OrderFeatures::NAMES.join(", "));
        return Err(CheckpointError::Order { file, reason });
    }
    let refused = |file: &str| {
        let file = file.to_owned();
        move |error: aquatint_diffusion::SettingError| CheckpointError::Order { file, reason: error.to_string() }
    };
    let tensors = OrderNetwork::tensors(width).map_err(refused(&file))?;
    let path = folder.join(FOLDER).join(WEIGHTS);
    let weights = Weights::open_file(&path)?;
    let names: BTreeSet<&str> = tensors.iter().map(|tensor| tensor.name).collect();
    if let Some(other) = weights.names().find(|name| !names.contains(name)) {
        let reason = format!("it has no place for the tensor `{other}`");
        return Err(CheckpointError::Order { file: path.display().to_string(), reason });
    }
    let mut values = tensors.iter().map(|tensor| weights.read_shaped(tensor.name, &tensor.shape()));
    let mut failure = None;
    let network = OrderNetwork::new(width, &mut |_| match values.next()? {
        Ok(values) => Some(values),
        Err(CheckpointError::WrongShape { name, file, found, expected }) => {
            let reason = format!("`{name}` has shape {found:?}; allowed: {expected:?}");
            failure.get_or_insert(CheckpointError::Order { file, reason });
            None
        }
        Err(error) => {
            failure.get_or_insert(error);
            None
        }
    });
    match failure {
        Some(error) => Err(error),
        None => Ok(Some(Arc::new(network.map_err(refused(&path.display().to_string()))?))),
    }
}

/// Writes a learnt order into the folder of a model or of a run, or replaces the one that is there.
///
/// # Errors
/// When it cannot be written.
pub fn save_order(folder: &Path, network: &OrderNetwork) -> Result<(), CheckpointError> {
    let path = config(folder);
    let failed = |error: aquatint_diffusion::SettingError| CheckpointError::Order {
        file: path.display().to_string(),
        reason: error.to_string(),
    };
    let tensors = OrderNetwork::tensors(network.width()).map_err(failed)?;
    let tensors: Vec<Tensor<Vec<f32>>> = tensors
        .iter()
        .zip(network.weights())
        .map(|(tensor, values)| Tensor {
            name: tensor.name.to_owned(),
            shape: tensor.shape(),
            values: values.iter().map(|value| *value as f32).collect(),
        })
        .collect();
    let features = OrderFeatures::NAMES.map(str::to_owned).to_vec();
    let mut text = serde_json::to_vec_pretty(&OrderConfig { features, width: network.width() })
        .map_err(|error| CheckpointError::Json { file: path.display().to_string(), reason: error.to_string() })?;
    text.push(b'\n');
    write_weights(&folder.join(FOLDER).join(WEIGHTS), &tensors, Storage::F32)?;
    // The description comes last, as in a model's folder.
    write_atomically(&path, |out| out.write_all(&text)).map_err(|error| CheckpointError::io("write", &path, error))
}

/// Removes a learnt order from the folder of a model that has none.
pub(crate) fn remove_order(folder: &Path) -> Result<(), CheckpointError> {
    // The description goes first: without it there is no order.
    for path in [config(folder), folder.join(FOLDER).join(WEIGHTS)] {
        match std::fs::remove_file(&path) {
            Ok(()) => {}
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {}
            Err(error) => return Err(CheckpointError::io("remove", &path, error)),
        }
    }
    let own = folder.join(FOLDER);
    match std::fs::remove_dir(&own) {
        Ok(()) => Ok(()),
        // Other files are not of an order, and stay.
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::DirectoryNotEmpty
            ) =>
        {
            Ok(())
        }
        Err(error) => Err(CheckpointError::io("remove", &own, error)),
    }
}

impl Checkpoint {
    /// Opens the learnt order of a folder in place of the model's own, whatever adapter is applied.
    ///
    /// # Errors
    /// When there is none, or it cannot be read.
    pub fn add_order(&mut self, folder: &Path) -> Result<(), CheckpointError> {
        let Some(order) = open(folder)? else { return Err(CheckpointError::MissingFile { path: config(folder) }) };
        self.set_order(&order);
        Ok(())
    }
}
