//! What a network was trained to do.

use aquatint_diffusion::ProcessSpec;

/// What a network was trained to do. It decides how the network generates text and how text is measured under it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum NetworkKind<'a> {
    /// To undo a process: it fills the open positions of a canvas in several steps, and text has a bound.
    Diffusion(&'a ProcessSpec),
    /// To predict each token from those before it: text is generated from left to right, and has an exact likelihood.
    Causal,
}
