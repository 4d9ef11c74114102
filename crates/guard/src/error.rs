//! Why there is no guard, and what one refuses.

use aquatint_evaluate::EvaluateError;
use std::path::PathBuf;

/// What is wrong with a guard, or what it says of a text.
#[derive(Debug, thiserror::Error)]
pub enum GuardError {
    /// The operating system refused.
    #[error("could not {action} `{}`", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The file is no guard.
    #[error("`{}` is no guard", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: Box<GuardError>,
    },
    /// A word list says nothing.
    #[error("the word list has no line; allowed: a phrase or a regular expression on each")]
    NoLine,
    /// A line has nothing that could be found.
    #[error("line {line} has no letter and no digit; allowed: a phrase, or a regular expression as in /lo+ck/")]
    NoWord {
        /// Its number, from 1.
        line: usize,
    },
    /// A line begins as a regular expression and does not end as one.
    #[error(
        "line {line} begins with / and does not end with it; allowed: a regular expression as in /lo+ck/, or a phrase"
    )]
    HalfExpression {
        /// Its number, from 1.
        line: usize,
    },
    /// A line is no regular expression.
    #[error("line {line} is no regular expression")]
    Regex {
        /// Its number, from 1.
        line: usize,
        /// What is wrong with it.
        source: Box<regex::Error>,
    },
    /// A line would refuse every text.
    #[error("line {line} matches the empty text; allowed: what matches one character or more")]
    MatchesNothing {
        /// Its number, from 1.
        line: usize,
    },
    /// It is not JSON, or has other fields than a classifier.
    #[error("this is no classifier, or it is damaged")]
    Damaged(#[source] serde_json::Error),
    /// A setting has a value that it cannot have.
    #[error("`{setting}` is {given}; allowed: {allowed}")]
    Setting {
        /// The setting.
        setting: &'static str,
        /// Its value.
        given: String,
        /// What is allowed.
        allowed: String,
    },
    /// A file of labelled texts cannot be read, or has lines that are no rows.
    #[error(transparent)]
    Rows(#[from] EvaluateError),
    /// Nothing tells two kinds of rows from each other.
    #[error("the rows {lack}; allowed: rows of both kinds, and words that several of them have")]
    Untrainable {
        /// What they lack.
        lack: &'static str,
    },
    /// A guard refused what was given.
    #[error("the given text is refused: {reason}")]
    Refused {
        /// What offends.
        reason: String,
    },
}

impl GuardError {
    /// Refuses a value of a setting.
    pub(crate) fn setting(setting: &'static str, given: impl ToString, allowed: &str) -> Self {
        Self::Setting { setting, given: given.to_string(), allowed: allowed.to_owned() }
    }

    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::File { source, .. } => source.hint(),
            Self::Rows(error) => error.hint(),
            Self::Damaged(_) => Some("`aquatint guard-classifier` makes one from labelled texts".to_owned()),
            _ => None,
        }
    }
}
