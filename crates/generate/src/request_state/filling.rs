//! The canvas of a request while it is filled, with what its tracks share.

use crate::event::Statistics;
use crate::visible::is_end;
use crate::{Request, Settings};
use aquatint_diffusion::Canvas;

/// A canvas as it stands, and what is known of it.
pub(super) struct Filling {
    pub(super) request: Request,
    pub(super) canvas: Canvas,
    /// Probability of each position's token when it was committed.
    pub(super) certainty: Vec<f64>,
    pub(super) statistics: Statistics,
}

impl Filling {
    /// The settings of a part.
    pub(super) fn settings(&self, part: usize) -> &Settings {
        self.request.part(part).settings()
    }

    /// Whether a committed end token closes a span here.
    pub(super) fn is_end(&self, position: usize) -> bool {
        is_end(&self.canvas, &self.request.ends, position)
    }
}
