//! The feed-forward part of a layer: what is made of each normed row by itself. Each kind has a file of its own.

mod experts;
mod gated;
mod parallel;
mod plain;

use super::Declaration;
use super::modulation::Half;
use crate::tensor::Init;
use crate::{FeedForwardKind, FeedForwardSpec};
use aquatint_compute::{Device, DeviceError, Tape, Value, WeightId};
use experts::ExpertsWeights;
pub(super) use gated::GatedWeights;
use parallel::ParallelWeights;
use plain::PlainWeights;

/// The weights of one feed-forward part.
#[derive(Debug)]
pub(crate) struct FeedForwardWeights {
    pub(super) norm: WeightId,
    kind: KindWeights,
    post_norm: Option<WeightId>,
}

/// The weights behind the norm.
#[derive(Debug)]
enum KindWeights {
    Gated(GatedWeights),
    Plain(PlainWeights),
    Experts(ExpertsWeights),
    Parallel(ParallelWeights),
}

impl FeedForwardWeights {
    /// The bias of its router, where it has experts and their router has one.
    pub(crate) fn router_bias(&self) -> Option<WeightId> {
        match &self.kind {
            KindWeights::Gated(_) | KindWeights::Plain(_) => None,
            KindWeights::Experts(weights) => weights.bias,
            KindWeights::Parallel(weights) => weights.experts.bias,
        }
    }
}

impl FeedForwardSpec {
    /// `residual` is what the matrix begins as that writes into the residual stream.
    pub(super) fn declare<D: Device>(
        &self,
        declaration: &mut Declaration<'_, D>,
        width: usize,
        residual: Init,
    ) -> Result<FeedForwardWeights, DeviceError> {
        let norm = self.norm.declare(declaration, "post_attention_layernorm", width, 1.0)?;
        let kind = match self.kind {
            FeedForwardKind::Gated(gated) => KindWeights::Gated(gated.declare(declaration, "mlp", width, residual)?),
            FeedForwardKind::Plain(plain) => KindWeights::Plain(plain.declare(declaration, "mlp", width, residual)?),
            FeedForwardKind::Experts(experts) => KindWeights::Experts(experts.declare(declaration, width, residual)?),
            FeedForwardKind::Parallel(parallel) => {
                KindWeights::Parallel(parallel.declare(declaration, width, residual)?)
            }
        };
        let post_norm = match self.post_norm {
            Some(norm) => Some(norm.declare(declaration, "post_feedforward_layernorm", width, 1.0)?),
            None => None,
        };
        Ok(FeedForwardWeights { norm, kind, post_norm })
    }

    /// Adds to the residual stream `x` what comes of its normed rows `h`, through the gate of the half where there is
    /// one. `blocks` are the first rows of those that choose their experts together.
    pub(super) fn forward<'p, D: Device>(
        &self,
        tape: &mut Tape<'p, D>,
        weights: &FeedForwardWeights,
        half: &Half<'p, '_, D>,
        (h, x): (Value<D>, Value<D>),
        blocks: Option<&'p D::Indices>,
    ) -> Result<Value<D>, DeviceError> {
        if let Some((norm, weight)) = self.post_norm.zip(weights.post_norm) {
            let given = self.output(tape, &weights.kind, (h, &x), blocks)?;
            let given = norm.forward(tape, &given, weight)?;
            return half.add_value(tape, &given, x);
        }
        match (self.kind, &weights.kind) {
            (FeedForwardKind::Gated(gated), KindWeights::Gated(weights)) => {
                let inner = gated.forward(tape, weights, &h)?;
                drop(h);
                half.add(tape, &inner, (weights.down, None), x)
            }
            (FeedForwardKind::Plain(plain), KindWeights::Plain(weights)) => {
                let inner = plain.forward(tape, weights, &h)?;
                drop(h);
                half.add(tape, &inner, (weights.down, weights.down_bias), x)
            }
            (FeedForwardKind::Experts(experts), KindWeights::Experts(weights)) => {
                experts.forward(tape, weights, half, (h, x), blocks)
            }
            _ => {
                let given = self.output(tape, &weights.kind, (h, &x), blocks)?;
                half.add_value(tape, &given, x)
            }
        }
    }

    /// What it gives of rows `h`, which are the normed rows of the stream `x`.
    fn output<'p, D: Device>(
        &self,
        tape: &mut Tape<'p, D>,
        weights: &KindWeights,
        (h, x): (Value<D>, &Value<D>),
        blocks: Option<&'p D::Indices>,
    ) -> Result<Value<D>, DeviceError> {
        match (self.kind, weights) {
            (FeedForwardKind::Gated(gated), KindWeights::Gated(weights)) => {
                let inner = gated.forward(tape, weights, &h)?;
                tape.linear(&inner, weights.down, None)
            }
            (FeedForwardKind::Plain(plain), KindWeights::Plain(weights)) => {
                let inner = plain.forward(tape, weights, &h)?;
                tape.linear(&inner, weights.down, weights.down_bias)
            }
            (FeedForwardKind::Experts(experts), KindWeights::Experts(weights)) => {
                let logits = tape.linear(&h, weights.router, None)?;
                experts.output(tape, weights, (&logits, blocks), h)
            }
            (FeedForwardKind::Parallel(parallel), KindWeights::Parallel(weights)) => {
                parallel.output(tape, weights, (h, x), blocks)
            }
            _ => unreachable!("the weights were declared for this description"),
        }
    }

    /// Elements that a row keeps for the backward.
    pub(super) fn retained(&self, width: usize) -> usize {
        let post = self.post_norm.map_or(0, |norm| width + norm.retained(width));
        self.norm.retained(width) + self.inner_elements(width) + post
    }

    /// Operations of `rows` rows.
    pub(super) fn operations(&self, width: usize, rows: u64) -> u64 {
        match self.kind {
            FeedForwardKind::Gated(gated) => gated.operations(width, rows),
            FeedForwardKind::Plain(plain) => plain.operations(width, rows),
            FeedForwardKind::Experts(experts) => experts.operations(width, rows),
            FeedForwardKind::Parallel(parallel) => parallel.operations(width, rows),
        }
    }
}
