//! From a checkpoint of real numbers to one whose large matrices are small integers.
//!
//! The matrices of the layers are quantised to nearest, which needs no data. Word vectors, norms, biases and the few
//! matrices outside the layers stay: they are a small part of a large model and hurt most. The head may be quantised to
//! 8 bits, and with it the word vectors that it is tied to.

use crate::{Checkpoint, CheckpointError, Quantisation, Scheme, Storage, Tensor};
use aquatint_compute::{Bits, Quantised};
use aquatint_network::{Role, TensorData, TensorSpec, families};

/// The head's module.
const HEAD: &str = "lm_head";
/// The word vectors' module.
const WORD_VECTORS: &str = "model.embed_tokens";
/// What `Linear` modules are called in the description; names of single modules go before it.
const LINEAR: &str = "Linear";

/// How a checkpoint is to be quantised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuantisePlan {
    /// Bits of the integers in layers.
    pub bits: Bits,
    /// How many consecutive inputs share a scale in layers; `None` is one scale for each output.
    pub group: Option<usize>,
    /// Whether the head is quantised to 8 bits as well; a tied one is the word vectors.
    pub head: bool,
}

/// A checkpoint's weights after quantisation.
#[derive(Debug, Clone, PartialEq)]
pub struct QuantisedWeights {
    /// All weights, in the order of the description and by their names here.
    pub tensors: Vec<Tensor<TensorData>>,
    /// How the quantised ones are kept.
    pub quantisation: Quantisation,
    /// The type of the others, which loses nothing.
    pub storage: Storage,
    /// The relative error `‖w − q‖ / ‖w‖` of each quantised weight, by its name here.
    pub errors: Vec<(String, f64)>,
}

impl Checkpoint {
    /// Quantises the weights as `plan` says.
    ///
    /// # Errors
    /// When the checkpoint cannot be read, is quantised already, or has a matrix that the groups do not fit, which is
    /// named.
    pub fn quantise(&self, plan: QuantisePlan) -> Result<QuantisedWeights, CheckpointError> {
        if let Some(quantisation) = &self.quantisation {
            return Err(CheckpointError::AlreadyQuantised {
                model: self.origin.to_string(),
                found: quantisation.clone(),
            });
        }
        // What the family's files call a module.
        let module = |name: &str| {
            let name = families::file_name(self.family, &format!("{name}.weight"));
            name.trim_end_matches(".weight").to_owned()
        };
        // The tensor that is the head.
        let (head_role, head_module) = match self.spec.head.tied {
            true => (Role::Embedding, WORD_VECTORS),
            false => (Role::Head, HEAD),
        };
        // One number of bits has one scheme, so an 8-bit head follows 8-bit layers.
        let apart = plan.head && plan.bits != Bits::Eight;
        let mut layers = Scheme::new(plan.bits, plan.group, vec![LINEAR.to_owned()]);
        if plan.head && !apart && self.spec.head.tied {
            layers.targets.push(module(WORD_VECTORS));
        }
        let head = Scheme::new(Bits::Eight, None, vec![module(head_module)]);
        let scheme_of = |tensor: &TensorSpec| match (tensor.role, tensor.layer) {
            (role, _) if role == head_role && apart => Some(&head),
            (role, _) if role == head_role && plan.head => Some(&layers),
            (Role::Matrix, Some(_)) => Some(&layers),
            _ => None,
        };
        let (mut tensors, mut errors, mut ignore) = (Vec::new(), Vec::new(), Vec::new());
        let mut failure = None;
        self.build(|weights| {
            for tensor in self.spec.tensors() {
                let scheme = scheme_of(&tensor);
                let TensorSpec { name, shape, role, .. } = tensor;
                let Some(data) = weights(&name) else { break };
                let (TensorData::Real(values), &[outputs, inputs]) = (&data, &shape[..]) else {
                    tensors.push(Tensor { name, shape, values: data });
                    continue;
                };
                let Some(scheme) = scheme else {
                    if role != Role::Embedding {
                        ignore.push(module(name.trim_end_matches(".weight")));
                    }
                    tensors.push(Tensor { name, shape, values: data });
                    continue;
                };
                match Quantised::of(values, (outputs, inputs), scheme.bits, scheme.group) {
                    Ok(matrix) => {
                        errors.push((name.clone(), relative_error(values, &matrix)));
                        tensors.push(Tensor { name, shape, values: TensorData::Quantised(matrix) });
                    }
                    Err(source) => {
                        let name = families::file_name(self.family, &name);
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
        if self.spec.head.tied {
            ignore.push(module(HEAD));
        }
        let schemes = if apart { vec![layers, head] } else { vec![layers] };
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
