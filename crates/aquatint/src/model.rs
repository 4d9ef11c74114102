//! A model that fills templates: a checkpoint, its network on a device, and what its tokenizer says about special tokens.

use crate::Error;
use crate::runtime::{DeviceChoice, Runtime, RuntimeSettings};
use aquatint_checkpoint::Checkpoint;
use aquatint_diffusion::{Canvas, Process, TokenId};
use aquatint_generate::{DenoisingEvent, GenerateError, Outcome, Request, Settings, generate};
use aquatint_network::Denoiser;
use aquatint_vocabulary::{Role, Template, TemplateCanvas};
use std::ops::ControlFlow;
use std::sync::Arc;

/// A loaded model.
pub struct Model {
    checkpoint: Checkpoint,
    network: Box<dyn Denoiser>,
    process: Arc<dyn Process>,
    end: Option<TokenId>,
    forbidden: Vec<TokenId>,
}

impl Model {
    /// Opens a folder or a built-in model by its name, on the fastest path of this processor; on any other device by
    /// [`Runtime::open`].
    ///
    /// # Errors
    /// When there is no such model or its files cannot be used.
    pub fn open(name: &str) -> Result<Self, Error> {
        let settings = RuntimeSettings { device: DeviceChoice::Cpu, ..RuntimeSettings::default() };
        Runtime::new(&settings)?.open(name)
    }

    /// A model from a checkpoint and its network on any device.
    ///
    /// # Errors
    /// When the model lacks what its process needs.
    pub fn new(checkpoint: Checkpoint, network: Box<dyn Denoiser>) -> Result<Self, Error> {
        let forbidden = checkpoint.vocabulary.non_text_tokens(checkpoint.spec.vocabulary_size);
        let end = checkpoint.vocabulary.role(Role::End);
        Ok(Self {
            process: checkpoint.spec.process().map_err(GenerateError::Setting)?,
            end,
            forbidden,
            checkpoint,
            network,
        })
    }

    /// The checkpoint: its description, vocabulary and advice.
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// Lays out a template as it stands; a text without an open place is continued by about `continuation` tokens.
    ///
    /// # Errors
    /// When the template is not understood or asks for more than text.
    pub fn lay_out(&self, template: &str, continuation: usize) -> Result<TemplateCanvas, Error> {
        let template = Template::parse(template)?;
        let template = if template.has_holes() { template } else { template.continued(continuation, true) };
        Ok(template.lay_out(&self.checkpoint.vocabulary)?)
    }

    /// The request that fills a form.
    pub fn request(&self, form: &TemplateCanvas, settings: Settings) -> Request {
        self.request_for(form.canvas().clone(), settings)
    }

    /// The request that fills a canvas of this vocabulary.
    pub fn request_for(&self, canvas: Canvas, settings: Settings) -> Request {
        Request::new(canvas, settings).with_end(self.end).with_forbidden(self.forbidden.clone())
    }

    /// Fills a form and tells every step; `events` may break, which cancels.
    ///
    /// # Errors
    /// When the canvas does not fit the model, or the network fails.
    pub fn watch(
        &self,
        form: &TemplateCanvas,
        settings: &Settings,
        events: &mut dyn FnMut(DenoisingEvent<'_>) -> ControlFlow<()>,
    ) -> Result<Outcome, Error> {
        let request = self.request(form, settings.clone());
        let mut outcomes = self.serve(&[request], &mut |_, event| events(event))?;
        // One request gives one outcome.
        Ok(outcomes.remove(0))
    }

    /// Fills the canvases of any requests together; events come with the number of their request.
    ///
    /// # Errors
    /// As [`Model::watch`].
    pub fn serve(
        &self,
        requests: &[Request],
        events: &mut dyn FnMut(usize, DenoisingEvent<'_>) -> ControlFlow<()>,
    ) -> Result<Vec<Outcome>, Error> {
        let outcomes = generate(self.network.as_ref(), self.process.as_ref(), requests, events).into_iter();
        Ok(outcomes.collect::<Result<_, _>>()?)
    }

    /// The text of a filled form: every given character, and what was written in each open place.
    pub fn text(&self, form: &TemplateCanvas, outcome: &Outcome) -> String {
        form.text(&self.checkpoint.vocabulary, &outcome.canvas)
    }

    /// Fills a template and returns its text. A text without an open place is continued by as many tokens as the
    /// checkpoint advises, 128 where it does not, fewer where the model cannot read as far.
    ///
    /// # Errors
    /// As [`Model::lay_out`] and [`Model::watch`].
    pub fn fill(&self, template: &str, settings: &Settings) -> Result<String, Error> {
        let given = self.lay_out(template, 0)?.canvas().len();
        let room = self.checkpoint.spec.context_length.saturating_sub(given).max(1);
        let form = self.lay_out(template, self.checkpoint.generation.max_new_tokens.unwrap_or(128).min(room))?;
        let outcome = self.watch(&form, settings, &mut |_| ControlFlow::Continue(()))?;
        Ok(self.text(&form, &outcome))
    }
}

impl std::fmt::Debug for Model {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Model").field("origin", &self.checkpoint.origin).finish_non_exhaustive()
    }
}
