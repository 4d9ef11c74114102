//! Updates of parameters.

use crate::cpu::fast::{f32s, f32s_mut};
use crate::cpu::{Buffer, Cpu, scalar};
use crate::{
    AdamW, AdamWState, AdamWUpdate, BackwardInput, BackwardWeight, DeviceError, Element, Elementwise, Linear,
    LinearOperands, LinearShape, Memory, NewtonSchulz, NewtonSchulzScratch, Optimiser, Part,
};

impl<E: Element> Optimiser for Cpu<E> {
    fn sum_of_squares(&self, x: &Buffer<E>) -> f64 {
        match &self.fast {
            Some(fast) => fast.sum_of_squares(f32s(x.as_slice())),
            None => scalar::sum_of_squares(x.as_slice()),
        }
    }
    fn sums_of_squares(&self, buffers: &[Buffer<E>]) -> Vec<f64> {
        buffers.iter().map(|buffer| self.sum_of_squares(buffer)).collect()
    }
    fn newton_schulz(
        &self,
        iteration: NewtonSchulz,
        x: &mut Buffer<E>,
        scratch: NewtonSchulzScratch<'_, Buffer<E>>,
    ) -> Result<(), DeviceError> {
        let NewtonSchulz { matrices, rows, columns, .. } = iteration;
        if matrices == 1 {
            self.newton_schulz_alone(iteration, x, scratch);
            return Ok(());
        }
        let (len, small) = (rows * columns, rows.min(columns));
        let (mut one, mut next) = (self.uninitialised(len)?, self.uninitialised(len)?);
        let (mut gram, mut polynomial) = (self.zeros(small * small)?, self.zeros(small * small)?);
        for first in (0..matrices).map(|matrix| matrix * len) {
            self.copy(Part { buffer: x, first, len }, &mut one, 0);
            let scratch = NewtonSchulzScratch { next: &mut next, gram: &mut gram, polynomial: &mut polynomial };
            self.newton_schulz_alone(NewtonSchulz { matrices: 1, ..iteration }, &mut one, scratch);
            self.copy(Part { buffer: &one, first: 0, len }, x, first);
        }
        Ok(())
    }
    fn adamw(&self, step: AdamW, gradient_scale: f64, gradient: &Buffer<E>, state: AdamWState<'_, Buffer<E>>) {
        let (gradient, state) = (gradient.as_slice(), state.map(Buffer::as_mut_slice));
        match &self.fast {
            Some(fast) => fast.adamw(step, gradient_scale, f32s(gradient), state.map(f32s_mut)),
            None => scalar::adamw(step, gradient_scale, gradient, state),
        }
    }
    fn adamw_all(&self, gradient_scale: f64, updates: Vec<AdamWUpdate<'_, Buffer<E>>>) -> Result<(), DeviceError> {
        for AdamWUpdate { step, gradient, state } in updates {
            self.adamw(step, gradient_scale, gradient, state);
        }
        Ok(())
    }
}

impl<E: Element> Cpu<E> {
    /// [`Optimiser::newton_schulz`] of one matrix, by the other operations.
    fn newton_schulz_alone(
        &self,
        NewtonSchulz { rows, columns, coefficients: (a, b, c), iterations, epsilon, .. }: NewtonSchulz,
        x: &mut Buffer<E>,
        NewtonSchulzScratch { next, gram, polynomial }: NewtonSchulzScratch<'_, Buffer<E>>,
    ) {
        let norm = self.sum_of_squares(x).sqrt();
        // y = 0 x + s y: the factor is applied in place by adding nothing.
        self.clear(next);
        self.scale_add(0.0, next, 1.0 / (norm + epsilon), x);
        let small = rows.min(columns);
        let square = LinearShape { rows: small, inputs: small, outputs: small };
        let linear = |shape, x: &Buffer<E>, weight: &Buffer<E>, out: &mut Buffer<E>| {
            self.linear(LinearOperands { shape, x, weight, bias: None, accumulate: false }, out);
        };
        for _ in 0..iterations {
            if rows <= columns {
                let shape = LinearShape { rows, inputs: columns, outputs: rows };
                linear(shape, x, x, gram);
                linear(square, gram, gram, polynomial);
                self.scale_add(b, gram, c, polynomial);
                let operands = BackwardInput { shape, d_out: &*polynomial, weight: &*x, accumulate: false };
                self.linear_backward_input(operands, next);
            } else {
                let shape = LinearShape { rows, inputs: columns, outputs: columns };
                self.clear(gram);
                self.linear_backward_weight(BackwardWeight { shape, d_out: &*x, x: &*x }, gram, None);
                linear(square, gram, gram, polynomial);
                self.scale_add(b, gram, c, polynomial);
                linear(shape, x, polynomial, next);
            }
            self.scale_add(a, x, 1.0, next);
            std::mem::swap(x, next);
        }
    }
}
