//! Noise with as little variance as a process allows.

use aquatint_diffusion::{Corrupted, Draws, Process, Time, TokenId, objective};

/// The noisy version of clean tokens with the count of corrupted positions that a uniform time stands for; a process
/// without such a form draws the count too.
pub fn corrupt_evenly(
    process: &dyn Process,
    clean: &[TokenId],
    open: &[bool],
    t: Time,
    draws: &mut Draws,
) -> Corrupted {
    let count = objective::count_at(t, open.iter().filter(|open| **open).count());
    match process.corrupt_count(clean, open, count, draws) {
        Some(noisy) => noisy,
        None => process.corrupt_for_bound(clean, open, t, draws),
    }
}
