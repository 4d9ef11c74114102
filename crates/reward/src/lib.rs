//! What a completion is worth, by a program that checks it (reinforcement learning from verifiable rewards).
//!
//! A [`Reward`] turns the outcome of a request, an [`Attempt`], into a number. Rewards are values, one file each, and are
//! found by name ([`reward`]); [`Rewards`] is a weighted sum of some.
//!
//! | name | worth |
//! |---|---|
//! | `sudoku` | the share of the cells without a clue that are right; `sudoku:solved` is 1 where all are, else 0 |
//! | `countdown` | 1 for an expression of the prompt's numbers that has its target, 0.1 for one that has another value |
//! | `arithmetic` | 1 for the value of the prompt's expression |
//! | `regex:PATTERN` | 1 where the whole completion matches |
//! | `json-schema:FILE` | 1 where the completion is JSON as constrained decoding under the schema writes it |
//! | `molecule` | 1 where the completion, together with what its prompt has begun, is a molecule as SMILES |
//! | `length:N` | 1 at N characters, falling evenly to 0 at none and at 2N |
//! | `novelty:N` | the share of the completion's runs of N words that are there for the first time |
//! | `program:COMMAND` | what a program of one's own says: it reads one attempt a line, as JSON, and writes one number a line |
//!
//! ```
//! use aquatint_reward::{Attempt, Rewards, Seconds};
//!
//! let rewards = Rewards::new([("arithmetic", 1.0), ("regex: ?[0-9]+", 0.2)], Seconds::default())?;
//! let attempt = |completion| Attempt { prompt: "12 + 3 * 4 =", completion, ..Attempt::default() };
//! let scores = rewards.scores(&[attempt(" 24"), attempt(" 60"), attempt(" none")])?;
//! assert_eq!(scores.iter().map(|score| score.total).collect::<Vec<_>>(), [1.2, 0.2, 0.0]);
//! assert!(scores[0].solved && !scores[1].solved);
//! # Ok::<(), aquatint_reward::RewardError>(())
//! ```
#![forbid(unsafe_code)]

mod error;
mod expression;
mod rewards;
mod weighted;

pub use error::RewardError;
pub use rewards::{Seconds, reward};
pub use weighted::{Rewards, Score};

use std::fmt::Debug;

/// The outcome of a request: what was given, what was written, and in which order.
#[derive(Debug, Clone, Copy, PartialEq, Default, serde::Serialize)]
pub struct Attempt<'a> {
    /// The text that was given.
    pub prompt: &'a str,
    /// The text that was written.
    pub completion: &'a str,
    /// What the data has in its place, where it has anything.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reference: Option<&'a str>,
    /// The token of each position of the canvas, `L`.
    pub canvas: &'a [u32],
    /// The step, from 0, that committed each position, `L`; `None` where its token was given.
    pub committed: &'a [Option<u32>],
}

/// A check of completions.
pub trait Reward: Debug + Send + Sync {
    /// Its name, its argument included; [`reward`] finds it again under it.
    fn name(&self) -> String;

    /// What each attempt is worth, in their order. An attempt's worth depends on no other attempt.
    ///
    /// # Errors
    /// When a prompt is none that it can check, or its program fails.
    fn rewards(&self, attempts: &[Attempt<'_>]) -> Result<Vec<f64>, RewardError>;
}
