//! Updates of parameters.

use crate::cuda::arguments::{In, Out};
use crate::cuda::buffer::Written;
use crate::cuda::kernels::{self, AdamWAll, DivideByNorm, SumsOfSquares};
use crate::cuda::products::{Extent, Operand};
use crate::cuda::segments::{Segment, pair};
use crate::cuda::{Cuda, GpuBuffer, THREADS};
use crate::{AdamW, AdamWState, AdamWUpdate, DeviceError, NewtonSchulz, NewtonSchulzScratch, Optimiser};

/// Blocks among which a sum of so many squares is cut: at most as many as [`DivideByNorm`] has threads.
fn square_parts(count: usize) -> usize {
    count.div_ceil(THREADS as usize).clamp(1, THREADS as usize)
}

impl Optimiser for Cuda {
    fn sum_of_squares(&self, x: &GpuBuffer) -> f64 {
        self.sums_of_squares(std::slice::from_ref(x))[0]
    }
    fn sums_of_squares(&self, buffers: &[GpuBuffer]) -> Vec<f64> {
        let parts: Vec<usize> = buffers.iter().map(|x| if x.len() > 0 { square_parts(x.len()) } else { 0 }).collect();
        let partial = self.scratch::<f64>(parts.iter().sum());
        let segment =
            |(x, &blocks): (&GpuBuffer, &usize)| Segment { count: x.len(), blocks, words: [x.input::<f32>().0 as i64] };
        let done = self.over(buffers.iter().zip(&parts).map(segment), |segments, table| SumsOfSquares {
            segments,
            table,
            partial: partial.output(),
        });
        done.unwrap_or_else(|error| panic!("{error}"));
        let sums: Vec<f64> = self.fetch(partial.at(), partial.len());
        let mut rest = sums.iter();
        parts.into_iter().map(|parts| rest.by_ref().take(parts).sum()).collect()
    }
    fn newton_schulz(
        &self,
        NewtonSchulz { matrices, rows, columns, coefficients: (a, b, c), iterations, epsilon }: NewtonSchulz,
        x: &mut GpuBuffer,
        NewtonSchulzScratch { next, gram, polynomial }: NewtonSchulzScratch<'_, GpuBuffer>,
    ) -> Result<(), DeviceError> {
        let (len, small, large) = (rows * columns, rows.min(columns), rows.max(columns));
        let parts = square_parts(len);
        let partial = self.scratch::<f64>(matrices * parts);
        self.sum_squares((matrices, len), x.input(), partial.output());
        let Written { wide, image } = self.for_all(x);
        let kernel =
            DivideByNorm { count: len as i64, epsilon: epsilon as f32, partial: partial.input(), x: wide, image };
        self.launch(0, kernel, (parts as u32, matrices as u32), THREADS, 0);
        let dtype = self.precision.dtype();
        let product = |rows, columns, depth, left: Operand<'_>, right: Operand<'_>, out: Out<f32>| {
            let extent = Extent { batch: matrices, rows, columns, depth, bias: None, added: None };
            self.multiply(extent, dtype, left, right, out);
        };
        for _ in 0..iterations {
            let matrix = Operand::of(x);
            let (left, right) =
                if rows <= columns { (matrix, matrix.transposed()) } else { (matrix.transposed(), matrix) };
            product(small, small, large, left, right, gram.output());
            let square = Operand::of(gram);
            product(small, small, small, square, square.transposed(), polynomial.output());
            let both = self.for_all(polynomial);
            self.scale_into(b, gram.either(), c, both, matrices * small * small);
            let factor = Operand::of(polynomial);
            let (left, right) = if rows <= columns { (factor, matrix) } else { (matrix, factor.transposed()) };
            product(rows, columns, small, left, right, next.output());
            let both = self.for_all(next);
            self.scale_into(a, x.either(), 1.0, both, matrices * len);
            std::mem::swap(x, next);
        }
        Ok(())
    }
    fn adamw(&self, step: AdamW, gradient_scale: f64, gradient: &GpuBuffer, state: AdamWState<'_, GpuBuffer>) {
        let done = self.adamw_all(gradient_scale, vec![AdamWUpdate { step, gradient, state }]);
        done.unwrap_or_else(|error| panic!("{error}"));
    }
    fn adamw_all(&self, gradient_scale: f64, updates: Vec<AdamWUpdate<'_, GpuBuffer>>) -> Result<(), DeviceError> {
        let segment = |AdamWUpdate { step, gradient, state }: AdamWUpdate<'_, GpuBuffer>| {
            let AdamWState { first, second, parameter } = state;
            // The image that products read is made anew where there was one.
            let (len, written) = (parameter.len(), parameter.present_outputs());
            let (gradient, first, second) = (gradient.input::<f32>(), first.output::<f32>(), second.output::<f32>());
            let AdamW { learning_rate, beta1, beta2, epsilon, weight_decay, step } = step;
            let correction = |beta: f64| 1.0 - beta.powf(step as f64);
            let words = [
                gradient.0 as i64,
                first.0 as i64,
                second.0 as i64,
                written.wide.0 as i64,
                written.image.0 as i64,
                pair(learning_rate, 1.0 - learning_rate * weight_decay),
                pair(beta1, beta2),
                pair(1.0 - beta1, 1.0 - beta2),
                pair(correction(beta1), correction(beta2)),
                pair(epsilon, 0.0),
            ];
            Segment::new(len, words)
        };
        let gradient_scale = gradient_scale as f32;
        self.over(updates.into_iter().map(segment), |segments, table| AdamWAll { segments, table, gradient_scale })
    }
}

impl Cuda {
    /// Parts of the sums of squares of so many matrices of as many elements each.
    fn sum_squares(&self, (matrices, count): (usize, usize), x: In<f32>, partial: Out<f64>) {
        let kernel = kernels::SumOfSquares { count: count as i64, x, partial };
        self.launch(0, kernel, (square_parts(count) as u32, matrices as u32), THREADS, 0);
    }
}
