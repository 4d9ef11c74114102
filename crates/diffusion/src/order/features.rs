//! What a learnt order knows of each open position: numbers of the prediction, of the place and of the step, which the
//! engine has in any case.

use crate::{Candidate, Proposal, Step};

/// Log-odds beyond this are as good as certain.
const MOST_LOG_ODDS: f64 = 12.0;

/// The features of the open positions of a block, in the order of the proposal: all between 0 and 1, but for the log-odds,
/// which lie between −3 and 3, the entropy, which grows as its logarithm, and the margin, as the candidate has it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct OrderFeatures {
    /// Row after row.
    values: Vec<f64>,
}

impl OrderFeatures {
    /// What each position has, in order.
    pub const NAMES: [&str; 12] = [
        // Probability of the drawn token.
        "probability",
        // Its log-odds, in units of 4.
        "log-odds",
        // Probability of the likeliest token less that of the second.
        "margin",
        // 1 where the drawn token is the likeliest.
        "likeliest",
        // exp(−H): 1 where the prediction is sure.
        "certainty",
        // ln(1 + H), H in nats.
        "entropy",
        // 1 / distance to the nearest position on the left, and on the right, that is not open in the block.
        "left",
        "right",
        // The share of the block's positions that is still open.
        "open",
        // The share of the block's steps that is taken.
        "step",
        // The share of open positions that are surer.
        "rank",
        // The product of the probabilities of this position and of all surer ones: how probable all of them are together
        // where they do not depend on each other.
        "together",
    ];
    /// How many there are.
    pub const COUNT: usize = Self::NAMES.len();
    /// The place of the log-odds.
    pub(super) const LOG_ODDS: usize = 1;
    /// What they are in units of.
    pub(super) const LOG_ODDS_UNIT: f64 = 4.0;

    /// What is known of the positions of a proposal at a step.
    pub fn new(step: &Step, proposal: &Proposal) -> Self {
        let (positions, candidates) = (proposal.positions(), proposal.candidates());
        let (left, right) = distances(positions);
        let (rank, together) = surer(candidates);
        let planned = &step.planned;
        let open = positions.len() as f64 / planned.open_before.max(positions.len()).max(1) as f64;
        let taken = planned.index as f64 / planned.of.max(1) as f64;
        let mut values = Vec::with_capacity(positions.len() * Self::COUNT);
        for (index, candidate) in candidates.iter().enumerate() {
            let Candidate { probability, entropy, margin, .. } = *candidate;
            // A guided or constrained prediction may be certain, or rounded beyond it.
            let (probability, entropy) = (probability.clamp(0.0, 1.0), entropy.max(0.0));
            let log_odds = (probability.ln() - (-probability).ln_1p()).clamp(-MOST_LOG_ODDS, MOST_LOG_ODDS);
            let row = [
                probability,
                log_odds / Self::LOG_ODDS_UNIT,
                margin,
                f64::from(u8::from(candidate.token == candidate.likeliest)),
                (-entropy).exp(),
                entropy.ln_1p(),
                1.0 / left[index] as f64,
                1.0 / right[index] as f64,
                open,
                taken,
                rank[index],
                together[index],
            ];
            values.extend(row);
        }
        Self { values }
    }

    /// How many positions.
    pub fn len(&self) -> usize {
        self.values.len() / Self::COUNT
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// What is known of each position.
    pub fn rows(&self) -> impl Iterator<Item = &[f64]> {
        self.values.chunks_exact(Self::COUNT)
    }
}

/// Distances to the nearest position on the left and on the right that is not among these.
fn distances(positions: &[usize]) -> (Vec<usize>, Vec<usize>) {
    let mut left = vec![1; positions.len()];
    let mut right = vec![1; positions.len()];
    for index in 1..positions.len() {
        if positions[index] == positions[index - 1] + 1 {
            left[index] = left[index - 1] + 1;
        }
    }
    for index in (0..positions.len().saturating_sub(1)).rev() {
        if positions[index] + 1 == positions[index + 1] {
            right[index] = right[index + 1] + 1;
        }
    }
    (left, right)
}

/// For each candidate the share of them that are more probable, and the product of the probabilities of all that are not
/// less probable; among equal ones the earlier is the surer.
fn surer(candidates: &[Candidate]) -> (Vec<f64>, Vec<f64>) {
    let mut falling: Vec<usize> = (0..candidates.len()).collect();
    falling.sort_unstable_by(|&a, &b| candidates[b].probability.total_cmp(&candidates[a].probability).then(a.cmp(&b)));
    let mut rank = vec![0.0; candidates.len()];
    let mut together = vec![0.0; candidates.len()];
    let mut product = 1.0;
    for (place, &index) in falling.iter().enumerate() {
        // As above: rounding may have led beyond certainty.
        product *= candidates[index].probability.clamp(0.0, 1.0);
        (rank[index], together[index]) = (place as f64 / candidates.len() as f64, product);
    }
    (rank, together)
}
