//! AdamW and the norm of a gradient.

use super::*;
use crate::{AdamW, AdamWState, NewtonSchulz, NewtonSchulzScratch};

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
        let all = [gradient, up(device, &[]), up(device, &self.parameter)];
        let several = up(device, &device.sums_of_squares(&all));
        vec![parameter, first, second, squares, several]
    }
}

/// Matrices one behind the other, taken near orthogonal ones.
struct Orthogonal {
    iteration: NewtonSchulz,
    x: Vec<f64>,
}

impl Operation for Orthogonal {
    fn run<D: Device>(&self, device: &D) -> Vec<D::Buffer> {
        let NewtonSchulz { matrices, rows, columns, .. } = self.iteration;
        let small = rows.min(columns);
        let zeros = |len| device.zeros(matrices * len).unwrap();
        let (mut x, mut next) = (up(device, &self.x), zeros(rows * columns));
        let (mut gram, mut polynomial) = (zeros(small * small), zeros(small * small));
        let scratch = NewtonSchulzScratch { next: &mut next, gram: &mut gram, polynomial: &mut polynomial };
        device.newton_schulz(self.iteration, &mut x, scratch).unwrap();
        vec![x]
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

    #[test]
    fn matrices_are_taken_near_orthogonal_ones_alone_and_together(
        matrices in 1..4_usize, rows in 1..30_usize, columns in 1..30_usize, seed: u64
    ) {
        let coefficients = (3.4445, -4.775, 2.0315);
        let iteration = NewtonSchulz { matrices, rows, columns, coefficients, iterations: 5, epsilon: 1e-7 };
        let operation = Orthogonal { iteration, x: Numbers(seed).many(matrices * rows * columns) };
        // An iteration makes an error of a singular value, all of which are below 1.3, at most four times as large.
        agree(&operation, Precision::F32, within(rows + columns, 4.0_f64.powi(5)))?;
        let alone = |device: &Cuda| -> Vec<f64> {
            let iteration = NewtonSchulz { matrices: 1, ..iteration };
            let of = |x: &[f64]| down(device, &Orthogonal { iteration, x: x.to_vec() }.run(device)).concat();
            operation.x.chunks_exact(rows * columns).flat_map(of).collect()
        };
        // A real library may take another algorithm for several products.
        let emulated = |device: &Cuda| device.facts().name == "emulated";
        for device in [Precision::F32, Precision::Bf16].into_iter().flat_map(gpus).filter(emulated) {
            prop_assert_eq!(down(&device, &operation.run(&device)).concat(), alone(&device), "{}", device.describe());
        }
    }
}
