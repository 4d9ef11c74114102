//! Proposals: for each open position the token that would be written there, and how sure the prediction is.

use crate::random::categorical;
use crate::{Draws, Shaping, TokenId};

/// What a prediction proposes for one position.
///
/// Probability, entropy and margin are those of the prediction itself at temperature 1 over the tokens that are not
/// forbidden, before everything that shapes it: shaping says how to draw, not how sure the network is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Candidate {
    /// The token drawn.
    pub token: TokenId,
    /// Probability of the token drawn.
    pub probability: f64,
    /// Entropy of the prediction, in nats.
    pub entropy: f64,
    /// Probability of the likeliest token less that of the second.
    pub margin: f64,
    /// The likeliest token.
    pub likeliest: TokenId,
    /// What the prediction counts in a step: see [`Process::mass`](crate::Process::mass).
    pub mass: f64,
}

/// The candidates of some open positions, ascending by position.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Proposal {
    positions: Vec<usize>,
    candidates: Vec<Candidate>,
    /// The expected word vector of each position; empty where there are no word vectors.
    expected: Vec<Vec<f32>>,
}

impl Proposal {
    /// An empty proposal.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the candidate of a position, or replaces it.
    pub fn insert(&mut self, position: usize, candidate: Candidate) {
        self.insert_expecting(position, candidate, Vec::new());
    }

    /// The same with the word vector that the prediction expects.
    pub fn insert_expecting(&mut self, position: usize, candidate: Candidate, expected: Vec<f32>) {
        match self.positions.binary_search(&position) {
            Ok(index) => {
                self.candidates[index] = candidate;
                self.expected[index] = expected;
            }
            Err(index) => {
                self.positions.insert(index, position);
                self.candidates.insert(index, candidate);
                self.expected.insert(index, expected);
            }
        }
    }

    /// The word vector that the prediction about a position expects; empty where there is none.
    pub fn expected(&self, position: usize) -> &[f32] {
        self.positions.binary_search(&position).map_or(&[], |index| &self.expected[index])
    }

    /// The positions, ascending.
    pub fn positions(&self) -> &[usize] {
        &self.positions
    }

    /// The candidates, in the order of the positions.
    pub fn candidates(&self) -> &[Candidate] {
        &self.candidates
    }

    /// The candidate of a position, if it is part of the proposal.
    pub fn candidate(&self, position: usize) -> Option<&Candidate> {
        self.positions.binary_search(&position).ok().map(|index| &self.candidates[index])
    }

    /// Positions with their candidates, ascending.
    pub fn iter(&self) -> impl Iterator<Item = (usize, &Candidate)> {
        self.positions.iter().copied().zip(&self.candidates)
    }

    /// The mean entropy of the predictions, in nats; 0 where there is none.
    pub fn mean_entropy(&self) -> f64 {
        let total: f64 = self.candidates.iter().map(|candidate| candidate.entropy).sum();
        if self.is_empty() { 0.0 } else { total / self.len() as f64 }
    }

    /// How many positions it covers.
    pub fn len(&self) -> usize {
        self.positions.len()
    }

    /// Whether it covers none.
    pub fn is_empty(&self) -> bool {
        self.positions.is_empty()
    }
}

/// Why nothing can be proposed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProposalError {
    /// A logit is not a number, or plus infinity, as those of a broken checkpoint are.
    #[error("the logit of token {token} is not a finite number")]
    NotANumber {
        /// The token.
        token: TokenId,
    },
    /// Every token is forbidden or has probability 0.
    #[error("no token is allowed: all of them are forbidden or have probability 0")]
    NothingAllowed,
}

/// Draws a candidate for one position from its logits, of which there is one per token of the vocabulary.
///
/// `forbidden` tokens are never proposed (noise tokens, say) and have no part in the prediction; `repeated` are the
/// tokens that occur already, which the penalties are for: duplicates count once for all but the frequency penalty. One uniform draw in f64 is used, none at
/// temperature 0; among equally likely tokens temperature 0 takes the lowest id.
///
/// # Errors
/// When a logit is not a number or plus infinity, or no token is left.
pub fn propose(
    logits: &[f32],
    shaping: &Shaping,
    forbidden: &[TokenId],
    repeated: &[TokenId],
    draws: &mut Draws,
) -> Result<Candidate, ProposalError> {
    if let Some(token) = logits.iter().position(|l| l.is_nan() || *l == f32::INFINITY) {
        return Err(ProposalError::NotANumber { token: token as TokenId });
    }
    let mut logits = logits.to_vec();
    for token in forbidden {
        if let Some(logit) = logits.get_mut(*token as usize) {
            *logit = f32::NEG_INFINITY;
        }
    }
    let uniform = if shaping.temperature == 0.0 { 0.0 } else { draws.uniform() };
    propose_at(&logits, shaping, repeated, &shaping.biases(&[], repeated), uniform)
}

/// As [`propose`], from logits that are numbers, −∞ where a token is forbidden, and decided by a uniform number in
/// [0, 1), which is not used where the temperature is 0. `biases` are added to the logits of their tokens, as
/// [`Shaping::biases`] sums them up.
///
/// # Errors
/// When no token is left.
pub fn propose_at(
    logits: &[f32],
    shaping: &Shaping,
    repeated: &[TokenId],
    biases: &[(TokenId, f32)],
    uniform: f64,
) -> Result<Candidate, ProposalError> {
    let prediction = Prediction::of(logits).ok_or(ProposalError::NothingAllowed)?;
    let candidate = |token: usize| Candidate {
        token: token as TokenId,
        probability: (f64::from(logits[token]) - prediction.log_sum_exp).exp(),
        entropy: prediction.entropy,
        margin: prediction.margin,
        likeliest: prediction.likeliest as TokenId,
        mass: 1.0,
    };
    if shaping.temperature == 0.0 && shaping.repetition_penalty == 1.0 && biases.is_empty() {
        return Ok(candidate(prediction.likeliest));
    }
    let mut shaped: Vec<f64> = logits.iter().map(|l| f64::from(*l)).collect();
    if shaping.repetition_penalty != 1.0 {
        let mut repeated = repeated.to_vec();
        repeated.sort_unstable();
        repeated.dedup();
        for token in repeated {
            if let Some(logit) = shaped.get_mut(token as usize) {
                *logit = shaping.penalise(*logit);
            }
        }
    }
    for &(token, bias) in biases {
        if let Some(logit) = shaped.get_mut(token as usize) {
            *logit += f64::from(bias);
        }
    }
    draw(&shaped, shaping, uniform).map(candidate).ok_or(ProposalError::NothingAllowed)
}

/// What a candidate says of the prediction, the softmax of the logits at temperature 1.
struct Prediction {
    likeliest: usize,
    log_sum_exp: f64,
    entropy: f64,
    margin: f64,
}

impl Prediction {
    /// The prediction of some logits, `None` if none is finite; `−∞` is a token of probability 0.
    fn of(logits: &[f32]) -> Option<Self> {
        let logits: Vec<f64> = logits.iter().map(|l| f64::from(*l)).collect();
        let likeliest = argmax(&logits)?;
        let highest = logits[likeliest];
        let mut probabilities: Vec<f64> = logits.iter().map(|l| (l - highest).exp()).collect();
        let total: f64 = probabilities.iter().sum();
        let (mut first, mut second, mut mean) = (0.0, 0.0, 0.0);
        for (p, logit) in probabilities.iter_mut().zip(&logits) {
            *p /= total;
            if *p > 0.0 {
                mean += *p * (logit - highest);
            }
            if *p > first {
                (first, second) = (*p, first);
            } else if *p > second {
                second = *p;
            }
        }
        // −Σ p log p with log p = (logit − highest) − log total; rounding may push a certain prediction just below 0.
        let entropy = (total.ln() - mean).max(0.0);
        Some(Self { likeliest, log_sum_exp: highest + total.ln(), entropy, margin: first - second })
    }
}

fn draw(logits: &[f64], shaping: &Shaping, uniform: f64) -> Option<usize> {
    let highest = argmax(logits)?;
    if shaping.temperature == 0.0 {
        return Some(highest);
    }
    let top = logits[highest];
    let least = top + shaping.reach();
    let likely = logits.iter().enumerate().filter(|(_, l)| **l >= least && l.is_finite());
    let mut retained: Vec<(usize, f64)> =
        likely.map(|(index, l)| (index, ((l - top) / shaping.temperature).exp())).collect();
    shaping.cut(&mut retained);
    let weights: Vec<f64> = retained.iter().map(|(_, weight)| *weight).collect();
    categorical(&weights, uniform).map(|index| retained[index].0)
}

/// Index of the largest finite value, the first one of several.
fn argmax(values: &[f64]) -> Option<usize> {
    let mut best: Option<usize> = None;
    for (index, value) in values.iter().enumerate() {
        if value.is_finite() && best.is_none_or(|b| *value > values[b]) {
            best = Some(index);
        }
    }
    best
}
