//! A model that fills canvases to be measured by what it writes.

use crate::{EvaluateError, TextRequests};
use aquatint_diffusion::{Canvas, OrderNetwork, Process, TokenId};
use aquatint_generate::{
    Certainties, DenoisingEvent, Engine, Limits, Outcome, Request, Settings, SettingsBuilder, generate, process_of,
};
use aquatint_network::Denoiser;
use aquatint_vocabulary::{Role, Vocabulary};
use std::ops::ControlFlow;
use std::sync::Arc;

/// A model's network, process and vocabulary.
pub struct Writer<'a> {
    denoiser: &'a dyn Denoiser,
    process: Arc<dyn Process>,
    vocabulary: &'a Vocabulary,
    requests: TextRequests,
    order: Option<Arc<OrderNetwork>>,
}

impl<'a> Writer<'a> {
    /// A writer of a network and the vocabulary that it was trained on.
    ///
    /// # Errors
    /// When the network or its vocabulary lacks what its process needs.
    pub fn new(denoiser: &'a dyn Denoiser, vocabulary: &'a Vocabulary) -> Result<Self, EvaluateError> {
        let spec = denoiser.spec();
        let process = process_of(spec, vocabulary.role(Role::Begin))?;
        let requests = TextRequests::new(vocabulary, spec.vocabulary_size);
        Ok(Self { denoiser, process, vocabulary, requests, order: None })
    }

    /// The same of a model that has a learnt order, or none.
    #[must_use]
    pub fn with_order(self, order: Option<Arc<OrderNetwork>>) -> Self {
        Self { order, ..self }
    }

    /// Begins settings for this model: the policy `learnt` commits by its order.
    pub fn settings(&self) -> SettingsBuilder {
        Settings::builder().learnt_order(self.order.clone())
    }

    /// The network.
    pub fn denoiser(&self) -> &'a dyn Denoiser {
        self.denoiser
    }

    /// How the network fills a canvas.
    pub fn process(&self) -> &dyn Process {
        self.process.as_ref()
    }

    /// Text to tokens and back.
    pub fn vocabulary(&self) -> &'a Vocabulary {
        self.vocabulary
    }

    /// What an open position holds before the process draws it.
    pub fn blank(&self) -> TokenId {
        self.vocabulary.role(Role::Mask).unwrap_or_default()
    }

    /// A canvas of so many open positions, which an end token may close early; nothing is given but the begin token, where
    /// one stands in front of the model's texts.
    pub fn empty_canvas(&self, length: usize) -> Canvas {
        let mut canvas = Canvas::new();
        canvas.push_given(self.vocabulary.text_begin().as_slice());
        canvas.push_open(length, true, self.blank());
        canvas
    }

    /// Open positions that an empty canvas has at most: as many as the network reads, without the begin token.
    pub fn longest_text(&self) -> usize {
        self.denoiser.spec().context_length - usize::from(self.vocabulary.text_begin().is_some())
    }

    /// What was written on an empty canvas, without the begin token.
    pub fn written(&self, outcome: &Outcome) -> Vec<TokenId> {
        let begin = self.vocabulary.text_begin();
        outcome.tokens.iter().copied().skip_while(|token| Some(*token) == begin).collect()
    }

    /// The request that fills a canvas with text.
    pub fn request(&self, canvas: Canvas, settings: Settings) -> Request {
        self.requests.request(canvas, settings)
    }

    /// Refuses a request that the model can never serve, without filling anything.
    ///
    /// # Errors
    /// When a setting or the canvas does not fit the model.
    pub fn check(&self, request: Request) -> Result<(), EvaluateError> {
        let engine = Engine::borrowing(self.denoiser, self.process.as_ref(), Limits::NONE)?;
        engine.admit(request)?;
        Ok(())
    }

    /// Fills the canvases of some requests together. `go_on` hears every event with the index of its request, the first before
    /// the network reads anything, and says whether to go on; after its first no everything is cancelled.
    ///
    /// # Errors
    /// When a canvas does not fit the model, the network fails, or it was stopped.
    pub fn fill(
        &self,
        requests: &[Request],
        go_on: &mut dyn FnMut(usize, &DenoisingEvent<'_>) -> bool,
    ) -> Result<Vec<Outcome>, EvaluateError> {
        let mut stopped = false;
        let outcomes = generate(self.denoiser, self.process.as_ref(), requests, &mut |index, event| {
            stopped = stopped || !go_on(index, &event);
            if stopped { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        if stopped {
            return Err(EvaluateError::Stopped);
        }
        Ok(outcomes.into_iter().collect::<Result<_, _>>()?)
    }

    /// The same with how sure the network was of each token; `go_on` is asked in every step.
    ///
    /// # Errors
    /// When a canvas does not fit the model, the network fails, or it was stopped.
    pub fn fill_with_certainties(
        &self,
        requests: &[Request],
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<(Vec<Outcome>, Vec<Certainties>), EvaluateError> {
        let mut certainties = vec![Certainties::default(); requests.len()];
        let outcomes = self.fill(requests, &mut |index, event| {
            certainties[index].follow(event);
            go_on()
        })?;
        Ok((outcomes, certainties))
    }
}
