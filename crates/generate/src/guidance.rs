//! Guidance: each step reads the canvas a second time with what is given hidden, and moves away from what is then said
//! (see [`aquatint_diffusion::guide`]).

use crate::branch::{Branch, Reading};
use crate::{GenerateError, Request};
use aquatint_diffusion::{Kind, Layout, Process, SettingError, guide};
use aquatint_network::NetworkSpec;

/// The readings of each step: the conditional one, and the unconditional one where the request is guided.
pub(crate) fn branches(request: &Request) -> Vec<Branch> {
    let settings = &request.settings;
    let unconditional = || match (&settings.unconditional_prompt, request.canvas.open_positions().first()) {
        (Some(prompt), Some(&first)) => Reading::Prompted { prompt: prompt.clone(), first },
        _ => Reading::Hidden,
    };
    let readings = std::iter::once(Reading::Whole).chain(settings.is_guided().then(unconditional));
    readings.map(Branch::new).collect()
}

/// Refuses an unconditional prompt that cannot stand in place of what is given.
///
/// # Errors
/// [`GenerateError::Setting`].
pub(crate) fn check_prompt(request: &Request, spec: &NetworkSpec, process: &dyn Process) -> Result<(), GenerateError> {
    let Some(prompt) = &request.settings.unconditional_prompt else { return Ok(()) };
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
            branches(&Request::new(canvas, Settings::builder().guidance_scale(scale).build().unwrap())).len()
        };
        assert_eq!((of(1.0), of(2.0)), (1, 2));
        assert_eq!(guided(&[1.0, 2.0], None, 3.0), [1.0, 2.0]);
        assert_eq!(guided(&[1.0, 2.0], Some(&[0.0, 3.0]), 2.0), [2.0, 1.0]);
    }
}
