//! What is done to a row of logits before it is read.

use super::fast::{cap, cap_slopes};
use crate::{CpuPath, Evidence};

/// What makes rows of logits of products with the head.
#[derive(Debug, Clone, Copy)]
pub(in crate::cpu) struct Finish<'a> {
    /// The bias of each token.
    pub(in crate::cpu) bias: Option<&'a [f32]>,
    /// The bound that logits approach, and the path that takes them there.
    pub(in crate::cpu) soft_cap: Option<(f64, CpuPath)>,
    /// A token that no row may be.
    pub(in crate::cpu) forbidden: Option<u32>,
    /// What is added beside the head.
    pub(in crate::cpu) evidence: Option<Evidence<'a, [f32]>>,
}

impl Finish<'_> {
    /// Adds the bias, caps, takes away a token and adds what evidence there is for each.
    pub(in crate::cpu) fn row(self, row: usize, logits: &mut [f32]) {
        self.begin(logits);
        self.end(row, logits);
    }

    /// The same, with the slope of each logit under the cap, where there is one.
    pub(in crate::cpu) fn row_with_slopes(self, row: usize, logits: &mut [f32]) -> Option<Vec<f32>> {
        self.begin(logits);
        let slopes = self.soft_cap.map(|(bound, path)| {
            let mut slopes = logits.to_vec();
            cap_slopes(path, &mut slopes, bound as f32);
            slopes
        });
        self.end(row, logits);
        slopes
    }

    /// The bias and the cap.
    fn begin(self, logits: &mut [f32]) {
        if let Some(bias) = self.bias {
            logits.iter_mut().zip(bias).for_each(|(logit, bias)| *logit += bias);
        }
        if let Some((bound, path)) = self.soft_cap {
            cap(path, logits, bound as f32);
        }
    }

    /// What follows the cap.
    fn end(self, row: usize, logits: &mut [f32]) {
        if let Some(token) = self.forbidden {
            logits[token as usize] = f32::NEG_INFINITY;
        }
        let Some(Evidence { size, points, vectors }) = self.evidence else { return };
        let point = &points[row * size..][..size];
        if point.iter().all(|x| *x == 0.0) {
            return;
        }
        for (logit, vector) in logits.iter_mut().zip(vectors.chunks_exact(size)) {
            // −∞ stays what it is.
            *logit += dot(point, vector);
        }
    }
}

/// A product of vectors, in lanes that the compiler makes vector instructions of.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0.0f32; 16];
    let (a, b) = (a.chunks_exact(16), b.chunks_exact(16));
    let rest: f32 = a.remainder().iter().zip(b.remainder()).map(|(x, y)| x * y).sum();
    for (a, b) in a.zip(b) {
        for ((lane, x), y) in lanes.iter_mut().zip(a).zip(b) {
            *lane += x * y;
        }
    }
    rest + lanes.iter().sum::<f32>()
}
