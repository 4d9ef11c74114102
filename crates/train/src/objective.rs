//! What a batch costs and which rows are asked, under each objective.
//!
//! Diffusion: what the process learns from ([`Process::corrupt`]), at times drawn for each canvas, or for each block where
//! blocks become noisy one by one. With masking `bernoulli`, positions are hidden one by one as the process says; with
//! `fixed-count`, the share of positions that the time names (LLaDA, 2502.09992, equation 14): the same expectation, less
//! noise, and no influence of the schedule, where the process has such a form. Every weight is divided by the number of
//! tokens of the whole step, so that the loss is in nats per token whatever the batch. Where it is a bound, it is multiplied
//! by the width of `time_range`, so that a narrower range costs the part of the bound that it covers, and divided by the
//! density of its time where times follow the cost ([`aquatint_diffusion::TimeDensity`]).
//!
//! Deviation: weights above `weight_limit` are cut to it for the gradient, never for the figures: a nearly clean canvas
//! weighs 1/t, and a few of them would set the direction of a step. Where nothing is said nothing is cut.
//!
//! With masking `complementary` each canvas is there twice, and the second has masked what the first shows. Where the first
//! shows nothing, neither does the second, so that the second's count is as even as the first's and both are the bound.
//!
//! Causal: each token given those before it in its document.

use crate::TrainError;
use crate::recipe::{Masking, Objective, ObjectiveKind, Times};
use aquatint_batch::{NoisyBatch, PackedBatch, corrupt_evenly, golden_point};
use aquatint_diffusion::{Corrupted, Draws, Key, Process, Time, TimeDensity, TokenId};
use aquatint_evaluate::Rule;
use aquatint_network::NetworkSpec;
use std::ops::Range;
use std::sync::Arc;

/// Streams of randomness under the run's seed.
const TIMES: u64 = 1;
const MASKS: u64 = 2;
const BELIEFS: u64 = 3;
const GIVEN: u64 = 4;

/// An objective with what it needs.
#[derive(Debug)]
pub(crate) struct Loss {
    recipe: Objective,
    kind: Kind,
    key: Key,
}

#[derive(Debug)]
enum Kind {
    Diffusion(Arc<dyn Process>),
    Causal { begin: TokenId },
}

/// What one pass asks.
#[derive(Debug, Clone)]
pub(crate) struct Batch {
    /// With the weights that the gradient gets.
    pub(crate) question: NoisyBatch,
    /// The weights of the objective itself.
    pub(crate) weights: Vec<f64>,
    /// The rows of each time with that time.
    pub(crate) parts: Vec<(Range<usize>, Time)>,
}

impl Batch {
    /// The mean of what each part's rows cost, with the part's time.
    pub(crate) fn surprise(&self, costs: &[f64]) -> Vec<(Time, f64)> {
        let mut sums = vec![(0.0, 0usize); self.parts.len()];
        for (term, cost) in self.question.terms.iter().zip(costs) {
            let part = self.parts.partition_point(|(rows, _)| rows.end <= term.position);
            if let Some(sum) = sums.get_mut(part) {
                *sum = (sum.0 + cost, sum.1 + 1);
            }
        }
        let mean = |((_, time), (sum, count)): (&(Range<usize>, Time), (f64, usize))| {
            (count > 0).then(|| (*time, sum / count as f64))
        };
        self.parts.iter().zip(sums).filter_map(mean).collect()
    }
}

impl Loss {
    /// `special` is the token that begins a document, where the objective is causal.
    pub(crate) fn new(recipe: &Objective, spec: &NetworkSpec, special: TokenId, seed: u64) -> Result<Self, TrainError> {
        let kind = match recipe.kind {
            ObjectiveKind::Diffusion => Kind::Diffusion(spec.process().map_err(aquatint_network::NetworkError::from)?),
            ObjectiveKind::Causal => Kind::Causal { begin: special },
        };
        Ok(Self { recipe: recipe.clone(), kind, key: Key::new(seed) })
    }

    /// The process, under an objective that has one.
    pub(crate) fn process(&self) -> Option<&dyn Process> {
        match &self.kind {
            Kind::Diffusion(process) => Some(process.as_ref()),
            Kind::Causal { .. } => None,
        }
    }

    /// How held-out text is measured under this objective.
    pub(crate) fn rule(&self, times: usize) -> Rule<'_> {
        match &self.kind {
            Kind::Diffusion(process) => {
                Rule::Diffusion { process: process.as_ref(), times, prompt: self.recipe.prompt }
            }
            Kind::Causal { begin } => Rule::Causal { begin: *begin },
        }
    }

    /// Whether each canvas is there twice, with masks that complement each other.
    pub(crate) fn pairs(&self) -> bool {
        self.recipe.masking == Masking::Complementary && self.process().is_some_and(Process::has_fixed_count)
    }

    /// Whether times are drawn where the cost rises.
    pub(crate) fn follows_cost(&self) -> bool {
        self.recipe.time_sampling == Times::Adaptive && self.process().is_some()
    }

    /// The ranks of a step's canvases among all times, in `[0, 1]`: a function of the seed and the step alone.
    pub(crate) fn time_quantiles(&self, step: u64, canvases: usize) -> Vec<f64> {
        let mut draws = self.key.fold(TIMES).at(0, step);
        let times = self.recipe.time_sampling.spread().sample(canvases, 0.0..1.0, &mut draws);
        times.into_iter().map(Time::value).collect()
    }

    /// Whether the pass that begins at canvas `first` of a step is one of the `share` that get a belief.
    pub(crate) fn draws_belief(&self, step: u64, first: usize, share: f64) -> bool {
        self.key.fold(BELIEFS).at(first as u64, step).uniform() < share
    }

    /// Hides what one pass asks for. `first` is the index of its first canvas in the step, `ranks` are its canvases'
    /// and `tokens` is the number of tokens of the whole step.
    pub(crate) fn batch(
        &self,
        rows: &PackedBatch,
        step: u64,
        first: usize,
        ranks: &[f64],
        tokens: usize,
        density: &TimeDensity,
    ) -> Batch {
        match &self.kind {
            Kind::Causal { begin } => causal(rows, *begin, tokens),
            Kind::Diffusion(process) => self.noisy(process.as_ref(), rows, (step, first), ranks, tokens, density),
        }
    }

    fn noisy(
        &self,
        process: &dyn Process,
        rows: &PackedBatch,
        (step, first): (u64, usize),
        ranks: &[f64],
        tokens: usize,
        density: &TimeDensity,
    ) -> Batch {
        let mut question = NoisyBatch::new(rows);
        let mut parts = Vec::new();
        // What the canvas before hid, part by part.
        let mut before: Vec<Vec<bool>> = Vec::new();
        let mut weights = Vec::new();
        let (low, high) = self.recipe.time_range;
        let limit = self.recipe.weight_limit.unwrap_or(f64::INFINITY);
        let masks = self.key.fold(MASKS);
        let grid = density.grid();
        let is_bound = process.learns_bound() || self.recipe.bound;
        for (index, (canvas, &rank)) in rows.canvases.iter().zip(ranks).enumerate() {
            let mut draws = masks.at((first + index) as u64, step);
            let given = self.given(step, first + index, canvas.len());
            let mut told = None;
            for (number, part) in rows.parts(canvas).into_iter().enumerate().filter(|(_, part)| !part.is_empty()) {
                let rank = low + (high - low) * golden_point(rank, number as u64);
                let (time, scale) = if self.follows_cost() {
                    let time = grid.time(rank);
                    (time, if is_bound { (high - low) / density.density(time) } else { 1.0 })
                } else {
                    (Time::nearest(rank), if is_bound { high - low } else { 1.0 })
                };
                let mut open = rows.open(canvas, &part, self.recipe.prompt);
                let open_from = canvas.start + given;
                open.iter_mut().enumerate().for_each(|(i, open)| *open &= part.start + i >= open_from);
                let clean = &rows.tokens[part.clone()];
                let noisy = match before.get(number).filter(|_| self.pairs() && index % 2 == 1) {
                    Some(hidden) => complement(process, clean, &open, hidden, &mut draws),
                    None => None,
                };
                let noisy = noisy.unwrap_or_else(|| self.corrupt(process, clean, &open, time, &mut draws));
                let mut hidden = vec![false; part.len()];
                noisy.terms.iter().for_each(|term| hidden[term.position] = true);
                before.resize(before.len().max(number + 1), Vec::new());
                before[number] = hidden;
                told = Some(noisy.noise as f32);
                let terms = question.terms.len();
                question.put(part.clone(), noisy);
                for term in &mut question.terms[terms..] {
                    let weight = term.weight * scale;
                    term.weight = weight.min(limit) / tokens as f64;
                    weights.push(weight / tokens as f64);
                }
                parts.push((part, time));
            }
            question.times.extend(told);
        }
        Batch { question, weights, parts }
    }

    fn corrupt(
        &self,
        process: &dyn Process,
        clean: &[TokenId],
        open: &[bool],
        time: Time,
        draws: &mut Draws,
    ) -> Corrupted {
        match self.recipe.masking {
            _ if self.recipe.bound => process.corrupt_for_bound(clean, open, time, draws),
            Masking::FixedCount | Masking::Complementary if process.has_fixed_count() => {
                corrupt_evenly(process, clean, open, time, draws)
            }
            _ => process.corrupt(clean, open, time, draws),
        }
    }

    /// How many tokens at the beginning of a canvas are given in this step: in a share of the canvases any number.
    fn given(&self, step: u64, canvas: usize, length: usize) -> usize {
        let mut draws = self.key.fold(GIVEN).at(canvas as u64, step);
        if draws.uniform() < self.recipe.given_share { draws.below(length as u64) as usize } else { 0 }
    }
}

/// The canvas with exactly that corrupted which was not before; `None` where nothing is left, or the process has no form of
/// fixed count.
fn complement(
    process: &dyn Process,
    clean: &[TokenId],
    open: &[bool],
    hidden: &[bool],
    draws: &mut Draws,
) -> Option<Corrupted> {
    let all = open.iter().filter(|open| **open).count();
    let rest: Vec<bool> = open.iter().zip(hidden).map(|(open, hidden)| *open && !hidden).collect();
    let count = rest.iter().filter(|open| **open).count();
    let mut noisy = process.corrupt_count(clean, &rest, count, draws).filter(|_| count > 0)?;
    let share = count as f64 / all as f64;
    noisy.terms.iter_mut().for_each(|term| term.weight /= share);
    noisy.noise = share;
    Some(noisy)
}

fn causal(rows: &PackedBatch, begin: TokenId, tokens: usize) -> Batch {
    let weight = 1.0 / tokens as f64;
    Batch {
        question: NoisyBatch::causal(rows, begin, weight),
        weights: vec![weight; rows.tokens.len()],
        parts: Vec::new(),
    }
}
