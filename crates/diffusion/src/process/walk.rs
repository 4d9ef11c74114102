//! What the processes whose open positions change at every step have in common.

use crate::random::Purpose;
use crate::{Candidate, Canvas, Draws, Key, Proposal, Step};

/// The positions that may be corrupted.
pub(super) fn open_positions(length: usize, open: &[bool]) -> impl Iterator<Item = usize> {
    open.iter().take(length).enumerate().filter(|(_, open)| **open).map(|(position, _)| position)
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
