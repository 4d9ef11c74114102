//! Why a constraint cannot be made.

use std::fmt;

/// A limit against sources that would take too much time or memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// Bytes of the source text.
    Source,
    /// Parts of the expression before it becomes an automaton.
    Parts,
    /// States of the automaton over bytes.
    States,
    /// Steps of making the automata.
    Work,
    /// Levels of schemas within schemas.
    Depth,
}

impl Limit {
    /// The most that is allowed.
    pub fn most(self) -> usize {
        match self {
            Self::Source => 1 << 18,
            Self::Parts => 200_000,
            Self::States => 20_000,
            Self::Work => 400_000_000,
            Self::Depth => 100,
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = match self {
            Self::Source => "bytes of text",
            Self::Parts => "parts once it is written out",
            Self::States => "states as an automaton",
            Self::Work => "steps to compile it",
            Self::Depth => "levels",
        };
        write!(f, "{} {of}", self.most())
    }
}

/// What a [`Compiler`](crate::Compiler) refuses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CompileError {
    /// The tokenizer does not say which bytes a token stands for.
    #[error("the model's tokenizer is not byte-level, so constraints cannot be kept")]
    NotByteLevel,
    /// A regular expression has an error, or something that is not regular.
    #[error("the regular expression cannot be read: {reason}")]
    Regex {
        /// What is wrong.
        reason: String,
    },
    /// A schema has a keyword, or a value of one, that cannot be kept.
    #[error("the JSON schema cannot be kept at `{place}`: {reason}")]
    Schema {
        /// JSON pointer to the place.
        place: String,
        /// What is wrong.
        reason: String,
    },
    /// A grammar has an error.
    #[error("the grammar cannot be read: {reason}")]
    Grammar {
        /// What is wrong.
        reason: String,
    },
    /// It takes more than a limit allows.
    #[error("the {kind} is too large: allowed are at most {limit}")]
    TooLarge {
        /// What it is.
        kind: &'static str,
        /// The limit.
        limit: Limit,
    },
    /// Nothing can be written.
    #[error("no text matches the {kind}")]
    Empty {
        /// What it is.
        kind: &'static str,
    },
}

impl CompileError {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NotByteLevel => Some("choose a model with a byte-level tokenizer".to_owned()),
            Self::Regex { .. } => {
                Some("look-around, back references and word boundaries are not regular; write without them".to_owned())
            }
            Self::Schema { .. } => Some("docs/CONSTRAINTS.md lists the keywords".to_owned()),
            Self::Grammar { .. } => Some("grammars are in Lark's syntax, with a rule `start`".to_owned()),
            Self::TooLarge { limit: Limit::States | Limit::Work | Limit::Parts, .. } => {
                Some("lower `maxLength`, `maxItems` or the bounds of repetitions".to_owned())
            }
            Self::TooLarge { .. } => Some("write it shorter".to_owned()),
            Self::Empty { .. } => Some("some of its parts contradict each other".to_owned()),
        }
    }
}

/// Something of the source takes more than this.
pub(crate) struct TooLarge(pub(crate) Limit);
