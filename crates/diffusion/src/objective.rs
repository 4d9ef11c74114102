//! What the cost of a corrupted position weighs, under two estimators of one bound.
//!
//! For a masked process the bound on −log p(x) is `E Σ_masked weight · −log p(xᵢ | the rest)`, with
//! - continuous time (MDLM, 2406.07524, equation 10): t uniform, weight −α′(t)/(1 − α(t)), see
//!   [`crate::NoiseSchedule::weight`];
//! - fixed count (LLaDA, 2502.09992): the number n of masks uniform on 1..L, weight L/n, whatever the
//!   schedule: the same expectation as continuous time, and no variance from the number of masks.
//!
//! A process with another state pays otherwise for a prediction: see [`Cost`].
//!
//! Deviations: none.

mod cost;
mod distance;
mod ratio;

pub use cost::{Cost, Vectors, WordVectors, divergence};
pub use distance::Distance;
pub use ratio::Ratio;

use crate::{ContinuousState, Time, TokenId};

/// One corrupted position: its clean token, its cost and the weight of it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LossTerm {
    /// The position in its canvas, or in a batch its row.
    pub position: usize,
    /// The clean token.
    pub target: TokenId,
    /// Factor of the cost in the bound.
    pub weight: f64,
    /// What the prediction about the position costs.
    pub cost: Cost,
}

/// A noisy canvas with its loss terms.
#[derive(Debug, Clone, PartialEq)]
pub struct Corrupted {
    /// What the network reads.
    pub tokens: Vec<TokenId>,
    /// The points that it reads, under a continuous process.
    pub points: Option<ContinuousState>,
    /// The positions that cost something, ascending.
    pub terms: Vec<LossTerm>,
    /// How noisy the canvas is, which is the input of a network with time conditioning: the share of corrupted
    /// positions expected, or the time of a process that has no such share.
    pub noise: f64,
    /// What the bound has besides the terms, in nats.
    pub constant: f64,
}

impl Corrupted {
    /// One sample of the bound in nats: the constant and `Σ weight · cost`, where `costs` holds each term's, in order.
    ///
    /// Terms without a cost count nothing.
    pub fn bound(&self, costs: &[f64]) -> f64 {
        self.constant + self.terms.iter().zip(costs).map(|(term, cost)| term.weight * cost).sum::<f64>()
    }
}

/// Weight of each of `count` masks among `length` open positions, `length / count`.
pub fn fixed_count_weight(length: usize, count: usize) -> f64 {
    length as f64 / count as f64
}

/// The number of masks among `length` open positions that a uniform time stands for: `⌈t · length⌉`, so that every
/// count from 1 to `length` is equally likely. Times spread evenly give counts spread evenly.
pub fn count_at(t: Time, length: usize) -> usize {
    ((t.value() * length as f64).ceil() as usize).clamp(1, length.max(1))
}
