//! From a request's positions to a canvas.

use super::request::{CanvasInput, CanvasRequest, Renoise};
use crate::error::ApiError;
use crate::models::Loaded;
use crate::sampling::SamplingFields;
use crate::wire::{Span, State};
use aquatint::diffusion::Key;
use aquatint::vocabulary::{Template, TokenId};
use aquatint::{Canvas, Prepared, TemplateCanvas};
use std::collections::BTreeSet;

/// The purpose of the draws that choose which positions are opened again.
const RENOISE: u64 = 0x7265_6e6f_6973;

/// A canvas that was laid out.
#[derive(Debug)]
pub(super) struct Layout {
    pub(super) template_canvas: TemplateCanvas,
    /// Positions that an earlier request wrote and this one keeps.
    pub(super) written: BTreeSet<usize>,
    /// The holes as they are returned: those that were sent.
    pub(super) spans: Option<Vec<Span>>,
}

/// A canvas that can be handed to the scheduler.
#[derive(Debug)]
pub(super) struct Ready {
    pub(super) prepared: Prepared,
    /// As in [`Layout`].
    pub(super) written: BTreeSet<usize>,
    /// As in [`Layout`].
    pub(super) spans: Option<Vec<Span>>,
}

/// Makes the canvas of a request ready.
///
/// # Errors
/// When a field has a value that it cannot have, or the canvas does not fit the model.
pub(super) fn prepare(loaded: &Loaded, request: &CanvasRequest, sampling: &SamplingFields) -> Result<Ready, ApiError> {
    let options = sampling.options(request.max_tokens)?;
    match (&request.template, &request.canvas) {
        (Some(template), None) => {
            if request.renoise.is_some() {
                return Err(ApiError::invalid("`renoise` needs `canvas`; a template has nothing written").of("renoise"));
            }
            let template = Template::parse(template).map_err(aquatint::Error::from);
            let template = template.map_err(|error| ApiError::from(error).of("template"))?;
            let prepared = loaded.model.prepare_template(template, &options)?;
            Ok(Ready { prepared, written: BTreeSet::new(), spans: None })
        }
        (None, Some(canvas)) => {
            let seed = sampling.seed().unwrap_or_default();
            let Layout { template_canvas, written, spans } = lay_out(canvas, request.renoise.as_ref(), seed, loaded)?;
            Ok(Ready { prepared: loaded.model.prepare_canvas(template_canvas, &options)?, written, spans })
        }
        _ => Err(ApiError::invalid("exactly one of `template` and `canvas` is needed").of("template")),
    }
}

/// Lays out positions, some of which are opened again.
///
/// # Errors
/// When a position lacks its token, a span or a position of `renoise` lies outside, or nothing is open.
pub(super) fn lay_out(
    input: &CanvasInput,
    renoise: Option<&Renoise>,
    seed: u64,
    loaded: &Loaded,
) -> Result<Layout, ApiError> {
    let length = input.positions.len();
    let mut states: Vec<State> = input.positions.iter().map(|position| position.state).collect();
    if let Some(renoise) = renoise {
        for position in opened(renoise, &states, seed)? {
            states[position] = State::Open;
        }
    }
    for (index, span) in input.spans.iter().flatten().enumerate() {
        if span.start >= span.end || span.end > length {
            let given = format!("{}..{}", span.start, span.end);
            return Err(ApiError::field(
                &format!("canvas.spans[{index}]"),
                given,
                &format!("a range within 0..{length}"),
            ));
        }
    }
    let noise = Template::noise(loaded.vocabulary()).map_err(aquatint::Error::from)?;
    let token = |index: usize| -> Result<TokenId, ApiError> {
        input.positions[index].token.ok_or_else(|| {
            let place = format!("canvas.positions[{index}].token");
            ApiError::invalid(format!("`{place}` is missing; a position that is given or written has a token"))
                .of(place)
        })
    };
    let spans = input.spans.as_deref().unwrap_or_default();
    let span_of = |index: usize| spans.iter().position(|span| (span.start..span.end).contains(&index));
    let (mut canvas, mut written) = (Canvas::new(), BTreeSet::new());
    let indices: Vec<usize> = (0..length).collect();
    let together =
        |a: &usize, b: &usize| states[*a] == states[*b] && (states[*a] != State::Open || span_of(*a) == span_of(*b));
    for run in indices.chunk_by(together) {
        let (first, last) = (run[0], run[run.len() - 1]);
        match states[first] {
            State::Given | State::Written => {
                let tokens = run.iter().map(|index| token(*index)).collect::<Result<Vec<_>, _>>()?;
                canvas.push_given(&tokens);
                if states[first] == State::Written {
                    written.extend(run);
                }
            }
            // An end token closes what is left of a hole; before tokens that stay there is nothing to close.
            State::Open => {
                let approximate = span_of(first).is_some_and(|span| {
                    let span = &spans[span];
                    span.approximate && (last + 1..span.end).all(|index| states[index] == State::Closed)
                });
                canvas.push_open(run.len(), approximate, noise);
            }
            State::Closed => canvas.push_padding(run.len(), noise),
        }
    }
    if canvas.open_positions().is_empty() {
        return Err(ApiError::invalid("the canvas has no open position; `renoise` opens some again").of("canvas"));
    }
    let template_canvas = TemplateCanvas::of_canvas(canvas, loaded.vocabulary());
    Ok(Layout { template_canvas, written, spans: input.spans.clone() })
}

/// The positions that are opened again: a share of those that were written, at least one.
fn opened(renoise: &Renoise, states: &[State], seed: u64) -> Result<Vec<usize>, ApiError> {
    let strength = renoise.strength;
    if !(strength > 0.0 && strength <= 1.0) {
        return Err(ApiError::field("renoise.strength", strength, "above 0, at most 1"));
    }
    if let Some(beyond) = renoise.positions.iter().find(|position| **position >= states.len()) {
        return Err(ApiError::field(
            "renoise.positions",
            beyond,
            &format!("below {}, the length of the canvas", states.len()),
        ));
    }
    let named: BTreeSet<usize> = renoise.positions.iter().copied().collect();
    let mut written: Vec<usize> = named.into_iter().filter(|position| states[*position] == State::Written).collect();
    if written.is_empty() {
        return Err(ApiError::field(
            "renoise.positions",
            "without a written position",
            "at least one that is `written`",
        ));
    }
    let count = ((written.len() as f64 * strength).round() as usize).max(1);
    let key = Key::new(seed).fold(RENOISE);
    let rank = |position: &usize| key.at(*position as u64, 0).uniform();
    written.sort_by(|a, b| rank(a).total_cmp(&rank(b)));
    written.truncate(count);
    Ok(written)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_of_the_written_positions_is_opened_again() {
        use State::{Given, Open, Written};
        let states = [Given, Written, Written, Written, Open, Written, Written];
        let open = |strength, seed| {
            let renoise = Renoise { positions: vec![0, 1, 2, 3, 4, 3], strength };
            opened(&renoise, &states, seed).map(|mut positions| {
                positions.sort_unstable();
                positions
            })
        };
        assert_eq!(open(1.0, 7).unwrap(), [1, 2, 3]);
        assert_eq!(open(0.01, 7).unwrap().len(), 1);
        assert_eq!(open(0.6, 7).unwrap(), open(0.6, 7).unwrap());
        // Each position has its turn.
        let mut ever: Vec<usize> = (0..40).flat_map(|seed| open(0.3, seed).unwrap()).collect();
        ever.sort_unstable();
        ever.dedup();
        assert_eq!(ever, [1, 2, 3]);
        for strength in [0.0, -1.0, 1.5, f64::NAN] {
            assert!(open(strength, 7).is_err());
        }
        assert!(opened(&Renoise { positions: vec![7], strength: 1.0 }, &states, 7).is_err());
        assert!(opened(&Renoise { positions: vec![0, 4], strength: 1.0 }, &states, 7).is_err());
    }
}
