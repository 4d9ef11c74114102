//! A gated part and a mixture of experts side by side.

use super::{ExpertsSpec, GatedSpec};
use crate::NetworkError;
use crate::spec::NormSpec;
use std::fmt;

/// A gated part and a mixture of experts side by side, as in Gemma 4: `norm(gated(h)) + norm(experts(norm(x)))`, where `h`
/// are the normed rows of the stream `x`. The router reads rows of the stream that are normed by a weight of its own, and its
/// logits are divided by the root of the width.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ParallelSpec {
    /// The part that reads every row.
    pub gated: GatedSpec,
    /// The mixture.
    pub experts: ExpertsSpec,
    /// The norms of the router's rows, before the experts, and behind each of the two parts.
    pub norm: NormSpec,
}

impl ParallelSpec {
    /// What both have between their matrices, rows for router and experts, and what the two give before and behind norms.
    pub(super) fn inner_elements(&self, width: usize) -> usize {
        self.gated.inner_elements() + self.experts.inner_elements(width) + 7 * width
    }

    pub(super) fn validate(&self) -> Result<(), NetworkError> {
        self.gated.validate()?;
        self.experts.validate()?;
        self.norm.validate()
    }
}

impl fmt::Display for ParallelSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} beside {}", self.gated.width, self.experts)
    }
}
