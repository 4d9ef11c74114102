//! What a causal network asks of a request: it writes one token after another, each from those before it.

use crate::part::PartOf;
use crate::{GenerateError, Request};
use aquatint_diffusion::PositionState::{Committed, Given};
use aquatint_diffusion::{Canvas, SettingError};
use aquatint_network::NetworkSpec;

/// Refuses what has no meaning, or is not there to be seen, when one token is written after another.
///
/// # Errors
/// [`GenerateError::GivenBehindHole`], and [`GenerateError::Setting`] for the first setting that is for other networks.
pub(crate) fn check(part: PartOf<'_>, spec: &NetworkSpec) -> Result<(), GenerateError> {
    check_order(part.request, spec)?;
    let settings = part.settings();
    let refusals = [
        ("self_conditioning", spec.self_conditioning.map(|_| "on".to_owned()), "off"),
        ("block_length", settings.block_length.filter(|length| *length != 1).map(|length| length.to_string()), "1"),
        ("policy", settings.policy.as_ref().map(|policy| policy.name()), "auto"),
        ("remasking", (!settings.remasking.is_none()).then(|| settings.remasking.to_string()), "none"),
        ("edit_threshold", settings.editing.map(|editing| editing.threshold().to_string()), "1"),
        ("guidance_scale", settings.is_guided().then(|| settings.guidance_scale.to_string()), "1"),
    ];
    match refusals.into_iter().find_map(|(parameter, given, allowed)| Some((parameter, given?, allowed))) {
        Some((parameter, given, allowed)) => Err(GenerateError::Setting(SettingError {
            parameter,
            given,
            allowed: allowed.to_owned(),
            hint: Some("a causal model writes one token after another, each once".to_owned()),
        })),
        None => Ok(()),
    }
}

/// Refuses text behind a hole, which no position before it sees.
///
/// # Errors
/// [`GenerateError::GivenBehindHole`].
pub(crate) fn check_order(request: &Request, spec: &NetworkSpec) -> Result<(), GenerateError> {
    match given_behind_hole(&request.canvas) {
        Some(position) => Err(GenerateError::GivenBehindHole { attention: spec.attention, position }),
        None => Ok(()),
    }
}

/// The first position behind an open one whose token stays: given, or written before.
fn given_behind_hole(canvas: &Canvas) -> Option<usize> {
    let first = canvas.open_positions().first().copied()?;
    (first..canvas.len()).find(|position| matches!(canvas.state(*position), Some(Given | Committed)))
}

/// What rows read where each reads the token before its own, and `first` stands before all of them.
pub(crate) fn shifted<T: Clone>(first: T, own: &[T]) -> Vec<T> {
    let before = own.len().saturating_sub(1);
    std::iter::once(first).chain(own[..before].iter().cloned()).take(own.len()).collect()
}
