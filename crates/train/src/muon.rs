//! Muon: momentum, orthogonalised, for the matrices inside the layers.
//!
//! Jordan et al. 2024 (the Newton–Schulz iteration of fifth order with coefficients 3.4445, −4.7750, 2.0315 and
//! Nesterov momentum); Liu et al., 2502.16982, equation 4: the update is scaled by `0.2 √max(rows, columns)`, which gives
//! it the root mean square that AdamW's updates have, so that learning rate and decay carry over.
//!
//! ```text
//! m ← μ m + g            u = g + μ m            X₀ = u / (‖u‖ + ε)
//! A = X Xᵀ               X ← a X + (b A + c A²) X            five times
//! w ← (1 − η λ) w − η 0.2 √max(rows, columns) X
//! ```
//! Deviations: none in exact arithmetic; the iteration runs in the device's precision, where the original uses bf16. For
//! a matrix with more rows than columns the smaller product `XᵀX` is used, which is the same iteration transposed. It is
//! composed of products that every device has, because it is one part in ten of a step at the smallest sizes and less
//! above.

use aquatint_compute::{BackwardInput, BackwardWeight, Device, DeviceError, LinearOperands, LinearShape};

const COEFFICIENTS: (f64, f64, f64) = (3.4445, -4.7750, 2.0315);
const ITERATIONS: usize = 5;
/// Keeps a gradient of zeros from dividing by zero.
const EPSILON: f64 = 1e-7;

/// One update's settings.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Muon {
    /// Learning rate of this step, in AdamW's scale.
    pub learning_rate: f64,
    /// Decay of the momentum.
    pub momentum: f64,
    /// Decoupled weight decay.
    pub weight_decay: f64,
}

/// Buffers that one shape of matrix needs, used again for every matrix of that shape.
#[derive(Debug)]
pub(crate) struct Scratch<D: Device> {
    rows: usize,
    columns: usize,
    x: D::Buffer,
    next: D::Buffer,
    gram: D::Buffer,
    polynomial: D::Buffer,
}

impl<D: Device> Scratch<D> {
    pub(crate) fn new(device: &D, rows: usize, columns: usize) -> Result<Self, DeviceError> {
        let small = rows.min(columns);
        Ok(Self {
            rows,
            columns,
            x: device.zeros(rows * columns)?,
            next: device.zeros(rows * columns)?,
            gram: device.zeros(small * small)?,
            polynomial: device.zeros(small * small)?,
        })
    }

    /// Replaces `x` by the nearest matrix whose singular values are all about 1.
    fn orthogonalise(&mut self, device: &D) {
        let (a, b, c) = COEFFICIENTS;
        let norm = device.sum_of_squares(&self.x).sqrt();
        // y = 0 x + s y: the factor is applied in place by adding nothing.
        device.clear(&mut self.next);
        device.scale_add(0.0, &self.next, 1.0 / (norm + EPSILON), &mut self.x);
        let (rows, columns) = (self.rows, self.columns);
        let small = rows.min(columns);
        let square = LinearShape { rows: small, inputs: small, outputs: small };
        let linear = |shape, x: &D::Buffer, weight: &D::Buffer, out: &mut D::Buffer| {
            device.linear(LinearOperands { shape, x, weight, bias: None, accumulate: false }, out);
        };
        for _ in 0..ITERATIONS {
            if rows <= columns {
                let shape = LinearShape { rows, inputs: columns, outputs: rows };
                linear(shape, &self.x, &self.x, &mut self.gram);
                linear(square, &self.gram, &self.gram, &mut self.polynomial);
                device.scale_add(b, &self.gram, c, &mut self.polynomial);
                let operands = BackwardInput { shape, d_out: &self.polynomial, weight: &self.x, accumulate: false };
                device.linear_backward_input(operands, &mut self.next);
            } else {
                let shape = LinearShape { rows, inputs: columns, outputs: columns };
                device.clear(&mut self.gram);
                let operands = BackwardWeight { shape, d_out: &self.x, x: &self.x };
                device.linear_backward_weight(operands, &mut self.gram, None);
                linear(square, &self.gram, &self.gram, &mut self.polynomial);
                device.scale_add(b, &self.gram, c, &mut self.polynomial);
                linear(shape, &self.x, &self.polynomial, &mut self.next);
            }
            device.scale_add(a, &self.x, 1.0, &mut self.next);
            std::mem::swap(&mut self.x, &mut self.next);
        }
    }

    /// One update of a matrix with the gradient multiplied by `gradient_scale` (clipping).
    pub(crate) fn update(
        &mut self,
        device: &D,
        step: Muon,
        gradient_scale: f64,
        gradient: &D::Buffer,
        momentum: &mut D::Buffer,
        parameter: &mut D::Buffer,
    ) {
        device.scale_add(gradient_scale, gradient, step.momentum, momentum);
        device.clear(&mut self.x);
        device.scale_add(gradient_scale, gradient, 1.0, &mut self.x);
        device.scale_add(step.momentum, momentum, 1.0, &mut self.x);
        self.orthogonalise(device);
        let size = 0.2 * (self.rows.max(self.columns) as f64).sqrt();
        let keep = 1.0 - step.learning_rate * step.weight_decay;
        device.scale_add(-step.learning_rate * size, &self.x, keep, parameter);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aquatint_compute::{Cpu, Memory};

    fn matrix(rows: usize, columns: usize) -> Vec<f64> {
        (0..rows * columns).map(|i| ((i * 7919 + 13) % 101) as f64 / 50.0 - 1.0).collect()
    }

    /// `x xᵀ` of a row-major matrix.
    fn gram(x: &[f64], rows: usize, columns: usize) -> Vec<f64> {
        let row = |i: usize| &x[i * columns..(i + 1) * columns];
        (0..rows * rows).map(|k| row(k / rows).iter().zip(row(k % rows)).map(|(a, b)| a * b).sum()).collect()
    }

    #[test]
    fn singular_values_come_near_one_whichever_side_is_longer() {
        for (rows, columns) in [(3, 8), (8, 3), (5, 5)] {
            let device = Cpu::<f64>::scalar();
            let mut scratch = Scratch::new(&device, rows, columns).unwrap();
            let values = matrix(rows, columns);
            scratch.x = device.upload(&values).unwrap();
            scratch.orthogonalise(&device);
            let x = device.download(&scratch.x);
            // The fifth-order iteration with these coefficients ends between about 0.7 and 1.2, not at 1. The squares of
            // the singular values sum to the trace of the Gram matrix.
            let small = rows.min(columns);
            let trace: f64 = x.iter().map(|v| v * v).sum();
            assert!((0.4..1.5).contains(&(trace / small as f64)), "{rows}×{columns}: {trace}");
            // The direction is kept: the inner product with the input is positive and large.
            let inner: f64 = x.iter().zip(&values).map(|(a, b)| a * b).sum();
            assert!(inner > 0.0);
        }
    }

    #[test]
    fn a_wide_matrix_and_its_transpose_get_transposed_updates() {
        let device = Cpu::<f64>::scalar();
        let (rows, columns) = (4, 9);
        let wide = matrix(rows, columns);
        let tall: Vec<f64> = (0..rows * columns).map(|k| wide[(k % rows) * columns + k / rows]).collect();
        let step = Muon { learning_rate: 0.1, momentum: 0.95, weight_decay: 0.0 };
        let update = |values: &[f64], rows, columns| {
            let mut scratch = Scratch::new(&device, rows, columns).unwrap();
            let gradient = device.upload(values).unwrap();
            let mut momentum = device.zeros(values.len()).unwrap();
            let mut parameter = device.zeros(values.len()).unwrap();
            scratch.update(&device, step, 1.0, &gradient, &mut momentum, &mut parameter);
            device.download(&parameter)
        };
        let (a, b) = (update(&wide, rows, columns), update(&tall, columns, rows));
        for k in 0..rows * columns {
            assert!((a[(k % rows) * columns + k / rows] - b[k]).abs() < 1e-10);
        }
        // An orthogonal update of this scale has a root mean square of about 0.2 η, as AdamW's.
        let rms = (a.iter().map(|v| v * v).sum::<f64>() / a.len() as f64).sqrt();
        assert!((0.1..0.3).contains(&(rms / step.learning_rate)), "{rms}");
        assert!(gram(&a, rows, columns).iter().all(|v| v.is_finite()));
    }

    #[test]
    fn a_gradient_of_zeros_changes_nothing_but_the_decay() {
        let device = Cpu::<f64>::scalar();
        let mut scratch = Scratch::new(&device, 2, 2).unwrap();
        let gradient = device.zeros(4).unwrap();
        let mut momentum = device.zeros(4).unwrap();
        let mut parameter = device.upload(&[1.0, 2.0, 3.0, 4.0]).unwrap();
        let step = Muon { learning_rate: 0.5, momentum: 0.9, weight_decay: 0.2 };
        scratch.update(&device, step, 1.0, &gradient, &mut momentum, &mut parameter);
        assert_eq!(device.download(&parameter), [0.9, 1.8, 2.7, 3.6]);
    }
}
