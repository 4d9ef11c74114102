//! Before the layers: `x = table[token]  |  point · table  |  norm(W (clean_weight · vectors[token] + offset))`, and with
//! self-conditioning what [`super::self_conditioning`] makes of it with `prediction · table`.
//!
//! `model.word_vectors.weight` and `model.field_*` have no name in Llama checkpoints.

use super::Declaration;
use super::self_conditioning::SelfConditioningWeights;
use crate::tensor::Init;
use crate::{NetworkInput, NetworkSpec, Role};
use aquatint_compute::{Device, DeviceError, Element, Tape, Value, WeightId};
use std::fmt;
use std::sync::Arc;

/// Reads rows of the embedding table by token id, `[ids, D]`, or says why they cannot be read.
pub type ReadRows = dyn Fn(&[u32]) -> Result<Vec<f32>, String> + Send + Sync;

/// The embedding table where its rows are read from its file when tokens are.
#[derive(Clone)]
pub(crate) struct StoredRows(pub(crate) Arc<ReadRows>);

impl fmt::Debug for StoredRows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredRows").finish_non_exhaustive()
    }
}

/// The tensor of the embedding table.
const TABLE: &str = "model.embed_tokens.weight";

/// The weights that rows are read with.
#[derive(Debug)]
pub(crate) struct EmbeddingWeights {
    /// `[V, D]`.
    pub(crate) table: WeightId,
    /// Where the rows of the table are, if it is not in memory.
    pub(crate) stored: Option<StoredRows>,
    self_conditioning: Option<SelfConditioningWeights>,
    pub(crate) field: Option<FieldWeights>,
}

/// What a network of a gaussian field reads its points with.
#[derive(Debug)]
pub(crate) struct FieldWeights {
    /// `[V, E]`.
    pub(crate) vectors: WeightId,
    projection: WeightId,
    norm: WeightId,
}

impl EmbeddingWeights {
    pub(crate) fn declare<D: Device>(
        declaration: &mut Declaration<'_, D>,
        spec: &NetworkSpec,
    ) -> Result<Self, DeviceError> {
        let (vocabulary, width) = (spec.vocabulary_size, spec.width);
        let table = declaration.tensor(TABLE, &[vocabulary, width], Role::Embedding, Init::MATRIX)?;
        let table = declaration.weight(&[table]);
        let self_conditioning = match spec.self_conditioning {
            Some(conditioning) => Some(conditioning.declare(declaration, spec)?),
            None => None,
        };
        let field = match spec.word_vector_size {
            Some(size) => {
                // Of length 1 but for chance, which training takes away at once.
                let unit = Init::Normal(1.0 / (size as f64).sqrt());
                let name = "model.word_vectors.weight";
                let vectors = declaration.tensor(name, &[vocabulary, size], Role::UnitVectors, unit)?;
                let projection = declaration.matrix("model.field_proj", [width, size], Init::MATRIX)?;
                Some(FieldWeights {
                    vectors: declaration.weight(&[vectors]),
                    projection: declaration.product(&[projection]),
                    norm: spec.norm.declare(declaration, "model.field_norm", width, 1.0)?,
                })
            }
            None => None,
        };
        Ok(Self { table, stored: None, self_conditioning, field })
    }

    /// The vectors of an input's rows, of their tokens or their points; `tokens` are its own on the device.
    pub(crate) fn forward<'p, D: Device>(
        &self,
        tape: &mut Tape<'p, D>,
        spec: &NetworkSpec,
        input: &NetworkInput<'p>,
        tokens: &'p D::Indices,
    ) -> Result<Value<D>, DeviceError> {
        match (input.points, &self.field) {
            (None, _) => self.vectors(tape, spec, input.tokens, tokens),
            (Some(points), None) => {
                let mut mixtures = points.offset.clone();
                for (row, (&token, &weight)) in input.tokens.iter().zip(&points.clean_weight).enumerate() {
                    mixtures[row * points.size + token as usize] += weight;
                }
                self.mixture(tape, spec, input.positions.len(), &mixtures)
            }
            (Some(points), Some(field)) => {
                // A row of one vector each: the only way in which the gradient reaches the vectors.
                let size = spec.vocabulary_size;
                let mut weights = vec![D::Element::default(); points.len() * size];
                for (row, (&token, &weight)) in input.tokens.iter().zip(&points.clean_weight).enumerate() {
                    weights[row * size + token as usize] = D::Element::from_f64(f64::from(weight));
                }
                let weights = tape.constant(points.len(), &weights)?;
                let own = tape.mixture(field.vectors, weights)?;
                let offset = points.offset.iter().map(|&offset| D::Element::from_f64(f64::from(offset)));
                let offset = tape.constant(points.len(), &offset.collect::<Vec<D::Element>>())?;
                let point = tape.add(own, &offset)?;
                let projected = tape.linear(&point, field.projection, None)?;
                spec.norm.forward(tape, &projected, field.norm)
            }
        }
    }

    /// The same with what was predicted of the rows at the last step, where the network reads that: as the first layer reads
    /// them. `current` are the rows of current blocks, where the network tells them apart.
    pub(crate) fn conditioned<'p, D: Device>(
        &self,
        tape: &mut Tape<'p, D>,
        spec: &NetworkSpec,
        input: &NetworkInput<'p>,
        x: Value<D>,
        current: Option<&'p D::Indices>,
    ) -> Result<Value<D>, DeviceError> {
        let (Some(conditioning), Some(weights)) = (spec.self_conditioning, &self.self_conditioning) else {
            return Ok(x);
        };
        // Of all rows, or of those of current blocks.
        let rows = current.map_or(input.positions.len(), |current| tape.count(current));
        if rows == 0 {
            return Ok(x);
        }
        let mixture =
            input.self_conditioning.map(|prediction| self.mixture(tape, spec, rows, prediction)).transpose()?;
        match current.filter(|_| rows < input.positions.len()) {
            None => conditioning.forward(tape, (spec.norm, weights), x, mixture),
            Some(current) => {
                let own = tape.rows(&x, current)?;
                let own = conditioning.forward(tape, (spec.norm, weights), own, mixture)?;
                tape.replace_rows(x, current, &own)
            }
        }
    }

    /// The vectors of tokens, `[tokens, D]`; `indices` are the tokens on the device.
    pub(crate) fn vectors<'p, D: Device>(
        &self,
        tape: &mut Tape<'p, D>,
        spec: &NetworkSpec,
        tokens: &[u32],
        indices: &'p D::Indices,
    ) -> Result<Value<D>, DeviceError> {
        let x = match &self.stored {
            Some(StoredRows(read)) => {
                let failed = |reason| DeviceError::Weight { name: TABLE.to_owned(), reason };
                let values = read(tokens).map_err(failed)?;
                let values = values.into_iter().map(|value| D::Element::from_f64(f64::from(value)));
                tape.constant(tokens.len(), &values.collect::<Vec<D::Element>>())?
            }
            None => tape.gather(self.table, indices)?,
        };
        scaled(tape, spec, x)
    }

    fn mixture<'p, D: Device>(
        &self,
        tape: &mut Tape<'p, D>,
        spec: &NetworkSpec,
        rows: usize,
        probabilities: &[f32],
    ) -> Result<Value<D>, DeviceError> {
        let values: Vec<D::Element> = probabilities.iter().map(|&p| D::Element::from_f64(f64::from(p))).collect();
        let values = tape.constant(rows, &values)?;
        let mixture = tape.mixture(self.table, values)?;
        scaled(tape, spec, mixture)
    }
}

/// Word vectors as they are read.
fn scaled<'p, D: Device>(tape: &mut Tape<'p, D>, spec: &NetworkSpec, x: Value<D>) -> Result<Value<D>, DeviceError> {
    match spec.embedding_scale {
        Some(scale) => tape.scaled(&x, scale),
        None => Ok(x),
    }
}
