//! Proposals: the query for a row of logits, and the candidate from its answer.

use crate::model::Model;
use crate::part::PartOf;
use crate::visible::visible;
use crate::{GenerateError, Settings};
use aquatint_diffusion::{
    Candidate, Canvas, Domain, Key, PlannedStep, Process, ProposalError, Shaping, Span, TokenId, Uniforms,
};
use aquatint_network::{DrawnRow, LogitsSummary, Query, RowAnswer, RowDraw, Sampling};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

/// The purpose of these draws among a request's.
const PROPOSE: u64 = 0x7072_6f70;

/// Where the number of a repair begins in that of a step.
const REPAIR_BITS: u32 = 40;

/// What is never proposed in the spans of a domain.
struct DomainTokens {
    domain: Domain,
    positions: Vec<Range<usize>>,
    /// Where an end token may close a span.
    closable: Vec<TokenId>,
    /// Elsewhere.
    exact: Vec<TokenId>,
}

/// How the candidates of one track are drawn.
pub(crate) struct Proposer {
    /// What is never proposed in the spans of each domain. The first is that of no domain.
    domains: Vec<DomainTokens>,
    /// Where an end token may be written: what is behind it falls away, and what was written before the request stays.
    ends: Vec<Range<usize>>,
    /// What is never proposed at positions where a token was refused.
    refused: BTreeMap<usize, Vec<TokenId>>,
    /// How often positions were opened again: each time steps have numbers of their own, since what drew a token that was
    /// refused would favour its neighbours.
    repairs: u64,
    /// Tokens that the penalties are for in this step, in the order of the canvas.
    repeated: Vec<TokenId>,
    /// What is added to the logits of tokens in this step.
    biases: Vec<(TokenId, f32)>,
    sampling: Sampling,
    shaping: Shaping,
    /// How many of the likeliest tokens are found beside each draw.
    alternatives: usize,
    uniforms: Arc<dyn Uniforms>,
}

impl Proposer {
    /// Draws under the key of a request.
    pub(crate) fn new(part: PartOf<'_>, model: &Model<'_>, key: Key) -> Self {
        let (request, settings) = (part.request, part.settings());
        let of_domain = |domain: &Domain| {
            let size = model.spec().vocabulary_size;
            let mut never: Vec<TokenId> = model.process.noise_tokens().to_vec();
            never.extend(part.never_written(domain));
            let closable = [never.clone(), outside(domain, size, &request.ends)].concat();
            let exact = [never.clone(), outside(domain, size, &[]), request.ends.clone()].concat();
            DomainTokens { domain: domain.clone(), positions: Vec::new(), closable, exact }
        };
        let mut domains = vec![of_domain(&Domain::ANY)];
        for span in request.canvas.spans().iter().filter(|span| span.domain != Domain::ANY) {
            let known = domains.iter().position(|known| known.domain == span.domain);
            let index = known.unwrap_or_else(|| {
                domains.push(of_domain(&span.domain));
                domains.len() - 1
            });
            domains[index].positions.push(span.positions.clone());
        }
        let shaping = &settings.shaping;
        let sampling = Sampling {
            repetition_penalty: shaping.repetition_penalty,
            temperature: shaping.temperature,
            min_p: shaping.min_p,
            top_k: shaping.top_k,
            top_p: shaping.top_p,
        };
        let biases = shaping.biases(&settings.logit_bias, &[]);
        Self {
            domains,
            ends: request.canvas.spans().iter().filter_map(|span| ends(&request.canvas, span)).collect(),
            refused: BTreeMap::new(),
            repairs: 0,
            repeated: Vec::new(),
            biases,
            sampling,
            shaping: *shaping,
            alternatives: request.alternatives,
            uniforms: request.uniforms.clone().unwrap_or_else(|| Arc::new(key.fold(PROPOSE))),
        }
    }

    /// Notes what is on the canvas at the beginning of a step: the penalties are for all that is given or written there.
    /// `likeliest` is how many of the likeliest tokens the step itself needs.
    pub(crate) fn begin_step(&mut self, canvas: &Canvas, part: PartOf<'_>, likeliest: usize) {
        let request = part.request;
        self.alternatives = request.alternatives.max(likeliest);
        let Settings { shaping, logit_bias, .. } = part.settings();
        if shaping.repetition_penalty == 1.0 && !shaping.counts_tokens() {
            return;
        }
        let known = visible(canvas, &request.ends).into_iter().filter(|position| !canvas.is_open(*position));
        self.repeated = known.map(|position| canvas.tokens()[position]).collect();
        if shaping.counts_tokens() {
            self.biases = shaping.biases(logit_bias, &self.repeated);
        }
    }

    /// The query for the row of an open position.
    pub(crate) fn query(
        &self,
        canvas: &Canvas,
        position: usize,
        planned: &PlannedStep,
        model: &Model<'_>,
    ) -> Query<'_> {
        query_of(self.row_draw(canvas, position, planned, model), model)
    }

    /// Never proposes a token at a position again. Returns whether a token of a vocabulary of this size is left.
    pub(crate) fn refuse(&mut self, position: usize, token: TokenId, vocabulary_size: usize) -> bool {
        let mut forbidden = self.forbidden(position).to_vec();
        forbidden.push(token);
        forbidden.sort_unstable();
        forbidden.dedup();
        let is_any_left = forbidden.len() < vocabulary_size;
        self.refused.insert(position, forbidden);
        is_any_left
    }

    /// Begins a repair: what follows has draws of its own, and what was refused in other blocks needs no list any more.
    pub(crate) fn begin_repair(&mut self, block: &[usize]) {
        self.repairs += 1;
        self.refused.retain(|position, _| block.binary_search(position).is_ok());
    }

    /// The tokens that are never proposed at a position.
    pub(crate) fn forbidden(&self, position: usize) -> &[TokenId] {
        if let Some(forbidden) = self.refused.get(&position) {
            return forbidden;
        }
        let has = |own: &&DomainTokens| own.positions.iter().any(|range| range.contains(&position));
        let DomainTokens { closable, exact, .. } = self.domains[1..].iter().find(has).unwrap_or(&self.domains[0]);
        if self.ends.iter().any(|range| range.contains(&position)) { closable } else { exact }
    }

    /// The draw from the row of an open position.
    pub(crate) fn row_draw(
        &self,
        canvas: &Canvas,
        position: usize,
        planned: &PlannedStep,
        model: &Model<'_>,
    ) -> RowDraw<'_> {
        let shown = canvas.tokens()[position];
        RowDraw {
            bonus: model.process.evidence(shown, planned.from).map(|evidence| (shown, evidence)),
            forbidden: self.forbidden(position),
            repeated: &self.repeated,
            biases: &self.biases,
            sampling: Sampling { temperature: self.shaping.temperature_at(planned), ..self.sampling },
            uniform: self.uniforms.uniform(position, planned.number + (self.repairs << REPAIR_BITS)),
            best: self.alternatives,
        }
    }
}

/// The query for a draw: with the word vector that is expected, where the process needs it.
pub(crate) fn query_of<'a>(draw: RowDraw<'a>, model: &Model<'_>) -> Query<'a> {
    if model.vectors.size > 0 { Query::DrawExpecting(draw) } else { Query::Draw(draw) }
}

/// The tokens of a vocabulary of this size that are outside of a domain, but for those that may close a span.
pub(crate) fn outside(domain: &Domain, size: usize, closing: &[TokenId]) -> Vec<TokenId> {
    let size = size as TokenId;
    let (before, behind) = (0..domain.ids.start.min(size), domain.ids.end.min(size)..size);
    before.chain(behind).filter(|token| !closing.contains(token)).collect()
}

/// The positions of a span where an end token may be written.
fn ends(canvas: &Canvas, span: &Span) -> Option<Range<usize>> {
    let last = span.positions.clone().rev().find(|position| canvas.is_committed(*position));
    let start = last.map_or(span.positions.start, |last| last + 1);
    span.approximate.then_some(start..span.positions.end)
}

/// What the answer about a position comes to.
pub(crate) struct Proposed {
    pub(crate) candidate: Candidate,
    /// The word vector that is expected there, empty where there are no word vectors.
    pub(crate) expected: Vec<f32>,
    /// The likeliest tokens with their probabilities, as many as were to be found.
    pub(crate) alternatives: Vec<(TokenId, f64)>,
}

/// What a position is proposed from its answer.
pub(crate) fn proposed(position: usize, answer: RowAnswer, process: &dyn Process) -> Result<Proposed, GenerateError> {
    let (drawn, expected) = match answer {
        RowAnswer::Drawn(drawn) => (drawn, Vec::new()),
        RowAnswer::Expecting(drawn, expected) => (drawn, expected),
        RowAnswer::Summary(_) | RowAnswer::Read => return Err(GenerateError::OtherAnswer { position }),
    };
    match drawn_candidate(&drawn, process) {
        Ok(candidate) => Ok(Proposed { candidate, expected, alternatives: drawn.best }),
        Err(source) => Err(GenerateError::Proposal { position, source }),
    }
}

fn drawn_candidate(drawn: &DrawnRow, process: &dyn Process) -> Result<Candidate, ProposalError> {
    let summary = drawn.summary;
    let likeliest = whole(&summary)?;
    let Some((token, probability)) = drawn.token else { return Err(ProposalError::NothingAllowed) };
    let (entropy, margin) = (summary.entropy, summary.margin);
    let mass = process.mass(summary.log_sum_exp);
    Ok(Candidate { token, probability, entropy, margin, likeliest, mass })
}

/// The likeliest token of a row from which one can be drawn.
pub(crate) fn whole(summary: &LogitsSummary) -> Result<TokenId, ProposalError> {
    match (summary.broken, summary.likeliest) {
        (Some(token), _) => Err(ProposalError::NotANumber { token: token as TokenId }),
        (None, Some(likeliest)) => Ok(likeliest as TokenId),
        (None, None) => Err(ProposalError::NothingAllowed),
    }
}
