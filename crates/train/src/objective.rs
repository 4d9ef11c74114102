//! What a batch costs and which rows are asked, under each objective.
//!
//! Masked: the continuous-time bound `E_t −α′/(1−α) Σ_masked nll` (MDLM, 2406.07524, equation 10). With masking
//! `bernoulli` as written; with `fixed-count` the share `1 − α(t)` of the positions, rounded up, is masked, and each
//! masked position weighs `−α′(t) L/n` (LLaDA, 2502.09992, equation 14, for any schedule): the same expectation, less
//! noise. Every weight is divided by the number of tokens of the whole step, so that the loss is in nats per token
//! whatever the batch, and multiplied by the width of `time_range`, so that a narrower range is the bound's part there.
//!
//! Deviation: weights above `weight_limit` are cut to it for the gradient, never for the figures: nearly clean canvases
//! weigh 1/t, and a few of them would set the direction of a step. Where nothing is said nothing is cut.
//!
//! A network with time conditioning is told `1 − α(t)`, the expected share of masks, which means the same under every
//! schedule.

use crate::TrainError;
use crate::recipe::{Masking, Objective, ObjectiveKind};
use aquatint_diffusion::{Key, NoiseSchedule, Time, TokenId};
use aquatint_evaluate::{Rows, choose};
use aquatint_network::LossRow;
use std::sync::Arc;

/// Streams of randomness under the run's seed.
const TIMES: u64 = 1;
const MASKS: u64 = 2;

/// An objective with the ids that it needs.
#[derive(Debug, Clone)]
pub(crate) struct Loss {
    recipe: Objective,
    schedule: Arc<dyn NoiseSchedule>,
    /// The mask's id, or the one that begins a document.
    special: TokenId,
    key: Key,
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
    pub(crate) fn new(recipe: &Objective, special: TokenId, seed: u64) -> Result<Self, TrainError> {
        let schedule = aquatint_diffusion::schedule(&recipe.schedule)
            .map_err(|e| crate::RecipeError::Parse { reason: format!("`objective.schedule`: {e}") })?;
        Ok(Self { recipe: recipe.clone(), schedule, special, key: Key::new(seed) })
    }

    /// The times of a step's canvases: a function of the seed and the step alone.
    pub(crate) fn times(&self, step: u64, canvases: usize) -> Vec<Time> {
        let (low, high) = self.recipe.time_range;
        let mut draws = self.key.fold(TIMES).at(0, step);
        self.recipe.time_sampling.sample(canvases, low..high, &mut draws)
    }

    /// Hides what one pass asks for. `first` is the index of its first canvas in the step, `times` are its canvases'
    /// times and `tokens` is the number of tokens of the whole step.
    pub(crate) fn question(&self, rows: &Rows, step: u64, first: usize, times: &[Time], tokens: usize) -> Question {
        match self.recipe.kind {
            ObjectiveKind::Causal => self.causal(rows, tokens),
            ObjectiveKind::Masked => self.masked(rows, step, first, times, tokens),
        }
    }

    fn causal(&self, rows: &Rows, tokens: usize) -> Question {
        let weight = 1.0 / tokens as f64;
        let asked = (0u32..).zip(&rows.tokens).map(|(row, &target)| LossRow { row, target, weight }).collect();
        let sequences = rows.visibility.sequences().len();
        Question {
            input: rows.shifted(self.special),
            times: vec![0.0; sequences],
            asked,
            weights: vec![weight; rows.tokens.len()],
        }
    }

    fn masked(&self, rows: &Rows, step: u64, first: usize, times: &[Time], tokens: usize) -> Question {
        let mut question =
            Question { input: rows.tokens.clone(), times: Vec::new(), asked: Vec::new(), weights: Vec::new() };
        let (low, high) = self.recipe.time_range;
        let limit = self.recipe.weight_limit.unwrap_or(f64::INFINITY);
        let masks = self.key.fold(MASKS);
        for (index, (canvas, &time)) in rows.canvases.iter().zip(times).enumerate() {
            if canvas.is_empty() {
                continue;
            }
            let length = canvas.len();
            let share = 1.0 - self.schedule.alpha(time);
            question.times.push(share as f32);
            let mut draws = masks.at((first + index) as u64, step);
            let (chosen, weight) = match self.recipe.masking {
                Masking::Bernoulli => {
                    let chosen: Vec<usize> = (0..length).filter(|_| draws.uniform() < share).collect();
                    (chosen, self.schedule.weight(time))
                }
                Masking::FixedCount => {
                    let count = ((share * length as f64).ceil() as usize).clamp(1, length);
                    let weight = -self.schedule.alpha_derivative(time) * length as f64 / count as f64;
                    (choose(length, count, &mut draws), weight)
                }
            };
            let weight = weight * (high - low);
            for row in chosen {
                let row = canvas.start + row;
                question.input[row] = self.special;
                let asked =
                    LossRow { row: row as u32, target: rows.tokens[row], weight: weight.min(limit) / tokens as f64 };
                question.asked.push(asked);
                question.weights.push(weight / tokens as f64);
            }
        }
        question
    }
}
