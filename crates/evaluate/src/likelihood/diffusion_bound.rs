//! The bound of a diffusion model: what it pays for the part of a text that noise hides.
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
//! Deviations: none from the bound.

use super::{Estimate, MeasuredCanvases, Rule, add_terms};
use crate::EvaluateError;
use crate::documents::Costs;
use aquatint_batch::{NoisyBatch, corrupt_evenly, golden_point, stratified_time};
use aquatint_diffusion::{Corrupted, Process};
use aquatint_network::Denoiser;
use std::ops::Range;

/// The cost of noisy versions of each canvas: an upper bound in expectation, where the process has one.
#[derive(Debug, Clone, Copy)]
pub struct DiffusionBound<'a> {
    /// How clean becomes noisy.
    pub process: &'a dyn Process,
    /// Noisy versions drawn of each canvas, at least 1.
    pub times: usize,
    /// Tokens at the beginning of each document that are given and cost nothing.
    pub prompt: usize,
}

impl DiffusionBound<'_> {
    /// Corrupts each canvas at its `time`-th stratified time; its blocks, where it has some, at times that follow
    /// evenly.
    fn corrupt(&self, canvases: &MeasuredCanvases<'_>, time: usize) -> Vec<(Range<usize>, Corrupted)> {
        let MeasuredCanvases { rows, documents, first, key } = *canvases;
        let shift = key.at(u64::MAX, 0).uniform();
        let mut corrupted = Vec::new();
        for (canvas, at) in rows.canvases.iter().zip(first..) {
            let start = golden_point(shift, at);
            let draws = &mut key.at(at, time as u64);
            for (number, part) in rows.parts(canvas).into_iter().enumerate().filter(|(_, part)| !part.is_empty()) {
                let t = stratified_time(golden_point(start, number as u64), time, self.times);
                let open = documents.open(part.clone());
                corrupted.push((part.clone(), corrupt_evenly(self.process, &rows.tokens[part], &open, t, draws)));
            }
        }
        corrupted
    }
}

impl Rule for DiffusionBound<'_> {
    fn check(&self) -> Result<(), EvaluateError> {
        match self.times {
            0 => Err(EvaluateError::setting("time_samples", 0, "1 or more")),
            _ => Ok(()),
        }
    }

    fn estimate(&self) -> Estimate {
        let times = self.times;
        if self.process.is_bounded() { Estimate::Bound { times } } else { Estimate::CrossEntropy { times } }
    }

    fn prompt(&self) -> usize {
        self.prompt
    }

    fn add_costs(
        &self,
        model: &dyn Denoiser,
        canvases: &MeasuredCanvases<'_>,
        costs: &mut Costs<'_>,
    ) -> Result<(), EvaluateError> {
        let rows = canvases.rows;
        for time in 0..self.times {
            let mut batch = NoisyBatch::new(rows);
            let mut times = vec![None; rows.canvases.len()];
            for (part, noisy) in self.corrupt(canvases, time) {
                let canvas = rows.canvas_of(part.start);
                costs.add_together(part.clone(), noisy.constant / self.times as f64);
                times[canvas] = Some(noisy.noise as f32);
                batch.put(part, noisy);
            }
            // Empty canvases have no sequence.
            batch.times = times.into_iter().flatten().collect();
            add_terms(costs, &batch, (model, rows), self.times)?;
        }
        Ok(())
    }
}
