//! First-hitting sampling: one position for each step, at the very times at which the reverse process in continuous
//! time would unmask one (2409.02908; BD3-LM, 2503.09573, uses it). The law is that of ancestral sampling with
//! infinitely many steps, at one forward pass per token.
//!
//! Deviation: the plan's times are handed to the network, not the hitting times; the exact prediction of a masked
//! process does not depend on the time (RADD, 2406.03736). [`hitting_time`] draws them for whoever wants them.

use super::{CommitPolicy, everything, highest, uniform};
use crate::{Commit, Draws, Key, NoiseSchedule, Proposal, Step, Time};

/// Commits one position at each step, all equally likely.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FirstHitting;

impl CommitPolicy for FirstHitting {
    fn name(&self) -> String {
        "first-hitting".to_owned()
    }

    fn select(&self, step: &Step, proposal: &Proposal, key: Key) -> Commit {
        if step.is_last() {
            return everything(proposal);
        }
        highest(proposal, 1, |position, _| uniform(key, position, step))
    }

    fn steps(&self, open: usize, _: usize) -> usize {
        open
    }
}

/// The time at which the first of `open` masked positions is unmasked when the clock stands at `from`: the share of
/// noise falls by the factor `u^(1/open)`, the largest of `open` uniform draws. Under the linear schedule that is
/// `t u^(1/n)` (2409.02908). Clean where none is open.
pub fn hitting_time(schedule: &dyn NoiseSchedule, from: Time, open: usize, draws: &mut Draws) -> Time {
    if open == 0 {
        return Time::CLEAN;
    }
    let noise = (1.0 - schedule.alpha(from)) * draws.uniform().powf(1.0 / open as f64);
    schedule.time_at_alpha(1.0 - noise)
}
