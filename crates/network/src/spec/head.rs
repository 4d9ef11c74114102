//! From hidden rows to logits.

/// The matrix that makes logits of hidden rows, and which rows they are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HeadSpec {
    /// The head is the embedding table.
    pub tied: bool,
    /// The row before a position answers for it, as in networks that began as causal ones (Dream, 2508.15487).
    pub logit_shift: bool,
}

impl HeadSpec {
    /// The row whose hidden state gives the logits of a row: itself, or under a logit shift the one before, if `sees`
    /// says that the row sees it.
    pub fn answering_row(self, row: u32, sees: impl FnOnce(u32) -> bool) -> u32 {
        row.checked_sub(1).filter(|before| self.logit_shift && sees(*before)).unwrap_or(row)
    }
}
