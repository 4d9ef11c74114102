//! The state of a run: everything that is needed to go on as if nothing had happened.
//!
//! All of it lies in one file, `state/run.safetensors`: the working values of the parameters without rounding, the
//! optimisers' moments, the averaged weights, and in the header the counters. One file replaced by one rename cannot
//! hold the parameters of one step and the moments of another, whenever the process is killed. A checksum over all of it
//! tells a file that was damaged afterwards.

use crate::safetensors_writer::write_exact;
use crate::weights::Weights;
use crate::{CheckpointError, Exact, Tensor};
use aquatint_compute::Quantised;
use aquatint_files::Fingerprint;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::borrow::Cow;
use std::path::{Path, PathBuf};

/// Version of the file's form; another one is refused.
const VERSION: u32 = 3;
const KEY: &str = "aquatint-run";

/// Counters of type `C` and exact tensors.
#[derive(Debug)]
pub struct RunState<C> {
    /// What the trainer counts: steps, tokens, seconds, the best validation so far …
    pub counters: C,
    tensors: Weights,
}

#[derive(serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    version: u32,
    /// See [`checksum`], in hexadecimal digits.
    checksum: String,
    /// The counters as JSON.
    counters: String,
}

/// A hash of the counters and of all tensors, by name, with their shapes.
fn checksum<'a>(counters: &str, tensors: impl Iterator<Item = (&'a str, &'a [usize], Cow<'a, [u8]>)>) -> String {
    let mut fingerprint = Fingerprint::default();
    fingerprint.part(counters.as_bytes());
    for (name, shape, bytes) in tensors {
        fingerprint.part(name.as_bytes());
        fingerprint.part(format!("{shape:?}").as_bytes());
        fingerprint.part(&bytes);
    }
    format!("{:016x}", fingerprint.finish())
}

/// Where the state of the run in `folder` lies.
pub fn state_file(folder: &Path) -> PathBuf {
    folder.join("state").join("run.safetensors")
}

/// Saves the state of the run in `folder`, atomically.
///
/// # Errors
/// When the counters cannot be written as JSON, or the file cannot be written.
pub fn save_state<C: Serialize>(folder: &Path, counters: &C, tensors: &[Tensor<Exact>]) -> Result<(), CheckpointError> {
    let path = state_file(folder);
    let mut sorted: Vec<&Tensor<Exact>> = tensors.iter().collect();
    sorted.sort_by_key(|tensor| &tensor.name);
    let parts = sorted.iter().map(|t| (t.name.as_str(), t.shape.as_slice(), Cow::Owned(t.values.to_bytes())));
    let header = serde_json::to_string(counters).and_then(|counters| {
        serde_json::to_string(&Header { version: VERSION, checksum: checksum(&counters, parts), counters })
    });
    let header =
        header.map_err(|e| CheckpointError::State { file: path.display().to_string(), reason: e.to_string() })?;
    write_exact(&path, tensors, (KEY, &header))
}

/// Prefixes of the two tensors that a matrix of integers is saved as.
const INTEGERS: &str = "integers";
const SCALES: &str = "scales";

/// A matrix of integers as [`save_state`] takes it: every bit of it comes back by [`RunState::quantised`].
pub fn quantised_state(name: &str, matrix: &Quantised) -> [Tensor<Exact>; 2] {
    let (outputs, inputs) = (matrix.outputs(), matrix.inputs());
    let tensor = |prefix: &str, columns, values| Tensor {
        name: format!("{prefix}.{name}"),
        shape: vec![outputs, columns],
        values,
    };
    [
        tensor(INTEGERS, inputs, Exact::I8(matrix.values())),
        tensor(SCALES, inputs / matrix.group(), Exact::F32(matrix.scales().to_vec())),
    ]
}

impl<C: DeserializeOwned> RunState<C> {
    /// Opens the state of the run in `folder` and checks that it is what was saved; tensors are read on demand.
    ///
    /// # Errors
    /// When the file cannot be read, is damaged, or is of another version.
    pub fn open(folder: &Path) -> Result<Self, CheckpointError> {
        let path = state_file(folder);
        let tensors = Weights::open_file(&path)?;
        let refused = |reason: String| CheckpointError::State { file: path.display().to_string(), reason };
        let text = tensors.metadata(KEY).ok_or_else(|| refused("it was not written by a training run".into()))?;
        let header: serde_json::Value = serde_json::from_str(text).map_err(|e| refused(e.to_string()))?;
        let version = header.get("version").and_then(serde_json::Value::as_u64);
        if version != Some(u64::from(VERSION)) {
            return Err(refused(format!("its version is {version:?}, this program reads {VERSION}")));
        }
        let header: Header = serde_json::from_str(text).map_err(|e| refused(e.to_string()))?;
        let part = |name| Ok((name, tensors.shape(name).unwrap_or_default(), tensors.bytes_of_tensor(name)?));
        let parts = tensors.names().map(part).collect::<Result<Vec<_>, CheckpointError>>()?;
        let parts = parts.into_iter().map(|(name, shape, bytes)| (name, shape, Cow::Borrowed(bytes)));
        if checksum(&header.counters, parts) != header.checksum {
            return Err(refused("it was damaged: its checksum is not that of its content".into()));
        }
        let counters = serde_json::from_str(&header.counters).map_err(|e| refused(e.to_string()))?;
        Ok(Self { counters, tensors })
    }
}

impl<C> RunState<C> {
    /// Whether a tensor was saved.
    pub fn contains(&self, name: &str) -> bool {
        self.tensors.shape(name).is_some()
    }

    /// A matrix of integers, exactly as it was; `like` is one of its shape, bits and groups.
    ///
    /// # Errors
    /// When one of its tensors is missing, has another length, or holds what is no such matrix.
    pub fn quantised(&self, name: &str, like: &Quantised) -> Result<Quantised, CheckpointError> {
        let shape = (like.outputs(), like.inputs());
        let values = self.tensor(&format!("{INTEGERS}.{name}"), shape.0 * shape.1)?;
        let scales = self.tensor(&format!("{SCALES}.{name}"), like.scales().len())?;
        let (values, scales) = (values.iter().map(|v| v as i8), scales.iter().map(|v| v as f32));
        Quantised::from_parts(like.bits(), shape, like.group(), values.collect(), scales.collect()).map_err(|source| {
            CheckpointError::Quantised { name: name.to_owned(), file: self.tensors.origin().to_owned(), source }
        })
    }

    /// The values of a tensor of `length` numbers, exactly as they were.
    ///
    /// # Errors
    /// When the tensor is missing or has another length.
    pub fn tensor(&self, name: &str, length: usize) -> Result<Exact, CheckpointError> {
        let values = self.tensors.read_exact(name)?;
        if values.len() != length {
            return Err(CheckpointError::WrongShape {
                name: name.to_owned(),
                file: self.tensors.origin().to_owned(),
                found: self.tensors.shape(name).unwrap_or_default().to_vec(),
                expected: vec![length],
            });
        }
        Ok(values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    type Counters = BTreeMap<String, u64>;

    #[test]
    fn every_bit_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        let counters = Counters::from([("step".to_owned(), 20), ("best".to_owned(), std::f64::consts::PI.to_bits())]);
        let odd = vec![f32::MIN_POSITIVE / 2.0, -0.0, 1.0 + f32::EPSILON, f32::NAN];
        let wide = vec![1.0 + f64::EPSILON, 1e-300];
        let tensors = [
            Tensor { name: "a".into(), shape: vec![2, 2], values: Exact::F32(odd.clone()) },
            Tensor { name: "b".into(), shape: vec![2], values: Exact::F64(wide.clone()) },
        ];
        save_state(folder.path(), &counters, &tensors).unwrap();
        let state = RunState::<Counters>::open(folder.path()).unwrap();
        assert_eq!(state.counters, counters);
        let Exact::F32(back) = state.tensor("a", 4).unwrap() else { panic!("f32 became f64") };
        assert_eq!(
            back.iter().map(|v| v.to_bits()).collect::<Vec<_>>(),
            odd.iter().map(|v| v.to_bits()).collect::<Vec<_>>()
        );
        assert_eq!(state.tensor("b", 2).unwrap(), Exact::F64(wide));
        assert!(matches!(state.tensor("b", 3), Err(CheckpointError::WrongShape { .. })));
        assert!(matches!(state.tensor("c", 3), Err(CheckpointError::MissingTensor { .. })));
    }

    #[test]
    fn no_bit_of_a_state_changes_unnoticed() {
        let folder = tempfile::tempdir().unwrap();
        let counters = Counters::from([("step".to_owned(), 20)]);
        let values = || Exact::F32(vec![0.5, 1.0, 3.0]);
        save_state(folder.path(), &counters, &[Tensor { name: "a".into(), shape: vec![3], values: values() }]).unwrap();
        let path = state_file(folder.path());
        let whole = std::fs::read(&path).unwrap();
        let mut noticed = 0;
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 1;
            std::fs::write(&path, &damaged).unwrap();
            match RunState::<Counters>::open(folder.path()) {
                Err(_) => noticed += 1,
                // A blank that fills the header up has no meaning.
                Ok(state) => {
                    assert_eq!((state.counters.clone(), state.tensor("a", 3).unwrap()), (counters.clone(), values()))
                }
            }
        }
        assert!(noticed >= whole.len() - 8, "{noticed} of {}", whole.len());
    }

    #[test]
    fn another_safetensors_file_is_no_state() {
        let folder = tempfile::tempdir().unwrap();
        let path = state_file(folder.path());
        crate::write_weights::<Vec<f32>>(&path, &[], crate::Storage::F32).unwrap();
        let error = RunState::<Counters>::open(folder.path()).unwrap_err().to_string();
        assert!(error.contains("not written by a training run"), "{error}");
    }
}
