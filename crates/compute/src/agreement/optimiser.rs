//! AdamW and the norm of a gradient.

use super::*;
use crate::{AdamW, AdamWState};

struct Updates {
    gradient: Vec<f64>,
    parameter: Vec<f64>,
}

impl Operation for Updates {
    fn run<D: Device>(&self, device: &D) -> Vec<D::Buffer> {
        let (gradient, mut parameter) = (up(device, &self.gradient), up(device, &self.parameter));
        let len = self.parameter.len();
        let (mut first, mut second) = (device.zeros(len).unwrap(), device.zeros(len).unwrap());
        for step in 1..=3 {
            let step = AdamW { learning_rate: 1e-2, beta1: 0.9, beta2: 0.95, epsilon: 1e-3, weight_decay: 0.1, step };
            let state = AdamWState { first: &mut first, second: &mut second, parameter: &mut parameter };
            device.adamw(step, 0.7, &gradient, state);
        }
        let squares = up(device, &[device.sum_of_squares(&gradient)]);
        vec![parameter, first, second, squares]
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]

    #[test]
    fn adamw_and_sums_of_squares(len in 1..4000_usize, seed: u64) {
        let mut numbers = Numbers(seed);
        let operation = Updates { gradient: numbers.many(len), parameter: numbers.many(len) };
        agree(&operation, Precision::F32, within(16, 4.0 + len as f64 * 0.1))?;
    }
}
