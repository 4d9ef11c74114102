//! Mixtures of experts.

use crate::cpu::fast::{f32s, f32s_mut};
use crate::cpu::{Buffer, Cpu, Prepared, scalar};
use crate::{
    Activation, BackwardInput, BackwardWeight, Combine, DeviceError, Element, Experts, Factor, GluOperands,
    GroupBackwardWeight, GroupedOperands, LinearOperands, LinearShape, PreparedBackwardInput, PreparedOperands,
    RouteBackward, Router, RouterLogits, RowGroup,
};

/// The same with slices.
fn on_slices<'a, E: Element>(operands: Combine<'a, Buffer<E>, Vec<u32>>) -> Combine<'a, [E], [u32]> {
    let Combine { columns, per_token, places, weights, sorted } = operands;
    Combine { columns, per_token, places, weights: weights.as_slice(), sorted: sorted.as_slice() }
}

/// The rows of a group of a matrix of so many columns.
fn part<'a, E, W>(values: &'a [E], group: &RowGroup<W>, columns: usize) -> &'a [E] {
    &values[group.rows.start * columns..group.rows.end * columns]
}

/// The same, to be written.
fn part_mut<'a, E, W>(values: &'a mut [E], group: &RowGroup<W>, columns: usize) -> &'a mut [E] {
    &mut values[group.rows.start * columns..group.rows.end * columns]
}

/// The rows that choose their experts together.
struct Block<'a, E> {
    logits: &'a [E],
    weights: &'a mut [E],
    chosen: &'a mut [u32],
}

/// The rows of each block, which begin at `starts`.
fn cut<'a, E>(
    router: &Router,
    starts: &[u32],
    logits: &'a [E],
    (mut weights, mut chosen): (&'a mut [E], &'a mut [u32]),
) -> Vec<Block<'a, E>> {
    let mut blocks = Vec::with_capacity(starts.len());
    for block in starts.windows(2) {
        let (start, end) = (block[0] as usize, block[1] as usize);
        let count = (end - start) * router.per_token;
        let (of_weights, weights_behind) = std::mem::take(&mut weights).split_at_mut(count);
        let (of_chosen, chosen_behind) = std::mem::take(&mut chosen).split_at_mut(count);
        (weights, chosen) = (weights_behind, chosen_behind);
        let logits = &logits[start * router.experts..end * router.experts];
        blocks.push(Block { logits, weights: of_weights, chosen: of_chosen });
    }
    blocks
}

impl<E: Element> Experts for Cpu<E> {
    fn route(
        &self,
        router: &Router,
        operands: RouterLogits<'_, Buffer<E>, Vec<u32>>,
        weights: &mut Buffer<E>,
    ) -> Result<Vec<u32>, DeviceError> {
        let RouterLogits { logits, bias, blocks } = operands;
        let (logits, bias) = (logits.as_slice(), bias.map(Buffer::as_slice));
        let mut chosen = vec![0; weights.len()];
        let work = router.experts * (8 + router.per_token);
        if let (Some(per_block), Some(starts)) = (router.per_block, blocks) {
            let blocks = cut(router, starts, logits, (weights.as_mut_slice(), &mut chosen));
            let route = |Block { logits, weights, chosen }: Block<'_, E>| {
                scalar::route_block(router, per_block, logits, bias, chosen, weights);
            };
            let rows = logits.len() / router.experts;
            match &self.fast {
                Some(fast) => fast.route_rows(work * rows / blocks.len().max(1), blocks, route),
                None => blocks.into_iter().for_each(route),
            }
            return Ok(chosen);
        }
        let rows = logits.chunks_exact(router.experts).zip(weights.as_mut_slice().chunks_exact_mut(router.per_token));
        let rows = rows.zip(chosen.chunks_exact_mut(router.per_token));
        let route = |((logits, weights), chosen): ((&[E], &mut [E]), &mut [u32])| {
            scalar::route_row(router, logits, bias, chosen, weights);
        };
        match &self.fast {
            Some(fast) => fast.route_rows(work, rows.collect(), route),
            None => rows.for_each(route),
        }
        Ok(chosen)
    }
    fn route_backward(
        &self,
        router: &Router,
        operands: RouteBackward<'_, Buffer<E>, Vec<u32>>,
        d_logits: &mut Buffer<E>,
    ) {
        let RouteBackward { logits, chosen, d_weights } = operands;
        let rows = logits.as_slice().chunks_exact(router.experts).zip(chosen.chunks_exact(router.per_token));
        let rows = rows.zip(d_weights.as_slice().chunks_exact(router.per_token));
        // Little on any path: some operations for each logit.
        for (((logits, chosen), d_weights), d_logits) in
            rows.zip(d_logits.as_mut_slice().chunks_exact_mut(router.experts))
        {
            scalar::route_row_backward(router, logits, chosen, d_weights, d_logits);
        }
    }

    fn combine(&self, operands: Combine<'_, Buffer<E>, Vec<u32>>, out: &mut Buffer<E>) {
        let (operands, out) = (on_slices(operands), out.as_mut_slice());
        match &self.fast {
            Some(fast) => fast.combine(operands.map(f32s), f32s_mut(out)),
            None => scalar::combine(operands, out),
        }
    }
    fn combine_backward(
        &self,
        operands: Combine<'_, Buffer<E>, Vec<u32>>,
        d_out: &Buffer<E>,
        d_weights: &mut Buffer<E>,
        d_sorted: &mut Buffer<E>,
    ) {
        let (operands, d_out) = (on_slices(operands), d_out.as_slice());
        // A product of vectors and a copy for each place: as fast as memory on any path.
        scalar::combine_backward(operands, d_out, d_weights.as_mut_slice(), d_sorted.as_mut_slice());
    }

    fn grouped_linear(
        &self,
        operands: GroupedOperands<'_, Buffer<E>, Factor<'_, Buffer<E>, Prepared<E>>>,
        out: &mut Buffer<E>,
    ) {
        let GroupedOperands { shape, x, groups } = operands;
        let LinearShape { inputs, outputs, .. } = shape;
        let (x, out) = (x.as_slice(), out.as_mut_slice());
        if self.multiply_groups(GroupedOperands { shape, x, groups }, out) {
            return;
        }
        for group in groups {
            let (rows, x, out) = (group.rows.len(), part(x, group, inputs), part_mut(out, group, outputs));
            match group.weight {
                Factor::Values(weight) => {
                    let shape = LinearShape { rows, ..shape };
                    let weight = weight.as_slice();
                    self.multiply(LinearOperands { shape, x, weight, bias: None, accumulate: false }, out);
                }
                Factor::Prepared(weight) => {
                    self.multiply_prepared(PreparedOperands { rows, x, weight, bias: None, accumulate: false }, out);
                }
            }
        }
    }
    fn grouped_glu(
        &self,
        activation: Activation,
        operands: GroupedOperands<'_, Buffer<E>, (&Prepared<E>, &Prepared<E>)>,
        out: &mut Buffer<E>,
    ) {
        let GroupedOperands { shape, x, groups } = operands;
        let (x, out) = (x.as_slice(), out.as_mut_slice());
        if self.gate_groups(activation, GroupedOperands { shape, x, groups }, out) {
            return;
        }
        for group in groups {
            let (rows, x) = (group.rows.len(), part(x, group, shape.inputs));
            let (gate, up) = group.weight;
            let part = part_mut(out, group, shape.outputs);
            self.multiply_glu(GluOperands { activation, rows, x, gate, up }, part);
        }
    }
    fn grouped_backward_input(
        &self,
        operands: GroupedOperands<'_, Buffer<E>, Factor<'_, Buffer<E>, Prepared<E>>>,
        d_x: &mut Buffer<E>,
    ) {
        let GroupedOperands { shape, x: d_out, groups } = operands;
        let (d_out, d_x) = (d_out.as_slice(), d_x.as_mut_slice());
        for group in groups {
            let (rows, d_out) = (group.rows.len(), part(d_out, group, shape.outputs));
            let d_x = part_mut(d_x, group, shape.inputs);
            match group.weight {
                Factor::Values(weight) => {
                    let shape = LinearShape { rows, ..shape };
                    let weight = weight.as_slice();
                    self.multiply_back(BackwardInput { shape, d_out, weight, accumulate: false }, d_x);
                }
                Factor::Prepared(weight) => {
                    self.multiply_prepared_back(PreparedBackwardInput { rows, d_out, weight, accumulate: false }, d_x);
                }
            }
        }
    }
    fn grouped_backward_weight(&self, operands: GroupBackwardWeight<'_, Buffer<E>>, d_weight: &mut Buffer<E>) {
        let GroupBackwardWeight { shape, d_out, x, rows } = operands;
        let group = RowGroup { rows, weight: () };
        let d_out = part(d_out.as_slice(), &group, shape.outputs);
        let x = part(x.as_slice(), &group, shape.inputs);
        let shape = LinearShape { rows: group.rows.len(), ..shape };
        self.add_weight_gradient(BackwardWeight { shape, d_out, x }, d_weight.as_mut_slice(), None);
    }
}
