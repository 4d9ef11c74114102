//! A model that fills templates: a checkpoint, its network on a device, and what its tokenizer says about special
//! tokens.

mod guarding;
mod preparing;

pub use preparing::Prepared;

use crate::media::Codecs;
use crate::runtime::{DeviceChoice, Runtime, RuntimeSettings};
use crate::{Error, MediaFile, MediaFiles, OutputPiece, SamplingOptions};
use aquatint_checkpoint::{Checkpoint, GenerationDefaults};
use aquatint_constraint::{CompileError, Compiler};
use aquatint_corpus::Source;
use aquatint_diffusion::{Canvas, Process, Span, TokenId};
use aquatint_evaluate::{
    HeldOut, HeldOutBatch, HeldOutEvent, Likelihood, MeasureSettings, TextRequests, Writer, measure,
};
use aquatint_generate::{
    DenoisingEvent, Engine, Ineffective, Limits, Outcome, Part, Predicted, Request, Settings, generate, ineffective,
    predict, process_of,
};
use aquatint_guard::Guards;
use aquatint_network::Denoiser;
use aquatint_provenance::WatermarkKey;
use aquatint_vocabulary::{CanvasPiece, ChatError, ChatTemplate, MediaKind, Original, Role, Template, TemplateCanvas};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::{Arc, OnceLock};

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

    /// A template as a canvas, with the codes of the files that it names.
    pub(crate) fn lay_out_with(&self, template: &Template, files: &MediaFiles) -> Result<TemplateCanvas, Error> {
        Ok(template.lay_out_with(&self.checkpoint.vocabulary, &self.codecs.spans(template, files)?)?)
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
