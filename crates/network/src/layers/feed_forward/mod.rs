//! The feed-forward part of a layer: what is made of each normed row by itself. Each kind has a file of its own.

mod experts;
mod gated;
mod plain;

use super::Declaration;
use super::modulation::Half;
use crate::tensor::Init;
use crate::{FeedForwardKind, FeedForwardSpec};
use aquatint_compute::{Device, DeviceError, Tape, Value, WeightId};
use experts::ExpertsWeights;
use gated::GatedWeights;
use plain::PlainWeights;

/// The weights of one feed-forward part.
#[derive(Debug)]
pub(crate) struct FeedForwardWeights {
    pub(super) norm: WeightId,
    kind: KindWeights,
}

/// The weights behind the norm.
#[derive(Debug)]
enum KindWeights {
    Gated(GatedWeights),
    Plain(PlainWeights),
    Experts(ExpertsWeights),
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
        };
        Ok(FeedForwardWeights { norm, kind })
    }

    /// Adds to the residual stream `x` what comes of its normed rows `h`, through the gate of the half where there is
    /// one.
    pub(super) fn forward<'p, D: Device>(
        &self,
        tape: &mut Tape<'p, D>,
        weights: &FeedForwardWeights,
        half: &Half<'p, '_, D>,
        h: Value<D>,
        x: Value<D>,
    ) -> Result<Value<D>, DeviceError> {
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
                experts.forward(tape, weights, half, h, x)
            }
            (FeedForwardKind::Gated(_) | FeedForwardKind::Plain(_) | FeedForwardKind::Experts(_), _) => {
                unreachable!("the weights were declared for this description")
            }
        }
    }

    /// Elements that a row keeps for the backward.
    pub(super) fn retained(&self, width: usize) -> usize {
        self.norm.retained(width) + self.inner_elements(width)
    }

    /// Operations of `rows` rows.
    pub(super) fn operations(&self, width: usize, rows: u64) -> u64 {
        match self.kind {
            FeedForwardKind::Gated(gated) => gated.operations(width, rows),
            FeedForwardKind::Plain(plain) => plain.operations(width, rows),
            FeedForwardKind::Experts(experts) => experts.operations(width, rows),
        }
    }
}
