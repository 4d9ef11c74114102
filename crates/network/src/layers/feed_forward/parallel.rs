//! A gated part and a mixture of experts side by side: `norm(gated(h)) + norm(experts(norm(x)))`, routed by
//! `router(norm(x)) / √D`.
//!
//! The gated part has the names of one alone, the mixture those of a mixture alone; the norms are `mlp.gate_norm.weight`
//! (the router's), `mlp_norm`, `experts_norm` and `experts_post_norm`.

use super::experts::ExpertsWeights;
use super::gated::GatedWeights;
use crate::ParallelSpec;
use crate::layers::Declaration;
use crate::tensor::Init;
use aquatint_compute::{Device, DeviceError, Tape, Value, WeightId};

/// The weights of both.
#[derive(Debug)]
pub(super) struct ParallelWeights {
    gated: GatedWeights,
    gated_norm: WeightId,
    router_norm: WeightId,
    experts_norm: WeightId,
    pub(super) experts: ExpertsWeights,
    experts_post_norm: WeightId,
}

impl ParallelSpec {
    /// `residual` is what matrices begin as that write into the residual stream.
    pub(super) fn declare<D: Device>(
        &self,
        declaration: &mut Declaration<'_, D>,
        width: usize,
        residual: Init,
    ) -> Result<ParallelWeights, DeviceError> {
        let norm = |declaration: &mut _, name| self.norm.declare(declaration, name, width, 1.0);
        Ok(ParallelWeights {
            gated: self.gated.declare(declaration, "mlp", width, residual)?,
            gated_norm: norm(declaration, "mlp_norm")?,
            router_norm: norm(declaration, "mlp.gate_norm")?,
            experts_norm: norm(declaration, "experts_norm")?,
            experts: self.experts.declare(declaration, width, residual)?,
            experts_post_norm: norm(declaration, "experts_post_norm")?,
        })
    }

    /// What both give of rows of the stream `x`, whose normed rows are `h`. `blocks` are as in a mixture alone.
    pub(super) fn output<'p, D: Device>(
        &self,
        tape: &mut Tape<'p, D>,
        weights: &ParallelWeights,
        (h, x): (Value<D>, &Value<D>),
        blocks: Option<&'p D::Indices>,
    ) -> Result<Value<D>, DeviceError> {
        let inner = self.gated.forward(tape, &weights.gated, &h)?;
        drop(h);
        let gated = tape.linear(&inner, weights.gated.down, None)?;
        drop(inner);
        let gated = self.norm.forward(tape, &gated, weights.gated_norm)?;
        let routed = self.norm.forward(tape, x, weights.router_norm)?;
        let logits = tape.linear(&routed, weights.experts.router, None)?;
        drop(routed);
        let logits = tape.scaled(&logits, 1.0 / (x.columns() as f64).sqrt())?;
        let normed = self.norm.forward(tape, x, weights.experts_norm)?;
        let given = self.experts.output(tape, &weights.experts, (&logits, blocks), normed)?;
        let given = self.norm.forward(tape, &given, weights.experts_post_norm)?;
        tape.add(gated, &given)
    }

    /// Operations of `rows` rows.
    pub(super) fn operations(&self, width: usize, rows: u64) -> u64 {
        self.gated.operations(width, rows) + self.experts.operations(width, rows)
    }
}
