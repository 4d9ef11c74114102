//! Updates of parameters.

use crate::cpu::fast::{f32s, f32s_mut};
use crate::cpu::{Buffer, Cpu, scalar};
use crate::{AdamW, AdamWState, Element, Optimiser};

impl<E: Element> Optimiser for Cpu<E> {
    fn sum_of_squares(&self, x: &Buffer<E>) -> f64 {
        match &self.fast {
            Some(fast) => fast.sum_of_squares(f32s(x.as_slice())),
            None => scalar::sum_of_squares(x.as_slice()),
        }
    }
    fn adamw(&self, step: AdamW, gradient_scale: f64, gradient: &Buffer<E>, state: AdamWState<'_, Buffer<E>>) {
        let (gradient, state) = (gradient.as_slice(), state.map(Buffer::as_mut_slice));
        match &self.fast {
            Some(fast) => fast.adamw(step, gradient_scale, f32s(gradient), state.map(f32s_mut)),
            None => scalar::adamw(step, gradient_scale, gradient, state),
        }
    }
}
