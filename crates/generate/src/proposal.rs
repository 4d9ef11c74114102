//! Proposals: the query for a row of logits, and the candidate from its answer.

use crate::GenerateError;
use crate::model::Model;
use crate::request::{Request, may_end};
use crate::visible::visible;
use aquatint_diffusion::{Candidate, Canvas, Key, PlannedStep, ProposalError, TokenId};
use aquatint_network::{DrawnRow, LogitsSummary, Query, RowAnswer, RowDraw, Sampling};

/// The purpose of these draws among a request's.
const PROPOSE: u64 = 0x7072_6f70;

/// How the candidates of one request are drawn.
pub(crate) struct Proposer {
    /// Tokens never proposed: in exact spans, and in those that an end token may close.
    forbidden: [Vec<TokenId>; 2],
    /// Tokens that the repetition penalty is for in this step.
    repeated: Vec<TokenId>,
    sampling: Sampling,
    key: Key,
}

impl Proposer {
    /// Draws under the key of a request.
    pub(crate) fn new(request: &Request, model: &Model<'_>, key: Key) -> Self {
        let mut closable: Vec<TokenId> = model.process.noise_tokens().to_vec();
        closable.extend(request.forbidden.iter().copied().filter(|token| Some(*token) != request.end));
        let mut exact = closable.clone();
        exact.extend(request.end);
        let shaping = &request.settings.shaping;
        let sampling = Sampling {
            repetition_penalty: shaping.repetition_penalty,
            temperature: shaping.temperature,
            top_k: shaping.top_k,
            top_p: shaping.top_p,
        };
        Self { forbidden: [exact, closable], repeated: Vec::new(), sampling, key: key.fold(PROPOSE) }
    }

    /// Notes what is on the canvas at the beginning of a step.
    pub(crate) fn begin_step(&mut self, canvas: &Canvas, end: Option<TokenId>) {
        if self.sampling.repetition_penalty != 1.0 {
            let known = visible(canvas, end).into_iter().filter(|position| !canvas.is_open(*position));
            self.repeated = known.map(|position| canvas.tokens()[position]).collect();
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
        let draw = self.row_draw(canvas, position, planned, model);
        if model.vectors.size > 0 { Query::DrawExpecting(draw) } else { Query::Draw(draw) }
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
            forbidden: &self.forbidden[usize::from(may_end(canvas, position))],
            repeated: &self.repeated,
            sampling: self.sampling,
            uniform: self.key.at(position as u64, planned.number).uniform(),
        }
    }
}

/// The candidate of a position and the word vector that is expected there, empty where there are no word vectors.
pub(crate) fn candidate(position: usize, answer: RowAnswer) -> Result<(Candidate, Vec<f32>), GenerateError> {
    let (drawn, expected) = match answer {
        RowAnswer::Drawn(drawn) => (drawn, Vec::new()),
        RowAnswer::Expecting(drawn, expected) => (drawn, expected),
        RowAnswer::Summary(_) | RowAnswer::Read => return Err(GenerateError::OtherAnswer { position }),
    };
    match drawn_candidate(&drawn) {
        Ok(candidate) => Ok((candidate, expected)),
        Err(source) => Err(GenerateError::Proposal { position, source }),
    }
}

fn drawn_candidate(drawn: &DrawnRow) -> Result<Candidate, ProposalError> {
    let summary = drawn.summary;
    let likeliest = whole(&summary)?;
    let Some((token, probability)) = drawn.token else { return Err(ProposalError::NothingAllowed) };
    let (entropy, margin) = (summary.entropy, summary.margin);
    Ok(Candidate { token, probability, entropy, margin, likeliest })
}

/// The likeliest token of a row from which one can be drawn.
pub(crate) fn whole(summary: &LogitsSummary) -> Result<TokenId, ProposalError> {
    match (summary.broken, summary.likeliest) {
        (Some(token), _) => Err(ProposalError::NotANumber { token: token as TokenId }),
        (None, Some(likeliest)) => Ok(likeliest as TokenId),
        (None, None) => Err(ProposalError::NothingAllowed),
    }
}
