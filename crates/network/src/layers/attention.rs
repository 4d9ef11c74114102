//! Attention: queries, keys and values of the normed rows, turned by their places, and the way back.

use super::{Attend, Declaration};
use crate::AttentionSpec;
use crate::tensor::Init;
use aquatint_compute::{Device, DeviceError, Tape, Value, WeightId};

/// The weights of one attention.
#[derive(Debug)]
pub(crate) struct AttentionWeights {
    pub(super) norm: WeightId,
    query_key_value: WeightId,
    bias: Option<WeightId>,
    head_norms: Option<(WeightId, WeightId)>,
    pub(super) out: WeightId,
    pub(super) post_norm: Option<WeightId>,
}

impl AttentionSpec {
    /// `residual` is what the matrix begins as that writes into the residual stream.
    pub(super) fn declare<D: Device>(
        &self,
        declaration: &mut Declaration<'_, D>,
        width: usize,
        residual: Init,
    ) -> Result<AttentionWeights, DeviceError> {
        let (queries, keys) = (self.heads * self.head_size, self.key_value_heads * self.head_size);
        let norm = self.norm.declare(declaration, "input_layernorm", width, 1.0)?;
        let (mut matrices, mut biases) = (Vec::new(), Vec::new());
        let projections = match self.fused {
            true => &[("qkv_proj", queries + 2 * keys)][..],
            false if self.values_are_keys => &[("q_proj", queries), ("k_proj", keys)],
            false => &[("q_proj", queries), ("k_proj", keys), ("v_proj", keys)],
        };
        for &(module, columns) in projections {
            let module = format!("self_attn.{module}");
            matrices.push(declaration.matrix(&module, [columns, width], Init::MATRIX)?);
            if self.qkv_bias {
                biases.push(declaration.vector(&format!("{module}.bias"), columns, 0.0)?);
            }
        }
        if self.values_are_keys {
            // The same matrix makes both.
            matrices.extend(matrices.last().copied());
        }
        let query_key_value = declaration.product(&matrices);
        let bias = self.qkv_bias.then(|| declaration.weight(&biases));
        let head_norms = match self.qk_norm {
            Some(norm) => {
                let query = norm.declare(declaration, "self_attn.q_norm", self.head_size, 1.0)?;
                Some((query, norm.declare(declaration, "self_attn.k_norm", self.head_size, 1.0)?))
            }
            None => None,
        };
        let out = declaration.matrix("self_attn.o_proj", [width, queries], residual)?;
        let post_norm = match self.post_norm {
            Some(norm) => Some(norm.declare(declaration, "self_attn.post_norm", width, 1.0)?),
            None => None,
        };
        Ok(AttentionWeights { norm, query_key_value, bias, head_norms, out: declaration.product(&[out]), post_norm })
    }

    /// What attention gives of normed rows at these places, `[T, A]`; the way back into the stream is the layer's.
    pub(super) fn forward<'p, D: Device>(
        &self,
        tape: &mut Tape<'p, D>,
        weights: &AttentionWeights,
        h: Value<D>,
        places: &'p D::Indices,
        attend: &mut Attend<'_, 'p, D>,
    ) -> Result<Value<D>, DeviceError> {
        let attention = self.shape();
        let packed = tape.linear(&h, weights.query_key_value, weights.bias)?;
        drop(h);
        let turned = tape.rope(self.rope_shape(), places, &packed, weights.head_norms)?;
        drop(packed);
        attend(tape, attention, &turned)
    }

    /// Elements that a row keeps for the backward: queries, keys and values before and after they are turned, what
    /// attention gives, and each head's log-sum-exp.
    pub(super) fn retained(&self, width: usize) -> usize {
        let shape = self.shape();
        let post = self.post_norm.map_or(0, |norm| norm.retained(width));
        self.norm.retained(width) + 2 * shape.packed_columns() + shape.output_columns() + self.heads + post
    }

    /// Operations up to and with attention, of `rows` rows that see `pairs` rows in all.
    pub(super) fn operations(&self, width: usize, rows: u64, pairs: u64) -> u64 {
        let shape = self.shape();
        2 * rows * (width * shape.packed_columns()) as u64 + 4 * shape.output_columns() as u64 * pairs
    }

    /// Operations of the way back into the stream.
    pub(super) fn operations_out(&self, width: usize, rows: u64) -> u64 {
        2 * rows * (self.shape().output_columns() * width) as u64
    }
}
