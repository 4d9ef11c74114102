//! Requests and their outcomes.

use crate::audit::Audit;
use crate::constraint::SpanConstraint;
use crate::part::PartOf;
use crate::{FinishReason, Part, Settings, Statistics};
use aquatint_diffusion::{Canvas, Kind, Span, TokenId, Uniforms};
use std::sync::Arc;

/// A canvas to be filled and how.
#[derive(Debug, Clone)]
pub struct Request {
    /// The canvas: given, open and padded positions.
    pub canvas: Canvas,
    /// How its spans are filled: one part for all of them, or several that are filled side by side or one after another.
    pub parts: Vec<Part>,
    /// The tokens that close an approximate span early, the usual one first. They are never proposed elsewhere; without
    /// one such spans are filled to their full length.
    pub ends: Vec<TokenId>,
    /// Tokens that are never written: those with a role (pad, begin …), and ids beyond the tokenizer's. A span with a domain
    /// holds what that says, these tokens among them.
    pub forbidden: Vec<TokenId>,
    /// The token with which each text of the model begins, where there is one: guidance does not hide it.
    pub begin: Option<TokenId>,
    /// What the text of spans may be.
    pub constraints: Vec<SpanConstraint>,
    /// How many of the likeliest tokens are reported of each position that a step writes; see
    /// [`DenoisingEvent::Step`](crate::DenoisingEvent::Step).
    pub alternatives: usize,
    /// The numbers by which tokens are drawn; `None` for those of the seed.
    pub uniforms: Option<Arc<dyn Uniforms>>,
    /// Who judges each block that is filled; `None` for nobody.
    pub audit: Option<Arc<dyn Audit>>,
}

impl Request {
    /// A request without an end token but that of the settings, and with nothing forbidden but the process's own noise. The constraint of the
    /// settings is for each span with something open, and none of them is behind a blank.
    pub fn new(canvas: Canvas, settings: Settings) -> Self {
        Self::of_parts(canvas, vec![Part::new(settings)])
    }

    /// The same with several parts, of which each has its own settings. What is read of the canvas at once is decided by
    /// the first part: the cache, its refresh, and from where blocks are counted.
    pub fn of_parts(canvas: Canvas, parts: Vec<Part>) -> Self {
        let ends = parts.iter().find_map(|part| part.settings.choice.end).into_iter().collect();
        let (forbidden, constraints) = (Vec::new(), Vec::new());
        let mut request = Self {
            canvas,
            parts,
            ends,
            forbidden,
            begin: None,
            constraints,
            alternatives: 0,
            uniforms: None,
            audit: None,
        };
        request.constraints = request.constraints_of_settings(|_| false);
        request
    }

    /// What the settings of each part say about the text of its spans; `is_behind_blank` says of a span whether it is
    /// behind a blank that the tokenizer joins with the first token.
    pub fn constraints_of_settings(&self, is_behind_blank: impl Fn(&Span) -> bool) -> Vec<SpanConstraint> {
        let of_part = |part: PartOf<'_>| {
            let all = part.settings().constraint.as_ref().map(|text| text.of_spans(&self.canvas, &is_behind_blank));
            all.into_iter().flatten().filter(|constraint| part.has_span(constraint.span)).collect::<Vec<_>>()
        };
        self.each_part().flat_map(of_part).collect()
    }

    /// Lets these tokens close approximate spans, unless the settings name another one.
    #[must_use]
    pub fn with_ends(mut self, ends: impl IntoIterator<Item = TokenId>) -> Self {
        if self.parts.iter().all(|part| part.settings.choice.end.is_none()) {
            self.ends = ends.into_iter().collect();
        }
        self
    }

    /// Never writes these tokens, but where they are of a span's domain.
    #[must_use]
    pub fn with_forbidden(mut self, forbidden: Vec<TokenId>) -> Self {
        self.forbidden = forbidden;
        self
    }

    /// Says with which token each text of the model begins.
    #[must_use]
    pub fn with_begin(mut self, begin: Option<TokenId>) -> Self {
        self.begin = begin;
        self
    }

    /// The first position that is no padding.
    pub(crate) fn first(&self) -> usize {
        (0..self.canvas.len()).take_while(|position| self.canvas.kind(*position) == Some(Kind::Padding)).count()
    }

    /// The token with which the model's texts begin, where the canvas has it given in front.
    pub(crate) fn given_begin(&self) -> Option<TokenId> {
        let first = self.first();
        let is_there = |begin: &TokenId| {
            self.canvas.kind(first) == Some(Kind::Given) && self.canvas.tokens().get(first) == Some(begin)
        };
        self.begin.filter(is_there)
    }

    /// The position behind that token, or the first one.
    pub(crate) fn text_start(&self) -> usize {
        self.first() + usize::from(self.given_begin().is_some())
    }

    /// Keeps the text of spans within what these constraints say.
    #[must_use]
    pub fn with_constraints(mut self, constraints: Vec<SpanConstraint>) -> Self {
        self.constraints = constraints;
        self
    }

    /// Draws tokens by these numbers in place of those of the seed: recorded ones, or such as fill the unit interval more
    /// evenly. Everything else that is drawn stays with the seed.
    #[must_use]
    pub fn with_uniforms(mut self, uniforms: Arc<dyn Uniforms>) -> Self {
        self.uniforms = Some(uniforms);
        self
    }

    /// Has each block judged that is filled.
    #[must_use]
    pub fn with_audit(mut self, audit: Option<Arc<dyn Audit>>) -> Self {
        self.audit = audit;
        self
    }

    /// Reports so many of the likeliest tokens of each position that is written. It changes no token.
    #[must_use]
    pub fn with_alternatives(mut self, count: usize) -> Self {
        self.alternatives = count;
        self
    }
}

/// A filled canvas.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// The canvas; what fell away behind an end token is closed.
    pub canvas: Canvas,
    /// The tokens that count, in order: given ones and written ones, without end tokens that closed a span, without
    /// what fell away and without padding. Positions left open by a cancelled request are left out.
    pub tokens: Vec<TokenId>,
    /// Why it ended.
    pub reason: FinishReason,
    /// What it took.
    pub statistics: Statistics,
}

impl Outcome {
    /// Collects what counts on a canvas.
    pub(crate) fn new(canvas: Canvas, ends: &[TokenId], reason: FinishReason, statistics: Statistics) -> Self {
        let tokens = result_positions(&canvas, ends).into_iter().map(|position| canvas.tokens()[position]).collect();
        Self { canvas, tokens, reason, statistics }
    }
}

/// The positions whose tokens are part of the result, ascending.
pub(crate) fn result_positions(canvas: &Canvas, ends: &[TokenId]) -> Vec<usize> {
    let counts = |position: &usize| match canvas.kind(*position) {
        Some(Kind::Given) => true,
        Some(Kind::Open) => {
            canvas.is_committed(*position)
                && !(ends.contains(&canvas.tokens()[*position]) && may_end(canvas, *position))
        }
        Some(Kind::Padding) | None => false,
    };
    (0..canvas.len()).filter(counts).collect()
}

/// Whether an end token may stand at a position: only approximate spans may be closed.
pub(crate) fn may_end(canvas: &Canvas, position: usize) -> bool {
    canvas.spans().iter().any(|span| span.approximate && span.positions.contains(&position))
}
