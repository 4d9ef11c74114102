//! The loop over the forward passes of a batch of requests.

use crate::GenerateError;
use crate::event::DenoisingEvent;
use crate::forward_batch::ForwardBatch;
use crate::request::{Outcome, Request};
use crate::state::{DecodeState, RowResult};
use aquatint_diffusion::{Process, Vectors};
use aquatint_network::Denoiser;
use std::ops::ControlFlow;
use std::sync::OnceLock;

/// Fills the canvases of all requests; the outcomes are in the order of the requests.
///
/// Requests may differ in everything: length, blocks, steps, policy, guidance. Each forward pass reads the canvases of
/// all that are still running, and each result is what it would have been alone, as every draw depends on the request's
/// own seed, the position and the step only. `events` is told everything with the index of the request; when it breaks,
/// that request is cancelled and the others go on.
///
/// # Errors
/// When a request cannot be served (all are checked before the first forward pass), or the network fails.
pub fn generate(
    denoiser: &dyn Denoiser,
    process: &dyn Process,
    requests: &[Request],
    events: &mut dyn FnMut(usize, DenoisingEvent<'_>) -> ControlFlow<()>,
) -> Result<Vec<Outcome>, GenerateError> {
    let spec = denoiser.spec();
    let vectors = denoiser.word_vectors()?;
    let vectors = Vectors { size: spec.word_vector_size.unwrap_or(0), values: vectors.as_deref().unwrap_or_default() };
    let mut states: Vec<DecodeState<'_>> =
        requests.iter().map(|request| DecodeState::new(request, spec, process)).collect::<Result<_, _>>()?;
    for (index, state) in states.iter_mut().enumerate() {
        state.start(&mut |event| events(index, event));
    }
    while states.iter().any(DecodeState::is_running) {
        let mut batch = ForwardBatch::default();
        for state in states.iter_mut().filter(|state| state.is_running()) {
            state.read(&mut batch, spec, process);
        }
        // Each row is looked at while its logits are there, and what was seen waits in its slot.
        let slots: Vec<OnceLock<RowResult>> = (0..batch.asked()).map(|_| OnceLock::new()).collect();
        // Where all blocks are full and only remasking is left to do, there is nothing to read.
        let mut kv_caches = Vec::new();
        if !batch.is_empty() {
            kv_caches = batch.read(denoiser, &|row, logits| {
                if let Some(seen) = states.iter().find_map(|state| state.process_row(row, logits, process, vectors)) {
                    // Each row comes once.
                    let _ = slots[row].set(seen);
                }
            })?;
        }
        let mut seen: Vec<Option<RowResult>> = slots.into_iter().map(OnceLock::into_inner).collect();
        for (index, state) in states.iter_mut().enumerate().filter(|(_, state)| state.is_running()) {
            state.remember(&mut kv_caches);
            state.advance(&mut seen, spec, process, vectors, &mut |event| events(index, event))?;
        }
    }
    Ok(states.into_iter().map(DecodeState::into_outcome).collect())
}
