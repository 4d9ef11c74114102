//! What all requests of an engine share.

use crate::GenerateError;
use aquatint_diffusion::{Process, Vectors};
use aquatint_network::{Denoiser, NetworkSpec};
use std::sync::Arc;

/// The process by which a network fills canvases.
///
/// # Errors
/// When the network is causal or lacks what its process needs.
pub fn process_of(spec: &NetworkSpec) -> Result<Arc<dyn Process>, GenerateError> {
    spec.process()?.ok_or(GenerateError::Causal)
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
