//! What a belief says at a glance.

pub use crate::cpu::{softmax_row, summarise};

/// The softmax of a row of logits, summed up; `−∞` is a token of probability 0.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RowSummary {
    /// The index of the largest logit, the first of several; `None` if no logit is finite.
    pub likeliest: Option<usize>,
    /// The largest logit.
    pub highest: f64,
    /// `ln Σ e^l`.
    pub log_sum_exp: f64,
    /// `−Σ p ln p`, in nats.
    pub entropy: f64,
    /// The probability of the likeliest token less that of the second.
    pub margin: f64,
    /// The index of the first logit that is no number or plus infinity.
    pub broken: Option<usize>,
}
