//! Preferences: of two answers the model makes the better one likelier, beside a reference that stays as it is.
//!
//! `L = −log σ(β m)` with `m = (B_θ(y_w) − B_ref(y_w)) − (B_θ(y_l) − B_ref(y_l))`: DPO (2305.18290, equation 7) with the
//! negative of a sampled bound in place of the log-likelihood that diffusion does not give (VRPO, LLaDA 1.5, 2505.19223).
//! The noise of the estimate goes through the logarithm and biases the loss, so that several versions of each
//! answer are averaged, and both networks read the same ones ([`SharedNoise`]).
//!
//! A pass is taken three times: forward under the reference and the model, which gives `m`, and backward with each bound
//! weighed by `∂L/∂B = ∓β σ(−β m)`.
//!
//! The reference is the model that the run begins with. Where an adapter learns it is the same network without the adapter, and
//! no second copy is there.
//!
//! Deviation: gradients of the adapter are with its dropout, `m` is without.

use super::Registered;
use super::reference::Reference;
use crate::objective::{Figure, HeldOutCost, Objective, ObjectiveState, Pass, PassCost, Setting, Step, TrainedModel};
use crate::recipe::{ObjectiveKind, PreferenceRecipe, Resolved, SharedNoise, SourceRecipe, Times};
use crate::train_data::{TrainData, VALIDATION_SEED};
use crate::{RecipeError, TrainError};
use aquatint_batch::{BoundSamples, BoundSampling, PackedBatch};
use aquatint_checkpoint::GenerationDefaults;
use aquatint_corpus::CanvasBatch;
use aquatint_diffusion::{Key, Process, TimeSampling};
use aquatint_evaluate::EvaluateError;
use aquatint_generate::process_of;
use aquatint_network::Learner;
use std::sync::Arc;

/// Streams of randomness under the run's seed.
const MODEL: u64 = 0x7072_6566;
const REFERENCE: u64 = 0x7265_6665;
/// The unit of the loss.
const PER_PAIR: &str = "nats per pair";
/// Numbers that are observed of each pair.
const OBSERVED: usize = 6;

pub(super) const REGISTERED: Registered = Registered {
    is_requested: |recipe| recipe.objective.kind == ObjectiveKind::Preference,
    check,
    canvases_together: |_| 2,
    begin: |setting| Ok(Box::new(Preference::begin(setting)?)),
};

fn check(recipe: &Resolved) -> Result<(), RecipeError> {
    let wrong = |key, given: String, allowed| Err(RecipeError::value(key, given, allowed));
    if recipe.initial.is_none() {
        let allowed = "another objective without `initial`: a model learns to write before it learns what is better";
        return wrong("objective.kind", "\"preference\"".to_owned(), allowed);
    }
    let mut sources = recipe.data.train.iter().chain(&recipe.data.valid);
    if let Some(media) = sources.find_map(|SourceRecipe { media, .. }| media.as_ref()) {
        let allowed = "nothing where `objective.kind` is \"preference\": preferences are text";
        return wrong("media", media.display().to_string(), allowed);
    }
    if !recipe.canvases_per_pass().is_multiple_of(2) {
        let allowed = "an even number in each pass: the two answers of a pair are learned together";
        return wrong("optimiser.batch", recipe.canvases_per_pass().to_string(), allowed);
    }
    // What the bound of the texts of a corpus has, and a sampled one has not.
    let spread = |key: &&str| *key != "objective.time_sampling" || recipe.objective.time_sampling == Times::Adaptive;
    match recipe.objective.stated_of_the_bound().find(spread) {
        Some(key) => wrong(key, "set".to_owned(), "nothing where `objective.kind` is \"preference\""),
        None => Ok(()),
    }
}

/// The log-likelihood that a pair has more under the model than under the reference, by its two bounds.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Compared {
    /// Bounds of the better answer in nats: under the model, and under the reference.
    chosen: (f64, f64),
    /// Those of the worse one.
    rejected: (f64, f64),
}

/// What a pair costs, and how that changes with its bounds.
#[derive(Debug, Clone, Copy, PartialEq)]
struct PairLoss {
    loss: f64,
    /// `β m`.
    margin: f64,
    /// ∂loss/∂bound of the better answer under the model, in nats; that of the worse one is its negative.
    slope: f64,
}

impl Compared {
    fn loss(self, beta: f64) -> PairLoss {
        // A bound is above, and not below, where a text is less likely.
        let gained = |(model, reference): (f64, f64)| reference - model;
        let margin = beta * (gained(self.chosen) - gained(self.rejected));
        // log(1 + exp(−margin)), and its derivative by the margin.
        let loss = (-margin).max(0.0) + (-margin.abs()).exp().ln_1p();
        let slope = beta / (1.0 + margin.exp());
        PairLoss { loss, margin, slope }
    }
}

/// What was observed of pairs, in sums.
#[derive(Debug, Clone, Copy, Default)]
struct Observed {
    pairs: f64,
    loss: f64,
    right: f64,
    margin: f64,
    /// Nats and tokens of better and of worse answers.
    chosen: (f64, f64),
    rejected: (f64, f64),
}

impl Observed {
    fn add(&mut self, pair: &[f64]) {
        let [loss, margin, chosen, chosen_tokens, rejected, rejected_tokens] = *pair else { return };
        self.pairs += 1.0;
        self.loss += loss;
        // A margin of 0 says nothing.
        self.right += if margin > 0.0 { 1.0 } else { 0.0 } + if margin == 0.0 { 0.5 } else { 0.0 };
        self.margin += margin;
        self.chosen = (self.chosen.0 + chosen, self.chosen.1 + chosen_tokens);
        self.rejected = (self.rejected.0 + rejected, self.rejected.1 + rejected_tokens);
    }

    fn figures(&self) -> Vec<Figure> {
        let mean = |(nats, tokens): (f64, f64)| nats / tokens.max(1.0);
        vec![
            ("accuracy", self.right / self.pairs.max(1.0)),
            ("margin", self.margin / self.pairs.max(1.0)),
            ("chosen_nats_per_token", mean(self.chosen)),
            ("rejected_nats_per_token", mean(self.rejected)),
        ]
    }
}

struct Preference {
    process: Arc<dyn Process>,
    recipe: PreferenceRecipe,
    sampling: BoundSampling,
    key: Key,
    data: Arc<TrainData>,
    reference: Reference,
    /// Since the last figures.
    observed: Observed,
    validation: Validation,
}

/// How held-out pairs are measured.
#[derive(Debug, Clone, Copy)]
struct Validation {
    sampling: BoundSampling,
    key: Key,
}

impl Preference {
    fn begin(setting: &mut Setting<'_>) -> Result<Self, TrainError> {
        let recipe = setting.recipe;
        let preference = recipe.objective.preference.unwrap_or_default();
        let sampling = BoundSampling {
            samples: preference.samples,
            spread: recipe.objective.time_sampling.spread(),
            complementary: preference.antithetic,
        };
        let validation = Validation {
            sampling: BoundSampling {
                samples: recipe.run.validate_times,
                spread: TimeSampling::LowDiscrepancy,
                complementary: false,
            },
            key: Key::new(VALIDATION_SEED).fold(MODEL),
        };
        Ok(Self {
            process: process_of(setting.spec, None)?,
            recipe: preference,
            sampling,
            key: Key::new(recipe.seed),
            data: setting.train_data()?,
            reference: Reference::begin(setting)?,
            observed: Observed::default(),
            validation,
        })
    }

    /// The noisy versions of a pass's answers: those that the model reads, and those of the reference.
    fn samples(&self, pass: &Pass<'_>) -> (BoundSamples, Option<BoundSamples>) {
        let streams: Vec<u64> = match self.recipe.shared {
            SharedNoise::Answers => {
                (pass.first..).map(|canvas| canvas as u64 / 2).take(pass.rows.canvases.len()).collect()
            }
            _ => (pass.first as u64..).take(pass.rows.canvases.len()).collect(),
        };
        let draw = |stream| {
            let of = (pass.rows, self.process.as_ref());
            BoundSamples::draw(of, self.sampling, (self.key.fold(stream), pass.step), &streams)
        };
        (draw(MODEL), (self.recipe.shared == SharedNoise::None).then(|| draw(REFERENCE)))
    }
}

/// Each pair of canvases, with what it costs.
fn compared(model: &[f64], reference: &[f64]) -> Vec<Compared> {
    let pairs = model.chunks_exact(2).zip(reference.chunks_exact(2));
    pairs
        .map(|(model, reference)| Compared { chosen: (model[0], reference[0]), rejected: (model[1], reference[1]) })
        .collect()
}

/// The learned tokens of each canvas.
fn learned(rows: &PackedBatch) -> Vec<f64> {
    rows.canvases
        .iter()
        .map(|canvas| rows.given[canvas.clone()].iter().filter(|given| !**given).count() as f64)
        .collect()
}

/// Adds the gradient of the loss of a pass's pairs, of `pairs` in the whole step, to what the model has collected;
/// `reference` holds the bound of each canvas under the reference.
fn learn(
    recipe: &PreferenceRecipe,
    (samples, rows): (&BoundSamples, &PackedBatch),
    (reference, pairs): (&[f64], usize),
    model: &mut dyn Learner,
) -> Result<PassCost, TrainError> {
    let bounds = samples.bounds(&*model, rows)?;
    let (tokens, pairs) = (learned(rows), pairs.max(1) as f64);
    let mut factors = Vec::with_capacity(bounds.len());
    let (mut nats, mut observed) = (0.0, Vec::with_capacity(OBSERVED * bounds.len() / 2));
    for (pair, tokens) in compared(&bounds, reference).into_iter().zip(tokens.chunks_exact(2)) {
        let PairLoss { loss, margin, slope } = pair.loss(recipe.beta);
        let likely = recipe.chosen_weight / tokens[0].max(1.0);
        nats += (loss + likely * pair.chosen.0) / pairs;
        factors.extend([(slope + likely) / pairs, -slope / pairs]);
        observed.extend([loss, margin, pair.chosen.0, tokens[0], pair.rejected.0, tokens[1]]);
    }
    samples.forward_backward(model, rows, &factors)?;
    Ok(PassCost { nats, observed })
}

impl Objective for Preference {
    fn process(&self) -> Option<&dyn Process> {
        Some(self.process.as_ref())
    }

    fn batch(&mut self, step: Step<'_>, _: &mut dyn TrainedModel) -> Result<CanvasBatch, TrainError> {
        self.data.batch(step.number, step.canvases)
    }

    fn forward_backward(&mut self, pass: &Pass<'_>, model: &mut dyn Learner) -> Result<PassCost, TrainError> {
        let rows = pass.rows;
        let (samples, of_reference) = self.samples(pass);
        let others = of_reference.as_ref().unwrap_or(&samples);
        let reference = self.reference.read(model, |reference| others.bounds(reference, rows))?;
        learn(&self.recipe, (&samples, rows), (&reference, pass.canvases / 2), model)
    }

    fn observe(&mut self, observed: &[f64]) {
        observed.chunks_exact(OBSERVED).for_each(|pair| self.observed.add(pair));
    }

    fn validate(
        &self,
        model: &dyn Learner,
        progress: &mut dyn FnMut(u64) -> bool,
    ) -> Result<Option<HeldOutCost>, TrainError> {
        let Validation { sampling, key } = self.validation;
        let (mut all, mut done) = (Observed::default(), 0);
        for batch in self.data.held_out() {
            let rows = PackedBatch::new(batch.canvases(), model.spec().attention)?;
            let streams: Vec<u64> = (done..).take(rows.canvases.len()).collect();
            let samples = BoundSamples::draw((&rows, self.process.as_ref()), sampling, (key, 0), &streams);
            let reference = self.reference.read(model, |reference| samples.bounds(reference, &rows))?;
            let bounds = samples.bounds(model, &rows)?;
            for (pair, tokens) in compared(&bounds, &reference).into_iter().zip(learned(&rows).chunks_exact(2)) {
                let PairLoss { loss, margin, .. } = pair.loss(self.recipe.beta);
                all.add(&[loss, margin, pair.chosen.0, tokens[0], pair.rejected.0, tokens[1]]);
            }
            done += streams.len() as u64;
            if !progress(done) {
                return Err(EvaluateError::Stopped.into());
            }
        }
        Ok(Some(HeldOutCost::Other { cost: all.loss / all.pairs.max(1.0), figures: all.figures() }))
    }

    fn unit(&self) -> &'static str {
        PER_PAIR
    }

    fn means(&mut self) -> Vec<Figure> {
        let observed = std::mem::take(&mut self.observed);
        if observed.pairs > 0.0 { observed.figures() } else { Vec::new() }
    }

    /// Texts are sampled as they were.
    fn describe_generation(&self, defaults: &mut GenerationDefaults) {
        defaults.policy.get_or_insert_with(|| self.process.policy().name());
    }

    fn state(&self) -> Result<ObjectiveState, TrainError> {
        Ok(ObjectiveState::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aquatint_compute::Cpu;
    use aquatint_diffusion::{Layout, Linear, Masked, PADDING_DOCUMENT};
    use aquatint_network::{AttentionSpec, FeedForwardSpec, LayerSpec, Network, NetworkSpec};
    use std::f64::consts::LN_2;

    const MASK: u32 = 10;

    #[test]
    fn the_loss_of_a_pair_and_its_slope_are_those_of_the_equation() {
        let even = Compared { chosen: (4.25, 4.25), rejected: (7.5, 7.5) }.loss(0.3);
        assert_eq!((even.loss, even.margin, even.slope), (LN_2, 0.0, 0.15));
        for (chosen, rejected) in [((3.0, 4.0), (6.0, 5.5)), ((900.0, 4.0), (1.0, 950.0)), ((4.0, 900.0), (950.0, 1.0))]
        {
            let beta = 0.7;
            let pair = Compared { chosen, rejected };
            let PairLoss { loss, margin, slope } = pair.loss(beta);
            let expected = beta * ((chosen.1 - chosen.0) - (rejected.1 - rejected.0));
            assert!((margin - expected).abs() < 1e-9 && loss.is_finite() && loss >= 0.0);
            let step = 1e-5;
            let moved = |by: f64| Compared { chosen: (chosen.0 + by, chosen.1), rejected }.loss(beta).loss;
            let difference = (moved(step) - moved(-step)) / (2.0 * step);
            assert!((slope - difference).abs() < 1e-6, "{slope} {difference}");
            let moved = |by: f64| Compared { chosen, rejected: (rejected.0 + by, rejected.1) }.loss(beta).loss;
            let difference = (moved(step) - moved(-step)) / (2.0 * step);
            assert!((slope + difference).abs() < 1e-6, "{slope} {difference}");
        }
    }

    #[test]
    fn pairs_are_counted_right_by_their_margin() {
        let mut observed = Observed::default();
        observed.add(&[0.5, 1.0, 8.0, 4.0, 30.0, 10.0]);
        observed.add(&[LN_2, 0.0, 4.0, 2.0, 10.0, 10.0]);
        observed.add(&[1.5, -1.0, 12.0, 6.0, 0.0, 0.0]);
        assert_eq!(
            observed.figures(),
            [("accuracy", 0.5), ("margin", 0.0), ("chosen_nats_per_token", 2.0), ("rejected_nats_per_token", 2.0)]
        );
    }

    fn network(seed: u64) -> Network<Cpu<f64>> {
        let layer = LayerSpec::new(AttentionSpec::new(1, 1, 4), FeedForwardSpec::new(6));
        let spec = NetworkSpec { mask_token: Some(MASK), ..NetworkSpec::new(11, 4, vec![layer]) };
        Network::new(Cpu::<f64>::scalar(), spec, seed).unwrap()
    }

    /// Two pairs behind two given tokens each.
    fn rows() -> PackedBatch {
        let tokens = [[1, 2, 3, 4, 5], [1, 2, 6, 7, 0], [8, 9, 1, 1, 0], [8, 9, 4, 3, 2]].concat();
        let lengths = [5, 4, 4, 5];
        let documents = lengths
            .iter()
            .zip(0..)
            .flat_map(|(length, number)| (0..5).map(move |at| if at < *length { number } else { PADDING_DOCUMENT }));
        let documents = documents.collect();
        let given = [[true, true, false, false, false]; 4].concat();
        let canvases = CanvasBatch { length: 5, tokens, documents, text_bytes: vec![1; 20], spans: Vec::new(), given };
        PackedBatch::new(&canvases, Layout::Full).unwrap()
    }

    fn samples(rows: &PackedBatch, key: u64) -> BoundSamples {
        let sampling = BoundSampling { samples: 3, spread: TimeSampling::LowDiscrepancy, complementary: false };
        let process = Masked::new(MASK, Arc::new(Linear));
        BoundSamples::draw((rows, &process), sampling, (Key::new(key), 2), &[0, 1, 2, 3])
    }

    #[test]
    fn a_model_that_is_its_reference_has_no_margin_under_shared_noise_and_some_under_other_noise() {
        let (rows, mut model) = (rows(), network(3));
        let shared = samples(&rows, 1);
        let recipe = PreferenceRecipe::default();
        let reference = shared.bounds(&network(3), &rows).unwrap();
        let PassCost { nats, observed } = learn(&recipe, (&shared, &rows), (&reference, 2), &mut model).unwrap();
        assert_eq!((nats, observed[0], observed[1], observed[7]), (LN_2, LN_2, 0.0, 0.0));
        let other = samples(&rows, 9).bounds(&network(3), &rows).unwrap();
        let PassCost { observed, .. } = learn(&recipe, (&shared, &rows), (&other, 2), &mut model).unwrap();
        assert!(observed[1] != 0.0);
    }

    #[test]
    fn the_gradient_of_the_loss_agrees_with_finite_differences() {
        let (rows, mut model) = (rows(), network(3));
        let samples = samples(&rows, 1);
        let recipe = PreferenceRecipe { beta: 0.8, chosen_weight: 0.3, ..PreferenceRecipe::default() };
        let reference = samples.bounds(&network(4), &rows).unwrap();
        let PassCost { nats, .. } = learn(&recipe, (&samples, &rows), (&reference, 2), &mut model).unwrap();
        let tokens = learned(&rows);
        let loss = |model: &Network<Cpu<f64>>| -> f64 {
            let bounds = samples.bounds(model, &rows).unwrap();
            let pairs = compared(&bounds, &reference).into_iter().zip(tokens.chunks(2));
            pairs
                .map(|(pair, tokens)| {
                    (pair.loss(recipe.beta).loss + recipe.chosen_weight * pair.chosen.0 / tokens[0]) / 2.0
                })
                .sum()
        };
        assert!((loss(&model) - nats).abs() < 1e-12);
        let mut checked = 0;
        for parameter in model.parameter_list() {
            let (name, gradient) = (parameter.name.clone(), model.read_gradient(&parameter.name).unwrap());
            let values = model.read_parameter(&name).unwrap();
            for index in (0..values.len()).step_by(1 + values.len() / 3) {
                let mut at = |value: f32| {
                    let mut moved = values.clone();
                    moved[index] = value;
                    model.write_parameter(&name, &moved).unwrap();
                    loss(&model)
                };
                let (high, low) = (values[index] + 5e-3, values[index] - 5e-3);
                let expected = (at(high) - at(low)) / f64::from(high - low);
                model.write_parameter(&name, &values).unwrap();
                let given = f64::from(gradient[index]);
                assert!((given - expected).abs() < 2e-4 * (1.0 + expected.abs()), "{name} {index}: {given} {expected}");
                checked += 1;
            }
        }
        assert!(checked > 20);
    }
}
