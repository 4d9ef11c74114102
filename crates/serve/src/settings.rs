//! How a server is set up.

use aquatint::checkpoint::{adapter_name, is_order};
use aquatint::guard::Guards;
use aquatint::provenance::WatermarkKey;
use std::path::Path;
use std::time::Duration;

/// A model by the name that requests use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelSource {
    /// The name.
    pub name: String,
    /// A built-in model's name or a folder, or one with its adapters (`MODEL+FOLDER+…`), which has its weights in memory once
    /// for all of them.
    pub path: String,
    /// Which of its adapters is applied.
    pub adapter: AdapterChoice,
}

/// Which adapter of a model is applied.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum AdapterChoice {
    /// The first, where there is one.
    #[default]
    First,
    /// None.
    Nothing,
    /// The one of this name.
    Named(String),
}

impl ModelSource {
    /// A built-in model or a folder, named after its last part; `NAME=PATH` gives it another name. A model with adapters,
    /// `MODEL+FOLDER+…`, is served alone by its name, and with each adapter as `NAME+ADAPTER`.
    pub fn named(given: &str) -> Vec<Self> {
        let (name, path) = match given.split_once('=').filter(|(name, _)| !name.is_empty() && !name.contains('/')) {
            Some((name, path)) => (Some(name.to_owned()), path),
            None => (None, given),
        };
        let source = |name: String, adapter| Self { name, path: path.to_owned(), adapter };
        let mut parts = if Path::new(path).exists() { vec![path] } else { path.split('+').collect() }.into_iter();
        let base = parts.next().unwrap_or_default();
        let name = name.unwrap_or_else(|| last_part(base));
        // A learnt order is no model of its own: all of these have it.
        let adapters = parts.map(Path::new).filter(|folder| !is_order(folder));
        let adapters: Vec<String> = adapters.map(adapter_name).collect();
        if adapters.is_empty() {
            return vec![source(name, AdapterChoice::First)];
        }
        let with = |adapter: String| source(format!("{name}+{adapter}"), AdapterChoice::Named(adapter));
        let alone = source(name.clone(), AdapterChoice::Nothing);
        std::iter::once(alone).chain(adapters.into_iter().map(with)).collect()
    }

    /// Whether two are one model with different adapters.
    pub(crate) fn shares_weights_with(&self, other: &Self) -> bool {
        self.path == other.path && [self, other].iter().all(|source| source.adapter != AdapterChoice::First)
    }

    /// Whether a request means this model. Ollama's clients add a tag.
    pub(crate) fn answers_to(&self, name: &str) -> bool {
        name == self.name || name.strip_suffix(":latest").is_some_and(|name| name == self.name)
    }
}

/// What a model is called after.
fn last_part(path: &str) -> String {
    let last = Path::new(path).file_name().map(|name| name.to_string_lossy().into_owned());
    last.unwrap_or_else(|| path.to_owned())
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
    /// The key of the mark that every text has which is written here.
    pub watermark: Option<WatermarkKey>,
    /// Who judges what is given and what is written; nobody by default.
    pub guards: Option<Guards>,
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
            watermark: None,
            guards: None,
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
            let all = ModelSource::named(given).into_iter();
            all.map(|ModelSource { name, path, adapter }| (name, path, adapter)).collect::<Vec<_>>()
        };
        let only = |name: &str, path: &str| vec![(name.to_owned(), path.to_owned(), AdapterChoice::First)];
        assert_eq!(named("tales"), only("tales", "tales"));
        assert_eq!(named("runs/mine/"), only("mine", "runs/mine/"));
        assert_eq!(named("story=runs/mine"), only("story", "runs/mine"));
        assert_eq!(named("runs/a=b"), only("a=b", "runs/a=b"));
        let with = |name: &str, given: &str, adapter| (name.to_owned(), given.to_owned(), adapter);
        let adapters = "tales+runs/pirate+runs/v1.5";
        assert_eq!(
            named(adapters),
            [
                with("tales", adapters, AdapterChoice::Nothing),
                with("tales+pirate", adapters, AdapterChoice::Named("pirate".into())),
                with("tales+v1-5", adapters, AdapterChoice::Named("v1-5".into())),
            ]
        );
        assert_eq!(named("story=tales+runs/a")[1].0, "story+a");
        assert!(ModelSource::named("tales")[0].answers_to("tales:latest"));
        assert!(!ModelSource::named("tales")[0].answers_to("tale"));
    }
}
