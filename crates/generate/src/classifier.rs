//! Guidance by a classifier (D-CBG; Schiff et al., 2412.10193), which is the model itself: what is aimed at is given at the
//! beginning of the text, is hidden from each step, and is predicted from what the step would write.
//!
//! Of each position that a step writes, the likeliest tokens are tried: the canvas is read once with each of them in its
//! place, and the logit of a token gains what the target's log-probability gains by it, times the scale (see
//! [`guide_by_classifier`]). Where the network's predictions agree with each other and all tokens are tried, a target of one
//! token at scale 1 and temperature 1 has the law of texts that begin with it. Of several tokens the predictions are
//! multiplied, as if they were independent given the text.
//!
//! To first order one reading and its gradient stand in for all these (section 3.2 of the paper): what a token would gain is
//! taken to be linear in what its position reads.

use crate::branch::{Branch, Reading, StepView};
use crate::forward_batch::{Answer, ForwardBatch};
use crate::model::Model;
use crate::part::{PartOf, readable};
use crate::{Cache, GenerateError, Request};
use aquatint_diffusion::PositionState::Given;
use aquatint_diffusion::{Canvas, Key, Layout, PlannedStep, Process, SettingError, TokenId, guide_by_classifier};
use aquatint_network::{NetworkSpec, Query};
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::str::FromStr;

/// Rows of one forward pass of the classifier, where a canvas has no more.
const ROWS: usize = 4096;
/// Numbers in the logits of one such pass, where a canvas has no more.
const LOGITS: usize = 1 << 24;
/// Rows that the classifier may read in one step, were all of a block written in it: whoever waits for the step waits for
/// these.
const ROWS_OF_STEP: usize = 1 << 22;

/// How it is found out what a token that a step might write does for the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ClassifierMethod {
    /// The canvas is read with it in its place.
    #[default]
    Exact,
    /// By the gradient of one reading with respect to what its position reads.
    FirstOrder,
}

impl ClassifierMethod {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Exact, Self::FirstOrder];
}

impl fmt::Display for ClassifierMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Exact => "exact",
            Self::FirstOrder => "first-order",
        })
    }
}

impl FromStr for ClassifierMethod {
    type Err = SettingError;

    fn from_str(name: &str) -> Result<Self, SettingError> {
        let unknown = || {
            let (given, allowed) = (name.to_owned(), Self::ALL.map(|method| method.to_string()).join(", "));
            SettingError { parameter: "classifier_method", given, allowed, hint: None }
        };
        Self::ALL.into_iter().find(|method| method.to_string() == name).ok_or_else(unknown)
    }
}

/// Guidance by a classifier: what it aims at, and how far it is followed.
#[derive(Debug, Clone, PartialEq)]
pub struct ClassifierGuidance {
    target: Vec<TokenId>,
    scale: f64,
    method: ClassifierMethod,
    candidates: usize,
}

impl ClassifierGuidance {
    /// The scale of Bayes' rule.
    pub const SCALE: f64 = 1.0;
    /// Tokens that are tried of a position where nothing else is said.
    pub const CANDIDATES: usize = 8;

    /// Aims at texts that begin with `target`. `scale`, 0 or more, is γ in `log p(v) + γ log p(target | v)`. `candidates`, from
    /// 1 to 1024, is how many tokens of each position are tried, the likeliest first; to the others the classifier is neutral.
    ///
    /// # Errors
    /// [`GenerateError::Setting`] when there is no target, or a number is out of its range.
    pub fn new(target: Vec<TokenId>, scale: f64, candidates: usize) -> Result<Self, GenerateError> {
        let refuse = |parameter, given: String, allowed: &str, hint: &str| {
            let (allowed, hint) = (allowed.to_owned(), Some(hint.to_owned()));
            Err(GenerateError::Setting(SettingError { parameter, given, allowed, hint }))
        };
        if target.is_empty() {
            return refuse("classifier_target", "empty".into(), "one token or more", "name what the text begins with");
        }
        if !(0.0..=1e6).contains(&scale) {
            let hint = "1 follows it by Bayes' rule, 2 aims at the target more";
            return refuse("classifier_scale", scale.to_string(), "0 or more, at most 1000000", hint);
        }
        if !(1..=1024).contains(&candidates) {
            let hint = "each candidate of each position that is written takes a forward pass";
            return refuse("classifier_candidates", candidates.to_string(), "from 1 to 1024", hint);
        }
        Ok(Self { target, scale, method: ClassifierMethod::Exact, candidates })
    }

    /// The same by another method. To first order all tokens are tried, whatever the number of candidates.
    #[must_use]
    pub fn with_method(self, method: ClassifierMethod) -> Self {
        Self { method, ..self }
    }

    /// How gains are found.
    pub fn method(&self) -> ClassifierMethod {
        self.method
    }

    /// The tokens with which the text is to begin.
    pub fn target(&self) -> &[TokenId] {
        &self.target
    }

    /// How far the classifier is followed.
    pub fn scale(&self) -> f64 {
        self.scale
    }

    /// How many tokens of each position are tried.
    pub fn candidates(&self) -> usize {
        self.candidates
    }

    /// Where the target stands on a request's canvas.
    pub(crate) fn positions(&self, request: &Request) -> Range<usize> {
        let start = request.text_start();
        start..start + self.target.len()
    }

    /// Forward passes for a position that a step writes.
    pub(crate) fn passes(&self, spec: &NetworkSpec) -> usize {
        match self.method {
            _ if self.scale == 0.0 => 0,
            ClassifierMethod::Exact => self.candidates.min(spec.vocabulary_size),
            // One for all positions of a step.
            ClassifierMethod::FirstOrder => 0,
        }
    }

    /// Canvases of so many rows that are read together.
    pub(crate) fn at_once(&self, length: usize, spec: &NetworkSpec) -> usize {
        let by_logits = LOGITS / self.target.len().saturating_mul(spec.vocabulary_size).max(1);
        (ROWS / length.max(1)).min(by_logits).max(1)
    }
}

/// Refuses what a classifier cannot guide.
///
/// # Errors
/// [`GenerateError::Setting`].
pub(crate) fn check(
    part: PartOf<'_>,
    blocks: &[Vec<usize>],
    spec: &NetworkSpec,
    process: &dyn Process,
) -> Result<(), GenerateError> {
    let (request, settings) = (part.request, part.settings());
    let Some(classifier) = &settings.classifier else { return Ok(()) };
    let refuse = |given: &str, allowed: &str, hint: Option<&str>| {
        let (given, allowed, hint) = (given.to_owned(), allowed.to_owned(), hint.map(str::to_owned));
        Err(GenerateError::Setting(SettingError { parameter: "classifier_target", given, allowed, hint }))
    };
    if spec.attention != Layout::Full || process.revises() || spec.self_conditioning.is_some() {
        let allowed = "models of masks in which every position sees all others, without self-conditioning";
        return refuse("set", allowed, Some("`guidance_scale` guides without a classifier"));
    }
    let positions = classifier.positions(request);
    if spec.head.logit_shift && positions.start == request.first() {
        return refuse(
            "set",
            "texts with a begin token, since the model predicts each position from the one before",
            None,
        );
    }
    if request.parts.len() > 1 {
        return refuse("set", "canvases of text alone", None);
    }
    if settings.is_guided() {
        return refuse("set", "either a classifier or a guidance scale other than 1", None);
    }
    if settings.editing.is_some() {
        return refuse("set", "an edit threshold of 1", None);
    }
    let canvas = &request.canvas;
    let stands = |(position, token): (usize, &TokenId)| {
        canvas.state(position) == Some(Given) && canvas.tokens().get(position) == Some(token)
    };
    if !positions.zip(classifier.target()).all(stands) {
        let hint = "write it in front of the text, too; it has to end where a token of the model ends";
        return refuse("other tokens", "what the text begins with", Some(hint));
    }
    let longest = blocks.iter().map(Vec::len).max().unwrap_or(0);
    let of_position = classifier.passes(spec).saturating_mul(readable(canvas));
    if longest.saturating_mul(of_position) > ROWS_OF_STEP {
        return Err(GenerateError::Setting(SettingError {
            parameter: "classifier_candidates",
            given: format!("{} for blocks of {longest} positions", classifier.candidates),
            allowed: format!(
                "{ROWS_OF_STEP} rows a step, where each candidate of a position takes {}",
                readable(canvas)
            ),
            hint: Some("try fewer candidates, or set a shorter `block_length`".to_owned()),
        }));
    }
    Ok(())
}

/// What guidance by a classifier has to say of a step.
pub(crate) struct Classified {
    /// The guided logits of positions.
    pub(crate) logits: BTreeMap<usize, Vec<f32>>,
    pub(crate) readings: Readings,
}

/// Canvases that a classifier read, and rows of them.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Readings {
    pub(crate) passes: usize,
    pub(crate) rows: usize,
}

/// A step at which a classifier guides, with the canvas as it stands.
pub(crate) struct Classifying<'a> {
    pub(crate) guidance: &'a ClassifierGuidance,
    pub(crate) request: &'a Request,
    pub(crate) canvas: &'a Canvas,
    pub(crate) key: Key,
    pub(crate) planned: &'a PlannedStep,
}

impl Classifying<'_> {
    /// Guides the logits of positions; those of tokens that are never written there are −∞ already.
    ///
    /// # Errors
    /// When the network fails.
    pub(crate) fn guide(
        &self,
        mut logits: BTreeMap<usize, Vec<f32>>,
        model: &Model<'_>,
    ) -> Result<Classified, GenerateError> {
        if self.guidance.scale == 0.0 || logits.is_empty() {
            return Ok(Classified { logits, readings: Readings::default() });
        }
        if self.guidance.method == ClassifierMethod::FirstOrder {
            return self.guide_to_first_order(logits, model);
        }
        let tried = |(position, logits): (&usize, &Vec<f32>)| {
            let tokens = likeliest(logits, self.guidance.candidates);
            tokens.into_iter().map(|token| Some((*position, token))).collect::<Vec<_>>()
        };
        // The first is the canvas as it stands.
        let all: Vec<Option<(usize, TokenId)>> = std::iter::once(None).chain(logits.iter().flat_map(tried)).collect();
        let length = readable(self.canvas);
        let (mut of_target, mut rows) = (Vec::with_capacity(all.len()), 0);
        for some in all.chunks(self.guidance.at_once(length, model.spec())) {
            of_target.extend(self.log_probabilities(some, &mut rows, model)?);
        }
        let (untried, of_target) = of_target.split_first().map_or((0.0, &[][..]), |(first, others)| (*first, others));
        let mut gains: BTreeMap<usize, Vec<(TokenId, f64)>> = BTreeMap::new();
        for ((position, token), log_probability) in all.iter().flatten().zip(of_target) {
            gains.entry(*position).or_default().push((*token, *log_probability));
        }
        for (position, tried) in gains {
            if let Some(logits) = logits.get_mut(&position) {
                guide_by_classifier(logits, &tried, untried, self.guidance.scale);
            }
        }
        Ok(Classified { logits, readings: Readings { passes: all.len(), rows } })
    }

    /// The same by the gradient of one reading.
    fn guide_to_first_order(
        &self,
        mut logits: BTreeMap<usize, Vec<f32>>,
        model: &Model<'_>,
    ) -> Result<Classified, GenerateError> {
        let hidden = self.guidance.positions(self.request);
        let mut predicted: Vec<usize> = hidden.clone().chain(logits.keys().copied()).collect();
        predicted.sort_unstable();
        let view = self.view(self.canvas, &predicted);
        let mut branch = Branch::new(Reading::Hidden { positions: hidden.clone() });
        let shown = branch.input(&view, model).tokens;
        let mut batch = ForwardBatch::default();
        let rows = branch.read(&view, &mut batch, model);
        let row = |position: usize| branch.request(position).ok_or(GenerateError::OtherAnswer { position });
        let targets = hidden.zip(self.guidance.target()).map(|(position, &token)| Ok((row(position)?, token)));
        let targets = targets.collect::<Result<Vec<_>, GenerateError>>()?;
        let wanted = logits.keys().map(|&position| row(position)).collect::<Result<Vec<_>, GenerateError>>()?;
        let slopes = batch.token_gradients(model.denoiser, &targets, &wanted)?;
        for ((position, logits), slopes) in logits.iter_mut().zip(slopes.chunks(model.spec().vocabulary_size)) {
            let tried: Vec<(TokenId, f64)> =
                (0..).zip(slopes).map(|(token, slope)| (token, f64::from(*slope))).collect();
            let untried = f64::from(slopes[shown[*position] as usize]);
            guide_by_classifier(logits, &tried, untried, self.guidance.scale);
        }
        Ok(Classified { logits, readings: Readings { passes: 1, rows } })
    }

    /// The step with a canvas, of which some positions are predicted.
    fn view<'v>(&'v self, canvas: &'v Canvas, predicted: &'v [usize]) -> StepView<'v> {
        StepView {
            canvas,
            ends: &self.request.ends,
            key: self.key,
            blocks: &[0],
            positions: predicted,
            predicted,
            number: self.planned.number,
            from: self.planned.from,
            is_causal: false,
            cache: Cache::None,
            block_length: None,
            lead: 0,
            cache_refresh: None,
        }
    }

    /// The log-probability of the target on the canvas with each of these tokens in its place; counts the rows that are read.
    fn log_probabilities(
        &self,
        tried: &[Option<(usize, TokenId)>],
        rows: &mut usize,
        model: &Model<'_>,
    ) -> Result<Vec<f64>, GenerateError> {
        let hidden = self.guidance.positions(self.request);
        let target: Vec<usize> = hidden.clone().collect();
        let (mut batch, mut branches) = (ForwardBatch::default(), Vec::with_capacity(tried.len()));
        for candidate in tried {
            let mut canvas = self.canvas.clone();
            if let Some((position, token)) = *candidate {
                canvas.commit(position, token)?;
            }
            let view = self.view(&canvas, &target);
            let mut branch = Branch::new(Reading::Hidden { positions: hidden.clone() });
            let shown = branch.input(&view, model).tokens;
            *rows += branch.read(&view, &mut batch, model);
            branches.push((branch, shown));
        }
        let queries = vec![Query::WholeRow; batch.requested()];
        let (answers, _) = batch.run(model.denoiser, &queries)?;
        let of = |(branch, shown): &(Branch, Vec<TokenId>)| {
            let own = target.iter().zip(self.guidance.target());
            own.map(|(position, token)| {
                let logits = branch.answer(&answers, *position).and_then(Answer::logits);
                let logits = logits.ok_or(GenerateError::OtherAnswer { position: *position })?;
                let shown = shown[*position];
                let evidence = model.process.shown_evidence(shown, self.planned.from);
                Ok(log_probability(logits, *token, (shown, evidence)))
            })
            .sum()
        };
        branches.iter().map(of).collect()
    }
}

/// The tokens of the largest logits, at most so many, and none that is excluded.
fn likeliest(logits: &[f32], count: usize) -> Vec<TokenId> {
    let mut tokens: Vec<TokenId> =
        (0..).zip(logits).filter(|(_, logit)| **logit > f32::NEG_INFINITY).map(|(token, _)| token).collect();
    tokens.sort_by(|a, b| logits[*b as usize].total_cmp(&logits[*a as usize]).then(a.cmp(b)));
    tokens.truncate(count);
    tokens
}

/// The log-probability of a token, without what a position says of it because it shows a token.
fn log_probability(logits: &[f32], token: TokenId, (shown, evidence): (TokenId, f32)) -> f64 {
    let of = |(id, logit): (TokenId, &f32)| f64::from(*logit) - if id == shown { f64::from(evidence) } else { 0.0 };
    let own: Vec<f64> = (0..).zip(logits).map(of).collect();
    let most = own.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = own.iter().map(|logit| (logit - most).exp()).sum();
    own.get(token as usize).map_or(f64::NEG_INFINITY, |logit| logit - most - sum.ln())
}
