//! How a server is set up.

use std::path::Path;
use std::time::Duration;

/// A model by the name that requests use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelSource {
    /// The name.
    pub name: String,
    /// A built-in model's name or a folder.
    pub path: String,
}

impl ModelSource {
    /// A built-in model or a folder, named after its last part; `NAME=PATH` gives it another name.
    pub fn named(given: &str) -> Self {
        if let Some((name, path)) = given.split_once('=').filter(|(name, _)| !name.is_empty() && !name.contains('/')) {
            return Self { name: name.to_owned(), path: path.to_owned() };
        }
        let last = Path::new(given).file_name().map(|name| name.to_string_lossy().into_owned());
        Self { name: last.unwrap_or_else(|| given.to_owned()), path: given.to_owned() }
    }

    /// Whether a request means this model. Ollama's clients add a tag.
    pub(crate) fn answers_to(&self, name: &str) -> bool {
        name == self.name || name.strip_suffix(":latest").is_some_and(|name| name == self.name)
    }
}

/// The settings of a server. Its limits hold for each request, its sizes for all of them together.
#[derive(Debug, Clone)]
pub struct ServeSettings {
    /// The models, the first of which answers where a request names none.
    pub models: Vec<ModelSource>,
    /// The address to listen on; loopback by default.
    pub host: String,
    /// The port; 0 takes a free one.
    pub port: u16,
    /// Keys of which a request has to show one; without any, everyone is answered.
    pub api_keys: Vec<String>,
    /// Names by which the server may be called beside those of its address (`Host` of a request).
    pub allowed_hosts: Vec<String>,
    /// Origins whose pages may call it (CORS); none by default.
    pub cors_origins: Vec<String>,
    /// Bytes of a request's body at most.
    pub body_limit: usize,
    /// Positions of a canvas at most, whatever the model could read.
    pub canvas_limit: usize,
    /// Requests that may wait for their turn.
    pub queue: usize,
    /// How long a request may take, its wait included.
    pub time_limit: Duration,
    /// How long requests may go on after the server was asked to stop.
    pub grace: Duration,
    /// Bytes that the weights of all loaded models may take; half of what the machine has free where nothing is said.
    pub model_memory: Option<u64>,
    /// Whether texts of requests are reported.
    pub log_prompts: bool,
    /// Whether the page is served.
    pub page: bool,
}

impl ServeSettings {
    /// The port where nothing is said.
    pub const PORT: u16 = 8642;

    /// These models, and everything else as it is by default.
    pub fn new(models: Vec<ModelSource>) -> Self {
        Self {
            models,
            host: "127.0.0.1".to_owned(),
            port: Self::PORT,
            api_keys: Vec::new(),
            allowed_hosts: Vec::new(),
            cors_origins: Vec::new(),
            body_limit: 1 << 20,
            canvas_limit: 1 << 14,
            queue: 256,
            time_limit: Duration::from_secs(600),
            grace: Duration::from_secs(20),
            model_memory: None,
            log_prompts: false,
            page: true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_are_named_after_their_folders_or_as_requested() {
        let named = |given: &str| {
            let ModelSource { name, path } = ModelSource::named(given);
            [name, path]
        };
        assert_eq!(named("tales"), ["tales", "tales"]);
        assert_eq!(named("runs/mine/"), ["mine", "runs/mine/"]);
        assert_eq!(named("story=runs/mine"), ["story", "runs/mine"]);
        assert_eq!(named("runs/a=b"), ["a=b", "runs/a=b"]);
        assert!(ModelSource::named("tales").answers_to("tales:latest"));
        assert!(!ModelSource::named("tales").answers_to("tale"));
    }
}
