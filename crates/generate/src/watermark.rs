//! The mark of a secret key on what is written: the interface of watermarks.
//!
//! A [`Watermark`] acts at one of three places of a step, which its [`Mark`] says: it gives the numbers by which tokens are
//! drawn, or adds to logits before a draw, or prefers some of the positions that a policy could make final. The first two
//! need the whole row of logits of each position on the host; requests without a watermark do not come here. Spans that a
//! constraint fills are not marked, as it draws their tokens together.

use aquatint_compute::{ShapedRow, shape_row};
use aquatint_diffusion::{Candidate, Commit, CommitPolicy, Key, PlanPart, Proposal, Step, TokenId};
use aquatint_network::RowDraw;
use std::collections::BTreeMap;
use std::fmt::Debug;

/// A mark on what is written, by a secret key.
pub trait Watermark: Debug + Send + Sync {
    /// The name of its scheme, for messages.
    fn name(&self) -> &'static str;

    /// Where it acts.
    fn mark(&self) -> Mark<'_>;
}

/// Where a watermark acts in a step.
#[derive(Debug, Clone, Copy)]
pub enum Mark<'a> {
    /// It gives the numbers by which tokens are drawn; the law of a draw stays the same.
    Draws(&'a dyn MarkedDraws),
    /// It adds to logits before a token is drawn.
    Logits(&'a dyn MarkedLogits),
    /// It prefers some positions to others when a policy makes some final.
    Order(&'a dyn MarkedOrder),
}

/// Numbers of a key by which tokens are drawn.
pub trait MarkedDraws: Debug + Send + Sync {
    /// The number in (0, 1) of each token at a position of a request with this seed. A token of probability `p` is drawn
    /// where `−ln(u) / p` is the least of all (the Gumbel-max trick).
    fn numbers(&self, seed: u64, position: usize) -> Box<dyn Fn(TokenId) -> f64 + '_>;
}

/// A canvas between two steps, as a watermark reads it.
#[derive(Debug, Clone, Copy)]
pub struct MarkedStep<'a> {
    /// The token of each position; `None` where it is open, closed or padding.
    pub known: &'a [Option<TokenId>],
    /// The likeliest tokens of each position that is predicted, descending, with their probabilities as they are drawn
    /// but for the cuts of min-p, top-k and top-p.
    pub likeliest: &'a BTreeMap<usize, Vec<(TokenId, f64)>>,
}

/// What a key adds to logits.
pub trait MarkedLogits: Debug + Send + Sync {
    /// How many of the likeliest tokens of a position it reads.
    fn reads(&self) -> usize;

    /// What is added to the logits of tokens at each position that is predicted, behind the penalties and before the
    /// temperature.
    fn biases(&self, step: &MarkedStep<'_>) -> BTreeMap<usize, Vec<(TokenId, f32)>>;
}

/// Which positions a key would rather have final.
pub trait MarkedOrder: Debug + Send + Sync {
    /// Among how many times the positions that a policy chooses it may choose; 1 leaves the policy's choice.
    fn width(&self) -> usize;

    /// How well a token fits at a position, beside the tokens that are known (see [`MarkedStep::known`]): the positions of
    /// the largest numbers become final first.
    fn score(&self, known: &[Option<TokenId>], position: usize, token: TokenId) -> f64;
}

/// The candidate of a position with the token that the numbers of a key draw; as it is at temperature 0. `logits` is the row
/// after guidance, which this changes as a draw does.
pub(crate) fn drawn_by(
    candidate: Candidate,
    logits: &mut [f32],
    draw: &RowDraw<'_>,
    numbers: &dyn Fn(TokenId) -> f64,
) -> Candidate {
    let temperature = draw.sampling.temperature;
    if temperature == 0.0 {
        return candidate;
    }
    let ShapedRow { summary, logits: shaped, retained } = shape_row(logits, draw);
    let Some(token) = race(&shaped, retained.as_deref(), temperature, numbers) else { return candidate };
    let probability = (f64::from(logits[token as usize]) - summary.log_sum_exp).exp();
    Candidate { token, probability, ..candidate }
}

/// The token whose exponential clock, of the rate of its probability, is the first to ring.
fn race(
    logits: &[f64],
    retained: Option<&[TokenId]>,
    temperature: f64,
    numbers: &dyn Fn(TokenId) -> f64,
) -> Option<TokenId> {
    let top = logits.iter().copied().filter(|logit| logit.is_finite()).fold(f64::NEG_INFINITY, f64::max);
    let mut first: Option<(TokenId, f64)> = None;
    let mut run = |token: TokenId| {
        let Some(logit) = logits.get(token as usize).filter(|logit| logit.is_finite()) else { return };
        let weight = ((logit - top) / temperature).exp();
        if weight > 0.0 {
            let rings = -numbers(token).ln() / weight;
            if first.is_none_or(|(_, earliest)| rings < earliest) {
                first = Some((token, rings));
            }
        }
    };
    match retained {
        Some(tokens) => tokens.iter().for_each(|token| run(*token)),
        None => (0..logits.len() as TokenId).for_each(run),
    }
    first.map(|(token, _)| token)
}

/// Biases of a draw with those of a mark, ascending by token, each of them once.
pub(crate) fn joined(biases: &[(TokenId, f32)], of_mark: &[(TokenId, f32)]) -> Vec<(TokenId, f32)> {
    let mut joined: BTreeMap<TokenId, f32> = biases.iter().copied().collect();
    of_mark.iter().for_each(|(token, bias)| *joined.entry(*token).or_default() += bias);
    joined.into_iter().collect()
}

/// The likeliest tokens of a row as a draw has them, with their probabilities but for the cuts; `logits` is changed as a
/// draw changes it. At temperature 0 the probabilities are those of temperature 1.
pub(crate) fn likeliest(logits: &mut [f32], draw: &RowDraw<'_>, count: usize) -> Vec<(TokenId, f64)> {
    let temperature = if draw.sampling.temperature == 0.0 { 1.0 } else { draw.sampling.temperature };
    let shaped = shape_row(logits, draw).logits;
    let finite = || shaped.iter().copied().filter(|logit| logit.is_finite());
    let top = finite().fold(f64::NEG_INFINITY, f64::max);
    let total: f64 = finite().map(|logit| ((logit - top) / temperature).exp()).sum();
    let mut tokens: Vec<TokenId> =
        (0..shaped.len() as TokenId).filter(|token| shaped[*token as usize].is_finite()).collect();
    let order = |a: &TokenId, b: &TokenId| shaped[*b as usize].total_cmp(&shaped[*a as usize]).then(a.cmp(b));
    if count < tokens.len() {
        tokens.select_nth_unstable_by(count, order);
        tokens.truncate(count);
    }
    tokens.sort_unstable_by(order);
    tokens.into_iter().map(|token| (token, ((shaped[token as usize] - top) / temperature).exp() / total)).collect()
}

/// A policy whose choice leans to the positions that a mark prefers: as many as the policy would choose, among more than
/// that, which it would choose next.
#[derive(Debug)]
pub(crate) struct Leaning<'a> {
    policy: &'a dyn CommitPolicy,
    order: &'a dyn MarkedOrder,
    known: &'a [Option<TokenId>],
}

impl<'a> Leaning<'a> {
    pub(crate) fn new(policy: &'a dyn CommitPolicy, order: &'a dyn MarkedOrder, known: &'a [Option<TokenId>]) -> Self {
        Self { policy, order, known }
    }
}

impl CommitPolicy for Leaning<'_> {
    fn name(&self) -> String {
        self.policy.name()
    }

    fn select(&self, step: &Step, proposal: &Proposal, key: Key) -> Commit {
        let mut pool = self.policy.select(step, proposal, key).positions;
        pool.retain(|position| proposal.candidate(*position).is_some());
        let count = pool.len();
        let most = count.saturating_mul(self.order.width());
        let mut rest = proposal.clone();
        let mut chosen = pool.clone();
        while pool.len() < most && !chosen.is_empty() {
            let mut left = Proposal::new();
            let others = rest.iter().filter(|(position, _)| !chosen.contains(position));
            others.for_each(|(position, candidate)| {
                left.insert_expecting(position, *candidate, rest.expected(position).to_vec());
            });
            rest = left;
            let step = Step { commits: step.commits.min(rest.len()), ..*step };
            chosen = if rest.is_empty() { Vec::new() } else { self.policy.select(&step, &rest, key).positions };
            chosen.retain(|position| rest.candidate(*position).is_some());
            pool.extend(chosen.iter().copied().take(most - pool.len()));
        }
        let score = |position: usize| {
            let candidate = proposal.candidate(position);
            candidate.map_or(0.0, |candidate| self.order.score(self.known, position, candidate.token))
        };
        let mut scored: Vec<(usize, f64)> = pool.into_iter().map(|position| (position, score(position))).collect();
        // The sort is stable: of equal ones the policy's own choice comes first.
        scored.sort_by(|(_, a), (_, b)| b.total_cmp(a));
        let mut positions: Vec<usize> = scored.into_iter().take(count).map(|(position, _)| position).collect();
        positions.sort_unstable();
        Commit { positions }
    }

    fn steps(&self, open: usize, requested: usize) -> usize {
        self.policy.steps(open, requested)
    }

    fn reads(&self) -> PlanPart {
        self.policy.reads()
    }
}
