//! Guards as the engine's audit of one canvas.

use crate::{Found, Guards, Passage};
use aquatint_diffusion::{Canvas, Kind};
use aquatint_generate::{Audit, Offence};
use std::fmt;
use std::sync::Arc;

/// Reads what stands on a canvas while it is filled ([`Passage::of_written`]).
type Read = dyn Fn(&Canvas) -> Passage + Send + Sync;

/// Judges the text of a canvas whenever a block of it is filled.
pub struct CanvasAudit {
    guards: Arc<Guards>,
    read: Box<Read>,
}

impl CanvasAudit {
    /// An audit of a canvas that is read so.
    pub fn new(guards: Arc<Guards>, read: impl Fn(&Canvas) -> Passage + Send + Sync + 'static) -> Self {
        Self { guards, read: Box::new(read) }
    }
}

impl Audit for CanvasAudit {
    /// Of what offends, what touches nothing that is written was given, and is left. What touches no position of the block is
    /// reported without positions, since nothing of it can be opened again.
    fn judge(&self, canvas: &Canvas, block: &[usize]) -> Option<Offence> {
        let is_written = |position: &usize| canvas.kind(*position) == Some(Kind::Open);
        let mut found = self.guards.found(&(self.read)(canvas));
        found.retain(|found| found.positions.iter().any(is_written));
        let is_of_block = |found: &Found| found.positions.iter().any(|position| block.binary_search(position).is_ok());
        if let Some(fixed) = found.iter().find(|found| !is_of_block(found)) {
            return Some(Offence { positions: Vec::new(), reason: fixed.reason.clone() });
        }
        let reason = found.first()?.reason.clone();
        let mut positions: Vec<usize> = found.into_iter().flat_map(|found| found.positions).collect();
        positions.retain(is_written);
        positions.sort_unstable();
        positions.dedup();
        Some(Offence { positions, reason })
    }

    fn repairs(&self) -> usize {
        self.guards.repairs()
    }
}

impl fmt::Debug for CanvasAudit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CanvasAudit").field("guards", &self.guards).finish_non_exhaustive()
    }
}
