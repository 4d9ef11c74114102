//! The likelihood of a gaussian field along its probability flow: a check on the bound.
//!
//! With λ = log(α²/σ²) the flow that carries the noise to the field without drawing anything is
//!
//! ```text
//! dz/dλ = ½ (α x̂(z, λ) − α² z)
//! ```
//! (Song et al., 2011.13456, equation 13, in these units), and along it `d log p(z)/dλ = −div`, the trace of whose
//! Jacobian is estimated by random signs ε as `ε · (x̂(z + hε) − x̂(z − hε))/2h` (Hutchinson's estimator; FFJORD,
//! 1810.01367). From a draw of `q(z₀ | x)`
//!
//! ```text
//! −log p(x) ≤ E [ log q(z₀ | x) − log p(z₀) − log p(x | z₀) ]
//! ```
//! The law here is the flow's own, not that of the draws, so that the two bounds agree as far as the prediction is
//! right.
//!
//! Deviation: second-order steps of a fixed width in λ, so that a bound is one but for their error, which falls with
//! its square; differences of predictions in 32 bits instead of derivatives.

use super::{Estimate, MeasuredCanvases, Rule};
use crate::EvaluateError;
use crate::documents::Costs;
use aquatint_batch::{NoisyBatch, PackedBatch};
use aquatint_compute::softmax_row;
use aquatint_diffusion::{ContinuousState, Cost, Draws, Key, Level, LossTerm, Process, Time, Vectors};
use aquatint_network::{Denoiser, RowSlots, WholeRows};

/// Half the distance over which a difference stands for a derivative.
const REACH: f64 = 1e-2;

/// The likelihood along the probability flow of a gaussian field, in so many steps: a check on the bound.
#[derive(Debug, Clone, Copy)]
pub struct ProbabilityFlow<'a> {
    /// The gaussian field.
    pub process: &'a dyn Process,
    /// Steps, at least 1.
    pub steps: usize,
}

impl Rule for ProbabilityFlow<'_> {
    fn check(&self) -> Result<(), EvaluateError> {
        match self.steps {
            0 => Err(EvaluateError::setting("flow", 0, "1 or more")),
            _ => Ok(()),
        }
    }

    fn estimate(&self) -> Estimate {
        Estimate::Flow { steps: self.steps }
    }

    fn prompt(&self) -> usize {
        0
    }

    fn add_costs(
        &self,
        model: &dyn Denoiser,
        canvases: &MeasuredCanvases<'_>,
        costs: &mut Costs<'_>,
    ) -> Result<(), EvaluateError> {
        let Self { process, steps } = *self;
        let MeasuredCanvases { rows, first, key, .. } = *canvases;
        let (Some(clean_end), Some(noise_end)) = (process.level(Time::CLEAN), process.level(Time::NOISE)) else {
            return Err(EvaluateError::NoFlow { process: process.name() });
        };
        let vectors = model.word_vectors()?;
        let clean = everything(rows);
        let field = Field { model, process, rows, clean: &clean, vectors: vectors.view() };
        field.add_costs((clean_end, noise_end), steps, key.fold(first), costs)
    }
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

/// A field on its way, over the rows that have a term.
struct Field<'a> {
    model: &'a dyn Denoiser,
    process: &'a dyn Process,
    rows: &'a PackedBatch,
    clean: &'a NoisyBatch,
    vectors: Vectors<'a>,
}

fn moved(points: &[Vec<f64>], by: &[Vec<f64>], share: f64) -> Vec<Vec<f64>> {
    points.iter().zip(by).map(|(p, d)| p.iter().zip(d).map(|(p, d)| p + share * d).collect()).collect()
}

impl Field<'_> {
    /// Adds what each row costs along the flow in nats.
    fn add_costs(
        &self,
        (clean_end, noise_end): (Level, Level),
        steps: usize,
        key: Key,
        costs: &mut Costs<'_>,
    ) -> Result<(), EvaluateError> {
        let mut draws = key.at(0, 0);
        let tau = (2.0 * std::f64::consts::PI).ln();

        // The clean end: log q(z | x) − log p(x | z).
        let mut points: Vec<Vec<f64>> = Vec::with_capacity(self.clean.terms.len());
        for term in &self.clean.terms {
            let noise: Vec<f64> = (0..self.vectors.size).map(|_| draws.normal()).collect();
            let log_density = |e: &f64| -0.5 * (e * e + tau) - clean_end.sigma.ln();
            costs.add(term.position, noise.iter().map(log_density).sum::<f64>());
            let word = self.vectors.of(term.target).iter().map(|e| f64::from(*e));
            points.push(word.zip(&noise).map(|(e, n)| clean_end.alpha * e + clean_end.sigma * n).collect());
        }
        let noisy = self.noisy(&points, Time::CLEAN, clean_end);
        for (cost, term) in noisy.costs(self.model, self.rows, None)?.iter().zip(&self.clean.terms) {
            costs.add(term.position, *cost);
        }

        // The way: log p(z at 0) = log p(z at 1) − ∫ div dλ, from noise to clean.
        let width = (clean_end.snr.ln() - noise_end.snr.ln()) / steps as f64;
        let time = |step: f64| Time::nearest(step / steps as f64);
        for step in 0..steps {
            let (now, middle) = (time(step as f64), time(step as f64 + 0.5));
            let speed = self.speed(&points, now)?;
            let half = moved(&points, &speed, -0.5 * width);
            let speed = self.speed(&half, middle)?;
            let divergence = self.divergence(&half, middle, &mut draws)?;
            for (divergence, term) in divergence.iter().zip(&self.clean.terms) {
                costs.add(term.position, divergence * width);
            }
            points = moved(&points, &speed, -width);
        }
        for (point, term) in points.iter().zip(&self.clean.terms) {
            costs.add(term.position, point.iter().map(|z| 0.5 * (z * z + tau)).sum::<f64>());
        }
        Ok(())
    }

    /// The rows with a term, at these points.
    fn noisy(&self, points: &[Vec<f64>], t: Time, level: Level) -> NoisyBatch {
        let size = self.vectors.size;
        let mut all = ContinuousState::clean(self.rows.tokens.len(), size);
        for (term, point) in self.clean.terms.iter().zip(points) {
            let point: Vec<f32> = point.iter().map(|z| *z as f32).collect();
            all.set(term.position, 0.0, &point, level.prior_logit_scale() as f32);
        }
        let mut noisy = self.clean.clone();
        noisy.points = Some(all);
        noisy.terms.iter_mut().for_each(|term| term.cost = Cost::CrossEntropy);
        noisy.times = vec![self.process.network_time(t, 0, 1) as f32; noisy.times.len()];
        noisy
    }

    /// The expected word vector of each row with a term.
    fn expected(&self, points: &[Vec<f64>], t: Time, level: Level) -> Result<Vec<Vec<f64>>, EvaluateError> {
        let noisy = self.noisy(points, t, level);
        let slots = RowSlots::new(points.len());
        let input = noisy.input(self.rows, self.model.spec(), None);
        self.model.forward_rows(&input, &noisy.rows(), &|index, logits| {
            softmax_row(logits);
            let mut mean = vec![0.0; self.vectors.size];
            for (p, vector) in logits.iter().zip(self.vectors.values.chunks_exact(self.vectors.size.max(1))) {
                mean.iter_mut().zip(vector).for_each(|(m, e)| *m += f64::from(*p) * f64::from(*e));
            }
            slots.set(index, mean);
        })?;
        Ok(slots.into_vec()?)
    }

    /// dz/dλ.
    fn speed(&self, points: &[Vec<f64>], t: Time) -> Result<Vec<Vec<f64>>, EvaluateError> {
        let Some(level) = self.process.level(t) else { return Ok(Vec::new()) };
        let expected = self.expected(points, t, level)?;
        let of = |(point, expected): (&Vec<f64>, &Vec<f64>)| {
            let pair = point.iter().zip(expected);
            pair.map(|(z, x)| 0.5 * (level.alpha * x - level.alpha * level.alpha * z)).collect()
        };
        Ok(points.iter().zip(&expected).map(of).collect())
    }

    /// One draw of each row's part of the divergence of dz/dλ.
    fn divergence(&self, points: &[Vec<f64>], t: Time, draws: &mut Draws) -> Result<Vec<f64>, EvaluateError> {
        let Some(level) = self.process.level(t) else { return Ok(Vec::new()) };
        let mut sign = |_: &f64| if draws.uniform() < 0.5 { -1.0 } else { 1.0 };
        let signs: Vec<Vec<f64>> = points.iter().map(|point| point.iter().map(&mut sign).collect()).collect();
        let ahead = self.expected(&moved(points, &signs, REACH), t, level)?;
        let behind = self.expected(&moved(points, &signs, -REACH), t, level)?;
        let part = |((signs, ahead), behind): ((&Vec<f64>, &Vec<f64>), &Vec<f64>)| {
            let pairs = signs.iter().zip(ahead.iter().zip(behind));
            let trace: f64 = pairs.map(|(sign, (a, b))| sign * (a - b) / (2.0 * REACH)).sum();
            0.5 * (level.alpha * trace - level.alpha * level.alpha * signs.len() as f64)
        };
        Ok(signs.iter().zip(&ahead).zip(&behind).map(part).collect())
    }
}
