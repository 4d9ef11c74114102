//! Where the Hub is, where its cache is, and how patient a download is.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// Where models come from and where they are kept.
#[derive(Clone, PartialEq, Eq)]
pub struct HubSettings {
    /// The folder of the cache, which the Hub's own tools share (`HF_HUB_CACHE`).
    pub cache: PathBuf,
    /// Where the Hub is (`HF_ENDPOINT`).
    pub endpoint: String,
    /// Who asks (`HF_TOKEN`); private and gated models want to know.
    pub token: Option<String>,
    /// Whether nothing is to be sent over the network (`HF_HUB_OFFLINE`).
    pub offline: bool,
    /// How long a connection may say nothing.
    pub patience: Duration,
    /// How long to wait before a download is tried again; twice as long after each further failure.
    pub pause: Duration,
    /// How often a download is tried again without a byte of progress.
    pub retries: u32,
}

impl HubSettings {
    /// The public Hub, asked by nobody in particular.
    pub fn new(cache: PathBuf) -> Self {
        Self {
            cache,
            endpoint: "https://huggingface.co".to_owned(),
            token: None,
            offline: false,
            patience: Duration::from_secs(30),
            pause: Duration::from_secs(1),
            retries: 5,
        }
    }
}

/// The token is a secret and is left out.
impl fmt::Debug for HubSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cache, endpoint, token, offline, patience, pause, retries } = self;
        f.debug_struct("HubSettings")
            .field("cache", cache)
            .field("endpoint", endpoint)
            .field("token", &token.as_ref().map(|_| "…"))
            .field("offline", offline)
            .field("patience", patience)
            .field("pause", pause)
            .field("retries", retries)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_never_shown() {
        let settings = HubSettings { token: Some("hf_secret".to_owned()), ..HubSettings::new("cache".into()) };
        assert!(!format!("{settings:?}").contains("secret"));
    }
}
