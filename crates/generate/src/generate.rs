//! A closed batch of requests, from beginning to end.

use crate::engine::{Ended, Engine, RequestId};
use crate::event::DenoisingEvent;
use crate::limits::Limits;
use crate::{GenerateError, Outcome, Request};
use aquatint_diffusion::Process;
use aquatint_network::Denoiser;
use std::collections::BTreeMap;
use std::ops::ControlFlow;

/// Fills the canvases of all requests together; the outcomes are in the order of the requests, each request's own: one that
/// cannot be served or fails leaves the others alone.
///
/// Requests may differ in everything: length, blocks, steps, policy, guidance. Each forward pass reads the canvases of
/// all that are still running, and each result is what it would have been alone. `events` hears everything with the index
/// of the request; when it breaks, that request is cancelled and the others go on.
///
/// An [`Engine`] does the work, without limits: the caller has chosen how many requests come together.
pub fn generate(
    denoiser: &dyn Denoiser,
    process: &dyn Process,
    requests: &[Request],
    events: &mut dyn FnMut(usize, DenoisingEvent<'_>) -> ControlFlow<()>,
) -> Vec<Result<Outcome, GenerateError>> {
    let mut engine = match Engine::borrowing(denoiser, process, Limits::NONE) {
        Ok(engine) => engine,
        Err(error) => return requests.iter().map(|_| Err(error.clone())).collect(),
    };
    let mut outcomes: BTreeMap<usize, Result<Outcome, GenerateError>> = BTreeMap::new();
    let mut indices: BTreeMap<RequestId, usize> = BTreeMap::new();
    for (index, request) in requests.iter().enumerate() {
        match engine.submit(request.clone()) {
            Ok(id) => drop(indices.insert(id, index)),
            Err(error) => drop(outcomes.insert(index, Err(error))),
        }
    }
    while !engine.is_idle() {
        for Ended { id, outcome } in engine.step(&mut |id, event| events(indices[&id], event)) {
            outcomes.insert(indices[&id], outcome);
        }
    }
    outcomes.into_values().collect()
}
