//! A mixture of experts.

use super::{Activation, GatedSpec};
use crate::NetworkError;
use crate::spec::{check_size, refuse};
use aquatint_compute::{Router, RouterScore};
use std::fmt;

/// The most experts of a layer: more than any network has, and few enough for what routes a row on a GPU.
const MOST: usize = 4096;

/// Gated feed-forward parts of which each row goes to a few, which a router chooses for it (Shazeer et al., 1701.06538).
/// Shown in words: the experts of a row, all experts and their width.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ExpertsSpec {
    /// Experts that there are.
    pub experts: usize,
    /// Experts of each row.
    pub per_token: usize,
    /// `F`: columns between the matrices of an expert.
    pub width: usize,
    /// What happens between the matrices of an expert, the shared one among them.
    pub activation: Activation,
    /// How experts are chosen and weighted.
    pub router: RouterSpec,
    /// Columns between the matrices of the expert to which every row goes, beside those that are chosen for it
    /// (DeepSeekMoE: 2401.06066, section 3.2); `None` where there is none.
    pub shared_width: Option<usize>,
}

/// How a row's experts are chosen and weighted, from one logit for each expert.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RouterSpec {
    /// What becomes of the logits.
    pub score: RouterScore,
    /// Groups of neighbouring experts, a divisor of their number.
    pub groups: usize,
    /// Groups from which a row may choose: those whose two best experts have the greatest sum.
    pub groups_per_token: usize,
    /// Whether the rows of a block choose together the experts among which each has its own.
    pub block: Option<BlockRouting>,
    /// Whether each expert has a bias that counts where experts are chosen, and not in their weights (2408.15664).
    pub bias: bool,
    /// Whether the weights of a row's experts are divided by their sum.
    pub normalised: bool,
    /// What the weights are multiplied by in the end.
    pub scale: f64,
    /// Whether each expert has a number that its weights are multiplied by.
    pub expert_scale: bool,
}

/// Rows that choose together the experts among which each has its own: those of the greatest score with the bias that any
/// of the rows has (LLaDA2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockRouting {
    /// Rows that choose together, a divisor of the length of the network's blocks. Of a block they are counted from its
    /// beginning, and what is left at its end chooses together too.
    pub length: usize,
    /// Experts that are left of all.
    pub experts: usize,
}

impl RouterSpec {
    /// Probabilities over all experts.
    pub fn softmax(normalised: bool) -> Self {
        let (score, block) = (RouterScore::Softmax, None);
        Self { score, groups: 1, groups_per_token: 1, block, bias: false, normalised, scale: 1.0, expert_scale: false }
    }
}

impl ExpertsSpec {
    /// As a device routes rows.
    pub fn router(&self) -> Router {
        let RouterSpec { score, groups, groups_per_token, block, normalised, scale, .. } = self.router;
        let (experts, per_token) = (self.experts, self.per_token);
        let per_block = block.map(|block| block.experts);
        Router { experts, per_token, score, groups, groups_per_token, per_block, normalised, scale }
    }

    /// One of the experts.
    pub(crate) fn expert(&self) -> GatedSpec {
        GatedSpec { width: self.width, activation: self.activation }
    }

    /// The expert to which every row goes.
    pub(crate) fn shared(&self) -> Option<GatedSpec> {
        self.shared_width.map(|width| GatedSpec { width, activation: self.activation })
    }

    /// Logits and weights, and of each expert of a row its copy, its gate and value, their product, and what it gives;
    /// the sum over the experts; and what the shared expert has.
    pub(super) fn inner_elements(&self, width: usize) -> usize {
        let copies = self.per_token * (1 + 2 * width + self.expert().inner_elements());
        self.experts + copies + width + self.shared().map_or(0, |shared| shared.inner_elements())
    }

    /// Parameters that a row does not read.
    pub(super) fn idle_parameters(&self, width: usize) -> usize {
        (self.experts - self.per_token) * 3 * width * self.width
    }

    pub(super) fn validate(&self) -> Result<(), NetworkError> {
        let RouterSpec { groups, groups_per_token, block, scale, .. } = self.router;
        if self.experts == 0 || self.experts > MOST {
            return refuse("experts", self.experts, format!("1 or more, and no more than {MOST}"));
        }
        if groups == 0 || !self.experts.is_multiple_of(groups) {
            return refuse("router_groups", groups, format!("a divisor of `experts`, which is {}", self.experts));
        }
        if groups_per_token == 0 || groups_per_token > groups {
            return refuse("router_groups_per_token", groups_per_token, format!("from 1 to `router_groups`, {groups}"));
        }
        let open = self.experts / groups * groups_per_token;
        if self.per_token == 0 || self.per_token > open {
            let allowed = format!("from 1 to {open}, the experts from which a row may choose");
            return refuse("experts_per_token", self.per_token, allowed);
        }
        if let Some(BlockRouting { length, experts }) = block {
            check_size("router_block_length", length)?;
            if experts < self.per_token || experts > self.experts {
                let allowed = format!("from `experts_per_token`, {}, to `experts`, {}", self.per_token, self.experts);
                return refuse("router_block_experts", experts, allowed);
            }
            if groups > 1 {
                return refuse("router_groups", groups, "1 where the rows of a block choose together");
            }
        }
        if !(scale > 0.0 && scale.is_finite()) {
            return refuse("router_scale", scale, "a number above 0 (1 is usual)");
        }
        check_size("expert_width", self.width)?;
        self.shared_width.map_or(Ok(()), |width| check_size("shared_expert_width", width))
    }
}

impl fmt::Display for ExpertsSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} experts of {}", self.per_token, self.experts, self.width)?;
        if let Some(BlockRouting { length, experts }) = self.router.block {
            write!(f, ", among {experts} for {length} rows together")?;
        }
        self.shared_width.map_or(Ok(()), |width| write!(f, " and a shared one of {width}"))
    }
}
