//! Small worlds whose answers are known exactly.

use aquatint_diffusion::Key;
use proptest::test_runner::{Config, RngSeed};

/// Positions of the small world.
pub(crate) const LENGTH: usize = 3;
/// Tokens of the small world, and the id of its mask.
pub(crate) const TOKENS: usize = 3;
pub(crate) const MASK: u32 = TOKENS as u32;

/// Properties are tried on the same cases every time, and leave no files behind.
pub(crate) fn properties() -> Config {
    Config { rng_seed: RngSeed::Fixed(2026), failure_persistence: None, ..Config::default() }
}

/// A law of all sequences of `LENGTH` tokens.
pub(crate) struct Joint {
    probabilities: Vec<f64>,
}

/// All sequences, in the order of their indices.
pub(crate) fn sequences(tokens: usize, length: usize) -> impl Iterator<Item = Vec<u32>> {
    (0..tokens.pow(length as u32)).map(move |index| {
        let digit = |place: usize| (index / tokens.pow(place as u32) % tokens) as u32;
        (0..length).map(digit).collect()
    })
}

pub(crate) fn index(sequence: &[u32], tokens: usize) -> usize {
    sequence.iter().rev().fold(0, |index, token| index * tokens + *token as usize)
}

impl Joint {
    /// A law with every sequence possible.
    pub(crate) fn random(seed: u64) -> Self {
        let mut draws = Key::new(seed).at(0, 0);
        let weights: Vec<f64> = sequences(TOKENS, LENGTH).map(|_| (2.0 * draws.normal()).exp()).collect();
        let total: f64 = weights.iter().sum();
        Self { probabilities: weights.iter().map(|w| w / total).collect() }
    }

    pub(crate) fn probability(&self, sequence: &[u32]) -> f64 {
        self.probabilities[index(sequence, TOKENS)]
    }

    /// The exact prediction about one position, given what the canvas shows.
    pub(crate) fn prediction(&self, shown: &[u32], position: usize) -> [f64; TOKENS] {
        let mut prediction = [0.0; TOKENS];
        for sequence in sequences(TOKENS, LENGTH) {
            let agrees = |(token, shown): (&u32, &u32)| *shown == MASK || token == shown;
            if sequence.iter().zip(shown).all(agrees) {
                prediction[sequence[position] as usize] += self.probability(&sequence);
            }
        }
        let total: f64 = prediction.iter().sum();
        prediction.map(|p| p / total)
    }

    pub(crate) fn nll(&self, shown: &[u32], position: usize, target: u32) -> f64 {
        -self.prediction(shown, position)[target as usize].ln()
    }
}

/// Pearson's statistic of observed counts against exact probabilities.
pub(crate) fn chi_square(observed: &[usize], probabilities: &[f64]) -> f64 {
    let total = observed.iter().sum::<usize>() as f64;
    let term = |(count, p): (&usize, &f64)| (*count as f64 - total * p).powi(2) / (total * p);
    observed.iter().zip(probabilities).map(term).sum()
}

/// A bound that a chi-square statistic of so many degrees of freedom passes once in some 10 000 times (Wilson and
/// Hilferty's approximation at 3.7 standard deviations).
pub(crate) fn chi_square_limit(degrees: usize) -> f64 {
    let n = degrees as f64;
    n * (1.0 - 2.0 / (9.0 * n) + 3.7 * (2.0 / (9.0 * n)).sqrt()).powi(3)
}

/// Mean and its standard error.
pub(crate) fn mean(samples: &[f64]) -> (f64, f64) {
    let n = samples.len() as f64;
    let mean = samples.iter().sum::<f64>() / n;
    (mean, (variance(samples) / n).sqrt())
}

pub(crate) fn variance(samples: &[f64]) -> f64 {
    let n = samples.len() as f64;
    let mean = samples.iter().sum::<f64>() / n;
    samples.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (n - 1.0)
}
