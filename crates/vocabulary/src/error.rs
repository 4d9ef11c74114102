//! Errors of a vocabulary; each message says how to correct it.

use crate::Role;
use std::path::PathBuf;

/// Why a vocabulary could not be trained, read, written or used.
#[derive(Debug, thiserror::Error)]
pub enum VocabularyError {
    /// The requested size cannot hold the bytes and the special tokens.
    #[error(
        "`vocabulary_size` is {given}; it must be between {smallest} (256 bytes and the special tokens) and {largest}"
    )]
    Size {
        /// The requested size.
        given: usize,
        /// The smallest size that holds every byte and every special token.
        smallest: usize,
        /// The largest size that a token id can count.
        largest: usize,
    },
    /// There is no rule of this name for cutting text.
    #[error("unknown pre-tokenizer `{given}`; allowed: prose, smiles")]
    PreTokenizer {
        /// The name.
        given: String,
    },
    /// There was no text to train on.
    #[error("there is no text to train a vocabulary on")]
    NoText,
    /// A file is not one of a tokenizer in the Hugging Face form.
    #[error("`{file}` of the tokenizer cannot be read: {reason}")]
    Malformed {
        /// The file.
        file: String,
        /// What the reader said.
        reason: String,
    },
    /// A file cannot be read or written.
    #[error("could not {action} `{}`: {source}", path.display())]
    Io {
        /// "read" or "write".
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A configuration names a token that the vocabulary does not have.
    #[error("`{key}` in {file} is {given}, which the vocabulary does not have")]
    UnknownToken {
        /// Key in the configuration, for example `mask_token`.
        key: String,
        /// The file that has it.
        file: String,
        /// The token's text or id.
        given: String,
    },
    /// Two files say different things of a role.
    #[error("the files of the model disagree on the {role} token: {first}, and {second}")]
    RoleConflict {
        /// The role.
        role: Role,
        /// What one of them says.
        first: String,
        /// What the other one says.
        second: String,
    },
    /// A token of a role is needed that the vocabulary does not have.
    #[error("the vocabulary has no {role} token")]
    MissingRole {
        /// The role.
        role: Role,
    },
    /// The tokenizer failed on this text or these tokens.
    #[error("the tokenizer failed: {reason}")]
    Tokenizer {
        /// What it said.
        reason: String,
    },
}

impl VocabularyError {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Size { .. } => Some("4096 suits a few megabytes of text, 32768 a few gigabytes".to_owned()),
            Self::NoText => Some("check the sources and their filters".to_owned()),
            Self::Malformed { .. } => Some("export the model's fast tokenizer again".to_owned()),
            Self::UnknownToken { .. } => Some("tokenizer.json and its configuration do not belong together".to_owned()),
            Self::RoleConflict { .. } => Some("let both name the same token".to_owned()),
            Self::MissingRole { role } => Some(match role.config_key() {
                Some(key) => format!(
                    "its usual name is `{}`; a token of another name is found by `{key}` in tokenizer_config.json or \
                     `{key}_id` in config.json",
                    role.token()
                ),
                None => format!("its usual name is `{}`", role.token()),
            }),
            Self::Io { .. } | Self::Tokenizer { .. } | Self::PreTokenizer { .. } => None,
        }
    }
}
