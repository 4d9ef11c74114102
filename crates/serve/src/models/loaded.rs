//! A model that is in memory.

use super::Medium;
use crate::error::ApiError;
use crate::{AdapterChoice, ModelSource};
use aquatint::checkpoint::Checkpoint;
use aquatint::diffusion::Domain;
use aquatint::generate::{Engine, Limits};
use aquatint::guard::Guards;
use aquatint::network::{Denoiser, NetworkKind};
use aquatint::provenance::WatermarkKey;
use aquatint::runtime::Runtime;
use aquatint::vocabulary::{ChatTemplate, MediaKind, TokenId, Vocabulary};
use aquatint::{Error, Model};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::{SystemTime, UNIX_EPOCH};

/// The number of the next model that is loaded.
static NEXT: AtomicUsize = AtomicUsize::new(0);

/// What holds for all texts of a server.
#[derive(Debug, Clone, Default)]
pub(crate) struct Trust {
    /// The key of the mark that all have.
    pub(crate) watermark: Option<WatermarkKey>,
    /// Who judges what is given and what is written.
    pub(crate) guards: Option<Guards>,
}

/// A model in memory, with what its requests are held against.
#[derive(Debug)]
pub(crate) struct Loaded {
    /// A number of its own: the same model loaded again has another one.
    pub(crate) id: usize,
    pub(crate) name: String,
    pub(crate) model: Model,
    /// How conversations become text; a model without one continues them as plain text.
    pub(crate) chat: Option<ChatTemplate>,
    /// What it reads and makes beside text.
    pub(crate) media: Vec<Medium>,
    pub(crate) limits: Limits,
    /// What the weights of its path take, about.
    pub(crate) bytes: u64,
    pub(crate) parameters: u64,
    /// When it was loaded, in seconds since 1970.
    pub(crate) created: u64,
}

/// A checkpoint and the bytes that its weights will take, about.
pub(super) fn open(source: &ModelSource, runtime: &Runtime) -> Result<(Checkpoint, u64), Error> {
    let checkpoint = Checkpoint::open(&source.path)?;
    let bytes = runtime.weight_memory(&checkpoint);
    Ok((checkpoint, bytes))
}

impl Loaded {
    /// The models of one path, whose weights are in memory once.
    pub(super) fn all(
        sources: &[ModelSource],
        checkpoint: Checkpoint,
        bytes: u64,
        trust: &Trust,
        runtime: &Runtime,
    ) -> Result<Vec<Self>, Error> {
        let chosen = |source: &ModelSource| match &source.adapter {
            AdapterChoice::First => checkpoint.first_adapter().map(str::to_owned),
            AdapterChoice::Nothing => None,
            AdapterChoice::Named(name) => Some(name.clone()),
        };
        let adapters: Vec<Option<String>> = sources.iter().map(chosen).collect();
        let networks = runtime.networks(&checkpoint, &adapters)?;
        let (checkpoint, created) =
            (Arc::new(checkpoint), SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()));
        // Their engines work side by side in one memory.
        let mut limits = runtime.capacity(bytes).limits(&checkpoint.spec)?;
        limits.bytes /= sources.len().max(1);
        limits.reuse_bytes /= sources.len().max(1);
        let load = |((source, adapter), network): ((&ModelSource, Option<String>), Box<dyn Denoiser>)| {
            let model = Model::with_adapter(checkpoint.clone(), network, adapter)?;
            let model = model.with_watermark(trust.watermark.clone()).with_guards(trust.guards.clone());
            let media = model.media_kinds().into_iter().map(|kind| Medium::of(&model, kind));
            let media = media.collect::<Result<_, _>>()?;
            Ok(Self {
                id: NEXT.fetch_add(1, SeqCst),
                name: source.name.clone(),
                chat: model.chat_template().ok(),
                model,
                media,
                limits,
                bytes,
                parameters: checkpoint.size().0,
                created,
            })
        };
        sources.iter().zip(adapters).zip(networks).map(load).collect()
    }

    /// A new engine for its requests.
    pub(crate) fn engine(&self) -> Result<Engine<'static>, Error> {
        self.model.engine(self.limits)
    }

    pub(crate) fn checkpoint(&self) -> &Checkpoint {
        self.model.checkpoint()
    }

    pub(crate) fn vocabulary(&self) -> &Vocabulary {
        &self.model.checkpoint().vocabulary
    }

    /// What it has of a kind of pictures or sounds.
    ///
    /// # Errors
    /// When it has none.
    pub(crate) fn medium(&self, kind: MediaKind) -> Result<&Medium, ApiError> {
        let allowed = |all: String, medium: &Medium| format!("{all}, {}s", medium.kind);
        self.media.iter().find(|medium| medium.kind == kind).ok_or_else(|| {
            let allowed = self.media.iter().fold("text".to_owned(), allowed);
            let message = format!("the model `{}` has no {kind}s; allowed: {allowed}", self.name);
            ApiError::invalid(format!("{message}; `media` in /v1/models says what a loaded model has"))
                .of("model")
                .code("invalid_value")
        })
    }

    /// How the codes of a kind lie on a canvas; anything where the model has none.
    pub(crate) fn domain(&self, kind: MediaKind) -> Domain {
        let codec = self.checkpoint().codecs.iter().find(|codec| codec.name == kind.name());
        codec.map_or(Domain::ANY, |codec| codec.domain.clone())
    }

    /// Which kind has its codes in a domain.
    pub(crate) fn kind_of(&self, domain: &Domain) -> Option<MediaKind> {
        let codec = self.checkpoint().codecs.iter().find(|codec| codec.domain == *domain)?;
        MediaKind::ALL.into_iter().find(|kind| kind.name() == codec.name)
    }

    /// Whether a token is a code, or stands before or behind codes.
    pub(crate) fn is_of_codec(&self, token: TokenId) -> bool {
        let codecs = &self.checkpoint().codecs;
        codecs.iter().any(|codec| codec.domain.ids.contains(&token) || [codec.open, codec.close].contains(&token))
    }

    /// The version of the program and the number of parameters, for `system_fingerprint`. It does not tell two models of
    /// one size from each other; their names do.
    pub(crate) fn fingerprint(&self) -> String {
        format!("aquatint-{}-{}", env!("CARGO_PKG_VERSION"), self.parameters)
    }

    /// Positions that it reads at most at once.
    pub(crate) fn context_length(&self) -> usize {
        self.checkpoint().spec.context_length
    }

    /// Whether it writes from left to right only, and cannot fill a hole before given text.
    pub(crate) fn is_causal(&self) -> bool {
        self.checkpoint().spec.kind() == NetworkKind::Causal
    }
}
