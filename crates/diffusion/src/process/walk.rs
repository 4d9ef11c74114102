//! What processes have in common: which positions they corrupt, and which they change at a step.

use crate::objective::Cost;
use crate::random::Purpose;
use crate::{Candidate, Canvas, Draws, Key, LossTerm, Proposal, Step, TokenId};

/// The positions that may be corrupted.
pub(super) fn open_positions(length: usize, open: &[bool]) -> impl Iterator<Item = usize> {
    open.iter().take(length).enumerate().filter(|(_, open)| **open).map(|(position, _)| position)
}

/// Clean tokens of which some positions are corrupted, and the loss terms of these: `corrupt` gives what a position
/// shows, and the weight and the cost of its clean token.
pub(super) fn corrupt_each(
    clean: &[TokenId],
    positions: impl IntoIterator<Item = usize>,
    mut corrupt: impl FnMut(usize, TokenId) -> (TokenId, f64, Cost),
) -> (Vec<TokenId>, Vec<LossTerm>) {
    let mut tokens = clean.to_vec();
    let mut terms = Vec::new();
    for position in positions {
        let target = clean[position];
        let (shown, weight, cost) = corrupt(position, target);
        tokens[position] = shown;
        terms.push(LossTerm { position, target, weight, cost });
    }
    (tokens, terms)
}

/// Calls `walk` for each position of a proposal that is still open, with its draws at this step.
pub(super) fn each_open(
    canvas: &mut Canvas,
    proposal: &Proposal,
    step: &Step,
    key: Key,
    mut walk: impl FnMut(&mut Canvas, usize, &Candidate, &mut Draws),
) {
    let key = key.fold(Purpose::Walk as u64);
    for (position, candidate) in proposal.iter() {
        if canvas.is_open(position) {
            walk(canvas, position, candidate, &mut key.at(position as u64, step.planned.number));
        }
    }
}

/// Calls `renoise` for each of the positions that holds a final token, with its draws at this step.
pub(super) fn each_committed(
    canvas: &mut Canvas,
    positions: &[usize],
    step: &Step,
    key: Key,
    mut renoise: impl FnMut(&mut Canvas, usize, &mut Draws),
) {
    let key = key.fold(Purpose::Renoise as u64);
    for &position in positions {
        if canvas.is_committed(position) {
            renoise(canvas, position, &mut key.at(position as u64, step.planned.number));
        }
    }
}
