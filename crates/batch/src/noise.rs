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

/// The canvas with exactly that corrupted which was not before; `None` where nothing is left, or the process has no
/// form of fixed count. `open` and `hidden` are by position.
pub fn complement(
    process: &dyn Process,
    clean: &[TokenId],
    open: &[bool],
    hidden: &[bool],
    draws: &mut Draws,
) -> Option<Corrupted> {
    let all = open.iter().filter(|open| **open).count();
    let rest: Vec<bool> = open.iter().zip(hidden).map(|(open, hidden)| *open && !hidden).collect();
    let count = rest.iter().filter(|open| **open).count();
    let mut noisy = process.corrupt_count(clean, &rest, count, draws).filter(|_| count > 0)?;
    let share = count as f64 / all as f64;
    noisy.terms.iter_mut().for_each(|term| term.weight /= share);
    noisy.noise = share;
    Some(noisy)
}
