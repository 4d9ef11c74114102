//! How far an approximate cache is from the truth: both are read, and compared row by row.

use aquatint_compute::ReadRow;
use aquatint_network::{Denoiser, KvCache, NetworkError, NetworkInput, NetworkSpec};
use std::sync::{Mutex, OnceLock, PoisonError};

/// What a cache changed in the beliefs that a request was filled by.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Drift {
    /// Beliefs compared.
    pub rows: usize,
    /// Mean of the total variation distances `½ Σ |p − q|`, in 0..=1.
    pub mean: f64,
    /// The largest of them.
    pub largest: f64,
    /// Share of the rows whose likeliest token is another.
    pub flipped: f64,
}

/// A denoiser that reads everything as well wherever it is asked to read a part, answers by the part, and keeps count of
/// the difference.
pub struct Drifting<'a> {
    denoiser: &'a dyn Denoiser,
    sums: Mutex<Drift>,
}

impl std::fmt::Debug for Drifting<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Drifting").field("drift", &self.drift()).finish_non_exhaustive()
    }
}

impl<'a> Drifting<'a> {
    /// Watches a denoiser.
    pub fn new(denoiser: &'a dyn Denoiser) -> Self {
        Self { denoiser, sums: Mutex::default() }
    }

    /// What was seen so far.
    pub fn drift(&self) -> Drift {
        let sums = *self.sums.lock().unwrap_or_else(PoisonError::into_inner);
        let rows = sums.rows.max(1) as f64;
        Drift { mean: sums.mean / rows, flipped: sums.flipped / rows, ..sums }
    }
}

impl Denoiser for Drifting<'_> {
    fn spec(&self) -> &NetworkSpec {
        self.denoiser.spec()
    }

    fn forward_rows(&self, input: &NetworkInput<'_>, rows: &[u32], read: &ReadRow<'_>) -> Result<(), NetworkError> {
        self.denoiser.forward_rows(input, rows, read)
    }

    fn forward_cached(
        &self,
        input: &NetworkInput<'_>,
        rows_to_compute: &[u32],
        kv_caches: &mut [KvCache],
        rows: &[u32],
        read: &ReadRow<'_>,
    ) -> Result<(), NetworkError> {
        let truths: Vec<OnceLock<Vec<f64>>> = rows.iter().map(|_| OnceLock::new()).collect();
        self.denoiser.forward_rows(input, rows, &|index, logits| {
            // Each index comes once.
            let _ = truths[index].set(softmax(logits));
        })?;
        self.denoiser.forward_cached(input, rows_to_compute, kv_caches, rows, &|index, logits| {
            if let Some(truth) = truths[index].get() {
                let belief = softmax(logits);
                let distance = truth.iter().zip(&belief).map(|(p, q)| (p - q).abs()).sum::<f64>() / 2.0;
                let mut sums = self.sums.lock().unwrap_or_else(PoisonError::into_inner);
                sums.rows += 1;
                sums.mean += distance;
                sums.largest = sums.largest.max(distance);
                sums.flipped += f64::from(u8::from(likeliest(truth) != likeliest(&belief)));
            }
            read(index, logits);
        })
    }
}

fn softmax(logits: &[f32]) -> Vec<f64> {
    let highest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let weights: Vec<f64> = logits.iter().map(|l| f64::from(l - highest).exp()).collect();
    let total: f64 = weights.iter().sum();
    weights.into_iter().map(|weight| weight / total).collect()
}

fn likeliest(belief: &[f64]) -> usize {
    (0..belief.len()).fold(0, |best, i| if belief[i] > belief[best] { i } else { best })
}
