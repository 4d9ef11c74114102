//! AdamW and the norm that clipping needs.

use super::Fast;
use super::elementwise::PART;
use super::vector::vectorised;
use crate::{AdamW, AdamWState};

/// Partial sums of squares side by side.
const LANES: usize = 32;

vectorised! {
    fn squares(x: &[f32]) -> f64 {
        let mut lanes = [0.0_f64; LANES];
        let mut chunks = x.chunks_exact(LANES);
        for chunk in &mut chunks {
            for i in 0..LANES {
                let value = f64::from(chunk[i]);
                lanes[i] += value * value;
            }
        }
        for (lane, &x) in lanes.iter_mut().zip(chunks.remainder()) {
            *lane += f64::from(x) * f64::from(x);
        }
        lanes.iter().sum()
    }
}

/// The factors of one step, in f32.
#[derive(Clone, Copy)]
struct Factors {
    gradient: f32,
    beta1: f32,
    rest1: f32,
    beta2: f32,
    rest2: f32,
    correction1: f32,
    correction2: f32,
    epsilon: f32,
    retained: f32,
    rate: f32,
}

vectorised! {
    fn update(f: Factors, gradient: &[f32], first: &mut [f32], second: &mut [f32], parameter: &mut [f32]) {
        let moments = first.iter_mut().zip(second);
        for ((&g, (first, second)), parameter) in gradient.iter().zip(moments).zip(parameter) {
            let g = g * f.gradient;
            *first = *first * f.beta1 + g * f.rest1;
            *second = *second * f.beta2 + g * g * f.rest2;
            let step = *first * f.correction1 / ((*second * f.correction2).sqrt() + f.epsilon);
            *parameter = *parameter * f.retained - step * f.rate;
        }
    }
}

impl Fast {
    /// See [`crate::Optimiser::sum_of_squares`].
    pub(in crate::cpu) fn sum_of_squares(&self, x: &[f32]) -> f64 {
        self.pool.map(x.len(), x.chunks(PART).collect(), |part| squares(self.path, part)).iter().sum()
    }

    /// See [`crate::Optimiser::adamw`].
    pub(in crate::cpu) fn adamw(
        &self,
        step: AdamW,
        gradient_scale: f64,
        gradient: &[f32],
        AdamWState { first, second, parameter }: AdamWState<'_, [f32]>,
    ) {
        let factors = Factors {
            gradient: gradient_scale as f32,
            beta1: step.beta1 as f32,
            rest1: (1.0 - step.beta1) as f32,
            beta2: step.beta2 as f32,
            rest2: (1.0 - step.beta2) as f32,
            correction1: (1.0 / (1.0 - step.beta1.powf(step.step as f64))) as f32,
            correction2: (1.0 / (1.0 - step.beta2.powf(step.step as f64))) as f32,
            epsilon: step.epsilon as f32,
            retained: (1.0 - step.learning_rate * step.weight_decay) as f32,
            rate: step.learning_rate as f32,
        };
        let moments = first.chunks_mut(PART).zip(second.chunks_mut(PART));
        let items = gradient.chunks(PART).zip(moments).zip(parameter.chunks_mut(PART)).collect();
        self.pool.each(4 * gradient.len(), items, |((gradient, (first, second)), parameter)| {
            update(self.path, factors, gradient, first, second, parameter);
        });
    }
}
