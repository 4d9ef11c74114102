//! Likelihood: an upper bound on what a diffusion model pays for a text, and exactly what a causal one pays.
//!
//! A [`Rule`] says what canvases cost; [`likelihood`] goes through a text and makes figures of it.
//!
//! Deviation: every canvas is coded by itself: what a longer context could save is not counted, for either kind of
//! model.

mod causal;
mod diffusion_bound;
mod probability_flow;

pub use causal::CausalLikelihood;
pub use diffusion_bound::DiffusionBound;
pub use probability_flow::ProbabilityFlow;

use crate::documents::{Costs, Documents};
use crate::standard_error::{Cost, StandardError};
use crate::{EvaluateError, HeldOutBatch};
use aquatint_batch::{NoisyBatch, PackedBatch};
use aquatint_diffusion::{Key, TokenId};
use aquatint_network::Denoiser;
use std::collections::BTreeSet;
use std::ops::Range;

/// Canvases of one forward pass of measuring: enough to keep the processor busy, few enough for any memory. The noise does
/// not depend on it.
pub const CANVASES_PER_PASS: usize = 16;

/// How the cost of a text is measured.
pub trait Rule {
    /// Refuses settings that measure nothing.
    ///
    /// # Errors
    /// With the setting, its value and what is allowed.
    fn check(&self) -> Result<(), EvaluateError>;

    /// What the figures say of −log p(x).
    fn estimate(&self) -> Estimate;

    /// Tokens at the beginning of each document that are given and cost nothing.
    fn prompt(&self) -> usize;

    /// Adds what the measured rows of these canvases cost under a model.
    ///
    /// # Errors
    /// When the network refuses, or its process cannot be measured so.
    fn add_costs(
        &self,
        model: &dyn Denoiser,
        canvases: &MeasuredCanvases<'_>,
        costs: &mut Costs<'_>,
    ) -> Result<(), EvaluateError>;
}

/// Canvases whose cost is measured in one pass.
#[derive(Debug, Clone, Copy)]
pub struct MeasuredCanvases<'a> {
    /// The canvases as rows.
    pub rows: &'a PackedBatch,
    /// Their documents, and which rows are measured.
    pub documents: &'a Documents,
    /// The number of the first among all canvases of the measurement. Draws are keyed by such numbers, so that they do
    /// not depend on the size of a pass.
    pub first: u64,
    /// The randomness of the measurement.
    pub key: Key,
}

/// What a text costs under a model.
#[derive(Debug, Clone, PartialEq)]
pub struct Likelihood {
    /// Nats per token, in the meaning of `estimate`.
    pub nats_per_token: f64,
    /// Bits per byte of UTF-8 text, codes left out; not a number where no byte of text is measured, but end tokens only.
    pub bits_per_byte: f64,
    /// `exp(nats_per_token)`.
    pub perplexity: f64,
    /// Standard error of `nats_per_token`; `None` for a single canvas.
    pub standard_error: Option<StandardError>,
    /// Tokens measured.
    pub tokens: u64,
    /// Bytes that they stand for.
    pub bytes: u64,
    /// Canvases measured.
    pub canvases: u64,
    /// Documents of which something is measured.
    pub documents: u64,
    /// What codes of pictures and sounds cost, by domain; they are among the tokens.
    pub codes: Vec<CodesLikelihood>,
    /// What the numbers say.
    pub estimate: Estimate,
}

/// What the codes of a domain cost.
#[derive(Debug, Clone, PartialEq)]
pub struct CodesLikelihood {
    /// The tokens of the domain.
    pub ids: Range<TokenId>,
    /// Nats per code.
    pub nats_per_code: f64,
    /// Codes measured.
    pub codes: u64,
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
/// `progress` receives the number of canvases done after every batch and returns whether to go on.
///
/// # Errors
/// When the network or the reader fails, there is nothing to measure, or `progress` says to stop.
pub fn likelihood(
    model: &dyn Denoiser,
    rule: &dyn Rule,
    seed: u64,
    batches: impl Iterator<Item = Result<impl Into<HeldOutBatch>, aquatint_corpus::CorpusError>>,
    progress: &mut dyn FnMut(u64) -> bool,
) -> Result<Likelihood, EvaluateError> {
    rule.check()?;
    let key = Key::new(seed);
    let mut totals = Totals::default();
    let (mut index, mut fresh) = (0, 0);
    for batch in batches {
        let batch: HeldOutBatch = batch?.into();
        let rows = PackedBatch::new(batch.canvases(), model.spec().attention)?;
        let documents = Documents::new(&rows, &batch.parts(&mut fresh), rule.prompt());
        let mut costs = documents.no_costs(rows.canvases.len());
        let canvases = MeasuredCanvases { rows: &rows, documents: &documents, first: index, key };
        rule.add_costs(model, &canvases, &mut costs)?;
        for (canvas, cost) in rows.canvases.iter().zip(&costs.canvases) {
            let open = documents.open(canvas.clone());
            let bytes = rows.text_bytes[canvas.clone()].iter().zip(open);
            let bytes: Vec<u64> = bytes.filter_map(|(bytes, open)| open.then_some(u64::from(*bytes))).collect();
            if !bytes.is_empty() {
                totals.canvases.push(Cost { tokens: bytes.len() as f64, nats: *cost });
                totals.bytes += bytes.iter().sum::<u64>();
            }
        }
        for (ids, nats) in documents.domains().iter().zip(&costs.domains) {
            totals.domain(ids).nats += nats;
        }
        for row in rows.canvases.iter().cloned().flatten().filter(|row| documents.is_open(*row)) {
            if let Some(domain) = documents.domain_of(row) {
                totals.domain(&documents.domains()[domain]).tokens += 1.0;
            }
        }
        for (part, nats) in documents.parts().iter().zip(&costs.parts).filter(|(part, _)| part.tokens > 0) {
            totals.parts.push((part.document, Cost { tokens: part.tokens as f64, nats: *nats }));
        }
        index += rows.canvases.len() as u64;
        if !progress(index) {
            return Err(EvaluateError::Stopped);
        }
    }
    totals.finish(rule.estimate())
}

/// Adds what the terms of a noisy version cost, one of `samples` that count alike.
fn add_terms(
    costs: &mut Costs<'_>,
    batch: &NoisyBatch,
    (model, rows): (&dyn Denoiser, &PackedBatch),
    samples: usize,
) -> Result<(), EvaluateError> {
    // All may be given.
    if batch.terms.is_empty() {
        return Ok(());
    }
    let prediction = batch.self_conditioning(model, rows)?;
    for (term, nats) in batch.terms.iter().zip(batch.costs(model, rows, prediction.as_deref())?) {
        costs.add(term.position, term.weight * nats / samples as f64);
    }
    Ok(())
}

/// What canvases and the parts of documents in them cost, from which the ratio and its error follow.
#[derive(Debug, Default)]
struct Totals {
    canvases: Vec<Cost>,
    /// Each with its document.
    parts: Vec<(u64, Cost)>,
    bytes: u64,
    /// What codes cost, by domain.
    domains: Vec<(Range<TokenId>, Cost)>,
}

impl Totals {
    fn domain(&mut self, ids: &Range<TokenId>) -> &mut Cost {
        let known = self.domains.iter().position(|(known, _)| known == ids);
        let index = known.unwrap_or_else(|| {
            self.domains.push((ids.clone(), Cost { tokens: 0.0, nats: 0.0 }));
            self.domains.len() - 1
        });
        &mut self.domains[index].1
    }

    /// The ratio of sums `r = Σx / Σn`, with its error.
    fn finish(self, estimate: Estimate) -> Result<Likelihood, EvaluateError> {
        if self.canvases.is_empty() {
            return Err(EvaluateError::Empty);
        }
        let Cost { tokens, nats } = Cost::sum(self.canvases.iter().copied());
        let ratio = nats / tokens;
        let codes: Vec<CodesLikelihood> = self
            .domains
            .into_iter()
            .filter(|(_, cost)| cost.tokens > 0.0)
            .map(|(ids, cost)| CodesLikelihood {
                ids,
                nats_per_code: cost.nats / cost.tokens,
                codes: cost.tokens as u64,
            })
            .collect();
        let of_codes: f64 = codes.iter().map(|domain| domain.nats_per_code * domain.codes as f64).sum();
        let of_text = nats - of_codes;
        let documents: BTreeSet<u64> = self.parts.iter().map(|(document, _)| *document).collect();
        Ok(Likelihood {
            nats_per_token: ratio,
            bits_per_byte: if self.bytes == 0 {
                f64::NAN
            } else {
                of_text / std::f64::consts::LN_2 / self.bytes as f64
            },
            perplexity: ratio.exp(),
            standard_error: StandardError::of_ratio(&self.canvases, &self.parts),
            tokens: tokens as u64,
            bytes: self.bytes,
            canvases: self.canvases.len() as u64,
            documents: documents.len() as u64,
            codes,
            estimate,
        })
    }
}
