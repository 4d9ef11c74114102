//! What a batch costs and which rows are asked, under each objective.
//!
//! Masked: the continuous-time bound (MDLM, 2406.07524, equation 10). With masking `bernoulli`, positions are hidden one
//! by one as the process says at a time drawn for the canvas; with `fixed-count`, the share of positions that the time
//! names is hidden (LLaDA, 2502.09992, equation 14): the same expectation, less noise, and no influence of the schedule.
//! Every weight is divided by the number of tokens of the whole step, so that the loss is in nats per token whatever the
//! batch, and multiplied by the width of `time_range`, so that a narrower range costs the part of the bound that it
//! covers.
//!
//! Deviation: weights above `weight_limit` are cut to it for the gradient, never for the figures: a nearly clean canvas
//! weighs 1/t, and a few of them would set the direction of a step. Where nothing is said nothing is cut.
//!
//! Causal: each token given those before it in its document.

use crate::TrainError;
use crate::recipe::{Masking, Objective, ObjectiveKind};
use aquatint_diffusion::{Key, Masked, Process, Time, TokenId};
use aquatint_evaluate::{Rows, Rule, corrupt_evenly};
use aquatint_network::LossRow;

/// Streams of randomness under the run's seed.
const TIMES: u64 = 1;
const MASKS: u64 = 2;
const BELIEFS: u64 = 3;

/// An objective with what it needs.
#[derive(Debug)]
pub(crate) struct Loss {
    recipe: Objective,
    kind: Kind,
    key: Key,
}

#[derive(Debug)]
enum Kind {
    Diffusion(Box<dyn Process>),
    Causal { begin: TokenId },
}

/// What a network is given and asked for one pass.
#[derive(Debug, Clone)]
pub(crate) struct Question {
    pub(crate) input: Vec<TokenId>,
    /// Share of masks expected, one per sequence.
    pub(crate) times: Vec<f32>,
    /// Asked rows with the weights that the gradient gets.
    pub(crate) asked: Vec<LossRow>,
    /// The weights of the bound itself.
    pub(crate) weights: Vec<f64>,
}

impl Loss {
    /// `special` is the mask, or the token that begins a document.
    pub(crate) fn new(recipe: &Objective, special: TokenId, seed: u64) -> Result<Self, TrainError> {
        let schedule = aquatint_diffusion::schedule(&recipe.schedule)
            .map_err(|e| crate::RecipeError::Parse { reason: format!("`objective.schedule`: {e}") })?;
        let kind = match recipe.kind {
            ObjectiveKind::Masked => Kind::Diffusion(Box::new(Masked::new(special, schedule))),
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
            Kind::Diffusion(process) => Rule::Diffusion { process: process.as_ref(), times },
            Kind::Causal { begin } => Rule::Causal { begin: *begin },
        }
    }

    /// The times of a step's canvases: a function of the seed and the step alone.
    pub(crate) fn times(&self, step: u64, canvases: usize) -> Vec<Time> {
        let (low, high) = self.recipe.time_range;
        let mut draws = self.key.fold(TIMES).at(0, step);
        self.recipe.time_sampling.sample(canvases, low..high, &mut draws)
    }

    /// Whether the pass that begins at canvas `first` of a step is one of the `share` that get a belief.
    pub(crate) fn draws_belief(&self, step: u64, first: usize, share: f64) -> bool {
        self.key.fold(BELIEFS).at(first as u64, step).uniform() < share
    }

    /// Hides what one pass asks for. `first` is the index of its first canvas in the step, `times` are its canvases'
    /// times and `tokens` is the number of tokens of the whole step.
    pub(crate) fn question(&self, rows: &Rows, step: u64, first: usize, times: &[Time], tokens: usize) -> Question {
        match &self.kind {
            Kind::Causal { begin } => causal(rows, *begin, tokens),
            Kind::Diffusion(process) => self.noisy(process.as_ref(), rows, step, first, times, tokens),
        }
    }

    fn noisy(
        &self,
        process: &dyn Process,
        rows: &Rows,
        step: u64,
        first: usize,
        times: &[Time],
        tokens: usize,
    ) -> Question {
        let mut question =
            Question { input: rows.tokens.clone(), times: Vec::new(), asked: Vec::new(), weights: Vec::new() };
        let (low, high) = self.recipe.time_range;
        let limit = self.recipe.weight_limit.unwrap_or(f64::INFINITY);
        let masks = self.key.fold(MASKS);
        for (index, (canvas, &time)) in rows.canvases.iter().zip(times).enumerate() {
            if canvas.is_empty() {
                continue;
            }
            let clean = &rows.tokens[canvas.clone()];
            let mut draws = masks.at((first + index) as u64, step);
            let noisy = match self.recipe.masking {
                Masking::Bernoulli => process.corrupt(clean, &vec![true; clean.len()], time, &mut draws),
                Masking::FixedCount => corrupt_evenly(process, clean, time, &mut draws),
            };
            question.input[canvas.clone()].copy_from_slice(&noisy.tokens);
            question.times.push(noisy.noise as f32);
            for term in noisy.terms {
                let weight = term.weight * (high - low);
                question.asked.push(LossRow {
                    row: (canvas.start + term.position) as u32,
                    target: term.target,
                    weight: weight.min(limit) / tokens as f64,
                });
                question.weights.push(weight / tokens as f64);
            }
        }
        question
    }
}

fn causal(rows: &Rows, begin: TokenId, tokens: usize) -> Question {
    let weight = 1.0 / tokens as f64;
    Question {
        input: rows.shifted(begin),
        times: vec![0.0; rows.visibility.sequences().len()],
        asked: (0u32..).zip(&rows.tokens).map(|(row, &target)| LossRow { row, target, weight }).collect(),
        weights: vec![weight; rows.tokens.len()],
    }
}
