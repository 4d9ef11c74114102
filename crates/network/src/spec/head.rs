//! From hidden rows to logits.

use super::refuse;
use crate::NetworkError;

/// The matrix that makes logits of hidden rows, and which rows they are for.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct HeadSpec {
    /// The head is the embedding table.
    pub tied: bool,
    /// Whether each token's logit has a bias.
    pub bias: bool,
    /// `c`: each logit `l` is `c tanh(l / c)` (Gemma 2, 2408.00118, section 2); `None` for logits as they are.
    pub soft_cap: Option<f64>,
    /// The row before a position answers for it, as in networks that began as causal ones (Dream, 2508.15487).
    pub logit_shift: bool,
}

impl HeadSpec {
    pub(super) fn validate(&self) -> Result<(), NetworkError> {
        match self.soft_cap {
            Some(cap) if !(cap > 0.0 && cap.is_finite()) => refuse("soft_cap", cap, "a number above 0 (30 is usual)"),
            _ => Ok(()),
        }
    }

    /// The row whose hidden state gives the logits of a row: itself, or under a logit shift `before`, the row of the
    /// position before, where the row sees one.
    pub fn answering_row(self, row: u32, before: impl FnOnce() -> Option<u32>) -> u32 {
        if self.logit_shift { before().unwrap_or(row) } else { row }
    }
}
