//! Reads completions by a network: what stands on the canvases of a plan, and the log-probabilities of its terms.

use super::estimator::Plan;
use crate::recipe::RewardRecipe;
use aquatint_batch::{NoisyBatch, PackedBatch};
use aquatint_compute::softmax_row;
use aquatint_diffusion::{Cost, LossTerm, Process, Time, TokenId};
use aquatint_network::{Denoiser, Learner, NetworkError, RowSlots, WholeRows};
use aquatint_vocabulary::Vocabulary;
use std::sync::Arc;

/// The log-probabilities of a plan's terms, reading by reading.
pub(super) type LogProbabilities = Vec<Vec<f64>>;

/// Reads completions as the engine read the canvases that it drew them on.
pub(super) struct Reader {
    pub(super) process: Arc<dyn Process>,
    pub(super) mask: TokenId,
    /// What no completion holds, where the model's advice suppresses tokens. The engine draws from a prediction without
    /// these, divided by what is left of it, and a policy gradient is that of the law which was drawn from. Empty without
    /// such advice: the prediction is read as it is, since a model that was trained gives next to nothing to the other
    /// tokens that are never written, masks and special tokens.
    pub(super) never: Vec<TokenId>,
}

/// All that rollouts never write where a model's advice suppresses tokens; nothing where it suppresses none.
pub(super) fn never_written(
    recipe: &RewardRecipe,
    vocabulary: &Vocabulary,
    (mask, size): (TokenId, usize),
    suppressed: &[TokenId],
) -> Vec<TokenId> {
    if suppressed.is_empty() {
        return Vec::new();
    }
    // A completion of known length is not closed by an end.
    let may_end = recipe.completion_length > 0;
    let ends = vocabulary.ends();
    let mut never = vocabulary.non_text_tokens(size);
    never.retain(|token| !ends.contains(token));
    never.extend(ends.into_iter().filter(|_| !may_end));
    never.extend(suppressed.iter().copied().chain([mask]));
    never.sort_unstable();
    never.dedup();
    never
}

/// The most readings of a completion.
pub(super) fn readings(plans: &[Plan]) -> usize {
    plans.iter().map(|plan| plan.readings.len()).max().unwrap_or(0)
}

impl Reader {
    /// One reading of each completion of a pass; the terms weigh what `weight` says of a completion and the index of one of
    /// its terms, and those without a weight are left out.
    pub(super) fn reading(
        &self,
        rows: &PackedBatch,
        plans: &[Plan],
        reading: usize,
        weight: &dyn Fn(usize, usize) -> Option<f64>,
    ) -> NoisyBatch {
        let mut noisy = NoisyBatch::new(rows);
        for (number, (canvas, plan)) in rows.canvases.iter().zip(plans).enumerate() {
            let Some(reading) = plan.readings.get(reading) else {
                noisy.times.push(0.0);
                continue;
            };
            for position in &reading.hidden {
                noisy.tokens[canvas.start + position] = self.mask;
            }
            // As the engine counts it: the masks of the whole canvas, its prompt included. No step's own time is known here,
            // and masks need none.
            noisy.times.push(self.process.network_time(Time::NOISE, reading.hidden.len(), canvas.len()) as f32);
            for (index, term) in reading.terms.iter().enumerate() {
                let position = canvas.start + term.position;
                if let Some(weight) = weight(number, index) {
                    let target = rows.tokens[position];
                    noisy.terms.push(LossTerm { position, target, weight, cost: Cost::CrossEntropy });
                }
            }
        }
        noisy
    }

    /// What a model says of each completion of a pass.
    ///
    /// # Errors
    /// When the network refuses.
    pub(super) fn log_probabilities<D: Denoiser + ?Sized>(
        &self,
        model: &D,
        rows: &PackedBatch,
        plans: &[Plan],
    ) -> Result<Vec<LogProbabilities>, NetworkError> {
        let mut all: Vec<LogProbabilities> = vec![Vec::new(); plans.len()];
        for reading in 0..readings(plans) {
            let noisy = self.reading(rows, plans, reading, &|_, _| Some(1.0));
            let mut costs = self.costs(model, rows, &noisy)?.into_iter();
            for (plan, all) in plans.iter().zip(&mut all) {
                if let Some(reading) = plan.readings.get(reading) {
                    all.push(costs.by_ref().take(reading.terms.len()).map(|cost| -cost).collect());
                }
            }
        }
        Ok(all)
    }

    /// −ln p of each term, in their order.
    fn costs<D: Denoiser + ?Sized>(
        &self,
        model: &D,
        rows: &PackedBatch,
        noisy: &NoisyBatch,
    ) -> Result<Vec<f64>, NetworkError> {
        if self.never.is_empty() {
            return noisy.costs(model, rows, None);
        }
        let slots = RowSlots::new(noisy.terms.len());
        model.forward_rows(&noisy.input(rows, model.spec(), None), &noisy.rows(), &|index, logits| {
            softmax_row(logits);
            slots.set(index, self.restrict(logits, noisy.terms[index].target));
        })?;
        slots.into_vec()
    }

    /// Adds the gradient of `Σ weight · −ln p` over the terms of a reading; returns that sum.
    ///
    /// # Errors
    /// When the network refuses, or the device lacks the memory.
    pub(super) fn learn(
        &self,
        model: &mut dyn Learner,
        rows: &PackedBatch,
        noisy: &NoisyBatch,
    ) -> Result<f64, NetworkError> {
        let spec = model.spec().clone();
        let input = noisy.input(rows, &spec, None);
        if self.never.is_empty() {
            let requested = noisy.loss_rows().unwrap_or_default();
            let costs = model.forward_backward(&input, &requested)?;
            return Ok(requested.iter().zip(costs).map(|(row, cost)| row.weight * cost).sum());
        }
        let slots = RowSlots::new(noisy.terms.len());
        model.forward_backward_with(&input, &noisy.rows(), &|index, prediction| {
            let LossTerm { target, weight, .. } = noisy.terms[index];
            slots.set(index, weight * self.restrict(prediction, target));
            // The logits of what is never written have no part in the law.
            prediction.iter_mut().for_each(|p| *p = (f64::from(*p) * weight) as f32);
            prediction[target as usize] -= weight as f32;
        })?;
        Ok(slots.into_vec()?.into_iter().sum())
    }

    /// Leaves of a prediction, `V` probabilities, what may be drawn, divided by its sum; returns −ln p of a token.
    fn restrict(&self, prediction: &mut [f32], token: TokenId) -> f64 {
        for never in &self.never {
            if let Some(p) = prediction.get_mut(*never as usize) {
                *p = 0.0;
            }
        }
        let sum: f64 = prediction.iter().map(|p| f64::from(*p)).sum();
        prediction.iter_mut().for_each(|p| *p = (f64::from(*p) / sum.max(f64::MIN_POSITIVE)) as f32);
        -f64::from(prediction[token as usize]).max(f64::MIN_POSITIVE).ln()
    }
}

#[cfg(test)]
mod tests {
    use super::super::estimator::{Combination, Reading, Term};
    use super::*;
    use aquatint_compute::{Cpu, CpuPath};
    use aquatint_corpus::CanvasBatch;
    use aquatint_diffusion::{Canvas, Key, Linear, Masked, Uniforms};
    use aquatint_generate::{DenoisingEvent, Request, Settings, generate};
    use aquatint_network::{AttentionSpec, FeedForwardSpec, LayerSpec, Network, NetworkSpec, TimeSpec};
    use std::ops::ControlFlow;

    const SIZE: usize = 12;
    const MASK: TokenId = 11;

    /// A network whose every number counts, the time's among them.
    fn network(time: Option<TimeSpec>) -> Network<Cpu<f32>> {
        let layers = vec![LayerSpec::new(AttentionSpec::new(2, 2, 8), FeedForwardSpec::new(24)); 2];
        let spec = NetworkSpec {
            context_length: 16,
            mask_token: Some(MASK),
            time_conditioning: time,
            ..NetworkSpec::new(SIZE, 16, layers)
        };
        let mut network = Network::new(Cpu::<f32>::new(CpuPath::Scalar, 1).unwrap(), spec, 3).unwrap();
        for (number, parameter) in network.parameter_list().into_iter().enumerate() {
            let draws = Key::new(9).fold(number as u64);
            let count = network.read_parameter(&parameter.name).unwrap().len();
            let values: Vec<f32> = (0..count).map(|place| 0.8 * (draws.uniform(place, 0) as f32 - 0.5)).collect();
            network.write_parameter(&parameter.name, &values).unwrap();
        }
        network
    }

    /// The canvas `[given, given, open, given]`, with `token` at its open position, as it is read where that is hidden.
    fn read(reader: &Reader, network: &Network<Cpu<f32>>, token: TokenId) -> (PackedBatch, Vec<Plan>, f64) {
        let batch = CanvasBatch {
            length: 4,
            tokens: vec![3, 5, token, 2],
            documents: vec![0; 4],
            text_bytes: vec![0; 4],
            given: vec![true, true, false, true],
            ..CanvasBatch::default()
        };
        let rows = PackedBatch::new(&batch, network.spec().attention).unwrap();
        let term = Term { position: 2, estimate: 0, weight: 1.0 };
        let readings = vec![Reading { hidden: vec![2], terms: vec![term] }];
        let plans = vec![Plan { readings, estimates: 1, combination: Combination::Sum }];
        let ln_p = reader.log_probabilities(network, &rows, &plans).unwrap()[0][0][0];
        (rows, plans, ln_p)
    }

    /// At temperature 1 in one pass, a token is read with the probability with which the engine drew it, with and without
    /// time conditioning, and under suppression.
    #[test]
    fn a_token_is_read_with_the_probability_with_which_it_was_drawn() {
        let process: Arc<dyn Process> = Arc::new(Masked::new(MASK, Arc::new(Linear)));
        let mut written = Vec::new();
        for time in [None, Some(TimeSpec::new(8))] {
            let network = network(time);
            for suppressed in [vec![], vec![0, 4, 7]] {
                let reader =
                    Reader { process: Arc::clone(&process), mask: MASK, never: [&suppressed[..], &[MASK]].concat() };
                for seed in 0..6 {
                    let mut canvas = Canvas::new();
                    canvas.push_given(&[3, 5]);
                    canvas.push_open(1, false, MASK);
                    canvas.push_given(&[2]);
                    let settings = Settings::builder().steps(1).temperature(1.0).seed(seed);
                    let settings = settings.suppress_tokens(suppressed.iter().copied()).build().unwrap();
                    let mut drawn = None;
                    let ended =
                        generate(&network, process.as_ref(), &[Request::new(canvas, settings)], &mut |_, event| {
                            if let DenoisingEvent::Step { changes, .. } = event {
                                drawn = changes.first().map(|change| (change.token, change.confidence));
                            }
                            ControlFlow::Continue(())
                        });
                    ended.into_iter().for_each(|outcome| drop(outcome.unwrap()));
                    let (token, probability) = drawn.unwrap();
                    assert!(!suppressed.contains(&token));
                    let found = read(&reader, &network, token).2.exp();
                    assert!((found - probability).abs() < 1e-5, "{time:?}, {suppressed:?}: {found} {probability}");
                    written.push(token);
                }
            }
        }
        written.sort_unstable();
        written.dedup();
        assert!(written.len() > 3, "{written:?}");
    }

    /// The gradient of a reading is that of the restricted law: what is never written takes no part in it.
    #[test]
    fn the_gradient_is_that_of_the_restricted_law() {
        let process: Arc<dyn Process> = Arc::new(Masked::new(MASK, Arc::new(Linear)));
        let reader = Reader { process, mask: MASK, never: vec![0, 4, 7, MASK] };
        let mut network = network(None);
        let (rows, plans, _) = read(&reader, &network, 6);
        network.clear_gradients();
        let noisy = reader.reading(&rows, &plans, 0, &|_, _| Some(-1.5));
        let paid = reader.learn(&mut network, &rows, &noisy).unwrap();
        let cost = |network: &Network<Cpu<f32>>| 1.5 * read(&reader, network, 6).2;
        assert!((paid - cost(&network)).abs() < 1e-5);
        let mut checked = 0;
        for parameter in network.parameter_list() {
            let gradient = network.read_gradient(&parameter.name).unwrap();
            let values = network.read_parameter(&parameter.name).unwrap();
            let place = (0..gradient.len()).max_by(|a, b| gradient[*a].abs().total_cmp(&gradient[*b].abs())).unwrap();
            let mut moved = |by: f32| {
                let mut values = values.clone();
                values[place] += by;
                network.write_parameter(&parameter.name, &values).unwrap();
                cost(&network)
            };
            let slope = (moved(1e-2) - moved(-1e-2)) / 2e-2;
            moved(0.0);
            let found = f64::from(gradient[place]);
            assert!((slope - found).abs() < 0.02 * found.abs().max(0.02), "{}: {slope} {found}", parameter.name);
            checked += usize::from(found.abs() > 0.02);
        }
        assert!(checked > 5, "{checked}");
    }
}
