//! What can go wrong between the Hub and the cache.

use crate::{ModelName, NameError};
use std::io;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// A model that did not come, or is not there.
#[derive(Debug, Error)]
pub enum HubError {
    /// A text that is no model's name.
    #[error(transparent)]
    Name(#[from] NameError),
    /// There can be no client.
    #[error("there is no client for `{endpoint}`: {reason}")]
    Client {
        /// Where the Hub is.
        endpoint: String,
        /// Why not.
        reason: String,
    },
    /// The network is not to be used.
    #[error("`{name}` cannot be downloaded: the offline mode is on")]
    Offline {
        /// The model.
        name: ModelName,
    },
    /// The cache does not hold the model in this revision.
    #[error("`{name}` is not in the cache `{}`{}", cache.display(), others(revisions))]
    NotCached {
        /// The model.
        name: ModelName,
        /// The folder of the cache.
        cache: PathBuf,
        /// The revisions of it that the cache does hold.
        revisions: Vec<String>,
    },
    /// The Hub knows no such model, or does not say that it does.
    #[error("`{endpoint}` has no model `{}`, or none that may be seen {}", name.repository(), whom(*signed_in))]
    Unknown {
        /// The model.
        name: ModelName,
        /// Where it was looked for.
        endpoint: String,
        /// Whether a token was sent.
        signed_in: bool,
    },
    /// The model has no such branch, tag or commit.
    #[error("`{}` has no revision `{}`", name.repository(), name.revision())]
    NoRevision {
        /// The model.
        name: ModelName,
    },
    /// The makers of the model want to be asked first.
    #[error("`{}` is gated: `{file}` may not be downloaded {}", name.repository(), whom(*signed_in))]
    Gated {
        /// The model.
        name: ModelName,
        /// The file that was refused.
        file: String,
        /// Where access is requested.
        page: String,
        /// Whether a token was sent.
        signed_in: bool,
    },
    /// What the Hub says about a model cannot be used.
    #[error("the description of `{name}` cannot be used: {reason}")]
    Listing {
        /// The model.
        name: ModelName,
        /// Why not.
        reason: String,
    },
    /// There are no safetensors.
    #[error("`{name}` has no `model.safetensors` and no index of shards; weights in other formats: {found}")]
    NoWeights {
        /// The model.
        name: ModelName,
        /// A file of weights that it does have.
        found: String,
    },
    /// The disk is too small.
    #[error("`{name}` needs {needed} bytes more; `{}` has {available}", folder.display())]
    Space {
        /// The model.
        name: ModelName,
        /// Bytes that are still to be downloaded.
        needed: u64,
        /// Bytes that there is room for.
        available: u64,
        /// The folder of the cache.
        folder: PathBuf,
    },
    /// What was downloaded is not what the Hub has.
    #[error("`{file}` was damaged on its way: its hash is {found}, that of the Hub's file {expected}")]
    Checksum {
        /// The file.
        file: String,
        /// The Hub's hash.
        expected: String,
        /// That of what came.
        found: String,
    },
    /// A download failed again and again.
    #[error("`{file}` stopped after {done} of {size} bytes: {reason}")]
    Stopped {
        /// The file.
        file: String,
        /// Bytes that are there.
        done: u64,
        /// Bytes that it has.
        size: u64,
        /// What went wrong last.
        reason: String,
    },
    /// The server answered with a status that means nothing here.
    #[error("`{endpoint}` answered with status {status} when asked for `{what}`")]
    Status {
        /// What was requested.
        what: String,
        /// Where.
        endpoint: String,
        /// The status.
        status: u16,
    },
    /// There was no answer.
    #[error("`{endpoint}` could not be asked for `{what}`")]
    Request {
        /// What was requested.
        what: String,
        /// Where.
        endpoint: String,
        /// Why not.
        source: Box<ureq::Error>,
    },
    /// The caller wants no more.
    #[error("the download of `{name}` was interrupted; what is there is kept")]
    Interrupted {
        /// The model.
        name: ModelName,
    },
    /// The operating system's refusal.
    #[error("could not {action} `{}`", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// With what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

impl HubError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Name(error) => return error.hint(),
            Self::Offline { .. } => "unset HF_HUB_OFFLINE to use the network".to_owned(),
            Self::NotCached { name, .. } => format!("aquatint pull {name}"),
            Self::Unknown { signed_in: false, .. } => {
                "check the name; a private model needs a token in HF_TOKEN".to_owned()
            }
            Self::Unknown { signed_in: true, .. } => "check the name, and what the token may read".to_owned(),
            Self::NoRevision { name } => format!("leave it out to download its main branch: {}", name.repository()),
            Self::Gated { page, signed_in: false, .. } => {
                format!("request access on {page}, then set HF_TOKEN to a token that may read it")
            }
            Self::Gated { page, signed_in: true, .. } => format!("request access on {page}"),
            Self::NoWeights { .. } => "look for a repository with the model as safetensors".to_owned(),
            Self::Space { .. } => "free some space, or set HF_HUB_CACHE to a folder on another disk".to_owned(),
            Self::Checksum { .. } => "run the same command again; it downloads this file anew".to_owned(),
            Self::Stopped { .. } | Self::Interrupted { .. } => {
                "run the same command again; it goes on where it stopped".to_owned()
            }
            Self::Request { .. } => {
                "check the connection, HF_ENDPOINT and the proxy variables; HF_HUB_OFFLINE=1 works from the cache"
                    .to_owned()
            }
            Self::Client { .. } | Self::Listing { .. } | Self::Status { .. } | Self::Io { .. } => return None,
        })
    }

    /// Whether something went wrong on the way, rather than with the request.
    pub fn is_failure(&self) -> bool {
        match self {
            Self::Space { .. }
            | Self::Checksum { .. }
            | Self::Stopped { .. }
            | Self::Status { .. }
            | Self::Request { .. }
            | Self::Interrupted { .. } => true,
            Self::Name(_)
            | Self::Client { .. }
            | Self::Offline { .. }
            | Self::NotCached { .. }
            | Self::Unknown { .. }
            | Self::NoRevision { .. }
            | Self::Gated { .. }
            | Self::Listing { .. }
            | Self::NoWeights { .. }
            | Self::Io { .. } => false,
        }
    }

    pub(crate) fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io { action, path: path.to_path_buf(), source }
    }
}

fn whom(signed_in: bool) -> &'static str {
    if signed_in { "with this token" } else { "without a token" }
}

fn others(revisions: &[String]) -> String {
    if revisions.is_empty() { String::new() } else { format!("; it holds the revisions {}", revisions.join(", ")) }
}
