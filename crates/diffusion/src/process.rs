//! Processes: how a clean canvas becomes noise, and what a noisy one becomes on the way back.

mod masked;

pub use masked::Masked;

use crate::{Canvas, Corrupted, Draws, Key, NoiseSchedule, Proposal, Step, Time, TokenId};
use std::fmt::Debug;

/// A way from clean to noise and back. A trainer, a generator or a command line needs nothing else of it, and none of
/// them asks which process it is.
///
/// The steps of generation work on a whole [`Canvas`] and not on single tokens: a process whose open positions hold
/// points of a continuous space keeps them with the canvas, and one whose uncommitted positions change at every step
/// changes them in [`Process::advance`].
pub trait Process: Debug + Send + Sync {
    /// The process's name, as in `masked`.
    fn name(&self) -> &'static str;

    /// How likely a token is still clean at each time.
    fn schedule(&self) -> &dyn NoiseSchedule;

    /// Tokens that stand for noise alone: never proposed, never part of a clean canvas. None for a uniform process.
    fn noise_tokens(&self) -> &[TokenId];

    /// Draws the noisy canvas of time `t` for a clean one, with what each corrupted position's cost weighs in the
    /// continuous-time bound, so that the expectation of `Σ weight · nll` over uniform times is the bound in nats.
    ///
    /// `open` says which positions may be corrupted; positions beyond its end may not.
    fn corrupt(&self, clean: &[TokenId], open: &[bool], t: Time, draws: &mut Draws) -> Corrupted;

    /// As [`Process::corrupt`] for one step of the exact bound in discrete time: (step, steps), counted from 0, which
    /// ends clean; the expectation over uniform steps is the bound. `None` where the process has no such form.
    fn corrupt_discrete(
        &self,
        clean: &[TokenId],
        open: &[bool],
        step_of: (usize, usize),
        draws: &mut Draws,
    ) -> Option<Corrupted>;

    /// As [`Process::corrupt`] with exactly `count` corrupted positions, every set equally likely; the expectation over
    /// counts uniform on 1 to the number of open positions is the same bound, with less variance. `None` where the
    /// process has no such form.
    fn corrupt_count(&self, clean: &[TokenId], open: &[bool], count: usize, draws: &mut Draws) -> Option<Corrupted>;

    /// Draws the state of pure noise at every open position: how generation begins.
    fn begin(&self, canvas: &mut Canvas, key: Key);

    /// The tokens of the canvas with every given position hidden in noise: what the unconditional branch of guidance
    /// reads. Closed positions and padding are left as they are.
    fn unconditional(&self, canvas: &Canvas, step: u64, key: Key) -> Vec<TokenId>;

    /// Takes committed positions back into the noise of the step's later end. Positions without a final token are left.
    fn renoise(&self, canvas: &mut Canvas, positions: &[usize], step: &Step, key: Key);

    /// What the positions of the proposal that are still open look like at the end of a step, after its commits.
    fn advance(&self, canvas: &mut Canvas, proposal: &Proposal, step: &Step, key: Key);
}
