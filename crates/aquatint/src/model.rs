//! A model that fills templates: a checkpoint, its network on a device, and what its tokenizer says about special
//! tokens.

use crate::media::Codecs;
use crate::media_options::{OF_MEDIA, OF_TEXT};
use crate::runtime::{DeviceChoice, Runtime, RuntimeSettings};
use crate::{Error, MediaFile, MediaFiles, OutputPiece, Sampling, SamplingOptions};
use aquatint_checkpoint::{Checkpoint, GenerationDefaults};
use aquatint_constraint::{CompileError, Compiler, ConstraintSpec};
use aquatint_corpus::Source;
use aquatint_diffusion::{Canvas, Process, Span, TokenId};
use aquatint_evaluate::{
    HeldOut, HeldOutBatch, HeldOutEvent, Likelihood, MeasureSettings, TextRequests, Writer, measure,
};
use aquatint_generate::{
    Audit, DenoisingEvent, Engine, GenerateError, Ineffective, Limits, Outcome, Part, Predicted, Request, Settings,
    TextConstraint, Watermark, generate, ineffective, predict, process_of,
};
use aquatint_guard::{CanvasAudit, Guards, Passage};
use aquatint_network::Denoiser;
use aquatint_provenance::WatermarkKey;
use aquatint_vocabulary::{
    CanvasPiece, ChatError, ChatTemplate, Media, MediaKind, Message, Original, Role, Template, TemplateCanvas,
};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::{Arc, OnceLock};

/// Positions of the longest canvas of a network that writes beyond its context.
const MOST_POSITIONS: usize = 1 << 24;

/// A loaded model.
pub struct Model {
    checkpoint: Arc<Checkpoint>,
    network: Arc<dyn Denoiser>,
    /// The adapter that the network applies.
    adapter: Option<String>,
    /// How the network fills a canvas.
    process: Arc<dyn Process>,
    requests: TextRequests,
    codecs: Codecs,
    /// Made when the first constraint is.
    compiler: OnceLock<Result<Compiler, CompileError>>,
    /// Whose mark all texts have that it makes ready.
    watermark: Option<WatermarkKey>,
    /// Who judges what is given and what is written.
    guards: Option<Arc<Guards>>,
}

/// A text or a template, ready to be filled.
#[derive(Debug, Clone)]
pub struct Prepared {
    /// The canvas, with the way back to text.
    pub template_canvas: TemplateCanvas,
    /// How its text is filled.
    pub settings: Settings,
    /// How all of it is filled: the text, and each picture and sound that is to be made.
    pub parts: Vec<Part>,
    /// What was requested and changes nothing here.
    pub ineffective: Vec<Ineffective>,
}

impl Prepared {
    /// The same with another seed: what it is filled with is what the template prepared with that seed would be.
    #[must_use]
    pub fn with_seed(mut self, seed: u64) -> Self {
        self.settings = self.settings.with_seed(seed);
        for part in &mut self.parts {
            part.settings = part.settings.clone().with_seed(seed);
        }
        self
    }
}

impl Model {
    /// Opens a built-in model by its name or a folder by its path (`./NAME` where it is called like one), on the fastest
    /// path of this processor; on any other device by [`Runtime::open`].
    ///
    /// # Errors
    /// When there is no such model or its files cannot be used.
    pub fn open(name: &str) -> Result<Self, Error> {
        let settings = RuntimeSettings { device: DeviceChoice::Cpu, ..RuntimeSettings::default() };
        Runtime::new(&settings)?.open(name)
    }

    /// A model from a checkpoint and its network on any device, which applies the first of its adapters, where it has any
    /// ([`Runtime::network`]). A causal one writes from left to right: open places have to be behind all given text.
    ///
    /// # Errors
    /// When the model lacks what its process needs, or a codec of it cannot be used.
    pub fn new(checkpoint: impl Into<Arc<Checkpoint>>, network: Box<dyn Denoiser>) -> Result<Self, Error> {
        let checkpoint = checkpoint.into();
        let first = checkpoint.first_adapter().map(str::to_owned);
        Self::with_adapter(checkpoint, network, first)
    }

    /// The same of a network that applies this adapter, or none ([`Runtime::networks`]). Conversations have the adapter's
    /// template, and texts are sampled as it advises, where its folder says so.
    ///
    /// # Errors
    /// As [`Model::new`].
    pub fn with_adapter(
        checkpoint: impl Into<Arc<Checkpoint>>,
        network: Box<dyn Denoiser>,
        adapter: Option<String>,
    ) -> Result<Self, Error> {
        let checkpoint = checkpoint.into();
        let requests = TextRequests::new(&checkpoint.vocabulary, checkpoint.spec.vocabulary_size);
        let process = process_of(&checkpoint.spec, checkpoint.vocabulary.role(Role::Begin))?;
        let codecs = Codecs::open(&checkpoint)?;
        let (network, compiler) = (Arc::from(network), OnceLock::new());
        Ok(Self { process, requests, codecs, checkpoint, network, adapter, compiler, watermark: None, guards: None })
    }

    /// Marks every text that is made ready from now on by this key, unless its options have another one.
    ///
    /// ```
    /// use aquatint::provenance::{SchemeKind, Verdict, WatermarkKey};
    /// use aquatint::{Model, SamplingOptions};
    /// use std::ops::ControlFlow;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let key = WatermarkKey::of_bytes(SchemeKind::Gumbel { period: 256 }, *b"sixteen secrets.")?;
    /// let model = Model::open("tales")?.with_watermark(Some(key.clone()));
    /// let options = SamplingOptions { max_tokens: Some(100), temperature: Some(1.0), seed: Some(1), ..Default::default() };
    /// let prepared = model.prepare("Once upon a time", &options)?;
    /// let outcome = model.watch_prepared(&prepared, &mut |_| ControlFlow::Continue(()))?;
    /// let text = model.text(&prepared.template_canvas, &outcome);
    ///
    /// let detection = key.scheme().detect(&model.checkpoint().vocabulary.encode(&text)?);
    /// assert_eq!(detection.verdict(1e-4), Verdict::Marked);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn with_watermark(mut self, key: Option<WatermarkKey>) -> Self {
        self.watermark = key;
        self
    }

    /// The key of the mark on its texts.
    pub fn watermark(&self) -> Option<&WatermarkKey> {
        self.watermark.as_ref()
    }

    /// Has these guards judge all given text that is made ready or requested from now on, and each block that a request of this
    /// model fills.
    ///
    /// ```
    /// use aquatint::guard::{Guards, WordList};
    /// use aquatint::{Error, Model, SamplingOptions};
    /// use std::sync::Arc;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let list = WordList::parse("words", "pick a lock")?;
    /// let model = Model::open("tales")?.with_guards(Some(Guards::new(vec![Arc::new(list)], Guards::REPAIRS)));
    /// let refused = model.prepare("To pick a l[[1]]ock, [[8]].", &SamplingOptions::default());
    /// assert!(matches!(refused, Err(Error::Guard(_))));
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn with_guards(mut self, guards: Option<Guards>) -> Self {
        self.guards = guards.map(Arc::new);
        self
    }

    /// Who judges what is given and what is written.
    pub fn guards(&self) -> Option<&Guards> {
        self.guards.as_deref()
    }

    /// What judges a canvas that begins as this template canvas, block by block; `None` without guards. Requests of this model
    /// have it.
    pub fn audit(&self, template_canvas: &TemplateCanvas) -> Option<Arc<dyn Audit>> {
        let (checkpoint, template_canvas) = (self.checkpoint.clone(), template_canvas.clone());
        let read = move |canvas: &Canvas| Passage::of_written(&template_canvas, &checkpoint.vocabulary, canvas);
        self.guards.clone().map(|guards| -> Arc<dyn Audit> { Arc::new(CanvasAudit::new(guards, read)) })
    }

    /// The checkpoint: its description, vocabulary and advice.
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// How its makers, or those of its adapter, advise to sample from it.
    pub fn generation(&self) -> &GenerationDefaults {
        self.checkpoint.generation_with(self.adapter.as_deref())
    }

    /// The template of conversations, its adapter's where that has one.
    ///
    /// # Errors
    /// When there is none, or it cannot be read.
    pub fn chat_template(&self) -> Result<ChatTemplate, ChatError> {
        self.checkpoint.chat_template_with(self.adapter.as_deref())
    }

    /// What the model reads and makes beside text.
    pub fn media_kinds(&self) -> Vec<MediaKind> {
        self.codecs.kinds()
    }

    /// The network.
    pub fn denoiser(&self) -> &dyn Denoiser {
        self.network.as_ref()
    }

    /// Held-out text as canvases of this model's length, packed into the folder `cache` once.
    ///
    /// # Errors
    /// When the text cannot be read or has no document.
    pub fn held_out(
        &self,
        source: Source,
        cache: &Path,
        events: &mut dyn FnMut(HeldOutEvent),
    ) -> Result<HeldOut, Error> {
        Ok(HeldOut::open(source, &self.checkpoint.vocabulary, self.checkpoint.spec.context_length, cache, events)?)
    }

    /// What held-out text costs under this model, a causal one included; `progress` receives the canvases done and
    /// returns whether to go on.
    ///
    /// ```
    /// use aquatint::Model;
    /// use aquatint::corpus::Source;
    /// use aquatint::evaluate::MeasureSettings;
    ///
    /// # fn main() -> Result<(), aquatint::Error> {
    /// # let valid = concat!(env!("CARGO_MANIFEST_DIR"), "/../../data/sample/valid");
    /// # let cache = std::env::temp_dir().join("aquatint-doctest");
    /// let model = Model::open("tales")?;
    /// let held_out = model.held_out(Source::new(valid), &cache, &mut |_| {})?;
    /// let settings = MeasureSettings { limit: Some(2), ..MeasureSettings::default() };
    /// let likelihood = model.measure(&held_out, &settings, &mut |_| true)?;
    /// assert!(likelihood.bits_per_byte > 0.5 && likelihood.bits_per_byte < 8.0);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`HeldOut::measure`].
    pub fn measure(
        &self,
        held_out: &HeldOut,
        settings: &MeasureSettings,
        progress: &mut dyn FnMut(u64) -> bool,
    ) -> Result<Likelihood, Error> {
        Ok(held_out.measure(self.network.as_ref(), &self.checkpoint.vocabulary, settings, progress)?)
    }

    /// What documents cost that lie whole in canvases, given media included: texts that name files.
    pub(crate) fn measure_batches(
        &self,
        batches: impl Iterator<Item = HeldOutBatch>,
        settings: &MeasureSettings,
        progress: &mut dyn FnMut(u64) -> bool,
    ) -> Result<Likelihood, Error> {
        let (network, vocabulary) = (self.network.as_ref(), &self.checkpoint.vocabulary);
        Ok(measure(network, vocabulary, settings, batches.map(Ok), progress)?)
    }

    /// A template as a canvas, with the codes of the files that it names.
    pub(crate) fn lay_out_given(&self, template: &Template, files: &MediaFiles) -> Result<TemplateCanvas, Error> {
        let spans = self.codecs.spans(template, files)?;
        Ok(template.lay_out_with(&self.checkpoint.vocabulary, &spans)?)
    }

    /// This model as a writer of texts and puzzles that are measured.
    ///
    /// # Errors
    /// When the network or its vocabulary lacks what its process needs.
    pub fn writer(&self) -> Result<Writer<'_>, Error> {
        let writer = Writer::new(self.network.as_ref(), &self.checkpoint.vocabulary)?;
        Ok(writer.with_order(self.generation().order.clone()))
    }

    /// Lays out a template as it stands; a text without an open place is continued by about `continuation` tokens.
    ///
    /// # Errors
    /// When the template is invalid or needs more than text.
    pub fn lay_out(&self, template: &str, continuation: usize) -> Result<TemplateCanvas, Error> {
        let template = Template::parse(template)?;
        let template = if template.has_holes() { template } else { template.continued(continuation, true) };
        self.lay_out_with(&template, &MediaFiles::new())
    }

    /// Lays out a template with its pictures and sounds.
    fn lay_out_with(&self, template: &Template, files: &MediaFiles) -> Result<TemplateCanvas, Error> {
        Ok(template.lay_out_with(&self.checkpoint.vocabulary, &self.codecs.spans(template, files)?)?)
    }

    /// Makes a text or a template ready: merges what is requested of its sampling with what the checkpoint advises, and
    /// lays it out. A text without an open place is continued by at most [`SamplingOptions::max_tokens`] tokens, and where
    /// that was not requested, as far as the model can read.
    ///
    /// ```
    /// use aquatint::{Model, SamplingOptions};
    /// use std::ops::ControlFlow;
    ///
    /// # fn main() -> Result<(), aquatint::Error> {
    /// let model = Model::open("tales")?;
    /// let options = SamplingOptions { max_tokens: Some(8), steps: Some(4), ..SamplingOptions::default() };
    /// let prepared = model.prepare("Once upon a time", &options)?;
    /// let outcome =
    ///     model.watch(&prepared.template_canvas, &prepared.settings, &mut |_| ControlFlow::Continue(()))?;
    /// assert_eq!(outcome.statistics.forward_passes, 4);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// When an option is impossible, the template is invalid or needs more than text, or a guard refuses it.
    pub fn prepare(&self, text: &str, options: &SamplingOptions) -> Result<Prepared, Error> {
        self.prepare_template(Template::parse(text)?, options)
    }

    /// The same of a template. [`Template::text`] makes one of a text that may contain brackets.
    ///
    /// # Errors
    /// As [`Model::prepare`].
    pub fn prepare_template(&self, template: Template, options: &SamplingOptions) -> Result<Prepared, Error> {
        self.prepare_media(template, &MediaFiles::new(), options)
    }

    /// The same of a template that names pictures or sounds, whose files come with it: none is looked for anywhere else.
    ///
    /// # Errors
    /// As [`Model::prepare`]; also when a file did not come, is broken or too large, or when the model has no codes of its
    /// kind.
    pub fn prepare_media(
        &self,
        template: Template,
        files: &MediaFiles,
        options: &SamplingOptions,
    ) -> Result<Prepared, Error> {
        let sampling = options.resolve(self.generation())?;
        let has_holes = template.has_holes();
        let mut prepared = self.with_sampling(self.lay_out_for(template, files, &sampling)?, &sampling, options)?;
        if options.max_tokens.is_some() && has_holes && prepared.template_canvas.holes().next().is_some() {
            let reason = "the template says how many tokens are open".to_owned();
            prepared.ineffective.push(Ineffective { part: 0, parameter: "max_tokens", reason });
        }
        Ok(prepared)
    }

    /// Makes a text ready that is continued, with pictures or sounds behind it that are made side by side with the
    /// continuation. It has at most [`SamplingOptions::max_tokens`] tokens, and where that was not requested, as many as the
    /// model can read beside them.
    ///
    /// # Errors
    /// As [`Model::prepare_media`].
    pub fn prepare_beside(
        &self,
        template: &Template,
        made: &[MediaKind],
        files: &MediaFiles,
        options: &SamplingOptions,
    ) -> Result<Prepared, Error> {
        let sampling = options.resolve(self.generation())?;
        let with_made = |template: Template| {
            made.iter().fold(template, |template, kind| template.followed_by(" ").with_media(Media::open(*kind)))
        };
        let given = with_made(template.clone());
        let spans = self.codecs.spans(&given, files)?;
        let given = given.lay_out_with(&self.checkpoint.vocabulary, &spans)?;
        let count = self.continuation(given.canvas().len(), &sampling)?;
        let whole = with_made(template.clone().continued(count, true));
        let whole = whole.lay_out_with(&self.checkpoint.vocabulary, &spans)?;
        self.with_sampling(whole, &sampling, options)
    }

    /// Makes a text ready that is to be written between two others, at most [`SamplingOptions::max_tokens`] tokens long,
    /// and where that was not requested, as far as the model can read.
    ///
    /// ```
    /// use aquatint::{Model, SamplingOptions};
    /// use std::ops::ControlFlow;
    ///
    /// # fn main() -> Result<(), aquatint::Error> {
    /// let model = Model::open("tales")?;
    /// let options = SamplingOptions { max_tokens: Some(8), ..SamplingOptions::default() };
    /// let prepared = model.prepare_infill("Tom saw a", " and ran home.", &options)?;
    /// let outcome =
    ///     model.watch(&prepared.template_canvas, &prepared.settings, &mut |_| ControlFlow::Continue(()))?;
    /// let text = model.text(&prepared.template_canvas, &outcome);
    /// assert!(text.starts_with("Tom saw a") && text.ends_with(" and ran home."));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Model::prepare`].
    pub fn prepare_infill(&self, before: &str, after: &str, options: &SamplingOptions) -> Result<Prepared, Error> {
        let sampling = options.resolve(self.generation())?;
        let given = Template::text(before).followed_by(after).lay_out(&self.checkpoint.vocabulary)?;
        let count = self.continuation(given.canvas().len(), &sampling)?;
        let template = Template::text(before).continued(count, true).followed_by(after);
        self.with_sampling(template.lay_out(&self.checkpoint.vocabulary)?, &sampling, options)
    }

    /// Makes tokens ready that are to be continued, as [`Model::prepare`] does with text. Unlike in text, special tokens
    /// among them are what they are: a rendered conversation has them.
    ///
    /// # Errors
    /// As [`Model::prepare`]; also when a token is not the model's.
    pub fn prepare_tokens(&self, tokens: &[TokenId], options: &SamplingOptions) -> Result<Prepared, Error> {
        let sampling = options.resolve(self.generation())?;
        let count = self.continuation(tokens.len(), &sampling)?;
        let mut canvas = Canvas::new();
        canvas.push_given(tokens);
        canvas.push_open(count, true, Template::noise(&self.checkpoint.vocabulary)?);
        self.with_sampling(TemplateCanvas::of_canvas(canvas, &self.checkpoint.vocabulary), &sampling, options)
    }

    /// Makes a conversation ready to be answered, by the template of the model, or the plain one where it has none
    /// ([`ChatTemplate::PLAIN`]). The answer is the text of the one hole, as [`Model::prepare_tokens`] lays it out.
    ///
    /// ```
    /// use aquatint::{Model, SamplingOptions};
    /// use aquatint::vocabulary::Message;
    /// use std::ops::ControlFlow;
    ///
    /// # fn main() -> Result<(), aquatint::Error> {
    /// let model = Model::open("tales")?;
    /// let options = SamplingOptions { max_tokens: Some(8), seed: Some(1), ..SamplingOptions::default() };
    /// let prepared = model.prepare_conversation(&[Message::new("user", "Who ran home?")], &options)?;
    /// let outcome =
    ///     model.watch(&prepared.template_canvas, &prepared.settings, &mut |_| ControlFlow::Continue(()))?;
    /// assert!(model.text(&prepared.template_canvas, &outcome).starts_with("Q: Who ran home?\nA:"));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Model::prepare_tokens`], and when the template cannot be read or refuses the conversation.
    pub fn prepare_conversation(&self, turns: &[Message], options: &SamplingOptions) -> Result<Prepared, Error> {
        let vocabulary = &self.checkpoint.vocabulary;
        let template = match self.chat_template() {
            Err(ChatError::Missing) => {
                let end = vocabulary.role(Role::End).map(|end| vocabulary.token_text(end)).unwrap_or_default();
                ChatTemplate::new(ChatTemplate::PLAIN, "", &end)?
            }
            template => template?,
        };
        self.prepare_tokens(&vocabulary.encode_marked(&template.render(turns, true)?)?, options)
    }

    /// Makes a canvas ready as it stands.
    ///
    /// # Errors
    /// When an option is impossible, or the canvas cannot be filled by this model.
    pub fn prepare_canvas(
        &self,
        template_canvas: TemplateCanvas,
        options: &SamplingOptions,
    ) -> Result<Prepared, Error> {
        let sampling = options.resolve(self.generation())?;
        let mut prepared = self.with_sampling(template_canvas, &sampling, options)?;
        if options.max_tokens.is_some() {
            let reason = "the canvas says which positions are open".to_owned();
            prepared.ineffective.push(Ineffective { part: 0, parameter: "max_tokens", reason });
        }
        Ok(prepared)
    }

    fn with_sampling(
        &self,
        template_canvas: TemplateCanvas,
        sampling: &Sampling,
        options: &SamplingOptions,
    ) -> Result<Prepared, Error> {
        self.judge_given(&template_canvas)?;
        let constraint = options.constraint.as_ref().map(|spec| self.constraint(spec)).transpose()?;
        let watermark = options.watermark.as_ref().or(self.watermark.as_ref());
        let watermark = watermark.map(|key| -> Arc<dyn Watermark> { key.scheme() });
        let settings = sampling.settings().clone().with_constraint(constraint).with_watermark(watermark);
        let parts = self.parts(&template_canvas, &settings, options)?;
        let mut prepared = Prepared { template_canvas, settings, parts, ineffective: Vec::new() };
        let mut ineffective = self.ineffective_of(&self.unjudged(&prepared.template_canvas, prepared.parts.clone()))?;
        // What is requested is for the text first.
        let is_requested = |name: &str| options.requests(name) || name == "watermark";
        ineffective.retain(|setting| setting.part == 0 && is_requested(setting.parameter));
        let mut unused = |parameters: &[&'static str], reason: &str| {
            let unused = parameters.iter().copied().filter(|parameter| options.requests(parameter));
            ineffective.extend(unused.map(|parameter| Ineffective { part: 0, parameter, reason: reason.to_owned() }));
        };
        let (text, media) = self.open_spans(prepared.template_canvas.canvas());
        if media.is_empty() {
            unused(&OF_MEDIA, "no picture and no sound is to be made");
        } else if text.is_empty() {
            unused(&OF_TEXT, "no text is to be written");
        }
        prepared.ineffective = ineffective;
        Ok(prepared)
    }

    /// Judges what is given on a template canvas.
    fn judge_given(&self, template_canvas: &TemplateCanvas) -> Result<(), Error> {
        let Some(guards) = &self.guards else { return Ok(()) };
        Ok(guards.judge_given(&Passage::of_given(template_canvas, &self.checkpoint.vocabulary))?)
    }

    /// The spans of text and the spans of pictures and sounds that have something open, by their numbers.
    fn open_spans(&self, canvas: &Canvas) -> (Vec<usize>, Vec<usize>) {
        let spans = canvas.spans();
        let is_open = |number: &usize| spans[*number].positions.clone().any(|position| canvas.is_open(position));
        let open: Vec<usize> = (0..spans.len()).filter(is_open).collect();
        open.into_iter().partition(|number| !self.codecs.have(&spans[*number].domain))
    }

    /// A part for the text, where some of it is open or nothing is made at all, and one for each picture and sound that is to
    /// be made.
    fn parts(
        &self,
        template_canvas: &TemplateCanvas,
        settings: &Settings,
        options: &SamplingOptions,
    ) -> Result<Vec<Part>, Error> {
        let (text, numbers) = self.open_spans(template_canvas.canvas());
        let mut parts = Vec::new();
        if numbers.is_empty() || !text.is_empty() {
            parts.push(Part::new(settings.clone()));
        }
        if !numbers.is_empty() {
            let media = options.media_settings(settings, self.generation())?;
            parts.extend(numbers.into_iter().map(|span| Part::new(media.clone()).with_spans(vec![span])));
        }
        Ok(parts)
    }

    /// The settings that change nothing of how a template canvas is filled, whoever set them.
    ///
    /// # Errors
    /// When the canvas cannot be filled with these settings.
    pub fn ineffective(
        &self,
        template_canvas: &TemplateCanvas,
        settings: &Settings,
    ) -> Result<Vec<Ineffective>, Error> {
        self.ineffective_of(&self.unjudged(template_canvas, vec![Part::new(settings.clone())]))
    }

    fn ineffective_of(&self, request: &Request) -> Result<Vec<Ineffective>, Error> {
        Ok(ineffective(request, self.network.spec(), self.process.as_ref())?)
    }

    /// Lays out a template as it stands; one without an open place is continued as the sampling says.
    fn lay_out_for(
        &self,
        template: Template,
        files: &MediaFiles,
        sampling: &Sampling,
    ) -> Result<TemplateCanvas, Error> {
        let spans = self.codecs.spans(&template, files)?;
        let given = template.lay_out_with(&self.checkpoint.vocabulary, &spans)?;
        if template.has_holes() {
            return Ok(given);
        }
        let count = self.continuation(given.canvas().len(), sampling)?;
        Ok(template.continued(count, true).lay_out_with(&self.checkpoint.vocabulary, &spans)?)
    }

    /// Tokens of a continuation beside so many given ones.
    fn continuation(&self, given: usize, sampling: &Sampling) -> Result<usize, Error> {
        let spec = &self.checkpoint.spec;
        let count = sampling.continuation(spec.context_length.saturating_sub(given));
        let length = given.saturating_add(count);
        // A canvas of any length takes memory before the network could refuse it.
        let most = if spec.attention.slides() { MOST_POSITIONS } else { spec.context_length };
        if length > most {
            return Err(GenerateError::TooLong { length, given, context_length: most }.into());
        }
        Ok(count)
    }

    /// Compiles what a text may be for this model's vocabulary. [`Model::prepare`] does so with
    /// [`SamplingOptions::constraint`], and every request with those settings keeps it:
    ///
    /// ```
    /// use aquatint::{ConstraintSpec, Model, SamplingOptions};
    /// use std::ops::ControlFlow;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let model = Model::open("tales")?;
    /// let schema = serde_json::json!({
    ///     "type": "object",
    ///     "properties": { "name": { "type": "string", "maxLength": 12 }, "age": { "type": "integer", "minimum": 0 } },
    ///     "required": ["name", "age"]
    /// });
    /// let constraint = Some(ConstraintSpec::JsonSchema(schema));
    /// let options = SamplingOptions { max_tokens: Some(48), seed: Some(7), constraint, ..SamplingOptions::default() };
    /// let prepared = model.prepare("The girl, as JSON: ", &options)?;
    /// let outcome =
    ///     model.watch(&prepared.template_canvas, &prepared.settings, &mut |_| ControlFlow::Continue(()))?;
    /// let text = model.text(&prepared.template_canvas, &outcome);
    /// let value: serde_json::Value = serde_json::from_str(&text["The girl, as JSON: ".len()..])?;
    /// assert!(value["name"].is_string() && value["age"].is_u64());
    ///
    /// // A hole of a template is constrained alike; one that is too short is refused with the shortest length.
    /// let options = SamplingOptions { constraint: Some(ConstraintSpec::Regex("yes|no".into())), ..options };
    /// let prepared = model.prepare("Is it so? [[~4]]!", &options)?;
    /// # let outcome =
    /// #     model.watch(&prepared.template_canvas, &prepared.settings, &mut |_| ControlFlow::Continue(()))?;
    /// # let text = model.text(&prepared.template_canvas, &outcome);
    /// # assert!(["Is it so? yes!", "Is it so? no!"].contains(&text.as_str()), "{text}");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// When it has an error, cannot be kept, or takes more than a limit allows, or when the tokenizer is not byte-level.
    pub fn constraint(&self, spec: &ConstraintSpec) -> Result<TextConstraint, Error> {
        let compiler = self.compiler.get_or_init(|| Compiler::new(&self.checkpoint.vocabulary));
        Ok(compiler.as_ref().map_err(Clone::clone)?.compile(spec)?)
    }

    /// The request that fills what was made ready: the text as its settings say, and each picture and sound beside it.
    ///
    /// # Errors
    /// When a guard refuses what is given.
    pub fn request_of(&self, prepared: &Prepared) -> Result<Request, Error> {
        self.request_of_parts(&prepared.template_canvas, prepared.parts.clone())
    }

    /// The request that fills a template canvas, all of it by the same settings.
    ///
    /// # Errors
    /// When a guard refuses what is given.
    pub fn request(&self, template_canvas: &TemplateCanvas, settings: Settings) -> Result<Request, Error> {
        self.request_of_parts(template_canvas, vec![Part::new(settings)])
    }

    fn request_of_parts(&self, template_canvas: &TemplateCanvas, parts: Vec<Part>) -> Result<Request, Error> {
        self.judge_given(template_canvas)?;
        Ok(self.unjudged(template_canvas, parts))
    }

    /// The same where nothing is filled, or what is given was judged.
    fn unjudged(&self, template_canvas: &TemplateCanvas, parts: Vec<Part>) -> Request {
        let request = self.requests.request_of_parts(template_canvas.canvas().clone(), parts);
        let owes_blank = |span: &Span| {
            template_canvas.holes().any(|(positions, owes)| owes && positions.start == span.positions.start)
        };
        let constraints = request.constraints_of_settings(owes_blank);
        request.with_constraints(constraints).with_audit(self.audit(template_canvas))
    }

    /// The request that fills a canvas of this vocabulary.
    ///
    /// # Errors
    /// When a guard refuses what is given.
    pub fn request_for(&self, canvas: Canvas, settings: Settings) -> Result<Request, Error> {
        let request = self.requests.request(canvas, settings);
        if self.guards.is_none() {
            return Ok(request);
        }
        let template_canvas = TemplateCanvas::of_canvas(request.canvas.clone(), &self.checkpoint.vocabulary);
        self.judge_given(&template_canvas)?;
        Ok(request.with_audit(self.audit(&template_canvas)))
    }

    /// Fills a template canvas and reports every step; `events` may break, which cancels.
    ///
    /// # Errors
    /// When the canvas does not fit the model, a guard refuses it, or the network fails.
    pub fn watch(
        &self,
        template_canvas: &TemplateCanvas,
        settings: &Settings,
        events: &mut dyn FnMut(DenoisingEvent<'_>) -> ControlFlow<()>,
    ) -> Result<Outcome, Error> {
        self.follow(self.request(template_canvas, settings.clone())?, events)
    }

    /// Fills what was made ready, with its pictures and sounds, as [`Model::watch`] does.
    ///
    /// # Errors
    /// As [`Model::watch`].
    pub fn watch_prepared(
        &self,
        prepared: &Prepared,
        events: &mut dyn FnMut(DenoisingEvent<'_>) -> ControlFlow<()>,
    ) -> Result<Outcome, Error> {
        self.follow(self.request_of(prepared)?, events)
    }

    fn follow(
        &self,
        request: Request,
        events: &mut dyn FnMut(DenoisingEvent<'_>) -> ControlFlow<()>,
    ) -> Result<Outcome, Error> {
        let mut outcomes = self.serve(&[request], &mut |_, event| events(event))?;
        // One request gives one outcome.
        Ok(outcomes.remove(0))
    }

    /// What a canvas says that began as this template canvas: its text, and between it its pictures and sounds as files.
    ///
    /// # Errors
    /// When a codec fails.
    pub fn output(&self, template_canvas: &TemplateCanvas, canvas: &Canvas) -> Result<Vec<OutputPiece>, Error> {
        let pieces = template_canvas.read(&self.checkpoint.vocabulary, canvas).pieces;
        let piece = |piece| match piece {
            CanvasPiece::Media { stretch, codes } => {
                let file = self.media_file(stretch.kind, &codes, stretch.original.as_ref())?;
                Ok(OutputPiece::Media { file, is_made: stretch.is_made })
            }
            CanvasPiece::Text(text) => Ok(OutputPiece::Text(text)),
        };
        pieces.into_iter().map(piece).collect()
    }

    /// The picture or sound that codes stand for. Where some are not known yet, nothing is to be seen there. Of an original,
    /// what is not made stays as it was given.
    ///
    /// # Errors
    /// When the model has no codes of the kind, they are not as many as it takes, the original is none of them, or the codec
    /// fails.
    pub fn media_file(
        &self,
        kind: MediaKind,
        codes: &[Option<TokenId>],
        original: Option<&Original>,
    ) -> Result<MediaFile, Error> {
        Ok(self.codecs.file(kind, codes, original)?)
    }

    /// A picture of which some codes are made anew, as the codec fits it; `name` is for messages.
    ///
    /// # Errors
    /// When the model has no codes of the kind, or the file is broken or too large.
    pub fn original(&self, kind: MediaKind, name: &str, file: &[u8], made: Vec<bool>) -> Result<Original, Error> {
        Ok(self.codecs.original(kind, file, name, made)?)
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
        self.serve_each(requests, events).into_iter().collect()
    }

    /// The same, where one that fails or is refused leaves the others alone.
    pub fn serve_each(
        &self,
        requests: &[Request],
        events: &mut dyn FnMut(usize, DenoisingEvent<'_>) -> ControlFlow<()>,
    ) -> Vec<Result<Outcome, Error>> {
        let outcomes = generate(self.network.as_ref(), self.process.as_ref(), requests, events).into_iter();
        outcomes.map(|outcome| outcome.map_err(Error::from)).collect()
    }

    /// An engine for requests that come and go: they join and leave between steps, and each gets what it would get
    /// alone. It shares this model's network and can be moved into a thread of its own.
    ///
    /// ```
    /// use aquatint::generate::Limits;
    /// use aquatint::{Model, Settings};
    /// use std::ops::ControlFlow;
    ///
    /// # fn main() -> Result<(), aquatint::Error> {
    /// let model = Model::open("tales")?;
    /// let settings = |seed| Settings::builder().steps(4).seed(seed).build();
    /// let (first, second) = (model.lay_out("The [[4]] sat.", 0)?, model.lay_out("A fox [[8]].", 0)?);
    ///
    /// let mut engine = model.engine(Limits::default())?;
    /// engine.submit(model.request(&first, settings(1)?)?)?;
    /// engine.step(&mut |_, _| ControlFlow::Continue(()));
    /// // The second request joins while the first is under way.
    /// let id = engine.submit(model.request(&second, settings(2)?)?)?;
    /// let mut ended = Vec::new();
    /// while !engine.is_idle() {
    ///     ended.extend(engine.step(&mut |_, _| ControlFlow::Continue(())));
    /// }
    /// let of_second = ended.into_iter().find(|ended| ended.id == id).map(|ended| ended.outcome);
    /// let joined = of_second.expect("every request ends")?;
    /// let alone = model.watch(&second, &settings(2)?, &mut |_| ControlFlow::Continue(()))?;
    /// assert_eq!(model.text(&second, &joined), model.text(&second, &alone));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// When the network cannot hand out its word vectors.
    pub fn engine(&self, limits: Limits) -> Result<Engine<'static>, Error> {
        Ok(Engine::new(self.network.clone(), self.process.clone(), limits)?)
    }

    /// What the model predicts at positions of a canvas, were they open, given the rest: `count` alternatives for each with
    /// their probabilities, and the entropy; see [`predict`]. One forward pass, in which nothing is written.
    ///
    /// ```
    /// use aquatint::{Canvas, Model};
    ///
    /// # fn main() -> Result<(), aquatint::Error> {
    /// let model = Model::open("tales")?;
    /// let canvas = model.lay_out("Once upon a [[1]]", 0)?;
    /// let predicted = model.alternatives(canvas.canvas(), &[1, 2], 5)?;
    /// assert!(predicted.len() == 2 && predicted[0].alternatives.len() == 5 && predicted[0].entropy > 0.0);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`predict`], and when a guard refuses what is given, as it stands or with the positions open. The alternatives
    /// themselves are not judged.
    pub fn alternatives(&self, canvas: &Canvas, positions: &[usize], count: usize) -> Result<Vec<Predicted>, Error> {
        let request = self.request_for(canvas.clone(), Settings::default())?;
        // Positions that cannot be open are an error of the prediction.
        if let (Some(_), Ok(opened)) = (&self.guards, canvas.reopened(positions)) {
            self.judge_given(&TemplateCanvas::of_canvas(opened, &self.checkpoint.vocabulary))?;
        }
        Ok(predict(self.network.as_ref(), self.process.as_ref(), &request, positions, count)?)
    }

    /// The text of a filled template canvas: every given character, and what was written in each open place.
    pub fn text(&self, template_canvas: &TemplateCanvas, outcome: &Outcome) -> String {
        template_canvas.read(&self.checkpoint.vocabulary, &outcome.canvas).text
    }

    /// Fills a template and returns its text. A text without an open place is continued by as many tokens as the
    /// checkpoint advises, 128 where it does not, fewer where the model cannot read as far.
    ///
    /// # Errors
    /// As [`Model::lay_out`] and [`Model::watch`].
    pub fn fill(&self, template: &str, settings: &Settings) -> Result<String, Error> {
        let sampling = SamplingOptions::default().resolve(self.generation())?;
        let template_canvas = self.lay_out_for(Template::parse(template)?, &MediaFiles::new(), &sampling)?;
        let outcome = self.watch(&template_canvas, settings, &mut |_| ControlFlow::Continue(()))?;
        Ok(self.text(&template_canvas, &outcome))
    }
}

impl std::fmt::Debug for Model {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Model").field("origin", &self.checkpoint.origin).finish_non_exhaustive()
    }
}
