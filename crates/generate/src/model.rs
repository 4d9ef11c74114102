//! What all requests of an engine share.

use crate::GenerateError;
use aquatint_diffusion::{LeftToRight, Process, TokenId, Vectors};
use aquatint_network::{Denoiser, NetworkSpec};
use std::sync::Arc;

/// The process by which a network fills canvases: the one that it was trained to undo, and from left to right where it is
/// causal. `begin` is the token that begins a text, which a causal network reads before the first position.
///
/// # Errors
/// When the network lacks what its process needs, or a causal one has no token that begins a text.
pub fn process_of(spec: &NetworkSpec, begin: Option<TokenId>) -> Result<Arc<dyn Process>, GenerateError> {
    match (spec.process()?, begin) {
        (Some(process), _) => Ok(process),
        (None, Some(begin)) => Ok(Arc::new(LeftToRight::new(begin))),
        (None, None) => Err(GenerateError::NoBegin),
    }
}

/// A network, its process, and the word vectors of a gaussian field.
#[derive(Clone, Copy)]
pub(crate) struct Model<'a> {
    pub(crate) denoiser: &'a dyn Denoiser,
    pub(crate) process: &'a dyn Process,
    pub(crate) vectors: Vectors<'a>,
}

impl<'a> Model<'a> {
    /// What the network is.
    pub(crate) fn spec(&self) -> &'a NetworkSpec {
        self.denoiser.spec()
    }
}
