//! Mixtures of experts. The experts of each row come back to the host, which sorts the rows; each expert's product is
//! launched by itself.

use crate::cuda::arguments::In;
use crate::cuda::kernels::{CombineBackward, CombineRows, RouteBackwardRows, RouteRows};
use crate::cuda::products::Operand;
use crate::cuda::{Cuda, GpuBuffer, GpuIndices, GpuMatrix, int};
use crate::{
    Activation, Combine, DeviceError, Experts, Factor, GroupBackwardWeight, GroupedOperands, LinearShape,
    RouteBackward, Router, RouterLogits, RouterScore,
};

/// Threads of a block that routes a row.
const ROUTING: u32 = 128;

impl Experts for Cuda {
    fn route(
        &self,
        router: &Router,
        operands: RouterLogits<'_, GpuBuffer, GpuIndices>,
        weights: &mut GpuBuffer,
    ) -> Result<Vec<u32>, DeviceError> {
        let RouterLogits { logits, bias, blocks } = operands;
        let &Router { experts, per_token, score, groups, groups_per_token, per_block, normalised, scale } = router;
        let blocks = blocks.filter(|_| per_block.is_some());
        let chosen = self.take::<u32>(weights.len())?;
        let kernel = RouteRows {
            experts: int(experts),
            per_token: int(per_token),
            sigmoids: i32::from(score == RouterScore::Sigmoid),
            groups: int(groups),
            groups_per_token: int(groups_per_token),
            per_block: int(per_block.unwrap_or(experts)),
            normalised: i32::from(normalised),
            scale: scale as f32,
            logits: logits.input(),
            bias: bias.map_or(In::none(), GpuBuffer::input),
            blocks: blocks.map_or(In::none(), GpuIndices::input),
            chosen: chosen.output(),
            weights: weights.output(),
        };
        let shared = size_of::<f32>() * (4 * experts + 2 * groups);
        let count = blocks.map_or(weights.len() / per_token, |blocks| blocks.len() - 1);
        self.launch(0, kernel, (count as u32, 1), ROUTING, shared);
        Ok(self.fetch(chosen.at(), weights.len()))
    }
    fn route_backward(
        &self,
        router: &Router,
        operands: RouteBackward<'_, GpuBuffer, GpuIndices>,
        d_logits: &mut GpuBuffer,
    ) {
        let RouteBackward { logits, chosen, d_weights } = operands;
        let &Router { experts, per_token, score, normalised, scale, .. } = router;
        let kernel = RouteBackwardRows {
            experts: int(experts),
            per_token: int(per_token),
            sigmoids: i32::from(score == RouterScore::Sigmoid),
            normalised: i32::from(normalised),
            scale: scale as f32,
            logits: logits.input(),
            chosen: chosen.input(),
            d_weights: d_weights.input(),
            d_logits: d_logits.output(),
        };
        self.launch(0, kernel, ((chosen.len() / per_token) as u32, 1), ROUTING, size_of::<f32>() * experts);
    }

    fn combine(&self, operands: Combine<'_, GpuBuffer, GpuIndices>, out: &mut GpuBuffer) {
        let Combine { columns, per_token, places, weights, sorted } = operands;
        self.each(places.len() / per_token * columns, |count| CombineRows {
            count,
            columns: int(columns),
            per_token: int(per_token),
            places: places.input(),
            weights: weights.input(),
            sorted: sorted.input(),
            out: out.output(),
        });
    }
    fn combine_backward(
        &self,
        operands: Combine<'_, GpuBuffer, GpuIndices>,
        d_out: &GpuBuffer,
        d_weights: &mut GpuBuffer,
        d_sorted: &mut GpuBuffer,
    ) {
        let Combine { columns, per_token, places, weights, sorted } = operands;
        let d_sorted = self.for_products(d_sorted);
        let kernel = CombineBackward {
            columns: int(columns),
            per_token: int(per_token),
            places: places.input(),
            weights: weights.input(),
            sorted: sorted.input(),
            d_out: d_out.input(),
            d_weights: d_weights.output(),
            d_sorted: d_sorted.wide,
            image: d_sorted.image,
        };
        self.by_row(places.len(), kernel);
    }

    fn grouped_linear(
        &self,
        operands: GroupedOperands<'_, GpuBuffer, Factor<'_, GpuBuffer, GpuMatrix>>,
        out: &mut GpuBuffer,
    ) {
        let GroupedOperands { shape, x, groups } = operands;
        for group in groups {
            let (rows, first) = (group.rows.len(), group.rows.start);
            let (x, out) = (Operand::of_part(x, first * shape.inputs), out.output().skip(first * shape.outputs));
            match group.weight {
                Factor::Values(weight) => {
                    let (shape, factors) = (LinearShape { rows, ..shape }, (x, Operand::of(weight)));
                    self.forward(shape, self.precision.dtype(), factors, (None, None), out);
                }
                Factor::Prepared(weight) => self.multiply_prepared(rows, (x, weight), (None, false), out),
            }
        }
    }
    fn grouped_glu(
        &self,
        activation: Activation,
        operands: GroupedOperands<'_, GpuBuffer, (&GpuMatrix, &GpuMatrix)>,
        out: &mut GpuBuffer,
    ) {
        let GroupedOperands { shape, x, groups } = operands;
        let (Some(first), Some(last)) = (groups.first(), groups.last()) else { return };
        let start = first.rows.start;
        let count = (last.rows.end - start) * shape.outputs;
        let [gates, ups] = [(); 2].map(|()| self.scratch::<f32>(count));
        for group in groups {
            let (rows, first) = (group.rows.len(), group.rows.start);
            let x = Operand::of_part(x, first * shape.inputs);
            for (weight, half) in [(group.weight.0, &gates), (group.weight.1, &ups)] {
                let half = half.output().skip((first - start) * shape.outputs);
                self.multiply_prepared(rows, (x, weight), (None, false), half);
            }
        }
        let to = self.for_all(out).skip(start * shape.outputs);
        self.gate_halves(activation, count, (gates.input(), ups.input()), to);
    }
    fn grouped_backward_input(
        &self,
        operands: GroupedOperands<'_, GpuBuffer, Factor<'_, GpuBuffer, GpuMatrix>>,
        d_x: &mut GpuBuffer,
    ) {
        let GroupedOperands { shape, x: d_out, groups } = operands;
        for group in groups {
            let (rows, first) = (group.rows.len(), group.rows.start);
            let (d_out, d_x) =
                (Operand::of_part(d_out, first * shape.outputs), d_x.output().skip(first * shape.inputs));
            match group.weight {
                Factor::Values(weight) => {
                    let shape = LinearShape { rows, ..shape };
                    let factors = (d_out, Operand::of(weight));
                    self.backward_input(shape, self.precision.dtype(), factors, false, d_x);
                }
                Factor::Prepared(weight) => self.multiply_prepared_back(rows, (d_out, weight), false, d_x),
            }
        }
    }
    fn grouped_backward_weight(&self, operands: GroupBackwardWeight<'_, GpuBuffer>, d_weight: &mut GpuBuffer) {
        let GroupBackwardWeight { shape, d_out, x, rows } = operands;
        let d_out = Operand::of_part(d_out, rows.start * shape.outputs);
        let x = Operand::of_part(x, rows.start * shape.inputs);
        self.backward_weight(LinearShape { rows: rows.len(), ..shape }, (d_out, x), d_weight.output());
    }
}
