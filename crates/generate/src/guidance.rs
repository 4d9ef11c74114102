//! Guidance: each step reads the canvas a second time with what is given hidden, and moves away from what is then said
//! (see [`aquatint_diffusion::guide`]).

use crate::branch::Reading;
use crate::part::PartOf;
use crate::{GenerateError, Request};
use aquatint_diffusion::{Kind, Layout, Process, SettingError, TokenId, guide};
use aquatint_network::NetworkSpec;

/// The readings of each step, and of each part by which of them it is guided: the conditional one comes first, and parts
/// that hide the same share an unconditional one.
pub(crate) fn readings(request: &Request) -> (Vec<Reading>, Vec<Option<usize>>) {
    // What a classifier reads is no condition.
    let own = request.part(0).settings().classifier.as_ref();
    let own = own.map(|classifier| Reading::Hidden { positions: classifier.positions(request) });
    let mut readings = vec![own.unwrap_or_default()];
    let mut of_part = |part: PartOf<'_>| {
        let settings = part.settings();
        if !settings.is_guided() {
            return None;
        }
        let own = match (&settings.unconditional_prompt, request.canvas.open_positions().first()) {
            (Some(prompt), Some(&first)) => Reading::Prompted { prompt: begun(prompt, request), first },
            _ => Reading::Hidden { positions: request.text_start()..request.canvas.len() },
        };
        let known = readings.iter().position(|reading| *reading == own);
        Some(known.unwrap_or_else(|| {
            readings.push(own);
            readings.len() - 1
        }))
    };
    let of_parts = request.each_part().map(&mut of_part).collect();
    (readings, of_parts)
}

/// An unconditional prompt behind the token with which the request's text begins, unless it begins so itself.
fn begun(prompt: &[TokenId], request: &Request) -> Vec<TokenId> {
    let begin = request.given_begin().filter(|begin| prompt.first() != Some(begin));
    begin.into_iter().chain(prompt.iter().copied()).collect()
}

/// Refuses an unconditional prompt that cannot stand in place of what is given.
///
/// # Errors
/// [`GenerateError::Setting`].
pub(crate) fn check_prompt(part: PartOf<'_>, spec: &NetworkSpec, process: &dyn Process) -> Result<(), GenerateError> {
    let (request, settings) = (part.request, part.settings());
    let Some(prompt) = &settings.unconditional_prompt else { return Ok(()) };
    let refuse = |given: String, allowed: String| {
        let hint = Some("leave it out to have the given positions read as noise".to_owned());
        Err(GenerateError::Setting(SettingError { parameter: "unconditional_prompt", given, allowed, hint }))
    };
    let given = format!("{} tokens", prompt.len());
    if spec.attention != Layout::Full || process.point_size().is_some() {
        let allowed = "for models of tokens in which every position sees all others";
        return refuse(given, allowed.to_owned());
    }
    let first = request.canvas.open_positions().first().copied().unwrap_or(0);
    let room = (0..first).filter(|position| request.canvas.kind(*position) != Some(Kind::Padding)).count();
    let begin = begun(prompt, request).len() - prompt.len();
    let room = room - begin;
    if prompt.len() > room {
        return refuse(given, format!("up to {room}, as many as stand before the first open position"));
    }
    Ok(())
}

/// The logits of one row from those of both readings; without a second reading they are the first one's.
pub(crate) fn guided(conditional: &[f32], unconditional: Option<&[f32]>, scale: f64) -> Vec<f32> {
    let mut logits = conditional.to_vec();
    if let Some(unconditional) = unconditional {
        guide(conditional, unconditional, scale, &mut logits);
    }
    logits
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Settings;
    use aquatint_diffusion::Canvas;

    #[test]
    fn an_unguided_request_reads_once_and_keeps_its_logits() {
        let of = |scale| {
            let mut canvas = Canvas::new();
            canvas.push_open(1, false, 0);
            readings(&Request::new(canvas, Settings::builder().guidance_scale(scale).build().unwrap())).0.len()
        };
        assert_eq!((of(1.0), of(2.0)), (1, 2));
        assert_eq!(guided(&[1.0, 2.0], None, 3.0), [1.0, 2.0]);
        assert_eq!(guided(&[1.0, 2.0], Some(&[0.0, 3.0]), 2.0), [2.0, 1.0]);
    }
}
