//! The loop: a batch, its masks, its gradient, an update; and every so often a look at held-out text, a save, a line
//! of figures.
//!
//! Step `k` is a function of the weights and moments before it, the recipe and `k` alone: order, times and masks come
//! from counters and not from a generator's state. So a run that is saved and resumed takes the same steps, bit for bit.

use crate::distillation::Distillation;
use crate::event::{Ending, StartFigures, StepFigures, Summary, TrainingEvent};
use crate::lr_schedule::learning_rate_factor;
use crate::metrics::Metrics;
use crate::objective::{Batch, Loss};
use crate::optimiser::Optimiser;
use crate::parallel::{Alone, ParallelError, Ranks, barrier, share};
use crate::recipe::{Masking, Resolved};
use crate::train_data::TrainData;
use crate::{TrainError, network, plot, sample};
use aquatint_batch::{NoisyBatch, PackedBatch};
use aquatint_checkpoint::{Checkpoint, RunState, Tensor, save, save_state};
use aquatint_compute::{Device, Element};
use aquatint_corpus::CanvasBatch;
use aquatint_diffusion::{Cost, Time, TimeDensity, Vectors, divergence};
use aquatint_evaluate::{Likelihood, likelihood};
use aquatint_network::{Activations, Denoiser, Learner, Network, RowSlots};
use serde::{Deserialize, Serialize};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// So many gradients in a row that are not finite end a run.
const HOPELESS: u64 = 20;
/// The held-out text is measured with masks of this seed, at every validation and in every run.
pub const VALIDATION_SEED: u64 = 0;

/// What a run counts; saved with its state. Real numbers are kept as their bits, so that nothing is rounded.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Counters {
    pub(crate) step: u64,
    tokens: u64,
    seconds: u64,
    best: Option<(u64, u64)>,
    last: Option<LastMeasure>,
    skipped: u64,
    /// Running costs over the times, where times follow them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    density: Vec<Option<u64>>,
    /// Rounds of distillation that have begun after the first.
    #[serde(default)]
    round: u64,
    pub(crate) recipe: String,
}

/// The last measurement of the held-out text.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct LastMeasure {
    nats_per_token: u64,
    bits_per_byte: u64,
    step: u64,
}

/// Takes the steps of a recipe that are left. `stop` is looked at between two steps; a run that is asked to stop is
/// saved first.
///
/// # Errors
/// When the recipe does not fit the texts or the folder, the texts cannot be read, the disk is full, or the gradient
/// stays infinite. What was saved before stays.
pub fn train<D: Device>(
    recipe: &Resolved,
    device: D,
    resume: bool,
    stop: &AtomicBool,
    events: &mut dyn FnMut(TrainingEvent<'_>),
) -> Result<Summary, TrainError> {
    train_among(&Alone, recipe, device, resume, stop, events)
}

/// As [`train`], sharing each batch among ranks. Rank 0 alone writes the run's folder, which all have to see; it measures,
/// samples and saves while the others wait. A rank that is asked to stop stops all.
///
/// # Errors
/// As [`train`], and when a rank went away or the batch cannot be shared.
pub fn train_among<D: Device>(
    ranks: &dyn Ranks,
    recipe: &Resolved,
    device: D,
    resume: bool,
    stop: &AtomicBool,
    events: &mut dyn FnMut(TrainingEvent<'_>),
) -> Result<Summary, TrainError> {
    let first = ranks.rank() == 0;
    let pairs = recipe.objective.masking == Masking::Complementary;
    let own = share(ranks, recipe.optimiser.batch, pairs)?;
    events(TrainingEvent::Recipe(recipe));
    // Rank 0 makes the folder and packs the texts; the others find both.
    let prepare = |events: &mut dyn FnMut(TrainingEvent<'_>)| -> Result<_, TrainError> {
        let state = if first { crate::folder::begin(recipe, resume)? } else { crate::folder::join(recipe, resume)? };
        Ok((state, TrainData::prepare(recipe, events)?))
    };
    let ready = if first { Some(prepare(events)?) } else { None };
    barrier(ranks)?;
    let (state, material) = match ready {
        Some(ready) => ready,
        None => prepare(events)?,
    };
    let mut network = network::build(recipe, &material, device)?;
    let mut optimiser = Optimiser::new(&network, &recipe.optimiser)?;
    let mut counters = Counters {
        step: 0,
        tokens: 0,
        seconds: 0f64.to_bits(),
        best: None,
        last: None,
        skipped: 0,
        density: Vec::new(),
        round: 0,
        recipe: recipe.to_toml()?,
    };
    if let Some(RunState { counters: saved, .. }) = &state {
        counters = Counters { recipe: counters.recipe, ..saved.clone() };
    }
    if let Some(state) = &state {
        optimiser.restore(&mut network, state)?;
    }
    agree(ranks, counters.step)?;
    let metrics = if first { Some(Metrics::open(&recipe.output, counters.step)?) } else { None };
    let loss = Loss::new(&recipe.objective, network.spec(), material.special, recipe.seed)?;
    let distillation = match (recipe.distillation, &recipe.initial) {
        (Some(distil), Some(initial)) => {
            let folder = match counters.round {
                0 => initial.clone(),
                round => teacher_folder(recipe, round),
            };
            let teacher = teacher(&folder, &network)?;
            Some(Distillation::new(distil, teacher, recipe.objective.prompt, recipe.seed))
        }
        _ => None,
    };
    Trainer {
        ranks,
        own,
        distillation,
        recipe,
        material,
        network,
        optimiser,
        loss,
        counters,
        metrics,
        events,
        begun: Instant::now(),
        before: 0.0,
    }
    .run(stop)
}

/// That all ranks stand at the same step: a folder that is not the same for all would have them drift apart.
fn agree(ranks: &dyn Ranks, step: u64) -> Result<(), TrainError> {
    let steps = ranks.all_gather(step.to_le_bytes().to_vec())?;
    match steps.iter().position(|other| *other != step.to_le_bytes()) {
        None => Ok(()),
        Some(rank) => Err(ParallelError::Other {
            rank,
            what: format!("is not at step {step}: the run's folder has to be one that all ranks see"),
        }
        .into()),
    }
}

/// Where the teacher of a later round is kept, so that a resumed run has the same.
fn teacher_folder(recipe: &Resolved, round: u64) -> PathBuf {
    recipe.output.join(format!("teacher-{round}"))
}

/// The network of a folder, which has to undo the same process as the student.
fn teacher<D: Device>(folder: &Path, student: &Network<D>) -> Result<Box<dyn Denoiser>, TrainError> {
    let checkpoint = Checkpoint::load(folder)?;
    let (found, expected) = (&checkpoint.spec.process, &student.spec().process);
    if found != expected {
        return Err(TrainError::OtherNetwork {
            field: "process",
            found: format!("{} ({})", found.kind, found.schedule),
            expected: format!("{} ({})", expected.kind, expected.schedule),
        });
    }
    Ok(Box::new(checkpoint.network(student.device().clone())?))
}

struct Trainer<'a, 'e, D: Device> {
    ranks: &'a dyn Ranks,
    /// The canvases of each step that this rank learns.
    own: Range<usize>,
    distillation: Option<Distillation>,
    recipe: &'a Resolved,
    material: TrainData,
    network: Network<D>,
    optimiser: Optimiser<D>,
    loss: Loss,
    counters: Counters,
    /// Rank 0 keeps figures.
    metrics: Option<Metrics>,
    events: &'a mut (dyn FnMut(TrainingEvent<'_>) + 'e),
    /// When this process began to train, and seconds of training before it.
    begun: Instant,
    before: f64,
}

/// What the asked rows of a pass cost, and −log p of their clean tokens.
struct Costs {
    costs: Vec<f64>,
    surprise: Vec<f64>,
}

/// Figures gathered since the last report.
#[derive(Default)]
struct Gathered {
    nats: f64,
    tokens: u64,
    bytes: u64,
    steps: u64,
    seconds: f64,
    norm: f64,
    rate: f64,
}

impl<D: Device> Trainer<'_, '_, D> {
    fn run(mut self, stop: &AtomicBool) -> Result<Summary, TrainError> {
        let run = &self.recipe.run;
        self.before = f64::from_bits(self.counters.seconds);
        let recomputed = self.recomputed();
        self.network.recompute_activations(recomputed);
        (self.events)(TrainingEvent::Started(StartFigures {
            parameters: self.network.parameters().iter().map(|p| p.shape.iter().product::<usize>() as u64).sum(),
            step: self.counters.step,
            steps: run.steps,
            device: self.network.device().describe(),
            recomputed: (recomputed, self.network.spec().layers),
        }));
        let mut gathered = Gathered::default();
        let mut failures = 0;
        let ending = loop {
            if self.counters.step >= run.steps {
                break Ending::Complete;
            }
            if let Some(ending) = self.ending(stop)? {
                break ending;
            }
            let finite = self.step(&mut gathered)?;
            let step = self.counters.step;
            failures = if finite { 0 } else { failures + 1 };
            if failures >= HOPELESS {
                return Err(TrainError::Diverged { steps: failures, step });
            }
            if self.ranks.rank() > 0 {
                continue;
            }
            if step.is_multiple_of(run.log_every) || step == run.steps {
                self.report(&mut gathered)?;
            }
            if step.is_multiple_of(run.validate_every) && step < run.steps {
                self.validate()?;
            }
            if step.is_multiple_of(run.save_every) && step < run.steps {
                self.save()?;
            }
            if run.sample_every > 0 && (step.is_multiple_of(run.sample_every) || step == run.steps) {
                self.sample()?;
            }
        };
        if self.ranks.rank() == 0 {
            if gathered.steps > 0 {
                self.report(&mut gathered)?;
            }
            if self.counters.last.is_none_or(|last| last.step != self.counters.step) && ending != Ending::Interrupted {
                self.validate()?;
            }
            self.save()?;
        }
        let seconds = self.seconds();
        if let Some(metrics) = &mut self.metrics {
            metrics.ending(self.counters.step, ending, seconds)?;
        }
        let summary = Summary {
            ending,
            step: self.counters.step,
            tokens: self.counters.tokens,
            seconds,
            best: self.counters.best.map(|(bits, step)| (f64::from_bits(bits), step)),
            last: self.counters.last.map(|last| f64::from_bits(last.nats_per_token)),
            bits_per_byte: self.counters.last.map(|last| f64::from_bits(last.bits_per_byte)),
        };
        (self.events)(TrainingEvent::Finished(&summary));
        Ok(summary)
    }

    /// Why the run ends before its last step, if it does: any rank may ask for it, and all end together.
    fn ending(&self, stop: &AtomicBool) -> Result<Option<Ending>, TrainError> {
        let late = |minutes| self.begun.elapsed().as_secs_f64() >= 60.0 * minutes;
        let wish = match stop.load(Ordering::Relaxed) {
            true => 2,
            false => u8::from(self.recipe.run.max_minutes.is_some_and(late)),
        };
        let wishes = self.ranks.all_gather(vec![wish])?;
        Ok(match wishes.into_iter().flatten().max() {
            Some(2) => Some(Ending::Interrupted),
            Some(1) => Some(Ending::TimeUp),
            _ => None,
        })
    }

    /// Of how many blocks the activations are recomputed, so that a pass stays within its memory.
    fn recomputed(&self) -> usize {
        let recipe = self.recipe;
        let (spec, canvases) = (self.network.spec(), recipe.canvases_per_pass());
        let budget = match recipe.run.activation_memory {
            _ if recipe.optimiser.recompute => return spec.layers,
            None => return 0,
            Some(budget) => budget.0,
        };
        let rows = canvases * recipe.data.canvas_length;
        Activations::new(spec, rows, canvases, size_of::<D::Element>()).recomputed_within(budget)
    }

    fn seconds(&self) -> f64 {
        self.before + self.begun.elapsed().as_secs_f64()
    }

    /// One step; false when its gradient was not finite and it changed nothing.
    fn step(&mut self, gathered: &mut Gathered) -> Result<bool, TrainError> {
        let begun = Instant::now();
        let (step, batch) = (self.counters.step, self.recipe.optimiser.batch);
        let canvases = match self.loss.pairs() {
            true => twice(&self.material.batch(step, batch / 2)?),
            false => self.material.batch(step, batch)?,
        };
        let tokens = canvases.filled();
        let ranks = self.loss.time_quantiles(step, batch);
        let density = TimeDensity::from_costs(self.counters.density.iter().map(|bits| bits.map(f64::from_bits)));
        let mut seen = Vec::new();
        let mut nats = 0.0;
        self.change_teacher()?;
        self.network.clear_gradients();
        let per_pass = self.recipe.canvases_per_pass();
        let mut first = self.own.start;
        while first < self.own.end {
            // Passes end where they do on one rank, since some draws are one for each pass.
            let count = (per_pass - first % per_pass).min(self.own.end - first);
            nats += self.pass(&part(&canvases, first, count), (step, first), tokens, &ranks, &density, &mut seen)?;
            first += count;
        }
        let (nats, seen) = self.all_reduce_gradients(nats, seen)?;
        let norm = self.network.gradient_norm();
        let rate = self.recipe.optimiser.learning_rate
            * learning_rate_factor(&self.recipe.optimiser, step, self.recipe.run.steps);
        let finite = norm.is_finite() && nats.is_finite();
        if finite && self.loss.follows_cost() {
            let mut density = density;
            density.observe(seen);
            self.counters.density = density.costs().iter().map(|cost| cost.map(f64::to_bits)).collect();
        }
        if finite {
            self.optimiser.update(&mut self.network, step + 1, rate, norm);
            gathered.nats += nats * tokens as f64;
            gathered.tokens += tokens as u64;
            gathered.bytes += self.material.bytes(&canvases);
            gathered.steps += 1;
            (gathered.norm, gathered.rate) = (norm, rate);
        } else {
            self.counters.skipped += 1;
            (self.events)(TrainingEvent::Skipped { step });
        }
        gathered.seconds += begun.elapsed().as_secs_f64();
        self.counters.step += 1;
        self.counters.tokens += tokens as u64;
        Ok(finite)
    }

    /// Learns one pass, whose first canvas is the step's `first`; what it costs per token of the whole step.
    fn pass(
        &mut self,
        canvases: &CanvasBatch,
        (step, first): (u64, usize),
        tokens: usize,
        ranks: &[f64],
        density: &TimeDensity,
        seen: &mut Vec<(Time, f64)>,
    ) -> Result<f64, TrainError> {
        let rows = PackedBatch::new(canvases, self.network.spec().attention)?;
        if self.distillation.is_some() {
            return self.imitate(&rows, step, first);
        }
        let ranks = &ranks[first..first + canvases.canvases()];
        let asked = self.loss.batch(&rows, step, first, ranks, tokens, density);
        let belief = self.belief(&rows, &asked.question, step, first)?;
        let Costs { costs, surprise } = self.learn(&rows, &asked, belief.as_deref())?;
        seen.extend(asked.surprise(&surprise));
        let constant = asked.question.constant / tokens as f64;
        Ok(constant + asked.weights.iter().zip(&costs).map(|(w, c)| w * c).sum::<f64>())
    }

    /// Makes the gradient, the cost and what was seen at which time those of all ranks.
    fn all_reduce_gradients(
        &mut self,
        nats: f64,
        seen: Vec<(Time, f64)>,
    ) -> Result<(f64, Vec<(Time, f64)>), TrainError> {
        if self.ranks.size() == 1 {
            return Ok((nats, seen));
        }
        let device = self.network.device().clone();
        let mut flat: Vec<D::Element> = Vec::new();
        for parameter in self.network.parameters() {
            flat.extend(device.download(parameter.gradient));
        }
        if size_of::<D::Element>() <= size_of::<f32>() {
            let mut single: Vec<f32> = flat.iter().map(|value| value.to_f64() as f32).collect();
            self.ranks.all_reduce_single(&mut single)?;
            flat = single.into_iter().map(|value| D::Element::from_f64(value.into())).collect();
        } else {
            let mut wide: Vec<f64> = flat.iter().map(|value| value.to_f64()).collect();
            self.ranks.all_reduce(&mut wide)?;
            flat = wide.into_iter().map(D::Element::from_f64).collect();
        }
        let mut rest = flat.as_slice();
        for parameter in self.network.parameters_mut() {
            let (values, after) = rest.split_at(device.len(parameter.value));
            device.write(parameter.gradient, values);
            rest = after;
        }
        let numbers = [nats].into_iter().chain(seen.iter().flat_map(|(time, cost)| [time.value(), *cost]));
        let given = self.ranks.all_gather(numbers.flat_map(f64::to_le_bytes).collect())?;
        let (mut total, mut all) = (0.0, Vec::new());
        for bytes in given {
            let number = |bytes: &[u8]| bytes.try_into().map_or(f64::NAN, f64::from_le_bytes);
            let numbers: Vec<f64> = bytes.chunks_exact(size_of::<f64>()).map(number).collect();
            let Some((nats, seen)) = numbers.split_first() else { continue };
            total += nats;
            all.extend(seen.chunks_exact(2).filter_map(|pair| Some((Time::new(pair[0]).ok()?, pair[1]))));
        }
        Ok((total, all))
    }

    /// The costs of one pass, after which its gradient is collected.
    fn learn(&mut self, rows: &PackedBatch, batch: &Batch, belief: Option<&[f32]>) -> Result<Costs, TrainError> {
        let question = &batch.question;
        let spec = self.network.spec().clone();
        let input = question.input(rows, &spec, belief);
        if let Some(asked) = question.loss_rows() {
            let costs = self.network.forward_backward(&input, &asked)?;
            return Ok(Costs { surprise: costs.clone(), costs });
        }
        let values = self.network.word_vectors()?.unwrap_or_default();
        let vectors = Vectors { size: spec.word_vector_size.unwrap_or(0), values: &values };
        let slots = RowSlots::new(question.terms.len());
        self.network.forward_backward_with(&input, &question.rows(), &|index, belief| {
            let term = &question.terms[index];
            let surprise = Cost::CrossEntropy.value(term.target, belief, vectors);
            let cost = term.cost.learn(term.target, belief, vectors, term.weight);
            slots.set(index, (cost, surprise));
        })?;
        let (costs, surprise) = slots.into_vec()?.into_iter().unzip();
        Ok(Costs { costs, surprise })
    }

    /// Makes the averaged weights the teacher when a new round of distillation begins.
    fn change_teacher(&mut self) -> Result<(), TrainError> {
        let Some(distil) = self.recipe.distillation else { return Ok(()) };
        let round = self.counters.step * distil.rounds / self.recipe.run.steps.max(1);
        if round == self.counters.round {
            return Ok(());
        }
        let folder = teacher_folder(self.recipe, round);
        if self.ranks.rank() == 0 {
            self.optimiser.swap_ema(&mut self.network);
            let saved = self.save_model(&folder);
            self.optimiser.swap_ema(&mut self.network);
            saved?;
        }
        barrier(self.ranks)?;
        let teacher = teacher(&folder, &self.network)?;
        if let Some(distillation) = &mut self.distillation {
            distillation.teach_by(teacher);
        }
        self.counters.round = round;
        Ok(())
    }

    /// Learns one pass from the teacher; the divergence of the pass's canvases, divided by the canvases of the step.
    fn imitate(&mut self, rows: &PackedBatch, step: u64, first: usize) -> Result<f64, TrainError> {
        let (Some(distillation), Some(process)) = (&self.distillation, self.loss.process()) else { return Ok(0.0) };
        let lesson = distillation.lesson(process, rows, (step, first), self.counters.round)?;
        let belief = self.belief(rows, &lesson.question, step, first)?;
        let spec = self.network.spec().clone();
        let input = lesson.question.input(rows, &spec, belief.as_deref());
        let canvases = self.recipe.optimiser.batch as f64;
        let slots = RowSlots::new(lesson.beliefs.len());
        self.network.forward_backward_with(&input, &lesson.question.rows(), &|index, belief| {
            let weight = lesson.weights[index] / canvases;
            slots.set(index, weight * divergence(&lesson.beliefs[index], belief, weight));
        })?;
        Ok(slots.into_vec()?.into_iter().sum())
    }

    /// In a share of the passes, a network with self-conditioning first says what it believes without, and gets that as
    /// an input from which no gradient flows back (Chen et al., 2208.04202, section 3).
    fn belief(
        &self,
        rows: &PackedBatch,
        question: &NoisyBatch,
        step: u64,
        first: usize,
    ) -> Result<Option<Vec<f32>>, TrainError> {
        let share = self.recipe.objective.self_conditioning_probability;
        // One draw for a pass of the recipe, whichever part of it this rank learns.
        let pass = first - first % self.recipe.canvases_per_pass();
        if !self.network.spec().self_conditioning || !self.loss.draws_belief(step, pass, share) {
            return Ok(None);
        }
        Ok(question.self_conditioning(&self.network, rows)?)
    }

    fn report(&mut self, gathered: &mut Gathered) -> Result<(), TrainError> {
        let gathered = std::mem::take(gathered);
        if gathered.tokens == 0 {
            return Ok(());
        }
        let left = self.recipe.run.steps.saturating_sub(self.counters.step) as f64;
        let figures = StepFigures {
            step: self.counters.step,
            loss: gathered.nats / gathered.tokens as f64,
            bits_per_byte: gathered.nats / std::f64::consts::LN_2 / gathered.bytes.max(1) as f64,
            gradient_norm: gathered.norm,
            learning_rate: gathered.rate,
            tokens_per_second: gathered.tokens as f64 / gathered.seconds,
            tokens: self.counters.tokens,
            epochs: self.counters.tokens as f64 / self.material.figures.train_tokens.max(1) as f64,
            seconds: self.seconds(),
            seconds_left: left * gathered.seconds / gathered.steps as f64,
        };
        if let Some(metrics) = &mut self.metrics {
            metrics.step(&figures)?;
        }
        (self.events)(TrainingEvent::Step(figures));
        Ok(())
    }

    /// Measures the held-out canvases under the averaged weights and keeps the best model.
    fn validate(&mut self) -> Result<(), TrainError> {
        self.optimiser.swap_ema(&mut self.network);
        let measured = self.measure();
        let outcome = measured.and_then(|likelihood| {
            let (nats, step) = (likelihood.nats_per_token, self.counters.step);
            let best = self.counters.best.is_none_or(|(bits, _)| nats < f64::from_bits(bits));
            self.counters.last = Some(LastMeasure {
                nats_per_token: nats.to_bits(),
                bits_per_byte: likelihood.bits_per_byte.to_bits(),
                step,
            });
            if best {
                self.counters.best = Some((nats.to_bits(), step));
                self.save_model(&self.recipe.output.join("best"))?;
            }
            let seconds = self.seconds();
            if let Some(metrics) = &mut self.metrics {
                metrics.validation(step, &likelihood, seconds)?;
            }
            (self.events)(TrainingEvent::Validated { step, likelihood: &likelihood, best });
            Ok(())
        });
        self.optimiser.swap_ema(&mut self.network);
        outcome
    }

    fn measure(&self) -> Result<Likelihood, TrainError> {
        let rule = self.loss.rule(self.recipe.run.validate_times);
        let batches = self.material.valid.iter().cloned().map(Ok);
        let bytes = &self.material.byte_lengths;
        Ok(likelihood(&self.network, rule, VALIDATION_SEED, bytes, batches, &mut |_| true)?)
    }

    /// Fills a canvas under the averaged weights. A causal model fills none: it has no process to walk back.
    fn sample(&mut self) -> Result<(), TrainError> {
        let Some(process) = self.loss.process() else { return Ok(()) };
        self.optimiser.swap_ema(&mut self.network);
        let text = sample::fill(&self.network, process, self.recipe, &self.material, self.counters.step);
        self.optimiser.swap_ema(&mut self.network);
        (self.events)(TrainingEvent::Sampled { step: self.counters.step, text: &text? });
        Ok(())
    }

    /// Saves the state and the model with averaged weights, then draws the plot.
    fn save(&mut self) -> Result<(), TrainError> {
        self.counters.seconds = self.seconds().to_bits();
        let state = self.optimiser.state(&mut self.network);
        save_state(&self.recipe.output, &self.counters, &state)?;
        drop(state);
        self.optimiser.swap_ema(&mut self.network);
        let saved = self.save_model(&self.recipe.output);
        self.optimiser.swap_ema(&mut self.network);
        saved?;
        let entropy = self.material.figures.unigram_entropy;
        if let Some(metrics) = &self.metrics {
            plot::draw(&self.recipe.output.join("loss.svg"), &metrics.training, &metrics.validation, entropy)?;
        }
        (self.events)(TrainingEvent::Saved { step: self.counters.step, folder: &self.recipe.output });
        Ok(())
    }

    fn save_model(&self, folder: &Path) -> Result<(), TrainError> {
        let device = self.network.device();
        let tensor = |name: &str, shape: &[usize], buffer| {
            let values = device.download(buffer).into_iter().map(|v| v.to_f64() as f32).collect();
            Tensor { name: name.to_owned(), shape: shape.to_vec(), values }
        };
        let parameters = self.network.parameters();
        let tensors: Vec<_> = parameters.iter().map(|p| tensor(p.name, p.shape, p.value)).collect();
        let density = TimeDensity::from_costs(self.counters.density.iter().map(|bits| bits.map(f64::from_bits)));
        let grid = self.loss.follows_cost().then(|| density.grid());
        let generation = self.material.generation(self.loss.process().map(|p| p.policy().name()), grid.as_ref());
        let spec = self.network.spec();
        save(folder, spec, &self.material.vocabulary, &generation, &tensors, self.recipe.run.storage)?;
        Ok(())
    }
}

/// Each canvas two times, one after the other.
fn twice(batch: &CanvasBatch) -> CanvasBatch {
    let pairs = |row: std::slice::Chunks<'_, u32>| row.flat_map(|canvas| [canvas, canvas].concat()).collect();
    CanvasBatch {
        length: batch.length,
        tokens: pairs(batch.tokens.chunks(batch.length)),
        documents: pairs(batch.documents.chunks(batch.length)),
    }
}

/// Some canvases of a batch.
fn part(batch: &CanvasBatch, first: usize, count: usize) -> CanvasBatch {
    let range = first * batch.length..(first + count) * batch.length;
    CanvasBatch {
        length: batch.length,
        tokens: batch.tokens[range.clone()].to_vec(),
        documents: batch.documents[range].to_vec(),
    }
}
