//! Stopping early: an end token closes its span, and a canvas that no longer changes its mind is done.

use crate::{Canvas, Proposal, SettingError, TokenId};

/// The positions that fall away because one of the end tokens stands before them: in each approximate span, those behind the
/// first committed end token that has nothing open before it in its span. Already closed ones are left out. Ascending.
///
/// An end token with open positions before it closes nothing yet: what is written there may still need the room.
pub fn closed_by_end(canvas: &Canvas, ends: &[TokenId]) -> Vec<usize> {
    let mut closed = Vec::new();
    for span in canvas.spans().iter().filter(|span| span.approximate) {
        let final_so_far = span.positions.clone().take_while(|p| canvas.is_committed(*p));
        let mut ends = final_so_far.filter(|p| canvas.tokens().get(*p).is_some_and(|token| ends.contains(token)));
        if let Some(position) = ends.next() {
            closed.extend((position + 1..span.positions.end).filter(|p| !canvas.is_closed(*p)));
        }
    }
    closed
}

/// Watches whether the predictions of one request have settled: the likeliest token of every position that is still
/// open has been the same for some proposals in a row, and their mean entropy is low (DiffusionGemma, 2608.00146).
///
/// State of a request: one for each, reset at each block.
#[derive(Debug, Clone, PartialEq)]
pub struct Stability {
    patience: usize,
    mean_entropy: f64,
    last: Vec<(usize, TokenId)>,
    unchanged: usize,
}

impl Stability {
    /// Settled once `patience` proposals in a row have agreed with the one before, and the mean entropy is below
    /// `mean_entropy` nats; with a patience of 0 the entropy alone counts.
    ///
    /// # Errors
    /// When `mean_entropy` is not above 0.
    pub fn new(patience: usize, mean_entropy: f64) -> Result<Self, SettingError> {
        if mean_entropy.is_nan() || mean_entropy <= 0.0 {
            return Err(SettingError::new("confidence_threshold", mean_entropy, "above 0, in nats of mean entropy"));
        }
        Ok(Self { patience, mean_entropy, last: Vec::new(), unchanged: 0 })
    }

    /// How many proposals in a row have to agree with the one before.
    pub fn patience(&self) -> usize {
        self.patience
    }

    /// Below how many nats the mean entropy has to be.
    pub fn mean_entropy(&self) -> f64 {
        self.mean_entropy
    }

    /// Takes the proposal of a step for all open positions; returns whether they may be committed at once.
    pub fn settled(&mut self, proposal: &Proposal) -> bool {
        let now: Vec<(usize, TokenId)> = proposal.iter().map(|(p, candidate)| (p, candidate.likeliest)).collect();
        // A position that was committed in between has left; one that was taken back is new, and counts as a change.
        let known = |pair: &(usize, TokenId)| self.last.binary_search(pair).is_ok();
        let same = !self.last.is_empty() && now.iter().all(known);
        self.unchanged = if same { self.unchanged + 1 } else { 0 };
        self.last = now;
        let confident = !proposal.is_empty() && proposal.mean_entropy() < self.mean_entropy;
        confident && self.unchanged >= self.patience
    }
}
