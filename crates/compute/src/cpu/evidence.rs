//! What is done to a row of logits before it is read.

use crate::Evidence;

/// Takes away a token and adds what evidence there is for each.
pub(in crate::cpu) fn add(
    forbidden: Option<u32>,
    evidence: Option<Evidence<'_, [f32]>>,
    row: usize,
    logits: &mut [f32],
) {
    if let Some(token) = forbidden {
        logits[token as usize] = f32::NEG_INFINITY;
    }
    let Some(Evidence { size, points, vectors }) = evidence else { return };
    let point = &points[row * size..][..size];
    if point.iter().all(|x| *x == 0.0) {
        return;
    }
    for (logit, vector) in logits.iter_mut().zip(vectors.chunks_exact(size)) {
        // −∞ stays what it is.
        *logit += dot(point, vector);
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
