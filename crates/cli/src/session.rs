//! A loaded model that fills templates: what `run` and `generate` share.

use crate::arguments::{DeviceArguments, SamplingArguments};
use crate::certainty;
use crate::failure::Failure;
use crate::media;
use crate::model;
use crate::printer::Printer;
use crate::source_report::counted;
use crate::token_canvas::TokenCanvas;
use crate::wire;
use aquatint::codec::Picture;
use aquatint::generate::{Certainties, Ineffective, Request};
use aquatint::guard::Guards;
use aquatint::runtime::Runtime;
use aquatint::{DenoisingEvent, Model, Outcome, OutputPiece, Prepared};
use aquatint_checkpoint::{Checkpoint, GenerationDefaults};
use aquatint_diffusion::{Canvas, Kind, Layout, TokenId};
use aquatint_vocabulary::{ChatError, MediaStretch, Message, Piece, Template, TemplateCanvas};
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::time::Instant;

/// A model ready to fill canvases.
pub(crate) struct Session {
    model: Model,
    runtime: Runtime,
    /// What was warned of.
    warnings: RefCell<BTreeSet<String>>,
}

/// A filled template canvas with what it took.
pub(crate) struct Filled {
    pub(crate) outcome: Outcome,
    pub(crate) seconds: f64,
    /// How sure the model was of each token.
    pub(crate) certainties: Certainties,
}

impl Session {
    /// Opens a model and builds its network.
    pub(crate) fn open(model: Option<&str>, device: &DeviceArguments, printer: &Printer) -> Result<Self, Failure> {
        Self::open_with(model, None, device, printer)
    }

    /// The same with another attention layout.
    pub(crate) fn open_with(
        model: Option<&str>,
        layout: Option<&str>,
        device: &DeviceArguments,
        printer: &Printer,
    ) -> Result<Self, Failure> {
        let runtime = device.runtime(printer)?;
        let mut checkpoint = model::open(model, printer)?;
        device.warn_of_experts(&checkpoint, printer);
        if let Some(layout) = layout {
            checkpoint.spec.attention = match layout.parse()? {
                Layout::Causal => {
                    return Err(Failure::new("`layout` is \"causal\"; allowed: full, block:LENGTH")
                        .hint("only a network that was trained so predicts from left to right"));
                }
                layout => layout,
            };
        }
        let begun = Instant::now();
        let network = runtime.network(&checkpoint)?;
        printer.detail(format_args!(
            "model {} in {:.2} s on {}; {}",
            checkpoint.origin,
            begun.elapsed().as_secs_f64(),
            runtime.describe_device(),
            runtime.describe_precision()
        ));
        Ok(Self { model: Model::new(checkpoint, network)?, runtime, warnings: RefCell::default() })
    }

    /// The same with guards.
    pub(crate) fn with_guards(mut self, guards: Option<Guards>) -> Self {
        self.model = self.model.with_guards(guards);
        self
    }

    /// Where the model came from, and its vocabulary and defaults.
    pub(crate) fn checkpoint(&self) -> &Checkpoint {
        self.model.checkpoint()
    }

    /// How its makers advise to sample from it.
    pub(crate) fn generation(&self) -> &GenerationDefaults {
        self.model.generation()
    }

    /// Where the model computes.
    pub(crate) fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    /// Makes a template ready. What has no effect is reported, once in a session.
    pub(crate) fn prepare(
        &self,
        template: Template,
        sampling: &SamplingArguments,
        printer: &Printer,
    ) -> Result<Prepared, Failure> {
        let files = media::files_of(&template)?;
        let prepared = self.model.prepare_media(template, &files, &sampling.options()?)?;
        Ok(self.checked(prepared, sampling, printer))
    }

    /// Makes a text ready that is said to the model, by its own template of conversations. `None` where the model has none,
    /// or the text has open places, pictures or sounds, which are filled where they stand.
    pub(crate) fn prepare_turn(
        &self,
        template: &Template,
        sampling: &SamplingArguments,
        printer: &Printer,
    ) -> Result<Option<Prepared>, Failure> {
        let mut words = String::new();
        for piece in template.pieces() {
            match piece {
                Piece::Text(text) => words.push_str(text),
                _ => return Ok(None),
            }
        }
        if matches!(self.model.chat_template(), Err(ChatError::Missing)) {
            return Ok(None);
        }
        let turns = [Message::new("user", words)];
        let prepared = self.model.prepare_conversation(&turns, &sampling.options()?)?;
        Ok(Some(self.checked(prepared, sampling, printer)))
    }

    /// The same of ids.
    pub(crate) fn prepare_tokens(
        &self,
        typed: &str,
        sampling: &SamplingArguments,
        printer: &Printer,
    ) -> Result<Prepared, Failure> {
        let (options, checkpoint) = (sampling.options()?, self.checkpoint());
        let resolved = options.resolve(self.model.generation())?;
        let canvas = TokenCanvas {
            typed,
            continuation: resolved.max_tokens(),
            ends: resolved.settings().end_token().is_some(),
            noise: Template::noise(&checkpoint.vocabulary).map_err(aquatint::Error::from)?,
            vocabulary_size: checkpoint.spec.vocabulary_size,
        };
        let template_canvas = TemplateCanvas::of_canvas(canvas.canvas()?, &checkpoint.vocabulary);
        let mut prepared = self.model.prepare_canvas(template_canvas, &options)?;
        if canvas.is_continued() {
            // That many positions were opened here.
            prepared.ineffective.retain(|ineffective| ineffective.parameter != "max_tokens");
        }
        Ok(self.checked(prepared, sampling, printer))
    }

    /// Reports what has no effect.
    fn checked(&self, prepared: Prepared, sampling: &SamplingArguments, printer: &Printer) -> Prepared {
        for Ineffective { parameter, reason, .. } in &prepared.ineffective {
            let warning = format!("`--{}` has no effect: {reason}", sampling.flag(parameter));
            if self.warnings.borrow_mut().insert(warning.clone()) {
                printer.warn(warning);
            }
        }
        let unknown = prepared.template_canvas.unknown();
        if !unknown.is_empty() {
            printer.warn(crate::training::unknown(unknown, None, "prompt"));
        }
        printer.detail(format_args!("settings: {}", wire::Settings::of(&prepared.settings)));
        if let Some(part) = prepared.parts.iter().find(|part| part.spans.is_some()) {
            printer.detail(format_args!("settings of pictures and sounds: {}", wire::Settings::of(&part.settings)));
        }
        prepared
    }

    /// Fills a template canvas. `events` may break, which cancels.
    pub(crate) fn fill(
        &self,
        prepared: &Prepared,
        events: &mut dyn FnMut(&DenoisingEvent<'_>) -> ControlFlow<()>,
    ) -> Result<Filled, Failure> {
        let begun = Instant::now();
        let mut certainties = Certainties::default();
        let outcome = self.model.watch_prepared(prepared, &mut |event| {
            certainties.follow(&event);
            events(&event)
        })?;
        Ok(Filled { outcome, seconds: begun.elapsed().as_secs_f64(), certainties })
    }

    /// Fills a canvas of ids, in which every token but the mask may be written.
    pub(crate) fn fill_tokens(
        &self,
        prepared: &Prepared,
        events: &mut dyn FnMut(&DenoisingEvent<'_>) -> ControlFlow<()>,
    ) -> Result<Filled, Failure> {
        let begun = Instant::now();
        let mut filled = self.fill_all(&[self.request_of_tokens(prepared)], &mut |_, event| events(event));
        // One request gives one outcome.
        let (outcome, certainties) = filled.remove(0)?;
        Ok(Filled { outcome, seconds: begun.elapsed().as_secs_f64(), certainties })
    }

    /// The request that fills a template canvas.
    ///
    /// # Errors
    /// When a guard refuses what is given.
    pub(crate) fn request_of(&self, prepared: &Prepared) -> Result<Request, aquatint::Error> {
        self.model.request_of(prepared)
    }

    /// The request that fills a canvas of ids.
    pub(crate) fn request_of_tokens(&self, prepared: &Prepared) -> Request {
        let audit = self.model.audit(&prepared.template_canvas);
        Request::new(prepared.template_canvas.canvas().clone(), prepared.settings.clone()).with_audit(audit)
    }

    /// Fills canvases together; events come with the number of their request, and may break, which cancels that one. One that
    /// fails or is refused leaves the others alone.
    pub(crate) fn fill_all(
        &self,
        requests: &[Request],
        events: &mut dyn FnMut(usize, &DenoisingEvent<'_>) -> ControlFlow<()>,
    ) -> Vec<Result<(Outcome, Certainties), aquatint::Error>> {
        let mut certainties = vec![Certainties::default(); requests.len()];
        let outcomes = self.model.serve_each(requests, &mut |number, event| {
            certainties[number].follow(&event);
            events(number, &event)
        });
        let each = outcomes.into_iter().zip(certainties);
        each.map(|(outcome, certainties)| Ok((outcome?, certainties))).collect()
    }

    /// What was written, with its pictures and sounds.
    pub(crate) fn output(&self, prepared: &Prepared, filled: &Filled) -> Result<Vec<OutputPiece>, Failure> {
        Ok(self.model.output(&prepared.template_canvas, &filled.outcome.canvas)?)
    }

    /// A picture as far as its codes are known; `None` where it cannot be drawn.
    pub(crate) fn picture(&self, stretch: &MediaStretch, codes: &[Option<TokenId>]) -> Option<Picture> {
        media::picture_of(&self.model.media_file(stretch.kind, codes, stretch.original.as_ref()).ok()?)
    }

    /// The result for scripts.
    pub(crate) fn report(&self, prepared: &Prepared, filled: &Filled, pieces: &[OutputPiece]) -> wire::Outcome {
        let Prepared { template_canvas, settings, parts, .. } = prepared;
        let of_media = parts.iter().find(|part| part.spans.is_some()).map(|part| wire::Settings::of(&part.settings));
        let vocabulary = &self.checkpoint().vocabulary;
        let (outcome, statistics) = (&filled.outcome, &filled.outcome.statistics);
        let read = template_canvas.read(vocabulary, &outcome.canvas);
        let spans = certainty::spans(prepared, (&outcome.canvas, &read.holes), &filled.certainties, vocabulary);
        wire::Outcome {
            text: read.text,
            ids: None,
            steps: None,
            filled: read.holes,
            spans,
            broken_bytes: read.broken_bytes,
            unknown_characters: template_canvas.unknown().characters,
            tokens: statistics.tokens,
            forward_passes: statistics.forward_passes,
            repairs: statistics.repairs,
            rows_read: statistics.rows_read,
            tokens_per_forward: statistics.tokens_per_forward(),
            seconds: filled.seconds,
            tokens_per_second: rate(statistics.tokens, filled.seconds),
            seed: settings.seed(),
            finish_reason: outcome.reason.name(),
            given_tokens: given(&outcome.canvas),
            model: self.checkpoint().origin.to_string(),
            settings: wire::Settings::of(settings),
            media_settings: of_media,
            pieces: wire::Piece::all_of(pieces),
        }
    }
}

/// The line that closes every generation on standard error.
pub(crate) fn closing_line(outcome: &wire::Outcome) -> String {
    let passes = if outcome.forward_passes == 1 { "pass" } else { "passes" };
    format!(
        "{}, {} forward {passes} ({:.2} tokens each), {:.2} s, {:.1} tokens/s, seed {}",
        counted(outcome.tokens as u64, "token"),
        outcome.forward_passes,
        outcome.tokens_per_forward,
        outcome.seconds,
        outcome.tokens_per_second,
        outcome.seed
    )
}

/// What is said of bytes that are not in the text, where there are some.
pub(crate) fn broken_line(broken_bytes: usize) -> Option<String> {
    match broken_bytes {
        0 => None,
        1 => Some("left out 1 byte that is no character".to_owned()),
        bytes => Some(format!("left out {bytes} bytes that are no characters")),
    }
}

fn given(canvas: &Canvas) -> usize {
    (0..canvas.len()).filter(|position| canvas.kind(*position) == Some(Kind::Given)).count()
}

pub(crate) fn rate(count: usize, seconds: f64) -> f64 {
    if seconds > 0.0 { count as f64 / seconds } else { 0.0 }
}
