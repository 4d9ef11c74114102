//! Likelihood: an upper bound on what a masked model pays for a text, and exactly what a causal one pays.
//!
//! Masked models: the continuous-time bound (MDLM, 2406.07524, equation 10; it does not depend on the noise schedule)
//! in its fixed-count form (LLaDA, 2502.09992, equation 14): a canvas of `L` tokens costs
//!
//! ```text
//! E_{n ~ U{1..L}} E_{masks of n positions}  L/n · Σ_masked −log p(xᵢ | the rest)
//! ```
//! which has the same expectation as Bernoulli masks at uniform times weighted by 1/t, and less variance. The counts
//! of one canvas are stratified over 1..L, and neighbouring canvases begin at points that fill the interval evenly, so
//! that no count is favoured by chance.
//!
//! Deviations: none from the bound. Every canvas is coded by itself: what a longer context could save is not counted,
//! for either kind of model.

use crate::{EvaluateError, Rows};
use aquatint_corpus::CanvasBatch;
use aquatint_diffusion::{Corrupted, Draws, Key, Process, Time, TokenId, objective};
use aquatint_network::{Denoiser, LossRow, NetworkInput};

/// The golden ratio's fraction: its multiples fill [0, 1) as evenly as a sequence without end can.
const GOLDEN: f64 = 0.618_033_988_749_894_9;

/// How a model is asked for the price of a text.
#[derive(Debug, Clone, Copy)]
pub enum Rule<'a> {
    /// By noise that it has to see through: an upper bound, estimated.
    Diffusion {
        /// How clean becomes noisy.
        process: &'a dyn Process,
        /// Noisy versions drawn of each canvas, at least 1.
        times: usize,
    },
    /// Token by token: exact.
    Causal {
        /// What stands before the first token of a document.
        begin: TokenId,
    },
}

/// What a text costs under a model.
#[derive(Debug, Clone, PartialEq)]
pub struct Likelihood {
    /// Nats per token; for a masked model an upper bound.
    pub nats_per_token: f64,
    /// Bits per byte of UTF-8 text.
    pub bits_per_byte: f64,
    /// `exp(nats_per_token)`.
    pub perplexity: f64,
    /// Standard error of `nats_per_token` over the canvases, as a sample of all text of the kind.
    pub standard_error: f64,
    /// Tokens measured.
    pub tokens: u64,
    /// Bytes that they stand for.
    pub bytes: u64,
    /// Canvases measured.
    pub canvases: u64,
    /// Masks drawn per canvas; `None` where the likelihood is exact.
    pub time_samples: Option<usize>,
}

/// Measures canvases under a model. The same seed gives the same masks, whatever the batches' size.
///
/// `byte_lengths` are the bytes that each id of the vocabulary stands for (see [`crate::byte_lengths`]). `progress` is
/// told the canvases done after every batch and returns whether to go on.
///
/// # Errors
/// When the network or the reader fails, there is nothing to measure, or `progress` says to stop.
pub fn likelihood<L: Denoiser + ?Sized>(
    model: &L,
    rule: Rule,
    seed: u64,
    byte_lengths: &[u32],
    batches: impl Iterator<Item = Result<CanvasBatch, aquatint_corpus::CorpusError>>,
    progress: &mut dyn FnMut(u64) -> bool,
) -> Result<Likelihood, EvaluateError> {
    let times = match rule {
        Rule::Diffusion { times: 0, .. } => {
            return Err(EvaluateError::Setting { name: "time_samples", given: 0, allowed: "1 or more" });
        }
        Rule::Diffusion { times, .. } => times,
        Rule::Causal { .. } => 1,
    };
    let key = Key::new(seed);
    let mut totals = Totals::default();
    let mut index = 0;
    for batch in batches {
        let rows = Rows::new(&batch?, &model.spec().attention)?;
        let mut costs = vec![0.0; rows.canvases.len()];
        for time in 0..times {
            let question = match rule {
                Rule::Causal { begin } => Question {
                    input: rows.shifted(begin),
                    shares: vec![0.0; rows.visibility.sequences().len()],
                    asked: (0..rows.tokens.len()).map(|row| loss_row(&rows, row, 1.0)).collect(),
                },
                Rule::Diffusion { process, .. } => hide(&rows, process, index, (time, times), key),
            };
            for (row, nats) in question.asked.iter().zip(measure(model, &rows, &question)?) {
                let canvas = rows.canvases.partition_point(|c| c.end <= row.row as usize);
                costs[canvas] += row.weight * nats / times as f64;
            }
        }
        for (canvas, cost) in rows.canvases.iter().zip(&costs) {
            if !canvas.is_empty() {
                totals.add(canvas.len(), *cost);
                let length = |id: &TokenId| u64::from(byte_lengths.get(*id as usize).copied().unwrap_or(0));
                totals.bytes += rows.tokens[canvas.clone()].iter().map(length).sum::<u64>();
            }
        }
        index += rows.canvases.len() as u64;
        if !progress(index) {
            return Err(EvaluateError::Stopped);
        }
    }
    totals.finish(matches!(rule, Rule::Diffusion { .. }).then_some(times))
}

/// What a network is given and asked in one pass.
#[derive(Debug)]
struct Question {
    input: Vec<TokenId>,
    /// Share of masks of each sequence, which is what a network with time conditioning is told.
    shares: Vec<f32>,
    asked: Vec<LossRow>,
}

/// One pass with costs only.
fn measure<L: Denoiser + ?Sized>(model: &L, rows: &Rows, question: &Question) -> Result<Vec<f64>, EvaluateError> {
    let input = NetworkInput {
        tokens: &question.input,
        probabilities: None,
        positions: &rows.positions,
        visibility: &rows.visibility,
        times: model.spec().time_conditioning.map(|_| question.shares.as_slice()),
        belief: None,
    };
    Ok(model.measure(&input, &question.asked)?)
}

/// Corrupts each canvas at its `time`-th stratified time.
fn hide(rows: &Rows, process: &dyn Process, index: u64, (time, times): (usize, usize), key: Key) -> Question {
    let mut question = Question { input: rows.tokens.clone(), shares: Vec::new(), asked: Vec::new() };
    let shift = key.at(u64::MAX, 0).uniform();
    for (canvas, at) in rows.canvases.iter().zip(index..) {
        if canvas.is_empty() {
            continue;
        }
        let start = (at as f64 * GOLDEN + shift).fract();
        // Time 0 hides nothing and would weigh infinitely; rounding above 1 means 1.
        let t = Time::new(((time as f64 + start) / times as f64).max(f64::EPSILON)).unwrap_or(Time::NOISE);
        let clean = &rows.tokens[canvas.clone()];
        let noisy = corrupt_evenly(process, clean, t, &mut key.at(at, time as u64));
        question.input[canvas.clone()].copy_from_slice(&noisy.tokens);
        question.shares.push(noisy.noise as f32);
        let rows = noisy.terms.iter();
        question.asked.extend(rows.map(|term| LossRow {
            row: (canvas.start + term.position) as u32,
            target: term.target,
            weight: term.weight,
        }));
    }
    question
}

/// The noisy version of a clean canvas with the count of corrupted positions that a uniform time stands for; a process
/// without such a form draws the count too.
pub fn corrupt_evenly(process: &dyn Process, clean: &[TokenId], t: Time, draws: &mut Draws) -> Corrupted {
    let open = vec![true; clean.len()];
    let count = objective::count_at(t, clean.len());
    match process.corrupt_count(clean, &open, count, draws) {
        Some(noisy) => noisy,
        None => process.corrupt(clean, &open, t, draws),
    }
}

fn loss_row(rows: &Rows, row: usize, weight: f64) -> LossRow {
    LossRow { row: row as u32, target: rows.tokens[row], weight }
}

/// Tokens and cost of each canvas, from which the ratio and its error follow.
#[derive(Debug, Default)]
struct Totals {
    canvases: Vec<(f64, f64)>,
    bytes: u64,
}

impl Totals {
    fn add(&mut self, tokens: usize, cost: f64) {
        self.canvases.push((tokens as f64, cost));
    }

    /// The ratio of sums `r = Σx / Σn`, with the usual error of a ratio estimator,
    /// `√(C/(C−1) Σ(x − r n)²) / Σn`.
    fn finish(self, time_samples: Option<usize>) -> Result<Likelihood, EvaluateError> {
        if self.canvases.is_empty() {
            return Err(EvaluateError::Empty);
        }
        let tokens: f64 = self.canvases.iter().map(|c| c.0).sum();
        let nats: f64 = self.canvases.iter().map(|c| c.1).sum();
        let ratio = nats / tokens;
        let squares: f64 = self.canvases.iter().map(|(n, x)| (x - ratio * n).powi(2)).sum();
        let canvases = self.canvases.len() as f64;
        let standard_error =
            if canvases > 1.0 { (canvases / (canvases - 1.0) * squares).sqrt() / tokens } else { f64::NAN };
        Ok(Likelihood {
            nats_per_token: ratio,
            bits_per_byte: if self.bytes == 0 { f64::NAN } else { nats / std::f64::consts::LN_2 / self.bytes as f64 },
            perplexity: ratio.exp(),
            standard_error,
            tokens: tokens as u64,
            bytes: self.bytes,
            canvases: self.canvases.len() as u64,
            time_samples,
        })
    }
}
