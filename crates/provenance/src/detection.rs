//! What detection comes to.

use std::fmt;
use std::ops::Range;

/// Counted tokens below which the absence of a mark says nothing.
const LEAST: usize = 25;

/// How marked a text is.
#[derive(Debug, Clone, PartialEq)]
pub struct Detection {
    /// The name of the scheme.
    pub scheme: &'static str,
    /// The probability, over random keys, that a text that does not know the key looks at least as marked as this one. All
    /// that was examined is accounted for, so it is that or more, never less; 1 for an empty text.
    pub p_value: f64,
    /// Tokens of the text.
    pub tokens: usize,
    /// Those that were counted: what is there twice is evidence once.
    pub counted: usize,
    /// The stretch of the text that looks most marked, by its tokens.
    pub within: Range<usize>,
}

/// What a detection says at a level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The p-value is at the level or below it.
    Marked,
    /// It is above, and the text is long enough to tell.
    NotFound,
    /// It is above, and the text is so short that it says nothing.
    CannotTell,
}

impl Detection {
    /// What it says where one in 1 / `level` unmarked texts may be called marked.
    pub fn verdict(&self, level: f64) -> Verdict {
        match self.p_value <= level {
            true => Verdict::Marked,
            false if self.counted < LEAST => Verdict::CannotTell,
            false => Verdict::NotFound,
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Marked => "marked",
            Self::NotFound => "not found",
            Self::CannotTell => "cannot tell",
        })
    }
}
