//! What all requests of an engine share.

use aquatint_diffusion::{Process, Vectors};
use aquatint_network::{Denoiser, NetworkSpec};

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
