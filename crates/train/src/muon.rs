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
//! a matrix with more rows than columns the smaller product `XᵀX` is used, which is the same iteration transposed. The
//! iteration is an operation of the device ([`NewtonSchulz`]), which takes several matrices of one shape together.

use aquatint_compute::{Device, DeviceError, NewtonSchulz, NewtonSchulzScratch, Part, ScaleAdd};

const COEFFICIENTS: (f64, f64, f64) = (3.4445, -4.7750, 2.0315);
const ITERATIONS: usize = 5;
/// Keeps a gradient of zeros from dividing by zero.
const EPSILON: f64 = 1e-7;
/// Elements of the matrices that are taken together where the device is no processor: enough for products that fill a GPU.
const AT_ONCE: usize = 1 << 24;

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

/// A matrix that is updated.
pub(crate) struct MuonState<'a, D: Device> {
    pub(crate) step: Muon,
    pub(crate) gradient: &'a D::Buffer,
    pub(crate) momentum: &'a mut D::Buffer,
    pub(crate) parameter: &'a mut D::Buffer,
}

/// Buffers that one shape of matrix needs, used again for all matrices of that shape: a processor takes one after another,
/// a GPU several together.
#[derive(Debug)]
pub(crate) struct Scratch<D: Device> {
    rows: usize,
    columns: usize,
    /// Matrices that are taken together.
    together: usize,
    x: D::Buffer,
    next: D::Buffer,
    gram: D::Buffer,
    polynomial: D::Buffer,
}

impl<D: Device> Scratch<D> {
    /// For `count` matrices.
    pub(crate) fn new(device: &D, (rows, columns): (usize, usize), count: usize) -> Result<Self, DeviceError> {
        let (len, small) = (rows * columns, rows.min(columns));
        let most = if device.is_host() { 1 } else { AT_ONCE / len.max(1) };
        let together = most.clamp(1, count.max(1));
        Ok(Self {
            rows,
            columns,
            together,
            x: device.zeros(together * len)?,
            next: device.zeros(together * len)?,
            gram: device.zeros(together * small * small)?,
            polynomial: device.zeros(together * small * small)?,
        })
    }

    /// Replaces the first matrices of `x` by the nearest ones whose singular values are all about 1.
    fn orthogonalise(&mut self, device: &D, matrices: usize) -> Result<(), DeviceError> {
        let &mut Self { rows, columns, .. } = self;
        let (coefficients, iterations, epsilon) = (COEFFICIENTS, ITERATIONS, EPSILON);
        let iteration = NewtonSchulz { matrices, rows, columns, coefficients, iterations, epsilon };
        let Self { next, gram, polynomial, .. } = self;
        device.newton_schulz(iteration, &mut self.x, NewtonSchulzScratch { next, gram, polynomial })
    }

    /// One update of each matrix with the gradient multiplied by `gradient_scale` (clipping).
    pub(crate) fn update(
        &mut self,
        device: &D,
        gradient_scale: f64,
        matrices: &mut [MuonState<'_, D>],
    ) -> Result<(), DeviceError> {
        let len = self.rows * self.columns;
        for matrices in matrices.chunks_mut(self.together) {
            let momenta = matrices.iter_mut().map(|MuonState { step, gradient, momentum, .. }| {
                let x = Part::all(*gradient, len);
                ScaleAdd { a: gradient_scale, x, b: step.momentum, y: &mut **momentum }
            });
            device.scale_add_all(&mut momenta.collect::<Vec<_>>())?;
            let gradients: Vec<_> = matrices.iter().map(|matrix| (gradient_scale, matrix.gradient)).collect();
            device.stack(&gradients, false, &mut self.x)?;
            let momenta: Vec<_> = matrices.iter().map(|matrix| (matrix.step.momentum, &*matrix.momentum)).collect();
            device.stack(&momenta, true, &mut self.x)?;
            self.orthogonalise(device, matrices.len())?;
            let updates = matrices.iter_mut().enumerate().map(|(place, MuonState { step, parameter, .. })| {
                let size = 0.2 * (self.rows.max(self.columns) as f64).sqrt();
                let x = Part { buffer: &self.x, first: place * len, len };
                let keep = 1.0 - step.learning_rate * step.weight_decay;
                ScaleAdd { a: -step.learning_rate * size, x, b: keep, y: &mut **parameter }
            });
            device.scale_add_all(&mut updates.collect::<Vec<_>>())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aquatint_compute::{Cpu, Cuda, Memory};

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
            let mut scratch = Scratch::new(&device, (rows, columns), 1).unwrap();
            let values = matrix(rows, columns);
            scratch.x = device.upload(&values).unwrap();
            scratch.orthogonalise(&device, 1).unwrap();
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
            let mut scratch = Scratch::new(&device, (rows, columns), 1).unwrap();
            let gradient = device.upload(values).unwrap();
            let mut momentum = device.zeros(values.len()).unwrap();
            let mut parameter = device.zeros(values.len()).unwrap();
            let (gradient, momentum, state) = (&gradient, &mut momentum, &mut parameter);
            let state = MuonState { step, gradient, momentum, parameter: state };
            scratch.update(&device, 1.0, &mut [state]).unwrap();
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
        let mut scratch = Scratch::new(&device, (2, 2), 1).unwrap();
        let gradient = device.zeros(4).unwrap();
        let mut momentum = device.zeros(4).unwrap();
        let mut parameter = device.upload(&[1.0, 2.0, 3.0, 4.0]).unwrap();
        let step = Muon { learning_rate: 0.5, momentum: 0.9, weight_decay: 0.2 };
        let state = MuonState { step, gradient: &gradient, momentum: &mut momentum, parameter: &mut parameter };
        scratch.update(&device, 1.0, &mut [state]).unwrap();
        assert_eq!(device.download(&parameter), [0.9, 1.8, 2.7, 3.6]);
    }

    /// On an emulated GPU to the bit; a real one may multiply several matrices by another algorithm.
    #[test]
    fn matrices_of_one_shape_are_updated_together_as_alone() {
        for device in Cuda::tested().into_iter().filter(|device| device.facts().name == "emulated") {
            let (rows, columns, count) = (3, 5, 5);
            let of = |which: usize| -> Vec<f32> {
                matrix(rows, columns).iter().map(|value| (value * (which + 1) as f64 - 0.1) as f32).collect()
            };
            let step = Muon { learning_rate: 0.1, momentum: 0.95, weight_decay: 0.1 };
            let update = |which: &[usize], together: usize| -> Vec<Vec<f32>> {
                let mut scratch = Scratch::new(&device, (rows, columns), count).unwrap();
                assert_eq!(scratch.together, count);
                scratch.together = together;
                let gradients: Vec<_> = which.iter().map(|&which| device.upload(&of(which)).unwrap()).collect();
                let mut momenta: Vec<_> = which.iter().map(|_| device.zeros(rows * columns).unwrap()).collect();
                let mut values: Vec<_> = which.iter().map(|&which| device.upload(&of(7 - which)).unwrap()).collect();
                for _ in 0..2 {
                    let states = gradients.iter().zip(&mut momenta).zip(&mut values);
                    let mut states: Vec<_> = states
                        .map(|((gradient, momentum), parameter)| MuonState { step, gradient, momentum, parameter })
                        .collect();
                    scratch.update(&device, 0.5, &mut states).unwrap();
                }
                values.iter().map(|value| device.download(value)).collect()
            };
            let all: Vec<usize> = (0..count).collect();
            let alone: Vec<Vec<f32>> = all.iter().flat_map(|&which| update(&[which], count)).collect();
            assert_eq!(update(&all, 2), alone);
            assert_eq!(update(&all, count), alone);
        }
    }
}
