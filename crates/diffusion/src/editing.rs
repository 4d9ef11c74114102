//! Token editing: committed tokens of the current block are replaced where the prediction has another one and is sure
//! enough of it (LLaDA2.1, 2602.08676: token to token, beside mask to token).
//!
//! Each pass over a block also predicts its committed positions, every one from a canvas that shows its own token. When
//! nothing of the block is open any more, further steps only edit, until one of them edits nothing or there have been as
//! many as are allowed. What was given, and what was committed before the canvas was handed in, is never edited.
//! Deviations: none.

mod insert_delete;

pub use insert_delete::{LengthChanges, LengthEdits, LengthStep, LengthTokens, Source};

use crate::{Canvas, CanvasError, Proposal, SettingError};

/// How committed tokens are edited.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Editing {
    threshold: f64,
    steps: usize,
}

impl Editing {
    /// Steps behind the filling of a block where nothing is said, as LLaDA2.1 has them (`max_post_steps`).
    pub const STEPS: usize = 16;

    /// The most steps behind the filling of a block.
    pub const MOST_STEPS: usize = 100_000;

    /// Edits where another token is more probable than `threshold`, from 0 to 1, and in so many steps at most when a block
    /// is full. At 1 nothing is ever edited.
    ///
    /// # Errors
    /// When the threshold lies outside, or there are more than [`Editing::MOST_STEPS`] steps.
    pub fn new(threshold: f64, steps: usize) -> Result<Self, SettingError> {
        if steps > Self::MOST_STEPS {
            let allowed = format!("from 0 to {}", Self::MOST_STEPS);
            return Err(SettingError::new("edit_steps", steps, allowed));
        }
        match (0.0..=1.0).contains(&threshold) {
            true => Ok(Self { threshold, steps }),
            false => Err(SettingError::new("edit_threshold", threshold, "from 0 to 1")
                .with_hint("1 edits nothing; LLaDA2.1 is run at 0.5 or 0.9, and at 0 for speed")),
        }
    }

    /// The probability above which another token replaces a committed one.
    pub fn threshold(&self) -> f64 {
        self.threshold
    }

    /// Steps of a full block, at most.
    pub fn steps(&self) -> usize {
        self.steps
    }

    /// The committed positions of a proposal whose token is to be replaced, ascending.
    pub fn select(&self, canvas: &Canvas, proposal: &Proposal) -> Vec<usize> {
        let replaces = |position: usize, candidate: &crate::Candidate| {
            let other = canvas.tokens().get(position) != Some(&candidate.token);
            canvas.is_committed(position) && other && candidate.probability > self.threshold
        };
        proposal.iter().filter(|(position, candidate)| replaces(*position, candidate)).map(|(p, _)| p).collect()
    }

    /// Replaces tokens as [`Editing::select`] chooses; returns their positions.
    ///
    /// # Errors
    /// Never where the canvas is the one that was predicted: only committed positions are written.
    pub fn edit(&self, canvas: &mut Canvas, proposal: &Proposal) -> Result<Vec<usize>, CanvasError> {
        let edited = self.select(canvas, proposal);
        for &position in &edited {
            if let Some(candidate) = proposal.candidate(position) {
                canvas.edit(position, candidate.token)?;
            }
        }
        Ok(edited)
    }
}
