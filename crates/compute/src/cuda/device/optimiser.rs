//! Updates of parameters.

use crate::cuda::kernels::{self, AdamWUpdate};
use crate::cuda::{Cuda, GpuBuffer, THREADS};
use crate::{AdamW, AdamWState, Optimiser};

/// Blocks among which a sum of squares is cut.
const SQUARE_PARTS: usize = 256;

impl Optimiser for Cuda {
    fn sum_of_squares(&self, x: &GpuBuffer) -> f64 {
        let partial = self.scratch::<f64>(SQUARE_PARTS);
        let kernel = kernels::SumOfSquares { count: x.len() as i64, x: x.input(), partial: partial.output() };
        self.launch(0, kernel, (SQUARE_PARTS as u32, 1), THREADS, 0);
        self.fetch::<f64>(partial.at(), SQUARE_PARTS).into_iter().sum()
    }
    fn adamw(&self, step: AdamW, gradient_scale: f64, gradient: &GpuBuffer, state: AdamWState<'_, GpuBuffer>) {
        let AdamWState { first, second, parameter } = state;
        let correction = |beta: f64| (1.0 - beta.powf(step.step as f64)) as f32;
        self.each(parameter.len(), |count| AdamWUpdate {
            count,
            rate: step.learning_rate as f32,
            beta1: step.beta1 as f32,
            beta2: step.beta2 as f32,
            rest1: (1.0 - step.beta1) as f32,
            rest2: (1.0 - step.beta2) as f32,
            epsilon: step.epsilon as f32,
            keep: (1.0 - step.learning_rate * step.weight_decay) as f32,
            correction1: correction(step.beta1),
            correction2: correction(step.beta2),
            gradient_scale: gradient_scale as f32,
            gradient: gradient.input(),
            first: first.output(),
            second: second.output(),
            parameter: parameter.output(),
        });
    }
}
