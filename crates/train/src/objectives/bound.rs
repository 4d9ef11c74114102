//! The bound, or what a process learns from in its place ([`Process::corrupt`]), at times drawn for each canvas, or for
//! each block where blocks become noisy one by one.
//!
//! With masking `bernoulli`, positions are hidden one by one as the process says; with `fixed-count`, the share of
//! positions that the time names (LLaDA, 2502.09992, equation 14): the same expectation, less noise, and no influence
//! of the schedule, where the process has such a form. Every weight is divided by the number of tokens of the whole
//! step, so that the loss is in nats per token whatever the batch. Where it is a bound, it is multiplied by the width
//! of `time_range`, so that a narrower range costs the part of the bound that it covers, and divided by the density of
//! its time where times follow the cost ([`TimeDensity`]).
//!
//! Deviation: weights above `weight_limit` are cut to it for the gradient, never for the figures: a nearly clean canvas
//! weighs 1/t, and a few of them would set the direction of a step. Where nothing is said nothing is cut.
//!
//! With masking `complementary` each canvas is there twice, and the second has masked what the first shows. Where the
//! first shows nothing, neither does the second, so that the second's count is as even as the first's and both are the
//! bound.
//!
//! Where canvases hold spans of pictures or sounds, each span, and each text between them, becomes noisy at a time of its
//! own, so that any of them is learned given any state of the others (UniDisc, 2503.20853, section 3). Of a document with
//! several, one may be given whole, or be noise alone and cost nothing, which is how guidance hides it. What codes weigh
//! the recipe says for each domain: as the bound has it, or each the same ([`DomainRecipe`]). Times that follow the cost
//! follow that of text.

use super::Registered;
use super::diffusion::{Diffusion, canvases_together};
use super::spans::{Fate, SpanRules};
use crate::TrainError;
use crate::objective::{
    Figure, HeldOutCost, Objective, ObjectiveState, PER_TOKEN, Pass, PassCost, Setting, Step, TrainedModel,
};
use crate::recipe::Masking;
use aquatint_batch::{NoisyBatch, complement, corrupt_evenly, golden_point};
use aquatint_checkpoint::GenerationDefaults;
use aquatint_corpus::CanvasBatch;
use aquatint_diffusion::{Corrupted, Draws, Process, Time, TimeDensity, TokenId};
use aquatint_network::Learner;
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// Streams of randomness under the run's seed.
const TIMES: u64 = 1;
const MASKS: u64 = 2;
const GIVEN: u64 = 4;
const SPANS: u64 = 5;

pub(super) const REGISTERED: Registered = Registered {
    is_requested: |_| true,
    check: |_| Ok(()),
    canvases_together,
    begin: |setting| Ok(Box::new(Bound::begin(setting)?)),
};

#[derive(Debug)]
pub(super) struct Bound {
    diffusion: Diffusion,
    /// What was paid at which times, where times follow the cost.
    density: TimeDensity,
    spans: SpanRules,
}

/// What the run's state keeps.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Counted {
    /// The running cost of each part of the times, as bits; nothing where times do not follow the cost.
    density: Vec<Option<u64>>,
}

/// The loss terms of one pass.
#[derive(Debug, Clone)]
struct Noisy {
    /// With the weights that the gradient gets.
    batch: NoisyBatch,
    /// The weights of the objective itself.
    weights: Vec<f64>,
    /// The rows of each time with that time, but for those of spans.
    parts: Vec<(Range<usize>, Time)>,
}

/// What the requested rows of a pass cost, and −log p of their clean tokens.
struct Costs {
    costs: Vec<f64>,
    cross_entropy: Vec<f64>,
}

impl Bound {
    pub(super) fn begin(setting: &mut Setting<'_>) -> Result<Self, TrainError> {
        let density = match setting.saved::<Counted>()? {
            Some(saved) => TimeDensity::from_costs(saved.density.into_iter().map(|bits| bits.map(f64::from_bits))),
            None => TimeDensity::new(),
        };
        let spans = SpanRules::of(setting);
        Ok(Self { diffusion: Diffusion::begin(setting)?, density, spans })
    }

    /// The places of a step's canvases among all times, in `[0, 1]`: a function of the seed and the step alone.
    fn time_quantiles(&self, step: u64, canvases: usize) -> Vec<f64> {
        let mut draws = self.diffusion.key.fold(TIMES).at(0, step);
        let times = self.diffusion.recipe.time_sampling.spread().sample(canvases, 0.0..1.0, &mut draws);
        times.into_iter().map(Time::value).collect()
    }

    /// Corrupts the canvases of a pass.
    fn corrupt_pass(&self, pass: &Pass<'_>) -> Noisy {
        let (rows, recipe, process) = (pass.rows, &self.diffusion.recipe, self.diffusion.process.as_ref());
        let mut batch = NoisyBatch::new(rows);
        let mut parts = Vec::new();
        // What the canvas before hid, part by part.
        let mut before: Vec<Vec<bool>> = Vec::new();
        let mut weights = Vec::new();
        let (low, high) = recipe.time_range;
        let limit = recipe.weight_limit.unwrap_or(f64::INFINITY);
        let tokens = pass.tokens as f64;
        let masks = self.diffusion.key.fold(MASKS);
        let grid = self.density.grid();
        let is_bound = process.learns_bound() || recipe.bound;
        let quantiles = self.time_quantiles(pass.step, pass.canvases);
        for (index, (canvas, &quantile)) in rows.canvases.iter().zip(&quantiles[pass.first..]).enumerate() {
            let mut draws = masks.at((pass.first + index) as u64, pass.step);
            let given = self.given(pass.step, pass.first + index, canvas.len());
            let mut network_time = None;
            let all = rows.parts_of_spans(canvas);
            let fates = self.spans.fates(rows, &all, || {
                // Canvases of a pair share them.
                let number = (pass.first + index) / if self.diffusion.pairs() { 2 } else { 1 };
                self.diffusion.key.fold(SPANS).at(number as u64, pass.step)
            });
            let all = all.into_iter().zip(fates).enumerate();
            for (number, ((part, span), fate)) in all.filter(|(_, ((part, _), _))| !part.is_empty()) {
                if fate == Fate::Given {
                    continue;
                }
                let quantile = low + (high - low) * golden_point(quantile, number as u64);
                let (time, scale) = if self.diffusion.follows_cost() {
                    let time = grid.time(quantile);
                    (time, if is_bound { (high - low) / self.density.density(time) } else { 1.0 })
                } else {
                    (Time::nearest(quantile), if is_bound { high - low } else { 1.0 })
                };
                let mut open = rows.open(canvas, &part, recipe.prompt);
                let open_from = canvas.start + given;
                open.iter_mut().enumerate().for_each(|(i, open)| *open &= part.start + i >= open_from);
                let clean = &rows.tokens[part.clone()];
                if fate == Fate::Hidden {
                    let noise = process.corrupt(clean, &open, Time::NOISE, &mut draws);
                    batch.put(part, Corrupted { terms: Vec::new(), constant: 0.0, ..noise });
                    continue;
                }
                let noisy = match before.get(number).filter(|_| self.diffusion.pairs() && index % 2 == 1) {
                    Some(hidden) => complement(process, clean, &open, hidden, &mut draws),
                    None => None,
                };
                let noisy = noisy.unwrap_or_else(|| self.corrupt(clean, &open, time, &mut draws));
                let mut hidden = vec![false; part.len()];
                noisy.terms.iter().for_each(|term| hidden[term.position] = true);
                before.resize(before.len().max(number + 1), Vec::new());
                before[number] = hidden;
                network_time = Some(noisy.noise as f32);
                let terms = batch.terms.len();
                batch.put(part.clone(), noisy);
                for term in &mut batch.terms[terms..] {
                    let weight = self.spans.weight(span, term.weight * scale);
                    term.weight = weight.min(limit) / tokens;
                    weights.push(weight / tokens);
                }
                if span.is_none() {
                    parts.push((part, time));
                }
            }
            batch.times.extend(network_time);
        }
        Noisy { batch, weights, parts }
    }

    fn corrupt(&self, clean: &[TokenId], open: &[bool], time: Time, draws: &mut Draws) -> Corrupted {
        let (recipe, process) = (&self.diffusion.recipe, self.diffusion.process.as_ref());
        match recipe.masking {
            _ if recipe.bound => process.corrupt_for_bound(clean, open, time, draws),
            Masking::FixedCount | Masking::Complementary if process.has_fixed_count() => {
                corrupt_evenly(process, clean, open, time, draws)
            }
            _ => process.corrupt(clean, open, time, draws),
        }
    }

    /// How many tokens at the beginning of a canvas are given in this step: in a share of the canvases any number.
    fn given(&self, step: u64, canvas: usize, length: usize) -> usize {
        let mut draws = self.diffusion.key.fold(GIVEN).at(canvas as u64, step);
        if draws.uniform() < self.diffusion.recipe.given_share { draws.below(length as u64) as usize } else { 0 }
    }
}

impl Noisy {
    /// The mean of what each part's rows cost, with the part's time.
    fn mean_costs(&self, costs: &[f64]) -> Vec<(Time, f64)> {
        let mut sums = vec![(0.0, 0usize); self.parts.len()];
        for (term, cost) in self.batch.terms.iter().zip(costs) {
            let part = self.parts.partition_point(|(rows, _)| rows.end <= term.position);
            // What lies in a span is of no part.
            let is_inside = self.parts.get(part).is_some_and(|(rows, _)| rows.contains(&term.position));
            if let Some(sum) = sums.get_mut(part).filter(|_| is_inside) {
                *sum = (sum.0 + cost, sum.1 + 1);
            }
        }
        let mean = |((_, time), (sum, count)): (&(Range<usize>, Time), (f64, usize))| {
            (count > 0).then(|| (*time, sum / count as f64))
        };
        self.parts.iter().zip(sums).filter_map(mean).collect()
    }

    /// The costs of the pass, after which its gradient is collected.
    fn forward_backward(
        &self,
        pass: &Pass<'_>,
        model: &mut dyn Learner,
        prediction: Option<&[f32]>,
    ) -> Result<Costs, TrainError> {
        let batch = &self.batch;
        let spec = model.spec().clone();
        let input = batch.input(pass.rows, &spec, prediction);
        if let Some(requested) = batch.loss_rows() {
            let costs = model.forward_backward(&input, &requested)?;
            return Ok(Costs { cross_entropy: costs.clone(), costs });
        }
        let paid = model.forward_backward_costs(&input, &batch.terms)?;
        let (costs, cross_entropy) = paid.into_iter().map(|row| (row.cost, row.nll)).unzip();
        Ok(Costs { costs, cross_entropy })
    }
}

impl Objective for Bound {
    fn process(&self) -> Option<&dyn Process> {
        Some(self.diffusion.process.as_ref())
    }

    fn batch(&mut self, step: Step<'_>, _: &mut dyn TrainedModel) -> Result<CanvasBatch, TrainError> {
        self.diffusion.batch(step)
    }

    fn forward_backward(&mut self, pass: &Pass<'_>, model: &mut dyn Learner) -> Result<PassCost, TrainError> {
        let noisy = self.corrupt_pass(pass);
        let prediction = self.diffusion.self_conditioning.predict(model, pass, &noisy.batch)?;
        let Costs { costs, cross_entropy } = noisy.forward_backward(pass, model, prediction.as_deref())?;
        let constant = noisy.batch.constant / pass.tokens as f64;
        let nats = constant + noisy.weights.iter().zip(&costs).map(|(w, c)| w * c).sum::<f64>();
        let observed = noisy.mean_costs(&cross_entropy);
        Ok(PassCost { nats, observed: observed.into_iter().flat_map(|(time, cost)| [time.value(), cost]).collect() })
    }

    fn observe(&mut self, observed: &[f64]) {
        if self.diffusion.follows_cost() {
            let pairs = observed.chunks_exact(2);
            self.density.observe(pairs.filter_map(|pair| Some((Time::new(pair[0]).ok()?, pair[1]))));
        }
    }

    fn validate(
        &self,
        model: &dyn Learner,
        progress: &mut dyn FnMut(u64) -> bool,
    ) -> Result<Option<HeldOutCost>, TrainError> {
        self.diffusion.validate(model, progress)
    }

    fn unit(&self) -> &'static str {
        PER_TOKEN
    }

    fn means(&mut self) -> Vec<Figure> {
        Vec::new()
    }

    fn describe_generation(&self, defaults: &mut GenerationDefaults) {
        self.diffusion.describe_generation(defaults, &self.density);
    }

    fn state(&self) -> Result<ObjectiveState, TrainError> {
        let follows = self.diffusion.follows_cost();
        let costs = self.density.costs().iter().filter(|_| follows);
        ObjectiveState::new(&Counted { density: costs.map(|cost| cost.map(f64::to_bits)).collect() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aquatint_diffusion::{Alphabet, Key, ProcessSpec};

    /// Two positions of six are given, as what is said to a model.
    const OPEN: [bool; 6] = [false, true, true, false, true, true];
    const CLEAN: [TokenId; 6] = [5, 6, 7, 8, 9, 10];

    /// Some cost that hangs on what else is hidden.
    fn cost(position: usize, hidden: &[bool]) -> f64 {
        let others = hidden.iter().enumerate().filter(|(_, hidden)| **hidden).map(|(at, _)| (at * at + 1) as f64);
        1.0 + position as f64 + 0.1 * others.sum::<f64>()
    }

    fn estimate(noisy: &Corrupted) -> (f64, Vec<bool>) {
        let mut hidden = vec![false; CLEAN.len()];
        noisy.terms.iter().for_each(|term| hidden[term.position] = true);
        (noisy.terms.iter().map(|term| term.weight * cost(term.position, &hidden)).sum(), hidden)
    }

    /// The bound in its form with counts, by going through all that can be hidden.
    fn exact() -> f64 {
        let open: Vec<usize> = (0..OPEN.len()).filter(|position| OPEN[*position]).collect();
        let length = open.len();
        let mut of_count = vec![(0.0, 0usize); length + 1];
        for subset in 1..1usize << length {
            let chosen: Vec<usize> = (0..length).filter(|bit| subset >> bit & 1 == 1).map(|bit| open[bit]).collect();
            let mut hidden = vec![false; CLEAN.len()];
            chosen.iter().for_each(|position| hidden[*position] = true);
            let sum: f64 = chosen.iter().map(|position| cost(*position, &hidden)).sum();
            let (total, subsets) = &mut of_count[chosen.len()];
            *total += sum * length as f64 / chosen.len() as f64;
            *subsets += 1;
        }
        of_count.iter().skip(1).map(|(total, subsets)| total / *subsets as f64).sum::<f64>() / length as f64
    }

    #[test]
    fn either_of_two_complementary_masks_is_the_bound_and_together_they_hide_every_answer_token_once() {
        let process = ProcessSpec::default().build(Alphabet { size: 300, mask: Some(0) }).unwrap();
        let (mut first, mut second) = (0.0, 0.0);
        let length = OPEN.iter().filter(|open| **open).count();
        const DRAWS: u64 = 20_000;
        for draw in 0..DRAWS {
            for count in 0..length {
                let mut draws = Key::new(3).at(draw, count as u64);
                let time = Time::new((count as f64 + 0.5) / length as f64).unwrap();
                let noisy = corrupt_evenly(process.as_ref(), &CLEAN, &OPEN, time, &mut draws);
                let (nats, hidden) = estimate(&noisy);
                assert!(hidden.iter().zip(OPEN).all(|(hidden, open)| open || !hidden), "what is given is hidden");
                first += nats;
                let other = complement(process.as_ref(), &CLEAN, &OPEN, &hidden, &mut draws);
                assert_eq!(other.is_none(), count + 1 == length, "nothing is left where everything was hidden");
                let other = match other {
                    Some(other) => {
                        let together = hidden.iter().zip(estimate(&other).1).zip(OPEN);
                        assert!(together.clone().all(|((one, other), open)| (*one != other) == open));
                        other
                    }
                    None => corrupt_evenly(process.as_ref(), &CLEAN, &OPEN, time, &mut draws),
                };
                second += estimate(&other).0;
            }
        }
        let expected = exact();
        for mean in [first, second].map(|sum| sum / (DRAWS as f64 * length as f64)) {
            assert!((mean / expected - 1.0).abs() < 0.005, "{mean} {expected}");
        }
    }
}
