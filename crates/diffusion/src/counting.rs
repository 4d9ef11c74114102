//! Counting: how many positions of a block a step leaves open, for the policies that count.
//!
//! Under the linear schedule all of these commit about the same number at every step. They differ in where the remainder
//! goes, and a sampler is followed step by step only by its own.

use crate::SettingError;
use crate::error::Named;
use std::f32::consts::PI;
use std::fmt;
use std::str::FromStr;

/// How many positions a step leaves open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Counting {
    /// `⌊open · (1 − α)⌋` of the block's open positions, whatever the steps before it did, and at least one fewer at each
    /// step.
    #[default]
    Scheduled,
    /// Every step commits the same number, and the first ones one more where the steps do not divide the block (LLaDA,
    /// 2502.09992; SDAR, 2510.06303). The schedule has no part in it. Of a network's own block the whole is divided, though
    /// a part of it is given.
    Even,
    /// A step commits `⌊left · (1 − (1 − α_s)/(1 − α_t))⌋` of the positions that are left, the last one all (Dream,
    /// 2508.15487).
    Down,
    /// The same rounded to the nearest number, halves to the even one (dllm's samplers).
    Nearest,
    /// Step `k` of `K` leaves `⌊open · cos(π k / 2K)⌋`, and at least one fewer than the step before it: few are committed
    /// at first, and many at the end (MaskGIT, 2202.04200; the pictures of MMaDA, 2505.15809). The schedule has no part in
    /// it. The cosine is rounded to f32, as theirs is: that decides where it falls just short of a whole number.
    Cosine,
}

/// A step as it is counted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Counted {
    /// Open positions of the block at its beginning.
    pub(crate) open: usize,
    /// Those that the steps before this one leave.
    pub(crate) left: usize,
    /// Steps of the block.
    pub(crate) of: usize,
    /// Those from this one on.
    pub(crate) to_come: usize,
    /// α before and after the step.
    pub(crate) from: f64,
    pub(crate) to: f64,
}

impl Counting {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Scheduled, Self::Even, Self::Down, Self::Nearest, Self::Cosine];

    /// How many positions are left open after a step that is not the last.
    pub(crate) fn left(self, step: &Counted) -> usize {
        let &Counted { open, left, of, to_come, from, to } = step;
        let share = || left as f64 * (1.0 - if from >= 1.0 { 0.0 } else { (1.0 - to) / (1.0 - from) });
        let commits = match self {
            // The small addition keeps a product such as 8 · (1 − 0.75) from falling below its whole number.
            Self::Scheduled => return (open as f64 * (1.0 - to) + 1e-9).floor() as usize,
            Self::Even => left.div_ceil(to_come.max(1)),
            Self::Down => share().floor() as usize,
            Self::Nearest => share().round_ties_even() as usize,
            Self::Cosine => {
                let reached = (of + 1).saturating_sub(to_come) as f64 / of.max(1) as f64;
                let stays = (reached as f32 * PI * 0.5).cos();
                // An f32 holds no count of positions above 2²⁴ exactly.
                let planned = (open as f64 * f64::from(stays)).floor() as usize;
                return planned.min(left.saturating_sub(1)).max(1).min(left);
            }
        };
        left.saturating_sub(commits)
    }
}

impl fmt::Display for Counting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Scheduled => "scheduled",
            Self::Even => "even",
            Self::Down => "down",
            Self::Nearest => "nearest",
            Self::Cosine => "cosine",
        })
    }
}

impl FromStr for Counting {
    type Err = SettingError;

    fn from_str(name: &str) -> Result<Self, SettingError> {
        let found = Self::ALL.into_iter().find(|counting| counting.to_string() == name);
        found.ok_or_else(|| Named::parse("counting", name, "scheduled, even, down, nearest, cosine").refuse())
    }
}
