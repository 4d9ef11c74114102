//! What a network predicts at positions of a canvas, were they open: one forward pass, in which nothing is written.

use crate::admission::check;
use crate::branch::{Branch, Reading, StepView};
use crate::forward_batch::{Answer, ForwardBatch};
use crate::model::Model;
use crate::part::{PartOf, check_division};
use crate::proposal::{Proposer, whole};
use crate::visible::visible;
use crate::{Cache, GenerateError, Request};
use aquatint_diffusion::PositionState::{Committed, Given, Open};
use aquatint_diffusion::{Canvas, Key, Process, SettingError, TokenId};
use aquatint_network::{Denoiser, NetworkKind, Query, RowAnswer, RowDraw, Sampling};
use std::ops::Range;

/// The prediction about one position.
#[derive(Debug, Clone, PartialEq)]
pub struct Predicted {
    /// The position on the canvas.
    pub position: usize,
    /// The likeliest tokens with their probabilities, descending: at temperature 1, without the tokens that are never
    /// written there, and before everything that shapes a draw.
    pub alternatives: Vec<(TokenId, f64)>,
    /// The entropy of the whole prediction, in nats.
    pub entropy: f64,
}

/// What a network predicts at positions of a request's canvas, were they open, with `count` alternatives for each: in the
/// order of the canvas, each position once. The positions are given, committed or open; the seed of the request draws
/// their noise.
///
/// All of them are read as noise in one forward pass, at the lowest time at which the network has met so many positions
/// that are noise ([`time_of_noise`](trait.Process.html#method.time_of_noise)), and what is told is the prediction from the
/// rest of the canvas: a network that takes the token that happens to be shown for a hint has it taken out again
/// ([`Process::shown_evidence`]). A causal network predicts each position from the tokens before it, those of the other
/// positions included. Guidance, penalties and biases have no part in it. Of several parts, that of a position says which
/// tokens are never written there.
///
/// # Errors
/// When the parts do not divide the canvas, the canvas does not fit the network, a position is none of those, a causal
/// network would have to read an open position before one of them, or the network fails.
pub fn predict(
    denoiser: &dyn Denoiser,
    process: &dyn Process,
    request: &Request,
    positions: &[usize],
    count: usize,
) -> Result<Vec<Predicted>, GenerateError> {
    let word_vectors = denoiser.word_vectors()?;
    let model = Model { denoiser, process, vectors: word_vectors.view() };
    let is_causal = model.spec().kind() == NetworkKind::Causal;
    let positions = checked(&request.canvas, positions, is_causal)?;
    check_division(request)?;
    let key = Key::new(request.part(0).settings().seed);
    let reopened = Request { canvas: request.canvas.reopened(&positions)?, ..request.clone() };
    check(&reopened.canvas, model.spec(), process)?;
    // What a causal network reads before a position stays there.
    let mut canvas = if is_causal { request.canvas.clone() } else { reopened.canvas.clone() };
    process.begin(&mut canvas, key);

    let read = visible(&canvas, &request.ends);
    let noisy = read.iter().filter(|position| canvas.is_open(**position)).count();
    let from = process.time_of_noise(noisy, read.len());
    let view = StepView {
        canvas: &canvas,
        ends: &request.ends,
        key,
        blocks: &[0],
        positions: &positions,
        predicted: &positions,
        number: 0,
        from,
        is_causal: false,
        cache: Cache::None,
        block_length: None,
        lead: 0,
        cache_refresh: None,
    };
    let (mut branch, mut batch) = (Branch::new(Reading::Whole), ForwardBatch::default());
    branch.read(&view, &mut batch, &model);
    if let Some(position) = positions.iter().find(|position| branch.requested().binary_search(position).is_err()) {
        return Err(refused(*position, "positions that the model reads together with the last one"));
    }
    let proposers: Vec<Proposer> = reopened.each_part().map(|part| Proposer::new(part, &model, key)).collect();
    // The spans of parts are counted on the canvas as it was given.
    let ranges: Vec<_> = request.each_part().map(PartOf::ranges).collect();
    let rest = request.parts.iter().position(|part| part.spans.is_none()).unwrap_or(0);
    let part_of = |position: usize| {
        let has = |ranges: &Vec<Range<usize>>| ranges.iter().any(|range| range.contains(&position));
        ranges.iter().position(has).unwrap_or(rest)
    };
    let query = |&position: &usize| {
        let shown = canvas.tokens()[position];
        let evidence = Some(process.shown_evidence(shown, from)).filter(|evidence| *evidence != 0.0);
        Query::Draw(RowDraw {
            bonus: evidence.map(|evidence| (shown, -evidence)),
            forbidden: proposers[part_of(position)].forbidden(position),
            best: count,
            ..RowDraw::new(Sampling { temperature: 0.0, ..Sampling::NONE }, 0.5)
        })
    };
    let queries: Vec<Query<'_>> = branch.requested().iter().map(query).collect();
    let (answers, _) = batch.run(denoiser, &queries)?;
    positions.iter().map(|position| predicted(*position, branch.answer(&answers, *position))).collect()
}

/// The positions, ascending and each once, if all can be predicted.
fn checked(canvas: &Canvas, positions: &[usize], is_causal: bool) -> Result<Vec<usize>, GenerateError> {
    let mut sorted = positions.to_vec();
    sorted.sort_unstable();
    sorted.dedup();
    let is_predicted = |position: &usize| matches!(canvas.state(*position), Some(Given | Committed | Open));
    if let Some(position) = sorted.iter().find(|position| !is_predicted(position)) {
        let allowed = format!("positions of the canvas, below {}, that are neither closed nor padding", canvas.len());
        return Err(refused(*position, &allowed));
    }
    let Some(last) = sorted.last().copied() else {
        return Err(GenerateError::Setting(SettingError {
            parameter: "positions",
            given: "empty".to_owned(),
            allowed: "one position or more".to_owned(),
            hint: None,
        }));
    };
    match canvas.open_positions().first() {
        Some(first) if is_causal && *first < last => {
            Err(refused(last, &format!("positions up to {first}: a causal model predicts from the tokens before")))
        }
        _ => Ok(sorted),
    }
}

fn refused(position: usize, allowed: &str) -> GenerateError {
    GenerateError::Setting(SettingError {
        parameter: "positions",
        given: position.to_string(),
        allowed: allowed.to_owned(),
        hint: None,
    })
}

fn predicted(position: usize, answer: Option<&Answer>) -> Result<Predicted, GenerateError> {
    let Some(Answer::Row(RowAnswer::Drawn(drawn))) = answer else {
        return Err(GenerateError::OtherAnswer { position });
    };
    whole(&drawn.summary).map_err(|source| GenerateError::Proposal { position, source })?;
    Ok(Predicted { position, alternatives: drawn.best.clone(), entropy: drawn.summary.entropy })
}
