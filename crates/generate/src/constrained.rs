//! The constrained spans of one request: their cells as they stand, and candidates from joint draws.

use crate::GenerateError;
use crate::constraint::{CommitOrder, InOrder, SpanFiller, SpanStart};
use crate::part::PartOf;
use crate::proposal::{outside, whole};
use aquatint_compute::{LogitsSummary, ShapedRow, shape_row};
use aquatint_diffusion::constraint::{Cell, PredictedRow};
use aquatint_diffusion::{Candidate, Canvas, CommitPolicy, Kind, Process, ProposalError, SettingError, Span, TokenId};
use aquatint_network::RowDraw;
use std::ops::Range;
use std::sync::Arc;

/// A span of the canvas that a constraint is for.
#[derive(Debug)]
pub(crate) struct ConstrainedSpan {
    span: Span,
    constraint: String,
    order: CommitOrder,
    filler: Box<dyn SpanFiller>,
}

/// The row of one position, shaped for a joint draw.
#[derive(Debug)]
pub(crate) struct ConstrainedRow {
    position: usize,
    /// What the prediction counts in a step.
    mass: f64,
    summary: LogitsSummary,
    /// The logits after bonus and without what is forbidden: what the candidate's probability is of.
    logits: Vec<f32>,
    predicted: PredictedRow,
}

impl ConstrainedSpan {
    /// Makes the constrained spans of a part ready, for a vocabulary of this size.
    pub(crate) fn all(part: PartOf<'_>, size: usize, process: &dyn Process) -> Result<Vec<Self>, GenerateError> {
        let (request, settings) = (part.request, part.settings());
        let mut forbidden = process.noise_tokens().to_vec();
        forbidden.extend(settings.length_tokens.iter().flat_map(|tokens| [tokens.delete(), tokens.insert()]));
        let mut all: Vec<Self> = Vec::new();
        let spans = request.canvas.spans();
        for given in part.constraints() {
            let Some(span) = spans.get(given.span).cloned() else {
                return Err(GenerateError::Setting(SettingError {
                    parameter: "constraint",
                    given: format!("for span {}", given.span),
                    allowed: format!("for one of the canvas's {} spans, counted from 0", spans.len()),
                    hint: None,
                }));
            };
            let (constraint, order) = (given.constraint.name(), given.constraint.order());
            if order == CommitOrder::LeftToRight && !settings.remasking.is_none() {
                return Err(GenerateError::Setting(SettingError {
                    parameter: "remasking",
                    given: settings.remasking.to_string(),
                    allowed: "none".to_owned(),
                    hint: Some(format!("the {constraint} is kept from left to right, so nothing is taken back")),
                }));
            }
            // Of several tokens that could close it, the usual one does.
            let closing = request.ends.first().copied().filter(|_| span.approximate);
            let mut forbidden = forbidden.clone();
            forbidden.extend(part.never_written(&span.domain));
            forbidden.extend(request.ends.iter().filter(|end| Some(**end) != closing));
            forbidden.extend(outside(&span.domain, size, closing.as_slice()));
            let canvas = &request.canvas;
            let before = held(canvas, 0..span.positions.start);
            let after = held(canvas, span.positions.end..canvas.len());
            let start = SpanStart {
                cells: &cells(canvas, &span, &[]),
                closing,
                forbidden: &forbidden,
                before: before.as_deref(),
                after: after.as_deref(),
            };
            match given.constraint.begin(&start) {
                Ok(filler) => all.push(Self { span, constraint, order, filler }),
                Err(source) => return Err(GenerateError::Constraint { span: given.span, constraint, source }),
            }
        }
        Ok(all)
    }

    /// The policy of a request, which commits from left to right where constraints need it.
    pub(crate) fn restrict(constrained: &[Self], policy: Arc<dyn CommitPolicy>) -> Arc<dyn CommitPolicy> {
        let in_order = constrained.iter().filter(|span| span.order == CommitOrder::LeftToRight);
        let spans: Vec<_> = in_order.map(|span| span.span.positions.clone()).collect();
        if spans.is_empty() { policy } else { Arc::new(InOrder::new(policy, spans)) }
    }

    /// Whether its positions become final from left to right, so that those behind the ones that a step commits need no
    /// draw.
    pub(crate) fn is_in_order(&self) -> bool {
        self.order == CommitOrder::LeftToRight
    }

    /// Whether a position is part of it.
    pub(crate) fn contains(&self, position: usize) -> bool {
        self.span.positions.contains(&position)
    }

    /// Draws candidates for the positions of these rows, which ascend; those of other spans are passed over.
    pub(crate) fn draw(
        &mut self,
        canvas: &Canvas,
        rows: &[ConstrainedRow],
    ) -> Result<Vec<(usize, Candidate)>, GenerateError> {
        let rows: Vec<&ConstrainedRow> = rows.iter().filter(|row| self.contains(row.position)).collect();
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let failed = |source| {
            let span = canvas.spans().iter().position(|span| *span == self.span).unwrap_or_default();
            GenerateError::Constraint { span, constraint: self.constraint.clone(), source }
        };
        let tokens = self.filler.draw(&cells(canvas, &self.span, &rows)).map_err(failed)?;
        Ok(rows.iter().zip(tokens).map(|(row, token)| (row.position, row.candidate(token))).collect())
    }
}

impl ConstrainedRow {
    /// Shapes the logits of an open position as the draw says.
    pub(crate) fn new(
        position: usize,
        mut logits: Vec<f32>,
        draw: &RowDraw<'_>,
        process: &dyn Process,
    ) -> Result<Self, GenerateError> {
        let ShapedRow { summary, logits: shaped, retained } = shape_row(&mut logits, draw);
        let refuse = |source| GenerateError::Proposal { position, source };
        whole(&summary).map_err(refuse)?;
        let predicted = PredictedRow::new(shaped, retained.as_deref(), draw.sampling.temperature, draw.uniform);
        let predicted = predicted.ok_or_else(|| refuse(ProposalError::NothingAllowed))?;
        Ok(Self { position, mass: process.mass(summary.log_sum_exp), summary, logits, predicted })
    }

    /// What the prediction says of a token.
    fn candidate(&self, token: TokenId) -> Candidate {
        let summary = &self.summary;
        let logit = self.logits.get(token as usize).copied().unwrap_or(f32::NEG_INFINITY);
        Candidate {
            token,
            probability: (f64::from(logit) - summary.log_sum_exp).exp(),
            entropy: summary.entropy,
            margin: summary.margin,
            likeliest: summary.likeliest.map_or(token, |likeliest| likeliest as TokenId),
            mass: self.mass,
        }
    }
}

/// The tokens at these positions, but for padding and what fell away; `None` where one is open.
fn held(canvas: &Canvas, positions: Range<usize>) -> Option<Vec<TokenId>> {
    let is_left_out = |position: &usize| {
        canvas.is_closed(*position) || !matches!(canvas.kind(*position), Some(Kind::Given | Kind::Open))
    };
    let held = |position| (!canvas.is_open(position)).then(|| canvas.tokens()[position]);
    positions.filter(|position| !is_left_out(position)).map(held).collect()
}

/// What the positions of a span hold, but for those that fell away.
fn cells<'a>(canvas: &Canvas, span: &Span, rows: &[&'a ConstrainedRow]) -> Vec<Cell<'a>> {
    let cell = |position: usize| match canvas.kind(position) {
        Some(Kind::Open) if canvas.is_open(position) => {
            let row = rows.binary_search_by_key(&position, |row| row.position).ok().map(|index| rows[index]);
            Some(row.map_or(Cell::Free, |row| Cell::Row(&row.predicted)))
        }
        Some(Kind::Open) if canvas.is_closed(position) => None,
        Some(Kind::Open | Kind::Given) => Some(Cell::Fixed(canvas.tokens()[position])),
        Some(Kind::Padding) | None => None,
    };
    span.positions.clone().filter_map(cell).collect()
}
