//! From a checkpoint of real numbers to one whose large matrices are small integers.
//!
//! The matrices of the blocks are quantised to nearest, which needs no data. Word vectors, norms, biases and the few
//! matrices outside the blocks stay: they are a small part of a large model and hurt most. The head may be quantised to
//! 8 bits, where it is a matrix of its own.

use crate::weights::Tensor;
use crate::{Checkpoint, CheckpointError, Quantisation, Scheme, Storage};
use aquatint_compute::{Bits, Quantised};
use aquatint_network::{TensorData, families};

/// Names of the matrices of blocks begin with this.
const BLOCKS: &str = "model.layers.";
/// The head's module.
const HEAD: &str = "lm_head";
/// What `Linear` modules are called in the description; names of single modules go before it.
const LINEAR: &str = "Linear";

/// How a checkpoint is to be quantised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuantisePlan {
    /// Bits of the integers in blocks.
    pub bits: Bits,
    /// How many consecutive inputs share a scale in blocks; `None` is one scale for each output.
    pub group: Option<usize>,
    /// Whether the head is quantised to 8 bits as well.
    pub head: bool,
}

/// A checkpoint's weights after quantisation.
#[derive(Debug, Clone, PartialEq)]
pub struct QuantisedWeights {
    /// All weights, in the order of the description.
    pub tensors: Vec<Tensor<TensorData>>,
    /// How the quantised ones are kept.
    pub quantisation: Quantisation,
    /// The type of the others, which loses nothing.
    pub storage: Storage,
    /// The relative error `‖w − q‖ / ‖w‖` of each quantised weight, by name.
    pub errors: Vec<(String, f64)>,
}

impl Checkpoint {
    /// Quantises the weights as `plan` says.
    ///
    /// # Errors
    /// When the checkpoint cannot be read, is quantised already, has no head of its own where one is to be quantised, or
    /// has a matrix that the groups do not fit, which is named.
    pub fn quantise(&self, plan: QuantisePlan) -> Result<QuantisedWeights, CheckpointError> {
        if let Some(quantisation) = &self.quantisation {
            return Err(CheckpointError::AlreadyQuantised {
                model: self.origin.to_string(),
                found: quantisation.clone(),
            });
        }
        if plan.head && self.spec.tied_head {
            return Err(CheckpointError::TiedHead { model: self.origin.to_string() });
        }
        let blocks = Scheme { bits: plan.bits, group: plan.group, targets: vec![LINEAR.to_owned()] };
        // One number of bits has one scheme, so an 8-bit head follows 8-bit blocks.
        let apart = plan.head && plan.bits != Bits::Eight;
        let head = Scheme { bits: Bits::Eight, group: None, targets: vec![HEAD.to_owned()] };
        let scheme_of = |name: &str| match name.strip_suffix(".weight") {
            Some(HEAD) if apart => Some(&head),
            Some(HEAD) if plan.head => Some(&blocks),
            Some(module) if module.starts_with(BLOCKS) => Some(&blocks),
            _ => None,
        };
        let (mut tensors, mut errors, mut ignore) = (Vec::new(), Vec::new(), Vec::new());
        let expected = families::native::tensors(&self.spec);
        let mut failure = None;
        self.build(|weights| {
            for (name, shape) in expected {
                let Some(data) = weights(&name) else { break };
                let (TensorData::Real(values), &[outputs, inputs]) = (&data, &shape[..]) else {
                    tensors.push(Tensor { name, shape, values: data });
                    continue;
                };
                let Some(scheme) = scheme_of(&name) else {
                    ignore.extend(
                        name.strip_suffix(".weight").filter(|m| !m.ends_with("embed_tokens")).map(str::to_owned),
                    );
                    tensors.push(Tensor { name, shape, values: data });
                    continue;
                };
                match Quantised::of(values, (outputs, inputs), scheme.bits, scheme.group) {
                    Ok(matrix) => {
                        errors.push((name.clone(), relative_error(values, &matrix)));
                        tensors.push(Tensor { name, shape, values: TensorData::Quantised(matrix) });
                    }
                    Err(source) => {
                        let file = self.weights.file_of(&name).to_owned();
                        failure = Some(CheckpointError::Quantised { name, file, source });
                        break;
                    }
                }
            }
            Ok(())
        })?;
        if let Some(failure) = failure {
            return Err(failure);
        }
        if self.spec.tied_head {
            ignore.push(HEAD.to_owned());
        }
        let schemes = if apart { vec![blocks, head] } else { vec![blocks] };
        Ok(QuantisedWeights {
            tensors,
            quantisation: Quantisation { schemes, ignore },
            storage: self.weights.narrowest_storage(),
            errors,
        })
    }
}

/// `‖w − q‖ / ‖w‖`; 0 for a matrix of zeros, which stays one.
fn relative_error(values: &[f32], matrix: &Quantised) -> f64 {
    let square = |sum: f64, value: f32| sum + f64::from(value).powi(2);
    let norm = values.iter().copied().fold(0.0, square);
    let error = values.iter().zip(matrix.dequantise()).map(|(value, back)| value - back).fold(0.0, square);
    if norm > 0.0 { (error / norm).sqrt() } else { 0.0 }
}
