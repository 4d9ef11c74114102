//! Texts, templates, conversations and canvases made ready to be filled: laid out, with what is requested of their sampling merged
//! with what the checkpoint advises.

use super::Model;
use crate::media_options::{OF_MEDIA, OF_TEXT};
use crate::{ClassifierOptions, Error, MediaFiles, Sampling, SamplingOptions};
use aquatint_constraint::{Compiler, ConstraintSpec};
use aquatint_diffusion::{Canvas, TokenId};
use aquatint_generate::{GenerateError, Ineffective, Part, Settings, TextConstraint, Watermark};
use aquatint_vocabulary::{ChatError, ChatTemplate, Media, MediaKind, Message, Role, Template, TemplateCanvas};
use std::sync::Arc;

/// Positions of the longest canvas of a network that writes beyond its context.
const MOST_POSITIONS: usize = 1 << 24;

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
        let (template, begin) = match self.chat_template() {
            // Then it is a text like all others.
            Err(ChatError::Missing) => {
                let end = vocabulary.role(Role::End).map(|end| vocabulary.token_text(end)).unwrap_or_default();
                (ChatTemplate::new(ChatTemplate::PLAIN, "", &end)?, vocabulary.text_begin())
            }
            template => (template?, None),
        };
        let turns = vocabulary.encode_marked(&template.render(turns, true)?)?;
        self.prepare_tokens(&begin.into_iter().chain(turns).collect::<Vec<TokenId>>(), options)
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
        let classifier = options.classifier.guidance(&self.checkpoint.vocabulary)?;
        let settings = sampling.settings().clone().with_constraint(constraint).with_watermark(watermark);
        let settings = settings.with_classifier(classifier);
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
        if options.classifier.target.is_none() && (media.is_empty() || !text.is_empty()) {
            unused(&ClassifierOptions::OF_TARGET, "no classifier target is named");
        }
        prepared.ineffective = ineffective;
        Ok(prepared)
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

    /// Lays out a template as it stands; one without an open place is continued as the sampling says.
    pub(super) fn lay_out_for(
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
}
