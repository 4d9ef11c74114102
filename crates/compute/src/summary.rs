//! What a row of logits says at a glance.

pub use crate::cpu::{ShapedRow, draw_row, draw_row_expecting, shape_row, softmax_row, summarise, summarise_row};

/// The softmax of a row of logits, summed up; `−∞` is a token of probability 0.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LogitsSummary {
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

impl LogitsSummary {
    /// Of a row in which nothing is finite.
    pub(crate) const NOTHING: Self = Self {
        likeliest: None,
        highest: f64::NEG_INFINITY,
        log_sum_exp: f64::NEG_INFINITY,
        entropy: 0.0,
        margin: 0.0,
        broken: None,
    };
}
