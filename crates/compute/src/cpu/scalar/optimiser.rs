//! AdamW with decoupled weight decay (Loshchilov & Hutter, 1711.05101, algorithm 2) and the norm that clipping needs.
//!
//! As in every implementation of today the decay is multiplied by the learning rate and the bias corrections are those
//! of Adam (1412.6980, algorithm 1).

use crate::{AdamW, AdamWState, Element};

/// Sum of squares in f64, from the left.
pub(in crate::cpu) fn sum_of_squares<E: Element>(x: &[E]) -> f64 {
    x.iter().map(|x| x.to_f64() * x.to_f64()).sum()
}

/// One update: `p ← p (1 − η λ) − η m̂ / (√v̂ + ε)`.
pub(in crate::cpu) fn adamw<E: Element>(
    step: AdamW,
    gradient_scale: f64,
    gradient: &[E],
    AdamWState { first, second, parameter }: AdamWState<'_, [E]>,
) {
    let element = E::from_f64;
    let correction1 = element(1.0 - step.beta1.powf(step.step as f64));
    let correction2 = element(1.0 - step.beta2.powf(step.step as f64));
    for i in 0..parameter.len() {
        let g = gradient[i] * element(gradient_scale);
        first[i] = first[i] * element(step.beta1) + g * element(1.0 - step.beta1);
        second[i] = second[i] * element(step.beta2) + g * g * element(1.0 - step.beta2);
        let update = first[i] / correction1 / ((second[i] / correction2).sqrt() + element(step.epsilon));
        let retained = parameter[i] * element(1.0 - step.learning_rate * step.weight_decay);
        parameter[i] = retained - update * element(step.learning_rate);
    }
}
