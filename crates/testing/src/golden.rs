//! Golden files: what a reference implementation computed, beside the script that ran it.

use crate::Comparison;
use aquatint_compute::{Device, Element};
use aquatint_network::Network;
use safetensors::{Dtype, SafeTensors};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// One golden file: named tensors, and what the script that made it says of them as JSON.
#[derive(Debug, Clone)]
pub struct Golden {
    tensors: BTreeMap<String, (Vec<usize>, Vec<f64>)>,
    /// What the script wrote under the metadata key `about`.
    pub about: Value,
}

impl Golden {
    /// Reads `golden/NAME/fixture.safetensors` of the repository.
    pub fn load(name: &str) -> Self {
        Self::read(&Self::folder(name).join("fixture.safetensors"))
    }

    /// The folder of golden files of that name in the repository.
    pub fn folder(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../golden").join(name)
    }

    /// Reads a golden file.
    pub fn read(path: &Path) -> Self {
        let bytes = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let (_, header) = SafeTensors::read_metadata(&bytes).expect("a safetensors header");
        let about = header.metadata().as_ref().and_then(|map| map.get("about")).map(String::as_str).unwrap_or("null");
        let about = serde_json::from_str(about).expect("JSON under the key `about`");
        let file = SafeTensors::deserialize(&bytes).expect("a whole safetensors file");
        let tensors = file.iter().map(|(name, view)| {
            let data = view.data();
            let values = match view.dtype() {
                Dtype::F64 => numbers(data, f64::from_le_bytes),
                Dtype::F32 => numbers(data, |bytes| f64::from(f32::from_le_bytes(bytes))),
                Dtype::BF16 => {
                    numbers(data, |bytes| f64::from(f32::from_bits(u32::from(u16::from_le_bytes(bytes)) << 16)))
                }
                Dtype::F16 => numbers(data, |bytes| half::f16::from_le_bytes(bytes).to_f64()),
                Dtype::I64 => numbers(data, |bytes| i64::from_le_bytes(bytes) as f64),
                other => panic!("{name} is of type {other:?}"),
            };
            (name.to_owned(), (view.shape().to_vec(), values))
        });
        Self { tensors: tensors.collect(), about }
    }

    /// The names of all tensors.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// Whether there is such a tensor.
    pub fn has(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// The values of a tensor, row-major.
    pub fn values(&self, name: &str) -> &[f64] {
        &self.tensors.get(name).unwrap_or_else(|| panic!("no tensor `{name}`")).1
    }

    /// The shape of a tensor.
    pub fn shape(&self, name: &str) -> &[usize] {
        &self.tensors.get(name).unwrap_or_else(|| panic!("no tensor `{name}`")).0
    }

    /// Writes the tensors `PREFIX.NAME` into the parameters of a network.
    pub fn write_parameters<D: Device>(&self, prefix: &str, network: &mut Network<D>) {
        let device = network.device().clone();
        for parameter in network.parameters_mut() {
            let values = self.values(&format!("{prefix}.{}", parameter.info.name));
            let values: Vec<D::Element> = values.iter().map(|&value| D::Element::from_f64(value)).collect();
            device.write(parameter.value, &values);
        }
    }

    /// Compares the parameters of a network with the tensors `PREFIX.NAME`.
    pub fn check_parameters<D: Device>(
        &self,
        prefix: &str,
        network: &Network<D>,
        tolerance: f64,
        comparison: &mut Comparison,
    ) {
        for parameter in network.parameters() {
            let name = format!("{prefix}.{}", parameter.info.name);
            let given: Vec<f64> = network.device().download(parameter.value).into_iter().map(Element::to_f64).collect();
            comparison.check(&name, &given, self.values(&name), tolerance);
        }
    }

    /// The values of a tensor of whole numbers.
    pub fn ids(&self, name: &str) -> Vec<u32> {
        self.values(name).iter().map(|&value| value as u32).collect()
    }

    /// The values of a tensor in f32.
    pub fn singles(&self, name: &str) -> Vec<f32> {
        self.values(name).iter().map(|&value| value as f32).collect()
    }
}

fn numbers<const N: usize>(bytes: &[u8], read: impl Fn([u8; N]) -> f64) -> Vec<f64> {
    let (chunks, rest) = bytes.as_chunks::<N>();
    assert!(rest.is_empty(), "a tensor of whole elements");
    chunks.iter().map(|&chunk| read(chunk)).collect()
}
