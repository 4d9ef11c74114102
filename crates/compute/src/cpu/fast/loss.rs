//! Softmax cross-entropy and other costs of a linear head, some rows at a time.

use super::Fast;
use super::pack::Matrix;
use super::vector::{exponentials, largest, vectorised};
use crate::cpu::scalar::Targets;
use crate::{LinearShape, ReadRow};

/// Logits that are there at a time: 16 MiB, half of a usual third cache.
const LOGITS_AT_A_TIME: usize = 4 << 20;
/// Fewer rows at a time than this make the products slow, more are of no use.
const ROWS_AT_A_TIME: (usize, usize) = (96, 1024);

vectorised! {
    /// Turns one row of logits into `e^(l − shift)`; returns the shift and the sum.
    fn exponentiate(logits: &mut [f32]) -> (f32, f32) {
        let shift = largest(logits, f32::NEG_INFINITY);
        (shift, exponentials(logits, 1.0, shift))
    }
}

vectorised! {
    /// `x *= factor`.
    fn scale(x: &mut [f32], factor: f32) {
        for x in x {
            *x *= factor;
        }
    }
}

impl Fast {
    /// See [`crate::Device::linear_cross_entropy`].
    pub(in crate::cpu) fn linear_cross_entropy(
        &self,
        shape: LinearShape,
        hidden: &[f32],
        head: &[f32],
        targets: Targets<'_>,
        gradients: Option<(&mut [f32], &mut [f32])>,
    ) -> Vec<f64> {
        let learns = gradients.is_some();
        self.look_at_rows(shape, hidden, head, gradients, |row, line| {
            self.score(line, targets.ids[row], targets.weights[row], targets.forbidden, learns)
        })
    }

    /// See [`crate::Device::linear_learn_rows`].
    pub(in crate::cpu) fn linear_learn_rows(
        &self,
        shape: LinearShape,
        hidden: &[f32],
        head: &[f32],
        read: &ReadRow<'_>,
        gradients: (&mut [f32], &mut [f32]),
    ) {
        self.look_at_rows(shape, hidden, head, Some(gradients), |row, line| read(row, line));
    }

    /// What `look` says of each row of `hidden headᵀ`, which it turns into its gradient where gradients are asked for:
    /// `d_hidden` is overwritten, `d_head` accumulated.
    fn look_at_rows<R: Send>(
        &self,
        shape: LinearShape,
        hidden: &[f32],
        head: &[f32],
        mut gradients: Option<(&mut [f32], &mut [f32])>,
        look: impl Fn(usize, &mut [f32]) -> R + Sync,
    ) -> Vec<R> {
        let LinearShape { rows, inputs, outputs } = shape;
        let at_a_time = (LOGITS_AT_A_TIME / outputs.max(1)).clamp(ROWS_AT_A_TIME.0, ROWS_AT_A_TIME.1);
        let forward = self.pack_scratch(Matrix::columns(head, inputs), (0, inputs), outputs);
        let backward = gradients.is_some().then(|| self.pack_scratch(Matrix::rows(head, inputs), (0, outputs), inputs));
        let mut logits = self.scratch(at_a_time.min(rows) * outputs);
        let mut seen = Vec::with_capacity(rows);
        for start in (0..rows).step_by(at_a_time) {
            let count = at_a_time.min(rows - start);
            let hidden = &hidden[start * inputs..][..count * inputs];
            let logits = &mut logits.as_mut_slice()[..count * outputs];
            self.multiply(count, Matrix::rows(hidden, inputs), &forward, false, logits);
            let lines = logits.chunks_exact_mut(outputs).enumerate().collect();
            let look = |(i, line): (usize, &mut [f32])| look(start + i, line);
            seen.extend(self.pool.map(8 * count * outputs, lines, look));
            if let (Some((d_hidden, d_head)), Some(backward)) = (&mut gradients, &backward) {
                let d_hidden = &mut d_hidden[start * inputs..][..count * inputs];
                self.multiply(count, Matrix::rows(logits, outputs), backward, false, d_hidden);
                let (a, b) = (Matrix::columns(logits, outputs), Matrix::rows(hidden, inputs));
                self.product((outputs, inputs, count), a, b, true, d_head);
            }
        }
        seen
    }

    /// The negative log-likelihood of one row; where asked, turns its logits into their gradient.
    fn score(&self, logits: &mut [f32], target: u32, weight: f64, forbidden: Option<u32>, gradient: bool) -> f64 {
        let target = target as usize;
        if let Some(id) = forbidden {
            logits[id as usize] = f32::NEG_INFINITY;
        }
        let truth = f64::from(logits[target]);
        let (shift, sum) = exponentiate(self.path, logits);
        if gradient {
            scale(self.path, logits, (weight / f64::from(sum)) as f32);
            if forbidden != Some(target as u32) {
                logits[target] -= weight as f32;
            }
        }
        f64::from(shift) + f64::from(sum).ln() - truth
    }
}
