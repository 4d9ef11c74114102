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
//! A process with another bound has its own ([`Process::corrupt_for_bound`]) at times that are stratified in
//! the same way, and a network with self-conditioning first for its prediction without one, which it then reads: what
//! it says is still a function of the noisy canvas alone, so that the bound stays one.
//!
//! Deviations: none from the bound. Every canvas is coded by itself: what a longer context could save is not counted,
//! for either kind of model.

use crate::EvaluateError;
use crate::flow;
use aquatint_batch::{NoisyBatch, PackedBatch, corrupt_evenly, golden_point, stratified_time};
use aquatint_corpus::CanvasBatch;
use aquatint_diffusion::{Corrupted, Cost, Key, LossTerm, Process, TokenId};
use aquatint_network::Denoiser;
use std::ops::Range;

/// Canvases of one forward pass of measuring: enough to keep the processor busy, few enough for any memory. The noise does
/// not depend on it.
pub const CANVASES_PER_PASS: usize = 16;

/// How the cost of a text is measured.
#[derive(Debug, Clone, Copy)]
pub enum Rule<'a> {
    /// By noise that it has to see through: an upper bound, estimated.
    Diffusion {
        /// How clean becomes noisy.
        process: &'a dyn Process,
        /// Noisy versions drawn of each canvas, at least 1.
        times: usize,
        /// Tokens at the beginning of each document that are given and cost nothing.
        prompt: usize,
    },
    /// Along the probability flow of a gaussian field, in so many steps: a check on the bound.
    Flow {
        /// The gaussian field.
        process: &'a dyn Process,
        /// Steps, at least 1.
        steps: usize,
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
    /// Nats per token, in the meaning of `estimate`.
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
    /// What the numbers say.
    pub estimate: Estimate,
}

/// What a measured likelihood says of −log p(x).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Estimate {
    /// It is that.
    Exact,
    /// In expectation it is at least that.
    Bound {
        /// Noisy versions drawn of each canvas.
        times: usize,
    },
    /// In expectation it is at least that of the flow's own law, but for the error of so many steps.
    Flow {
        /// Steps along the flow.
        steps: usize,
    },
    /// Nothing: it is the cross-entropy at uniform times, which compares models of one process only.
    CrossEntropy {
        /// Noisy versions drawn of each canvas.
        times: usize,
    },
}

/// Measures canvases under a model. The same seed gives the same masks, whatever the batches' size.
///
/// `byte_lengths` are the bytes that each id of the vocabulary stands for
/// ([`Vocabulary::byte_lengths`](aquatint_vocabulary::Vocabulary::byte_lengths)). `progress` receives the number of
/// canvases done after every batch and returns whether to go on.
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
        Rule::Flow { steps: 0, .. } => {
            return Err(EvaluateError::Setting { name: "flow", given: 0, allowed: "1 or more" });
        }
        Rule::Flow { .. } | Rule::Causal { .. } => 1,
    };
    let prompt = match rule {
        Rule::Diffusion { prompt, .. } => prompt,
        Rule::Flow { .. } | Rule::Causal { .. } => 0,
    };
    let key = Key::new(seed);
    let mut totals = Totals::default();
    let mut index = 0;
    for batch in batches {
        let rows = PackedBatch::new(&batch?, model.spec().attention)?;
        let mut costs = vec![0.0; rows.canvases.len()];
        for time in 0..times {
            let batch = match rule {
                Rule::Flow { process, steps } => {
                    let clean = everything(&rows);
                    let along = flow::costs(model, process, &rows, &clean, steps, key.fold(index))?;
                    costs = along.ok_or_else(|| EvaluateError::NoFlow { process: process.name() })?;
                    continue;
                }
                Rule::Causal { begin } => NoisyBatch::causal(&rows, begin, 1.0),
                Rule::Diffusion { process, .. } => {
                    let mut batch = NoisyBatch::new(&rows);
                    let mut times_of = vec![None; rows.canvases.len()];
                    for (part, noisy) in hide(&rows, &Noise { process, prompt }, index, (time, times), key) {
                        let canvas = rows.canvas_of(part.start);
                        costs[canvas] += noisy.constant / times as f64;
                        times_of[canvas] = Some(noisy.noise as f32);
                        batch.put(part, noisy);
                    }
                    // Empty canvases have no sequence.
                    batch.times = times_of.into_iter().flatten().collect();
                    batch
                }
            };
            let prediction = batch.self_conditioning(model, &rows)?;
            for (term, nats) in batch.terms.iter().zip(batch.costs(model, &rows, prediction.as_deref())?) {
                costs[rows.canvas_of(term.position)] += term.weight * nats / times as f64;
            }
        }
        for (canvas, cost) in rows.canvases.iter().zip(&costs) {
            let open = rows.open(canvas, canvas, prompt);
            let tokens =
                rows.tokens[canvas.clone()].iter().zip(open).filter_map(|(token, open)| open.then_some(*token));
            let tokens: Vec<TokenId> = tokens.collect();
            if !tokens.is_empty() {
                totals.add(tokens.len(), *cost);
                let length = |id: &TokenId| u64::from(byte_lengths.get(*id as usize).copied().unwrap_or(0));
                totals.bytes += tokens.iter().map(length).sum::<u64>();
            }
        }
        index += rows.canvases.len() as u64;
        if !progress(index) {
            return Err(EvaluateError::Stopped);
        }
    }
    totals.finish(match rule {
        Rule::Causal { .. } => Estimate::Exact,
        Rule::Flow { steps, .. } => Estimate::Flow { steps },
        Rule::Diffusion { process, .. } if process.is_bounded() => Estimate::Bound { times },
        Rule::Diffusion { .. } => Estimate::CrossEntropy { times },
    })
}

/// Corrupts each canvas at its `time`-th stratified time; its blocks, where it has some, at times that follow evenly.
fn hide(
    rows: &PackedBatch,
    rule: &Noise<'_>,
    index: u64,
    (time, times): (usize, usize),
    key: Key,
) -> Vec<(Range<usize>, Corrupted)> {
    let shift = key.at(u64::MAX, 0).uniform();
    let mut hidden = Vec::new();
    for (canvas, at) in rows.canvases.iter().zip(index..) {
        let start = golden_point(shift, at);
        let draws = &mut key.at(at, time as u64);
        for (number, part) in rows.parts(canvas).into_iter().enumerate().filter(|(_, part)| !part.is_empty()) {
            let t = stratified_time(golden_point(start, number as u64), time, times);
            let open = rows.open(canvas, &part, rule.prompt);
            hidden.push((part.clone(), corrupt_evenly(rule.process, &rows.tokens[part], &open, t, draws)));
        }
    }
    hidden
}

/// The noise of a process.
struct Noise<'a> {
    process: &'a dyn Process,
    prompt: usize,
}

/// Every row that may become noisy, with its own token as target.
fn everything(rows: &PackedBatch) -> NoisyBatch {
    let term =
        |position: usize| LossTerm { position, target: rows.tokens[position], weight: 1.0, cost: Cost::CrossEntropy };
    NoisyBatch {
        times: vec![0.0; rows.visibility.sequences().len()],
        terms: rows.canvases.iter().flat_map(Clone::clone).map(term).collect(),
        ..NoisyBatch::new(rows)
    }
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
    fn finish(self, estimate: Estimate) -> Result<Likelihood, EvaluateError> {
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
            estimate,
        })
    }
}
