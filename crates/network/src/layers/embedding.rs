//! Before the layers: `x = table[token]  |  point · table  |  norm(W (clean_weight · vectors[token] + offset))`, and with
//! self-conditioning `+ norm(prediction · table)`.
//!
//! `model.self_conditioning_norm.weight`, `model.word_vectors.weight` and `model.field_*` have no name in Llama
//! checkpoints.

use super::Declaration;
use crate::tensor::Init;
use crate::{NetworkInput, NetworkSpec, Role};
use aquatint_compute::{Device, DeviceError, Element, Tape, Value, WeightId};

/// The weights that rows are read with.
#[derive(Debug)]
pub(crate) struct EmbeddingWeights {
    /// `[V, D]`.
    pub(crate) table: WeightId,
    self_conditioning_norm: Option<WeightId>,
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
        let table =
            declaration.tensor("model.embed_tokens.weight", &[vocabulary, width], Role::Embedding, Init::MATRIX)?;
        let table = declaration.weight(&[table]);
        let self_conditioning_norm = match spec.self_conditioning {
            true => Some(spec.norm.declare(declaration, "model.self_conditioning_norm", width, 0.0)?),
            false => None,
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
        Ok(Self { table, self_conditioning_norm, field })
    }

    /// The rows of an input as the first layer reads them; `tokens` are its own on the device.
    pub(crate) fn forward<'p, D: Device>(
        &self,
        tape: &mut Tape<'p, D>,
        spec: &NetworkSpec,
        input: &NetworkInput<'p>,
        tokens: &'p D::Indices,
    ) -> Result<Value<D>, DeviceError> {
        let x = match (input.points, &self.field) {
            (None, _) => tape.gather(self.table, tokens)?,
            (Some(points), None) => {
                let mut mixtures = points.offset.clone();
                for (row, (&token, &weight)) in input.tokens.iter().zip(&points.clean_weight).enumerate() {
                    mixtures[row * points.size + token as usize] += weight;
                }
                self.mixture(tape, input.positions.len(), &mixtures)?
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
                spec.norm.forward(tape, &projected, field.norm)?
            }
        };
        match (self.self_conditioning_norm, input.self_conditioning) {
            (Some(norm), Some(prediction)) => {
                let mixture = self.mixture(tape, input.positions.len(), prediction)?;
                let predicted = spec.norm.forward(tape, &mixture, norm)?;
                tape.add(x, &predicted)
            }
            _ => Ok(x),
        }
    }

    fn mixture<'p, D: Device>(
        &self,
        tape: &mut Tape<'p, D>,
        rows: usize,
        probabilities: &[f32],
    ) -> Result<Value<D>, DeviceError> {
        let values: Vec<D::Element> = probabilities.iter().map(|&p| D::Element::from_f64(f64::from(p))).collect();
        let values = tape.constant(rows, &values)?;
        tape.mixture(self.table, values)
    }
}
