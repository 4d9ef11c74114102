//! Models of the Hugging Face Hub: which revision of which repository, where the shared cache keeps it, and how it gets
//! there.
//!
//! ```no_run
//! use aquatint_hub::{Hub, HubSettings, ModelName};
//! use std::ops::ControlFlow;
//!
//! # fn main() -> Result<(), aquatint_hub::HubError> {
//! let hub = Hub::new(HubSettings::new("/home/me/.cache/huggingface/hub".into()))?;
//! let name: ModelName = "GSAI-ML/LLaDA-8B-Instruct".parse()?;
//! let pulled = hub.pull(&name, &mut |_| ControlFlow::Continue(()))?;
//! assert_eq!(hub.snapshot(&name)?, pulled.folder);
//! # Ok(())
//! # }
//! ```
//!
//! The crate `hf-hub` 0.5 gives the layout of the cache, the addresses and an authenticated client. It resumes downloads,
//! but checks neither what it downloaded nor whether the server began where it was told to, and moves a branch to a new
//! commit before all files of it are there; so files are fetched here. Version 1 of it wants a hundred crates more, a
//! storage client of its own among them.
#![forbid(unsafe_code)]

mod cache;
mod checksum;
mod download;
mod error;
mod listing;
mod name;
mod needed;
mod pull;
mod settings;

pub use cache::{CachedModel, Removed};
pub use error::HubError;
pub use name::{ModelName, NameError};
pub use pull::{PullEvent, Pulled};
pub use settings::HubSettings;

use hf_hub::api::sync::{Api, ApiBuilder};
use hf_hub::{Cache, Repo, RepoType};

/// The Hub and the cache of what was downloaded from it.
#[derive(Debug)]
pub struct Hub {
    settings: HubSettings,
    cache: Cache,
    api: Api,
}

impl Hub {
    /// A hub as settings say. Nothing is read, written or sent yet.
    ///
    /// # Errors
    /// When there can be no client of the endpoint.
    pub fn new(settings: HubSettings) -> Result<Self, HubError> {
        let cache = Cache::new(settings.cache.clone());
        let api = ApiBuilder::from_cache(cache.clone())
            .with_endpoint(settings.endpoint.clone())
            .with_token(settings.token.clone())
            .with_user_agent("aquatint", env!("CARGO_PKG_VERSION"))
            .build()
            .map_err(|error| HubError::Client { endpoint: settings.endpoint.clone(), reason: error.to_string() })?;
        Ok(Self { settings, cache, api })
    }
}

impl ModelName {
    /// The repository as `hf-hub` names it.
    fn repo(&self) -> Repo {
        Repo::with_revision(self.repository().to_owned(), RepoType::Model, self.revision().to_owned())
    }
}
