//! A mixture of experts: `x += Σ_k w_k · expert_k(h)`, over the experts that the router chooses for each row, and the
//! shared expert of all rows.
//!
//! Tensors are named as in Qwen's mixtures: `mlp.gate.weight` is the router, `mlp.experts.N.gate_proj.weight` a gate.
//! `mlp.gate.expert_bias` and `mlp.shared_experts.*` are DeepSeek's and Ling's; `mlp.gate.expert_scale` is named here.
//!
//! The router is kept in real numbers and multiplied in f32, whatever the format of the other matrices: what rounding
//! would change there is which experts a row goes to. Its bias has no gradient.

use super::gated::GatedWeights;
use crate::layers::Declaration;
use crate::layers::modulation::Half;
use crate::tensor::Init;
use crate::{ExpertsSpec, Role};
use aquatint_compute::{Device, DeviceError, Routes, RowGroups, Tape, Value, WeightId};
use std::rc::Rc;

/// The weights of each row's experts, and where its copies go.
type Routed<D> = (Value<D>, Rc<Routes<D>>);

/// The weights of a mixture.
#[derive(Debug)]
pub(super) struct ExpertsWeights {
    pub(super) router: WeightId,
    pub(super) bias: Option<WeightId>,
    /// What the weights of each expert are multiplied by.
    expert_scale: Option<WeightId>,
    /// Of each expert the gate and what it is for, stacked.
    gate_up: Vec<WeightId>,
    /// The same apart.
    apart: Vec<(WeightId, WeightId)>,
    down: Vec<WeightId>,
    shared: Option<GatedWeights>,
}

impl ExpertsSpec {
    /// `residual` is what matrices begin as that write into the residual stream.
    pub(super) fn declare<D: Device>(
        &self,
        declaration: &mut Declaration<'_, D>,
        width: usize,
        residual: Init,
    ) -> Result<ExpertsWeights, DeviceError> {
        let router = declaration.tensor("mlp.gate.weight", &[self.experts, width], Role::Router, Init::MATRIX)?;
        let bias = match self.router.bias {
            true => Some(declaration.vector("mlp.gate.expert_bias", self.experts, 0.0)?),
            false => None,
        };
        let expert_scale = match self.router.expert_scale {
            true => Some(declaration.vector("mlp.gate.expert_scale", self.experts, 1.0)?),
            false => None,
        };
        let experts = (0..self.experts)
            .map(|expert| self.expert().declare(declaration, &format!("mlp.experts.{expert}"), width, residual));
        let experts = experts.collect::<Result<Vec<GatedWeights>, _>>()?;
        for expert in &experts {
            [expert.gate, expert.up, expert.down].into_iter().for_each(|weight| declaration.routed(weight));
        }
        let shared = match self.shared() {
            Some(shared) => Some(shared.declare(declaration, "mlp.shared_experts", width, residual)?),
            None => None,
        };
        Ok(ExpertsWeights {
            router: declaration.exact(&[router]),
            bias: bias.map(|bias| declaration.weight(&[bias])),
            expert_scale: expert_scale.map(|scale| declaration.weight(&[scale])),
            gate_up: experts.iter().map(|expert| expert.gate_up).collect(),
            apart: experts.iter().map(|expert| (expert.gate, expert.up)).collect(),
            down: experts.iter().map(|expert| expert.down).collect(),
            shared,
        })
    }

    /// Adds to the residual stream `x` what the experts make of its normed rows `h`. `blocks` are the first rows of those
    /// that choose together, see [`RouterLogits::blocks`](aquatint_compute::RouterLogits::blocks).
    pub(super) fn forward<'p, D: Device>(
        &self,
        tape: &mut Tape<'p, D>,
        weights: &ExpertsWeights,
        half: &Half<'p, '_, D>,
        (h, mut x): (Value<D>, Value<D>),
        blocks: Option<&'p D::Indices>,
    ) -> Result<Value<D>, DeviceError> {
        let logits = tape.linear(&h, weights.router, None)?;
        let routed = self.route(tape, weights, (&logits, blocks))?;
        drop(logits);
        if let (Some(shared), Some(weights)) = (self.shared(), &weights.shared) {
            let inner = shared.forward(tape, weights, &h)?;
            x = half.add(tape, &inner, (weights.down, None), x)?;
        }
        let sum = self.sum(tape, weights, h, routed)?;
        half.add_value(tape, &sum, x)
    }

    /// What the experts and the shared one make of rows `h` together, by the logits of the router for these rows, and by
    /// the first rows of those that choose together.
    pub(super) fn output<'p, D: Device>(
        &self,
        tape: &mut Tape<'p, D>,
        weights: &ExpertsWeights,
        logits: (&Value<D>, Option<&'p D::Indices>),
        h: Value<D>,
    ) -> Result<Value<D>, DeviceError> {
        let routed = self.route(tape, weights, logits)?;
        let shared = match (self.shared(), &weights.shared) {
            (Some(shared), Some(weights)) => {
                let inner = shared.forward(tape, weights, &h)?;
                Some(tape.linear(&inner, weights.down, None)?)
            }
            _ => None,
        };
        let sum = self.sum(tape, weights, h, routed)?;
        match shared {
            Some(shared) => tape.add(sum, &shared),
            None => Ok(sum),
        }
    }

    /// The weights of each row's experts, and where its copies go.
    fn route<'p, D: Device>(
        &self,
        tape: &mut Tape<'p, D>,
        weights: &ExpertsWeights,
        (logits, blocks): (&Value<D>, Option<&'p D::Indices>),
    ) -> Result<Routed<D>, DeviceError> {
        let (shares, routes) = tape.route(self.router(), logits, weights.bias, blocks)?;
        let shares = match weights.expert_scale {
            Some(scale) => tape.scale_rows(&shares, scale, RowGroups::Chosen(Rc::clone(&routes)))?,
            None => shares,
        };
        Ok((shares, routes))
    }

    /// What the experts make of rows `h`, weighted and summed.
    fn sum<'p, D: Device>(
        &self,
        tape: &mut Tape<'p, D>,
        weights: &ExpertsWeights,
        h: Value<D>,
        (shares, routes): Routed<D>,
    ) -> Result<Value<D>, DeviceError> {
        let copies = tape.dispatch(&h, &routes)?;
        drop(h);
        let inner = tape.grouped_glu(self.activation, &copies, &routes, &weights.gate_up, &weights.apart)?;
        drop(copies);
        let given = tape.grouped_linear(&inner, &routes, &weights.down)?;
        drop(inner);
        tape.combine(&given, &shares, &routes)
    }

    /// Operations of `rows` rows.
    pub(super) fn operations(&self, width: usize, rows: u64) -> u64 {
        let router = 2 * rows * (width * self.experts) as u64;
        let shared = self.shared().map_or(0, |shared| shared.operations(width, rows));
        router + self.expert().operations(width, rows * self.per_token as u64) + shared
    }
}
