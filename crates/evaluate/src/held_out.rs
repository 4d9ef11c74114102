//! Held-out text and what it costs under a model of any kind.

use crate::{
    CANVASES_PER_PASS, CausalLikelihood, DiffusionBound, EvaluateError, HeldOutBatch, Likelihood, ProbabilityFlow,
    Rule, likelihood,
};
use aquatint_corpus::{Canvases, CorpusError, Source, SourceReport, TextOnly, pack};
use aquatint_generate::GenerateError;
use aquatint_network::Denoiser;
use aquatint_vocabulary::{Role, UnknownText, Vocabulary};
use std::path::Path;

/// Text laid out as canvases of a model's length.
#[derive(Debug)]
pub struct HeldOut {
    canvases: Canvases,
}

/// What happens while text is made ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HeldOutEvent {
    /// The text is packed into tokens, which is done once for the same text.
    Packing,
    /// The text is packed: what the source gave and what it did not.
    Packed(SourceReport),
    /// So much of it the vocabulary cannot write, of so many bytes in all.
    Unknown(UnknownText, u64),
}

/// How a model is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MeasureSettings {
    /// Canvases that are measured, spread evenly over the text; all of them where nothing is said.
    pub limit: Option<usize>,
    /// Noisy versions drawn of each canvas, at least 1.
    pub times: usize,
    /// Tokens at the beginning of each document, which may lie in several canvases, that are given and cost nothing.
    pub prompt: usize,
    /// Steps along the probability flow of a gaussian field, to be measured instead of the bound.
    pub flow: Option<usize>,
    /// Same seed, same noise.
    pub seed: u64,
}

impl Default for MeasureSettings {
    /// All canvases, one noisy version of each, nothing given.
    fn default() -> Self {
        Self { limit: None, times: 1, prompt: 0, flow: None, seed: 0 }
    }
}

impl HeldOut {
    /// Packs a source into `cache`, where it is not packed yet, and lays it out in canvases of `length` positions.
    ///
    /// # Errors
    /// When the text cannot be read or has no document.
    pub fn open(
        source: Source,
        vocabulary: &Vocabulary,
        length: usize,
        cache: &Path,
        events: &mut dyn FnMut(HeldOutEvent),
    ) -> Result<Self, EvaluateError> {
        let mut warned = false;
        let snapshot = source.snapshot(&mut |_| true)?;
        let packed = pack(&[snapshot], vocabulary, &TextOnly, cache, &mut |_| {
            if !std::mem::replace(&mut warned, true) {
                events(HeldOutEvent::Packing);
            }
            true
        })?;
        for packed in &packed {
            events(HeldOutEvent::Packed(packed.report.clone()));
        }
        let canvases = Canvases::new(packed, length)?;
        let unknown = canvases.unknown();
        if !unknown.is_empty() {
            events(HeldOutEvent::Unknown(unknown, canvases.text_bytes()));
        }
        Ok(Self { canvases })
    }

    /// All canvases.
    pub fn canvases(&self) -> &Canvases {
        &self.canvases
    }

    /// The canvases that are measured under a limit, in passes.
    fn batches(&self, limit: Option<usize>) -> impl Iterator<Item = Result<HeldOutBatch, CorpusError>> {
        let numbers = self.canvases.spread(limit);
        let passes: Vec<Vec<u64>> = numbers.chunks(CANVASES_PER_PASS).map(<[u64]>::to_vec).collect();
        passes.into_iter().map(|numbers| HeldOutBatch::of(&self.canvases, &numbers))
    }

    /// Measures a network: token by token where it is causal, by what it sees through noise otherwise. `progress`
    /// receives the canvases done and returns whether to go on.
    ///
    /// # Errors
    /// As [`likelihood`], and when the vocabulary or the process lacks what the network needs.
    pub fn measure(
        &self,
        denoiser: &dyn Denoiser,
        vocabulary: &Vocabulary,
        settings: &MeasureSettings,
        progress: &mut dyn FnMut(u64) -> bool,
    ) -> Result<Likelihood, EvaluateError> {
        measure(denoiser, vocabulary, settings, self.batches(settings.limit), progress)
    }
}

/// Measures canvases as [`HeldOut::measure`] does its own; all of them, whatever limit the settings have.
///
/// # Errors
/// As [`likelihood`], and when the vocabulary or the process lacks what the network needs.
pub fn measure(
    denoiser: &dyn Denoiser,
    vocabulary: &Vocabulary,
    settings: &MeasureSettings,
    batches: impl Iterator<Item = Result<HeldOutBatch, CorpusError>>,
    progress: &mut dyn FnMut(u64) -> bool,
) -> Result<Likelihood, EvaluateError> {
    let by = |rule: &dyn Rule| likelihood(denoiser, rule, settings.seed, batches, progress);
    let &MeasureSettings { times, prompt, flow, .. } = settings;
    if flow.is_some() && prompt > 0 {
        return Err(EvaluateError::setting("prompt", prompt, "0 along a probability flow"));
    }
    match (denoiser.spec().process().map_err(GenerateError::Setting)?, flow) {
        (None, Some(_)) => Err(EvaluateError::NoFlow { process: "of a causal model".to_owned() }),
        (None, None) => by(&CausalLikelihood { begin: vocabulary.required(Role::Begin)?, prompt }),
        (Some(process), None) => by(&DiffusionBound { process: process.as_ref(), times, prompt }),
        (Some(process), Some(steps)) => by(&ProbabilityFlow { process: process.as_ref(), steps }),
    }
}
