//! How far an approximate cache is from the truth: both are read, and compared row by row.

use crate::prediction::softmax;
use aquatint_compute::ReadRow;
use aquatint_diffusion::{LossTerm, WordVectors};
use aquatint_network::{
    Denoiser, ForwardPass, LossRow, NetworkError, NetworkInput, NetworkSpec, RowAnswer, RowQuery, RowSlots, WholeRows,
    answer_on_host,
};
use std::sync::{Mutex, PoisonError};

/// What a cache changed in the predictions that a request was filled by.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Drift {
    /// Predictions compared.
    pub rows: usize,
    /// Mean of the total variation distances `½ Σ |p − q|`, in 0..=1.
    pub mean: f64,
    /// The largest of them.
    pub largest: f64,
    /// Share of the rows whose likeliest token is another.
    pub flipped: f64,
}

/// A denoiser that also computes all rows wherever a cached pass computes some, answers by the cached pass, and measures the
/// difference.
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

    /// The measurements so far.
    pub fn drift(&self) -> Drift {
        let sums = *self.sums.lock().unwrap_or_else(PoisonError::into_inner);
        let rows = sums.rows.max(1) as f64;
        Drift { mean: sums.mean / rows, flipped: sums.flipped / rows, ..sums }
    }

    fn compare(&self, truth: &[f64], prediction: &[f64]) {
        let distance = truth.iter().zip(prediction).map(|(p, q)| (p - q).abs()).sum::<f64>() / 2.0;
        let mut sums = self.sums.lock().unwrap_or_else(PoisonError::into_inner);
        sums.rows += 1;
        sums.mean += distance;
        sums.largest = sums.largest.max(distance);
        sums.flipped += f64::from(u8::from(likeliest(truth) != likeliest(prediction)));
    }
}

impl Denoiser for Drifting<'_> {
    fn spec(&self) -> &NetworkSpec {
        self.denoiser.spec()
    }

    fn word_vectors(&self) -> Result<WordVectors, NetworkError> {
        self.denoiser.word_vectors()
    }

    fn forward(
        &self,
        pass: ForwardPass<'_>,
        queries: &[RowQuery<'_>],
        read: &ReadRow<'_>,
    ) -> Result<Vec<RowAnswer>, NetworkError> {
        let ForwardPass { input, cached: Some(cached) } = pass else {
            return self.denoiser.forward(pass, queries, read);
        };
        let vectors = self.word_vectors()?;
        answer_on_host(queries, self.spec().vocabulary_size, vectors.view(), read, |rows, read| {
            let truths = RowSlots::new(rows.len());
            self.denoiser.forward_rows(input, rows, &|index, logits| {
                truths.set(index, softmax(logits, 1.0));
            })?;
            self.denoiser.forward_cached(input, cached, rows, &|index, logits| {
                if let Some(truth) = truths.get(index) {
                    self.compare(truth, &softmax(logits, 1.0));
                }
                read(index, logits);
            })
        })
    }

    fn nll(&self, input: &NetworkInput<'_>, rows: &[LossRow]) -> Result<Vec<f64>, NetworkError> {
        self.denoiser.nll(input, rows)
    }

    fn costs(&self, input: &NetworkInput<'_>, terms: &[LossTerm]) -> Result<Vec<f64>, NetworkError> {
        self.denoiser.costs(input, terms)
    }

    fn token_gradients(
        &self,
        input: &NetworkInput<'_>,
        targets: &[LossRow],
        rows: &[u32],
    ) -> Result<Vec<f32>, NetworkError> {
        self.denoiser.token_gradients(input, targets, rows)
    }

    fn kv_cache_bytes(&self, rows: usize) -> usize {
        self.denoiser.kv_cache_bytes(rows)
    }
}

fn likeliest(prediction: &[f64]) -> usize {
    (0..prediction.len()).fold(0, |best, i| if prediction[i] > prediction[best] { i } else { best })
}
