//! The audit of what is written: the interface of guards.
//!
//! A block that is filled is judged before it is committed. Where something of it offends, those positions are opened again and
//! drawn anew without the tokens that stood there, a number of times at most, and then the request fails
//! ([`GenerateError::Refused`](crate::GenerateError::Refused)). So what was reported as committed by
//! [`DenoisingEvent::BlockCommitted`](crate::DenoisingEvent::BlockCommitted) was judged.
//!
//! After the block audit and repair of DiffuGuard (2509.24296). Deviation: which positions offend is for the audit to say, by the
//! text, and not for a measure of the model's hidden states.

use aquatint_diffusion::Canvas;
use std::fmt::Debug;

/// Judges what is written, block by block.
pub trait Audit: Debug + Send + Sync {
    /// What offends on a canvas of which this block was filled last; `None` where nothing does. `block` are its positions that
    /// were open, ascending. Other blocks and parts may still be open.
    fn judge(&self, canvas: &Canvas, block: &[usize]) -> Option<Offence>;

    /// How often a block is repaired before the request fails.
    fn repairs(&self) -> usize;
}

/// What offends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offence {
    /// Positions whose tokens are part of it, ascending. Those of the block that was judged are opened again; where there is none,
    /// nothing can be repaired.
    pub positions: Vec<usize>,
    /// What it is, for people.
    pub reason: String,
}
