//! From a checkpoint of real numbers to one whose large matrices are small integers.
//!
//! The matrices of the layers are quantised to nearest, which needs no data. Word vectors, norms, biases and the few
//! matrices outside the layers stay: they are a small part of a large model and hurt most. The head may be quantised to
//! 8 bits, and with it the word vectors that it is tied to.

use crate::save::save_planned;
use crate::{Checkpoint, CheckpointError, PlannedTensor, Quantisation, Scheme, Storage};
use aquatint_compute::{Bits, Quantised};
use aquatint_network::families::{self, Family};
use aquatint_network::{NetworkSpec, Role, TensorData, TensorSpec};
use std::borrow::Cow;
use std::path::Path;

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

/// What quantisation made of a checkpoint.
#[derive(Debug, Clone, PartialEq)]
pub struct QuantisedFolder {
    /// How the quantised weights are kept.
    pub quantisation: Quantisation,
    /// The type of the others, which loses nothing.
    pub storage: Storage,
    /// The relative error `‖w − q‖ / ‖w‖` of each quantised weight, by its name here.
    pub errors: Vec<(String, f64)>,
}

impl Checkpoint {
    /// Writes a folder that holds this model with its weights quantised as `plan` says, tensor by tensor: no more than one
    /// is in memory.
    ///
    /// # Errors
    /// When the checkpoint cannot be read, is quantised already, or has a matrix that the groups do not fit, which is
    /// named; and as [`save`](crate::save).
    pub fn quantise(&self, plan: QuantisePlan, folder: &Path) -> Result<QuantisedFolder, CheckpointError> {
        if !self.spec.adapters.is_empty() {
            return Err(CheckpointError::HasAdapters { model: self.origin.to_string() });
        }
        if let Some(quantisation) = &self.quantisation {
            return Err(CheckpointError::AlreadyQuantised {
                model: self.origin.to_string(),
                found: quantisation.clone(),
            });
        }
        self.check()?;
        let tensors = self.spec.tensors();
        let file_of = |name: &str| self.weights.file_of(name).to_owned();
        let (planned, quantisation) = plan.tensors(self.family, &self.spec, &file_of)?;
        let (storage, mut errors) = (self.weights.narrowest_storage(), Vec::new());
        save_planned(folder, &self.description(), (&planned, Some(&quantisation)), storage, &mut |index| {
            let data = self.read_tensor(&tensors[index])?;
            let (TensorData::Real(values), Some((bits, group))) = (&data, planned[index].integers) else {
                return Ok(Cow::Owned(data));
            };
            let (outputs, inputs) = tensors[index].rows_and_columns();
            let matrix = Quantised::of(values, (outputs, inputs), bits, Some(group));
            let name = &planned[index].name;
            let refused = |source| CheckpointError::Quantised { name: name.clone(), file: file_of(name), source };
            let matrix = matrix.map_err(refused)?;
            errors.push((tensors[index].name.clone(), relative_error(values, &matrix)));
            Ok(Cow::Owned(TensorData::Quantised(matrix)))
        })?;
        Ok(QuantisedFolder { quantisation, storage, errors })
    }
}

impl QuantisePlan {
    /// How each tensor of a network is kept, in the order of the description and by the names of the family's files, and
    /// what `config.json` says of that. `file_of` names the file of a tensor, for errors.
    ///
    /// # Errors
    /// When the groups do not fit a matrix, which is named.
    pub fn tensors(
        self,
        family: &'static dyn Family,
        spec: &NetworkSpec,
        file_of: &dyn Fn(&str) -> String,
    ) -> Result<(Vec<PlannedTensor>, Quantisation), CheckpointError> {
        // What the family's files call a module.
        let module = |name: &str| {
            let name = families::file_name(family, &format!("{name}.weight"));
            name.trim_end_matches(".weight").to_owned()
        };
        // The tensor that is the head.
        let (head_role, head_module) = match spec.head.tied {
            true => (Role::Embedding, WORD_VECTORS),
            false => (Role::Head, HEAD),
        };
        // One number of bits has one scheme, so an 8-bit head follows 8-bit layers.
        let apart = self.head && self.bits != Bits::Eight;
        let mut layers = Scheme::new(self.bits, self.group, vec![LINEAR.to_owned()]);
        if self.head && !apart && spec.head.tied {
            layers.targets.push(module(WORD_VECTORS));
        }
        let head = Scheme::new(Bits::Eight, None, vec![module(head_module)]);
        let scheme_of = |tensor: &TensorSpec| match (tensor.role, tensor.layer) {
            (role, _) if role == head_role && apart => Some(&head),
            (role, _) if role == head_role && self.head => Some(&layers),
            (Role::Matrix, Some(_)) => Some(&layers),
            _ => None,
        };
        let (mut planned, mut ignore) = (Vec::new(), Vec::new());
        for tensor in &spec.tensors() {
            let (name, shape) = (families::file_name(family, &tensor.name), tensor.shape.clone());
            let integers = match (scheme_of(tensor), &shape[..]) {
                (Some(scheme), &[_, inputs]) => {
                    // What a group does not fit is known before anything is written.
                    let row = Quantised::of(&vec![0.0; inputs], (1, inputs), scheme.bits, scheme.group);
                    row.map_err(|source| CheckpointError::Quantised {
                        name: name.clone(),
                        file: file_of(&name),
                        source,
                    })?;
                    Some((scheme.bits, scheme.group.unwrap_or(inputs)))
                }
                (None, &[_, _]) if tensor.role != Role::Embedding => {
                    ignore.push(module(tensor.name.trim_end_matches(".weight")));
                    None
                }
                _ => None,
            };
            planned.push(PlannedTensor { name, shape, integers });
        }
        if spec.head.tied {
            ignore.push(module(HEAD));
        }
        let schemes = if apart { vec![layers, head] } else { vec![layers] };
        Ok((planned, Quantisation { schemes, ignore }))
    }
}

/// `‖w − q‖ / ‖w‖`; 0 for a matrix of zeros, which stays one.
fn relative_error(values: &[f32], matrix: &Quantised) -> f64 {
    let square = |sum: f64, value: f32| sum + f64::from(value).powi(2);
    let norm = values.iter().copied().fold(0.0, square);
    let (group, integers) = (matrix.group(), matrix.values());
    let groups = values.chunks(group).zip(integers.chunks(group)).zip(matrix.scales());
    let errors = groups.flat_map(|((values, integers), &scale)| {
        values.iter().zip(integers).map(move |(value, &integer)| value - f32::from(integer) * scale)
    });
    let error = errors.fold(0.0, square);
    if norm > 0.0 { (error / norm).sqrt() } else { 0.0 }
}
