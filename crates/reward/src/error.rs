//! Why nothing can be said of a completion.

use aquatint_constraint::CompileError;
use std::path::PathBuf;

/// What a reward refuses.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RewardError {
    /// There is no reward of that name, or its argument does not fit.
    #[error("`{given}` is no reward; allowed: {allowed}")]
    Name {
        /// What was given.
        given: String,
        /// What is allowed.
        allowed: String,
    },
    /// The pattern or the schema cannot be kept.
    #[error("the reward `{reward}` cannot be checked: {source}")]
    Constraint {
        /// Which reward.
        reward: String,
        /// Why not.
        source: CompileError,
    },
    /// A file that it needs cannot be read.
    #[error("could not read `{}` for the reward `{reward}`: {reason}", path.display())]
    File {
        /// Which reward.
        reward: String,
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// A prompt is none that the reward can check.
    #[error("the reward `{reward}` cannot check the prompt {prompt:?}: {reason}")]
    Prompt {
        /// Which reward.
        reward: String,
        /// The prompt, or its beginning.
        prompt: String,
        /// Why not.
        reason: String,
    },
    /// A reward that is no number.
    #[error("the reward `{reward}` of attempt {index} is {value}; allowed: a finite number")]
    NotFinite {
        /// Which reward.
        reward: String,
        /// Which attempt, from 0.
        index: usize,
        /// What it is.
        value: f64,
    },
    /// A program could not be run, or did not answer as it should.
    #[error("the program of the reward `{reward}` {reason}")]
    Program {
        /// Which reward.
        reward: String,
        /// What happened.
        reason: String,
    },
}

impl RewardError {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Constraint { source, .. } => source.hint(),
            Self::Program { .. } => Some("it reads one JSON object a line and writes one number a line".to_owned()),
            _ => None,
        }
    }

    /// A prompt that cannot be checked; of a long one the beginning is shown.
    pub(crate) fn prompt(reward: &str, prompt: &str, reason: impl Into<String>) -> Self {
        const SHOWN: usize = 100;
        let shown = prompt.chars().take(SHOWN).collect();
        Self::Prompt { reward: reward.to_owned(), prompt: shown, reason: reason.into() }
    }
}
