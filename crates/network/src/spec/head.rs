//! From hidden rows to logits.

/// The matrix that makes logits of hidden rows, and which rows they are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HeadSpec {
    /// The head is the embedding table.
    pub tied: bool,
    /// The row before a position answers for it, as in networks that began as causal ones (Dream, 2508.15487).
    pub logit_shift: bool,
}
