//! What a network is given of some canvases and asked about them in one pass, and what its answers cost.

use crate::{EvaluateError, PackedBatch};
use aquatint_compute::softmax_row;
use aquatint_diffusion::{ContinuousState, Corrupted, Cost, TokenId, Vectors};
use aquatint_network::{Denoiser, LossRow, NetworkInput, NetworkSpec};
use std::ops::Range;
use std::sync::OnceLock;

/// A row that is asked for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RowTerm {
    /// The row.
    pub row: u32,
    /// Its clean token.
    pub target: TokenId,
    /// What its cost weighs.
    pub weight: f64,
    /// How its belief is paid for.
    pub cost: Cost,
}

/// The noisy rows of some canvases.
#[derive(Debug, Clone, Default)]
pub struct NoisyBatch {
    /// The token that each row shows.
    pub tokens: Vec<TokenId>,
    /// The points that rows hold, under a continuous process.
    pub points: Option<ContinuousState>,
    /// What a network with time conditioning is told, one for each sequence.
    pub times: Vec<f32>,
    /// What is asked.
    pub asked: Vec<RowTerm>,
    /// What the bound has besides, in nats.
    pub constant: f64,
}

impl NoisyBatch {
    /// Nothing asked yet of rows that show their clean tokens.
    pub fn new(rows: &PackedBatch) -> Self {
        Self { tokens: rows.tokens.clone(), ..Self::default() }
    }

    /// Puts the noise of a part of a canvas at its rows and asks what it costs.
    pub fn put(&mut self, part: Range<usize>, noisy: Corrupted) {
        self.tokens[part.clone()].copy_from_slice(&noisy.tokens);
        if let Some(points) = noisy.points {
            let length = self.tokens.len();
            let all = self.points.get_or_insert_with(|| ContinuousState::clean(length, points.size));
            for index in 0..points.len() {
                all.set(
                    part.start + index,
                    points.clean_weight[index],
                    points.offset(index),
                    points.prior_logit_scale[index],
                );
            }
        }
        self.constant += noisy.constant;
        self.asked.extend(noisy.terms.into_iter().map(|term| RowTerm {
            row: (part.start + term.position) as u32,
            target: term.target,
            weight: term.weight,
            cost: term.cost,
        }));
    }

    /// What the network reads.
    pub fn input<'a>(
        &'a self,
        rows: &'a PackedBatch,
        spec: &NetworkSpec,
        self_conditioning: Option<&'a [f32]>,
    ) -> NetworkInput<'a> {
        NetworkInput {
            tokens: &self.tokens,
            points: self.points.as_ref(),
            positions: &rows.positions,
            visibility: &rows.visibility,
            times: spec.time_conditioning.map(|_| self.times.as_slice()),
            self_conditioning,
        }
    }

    /// The rows that are asked for.
    pub fn rows(&self) -> Vec<u32> {
        self.asked.iter().map(|asked| asked.row).collect()
    }

    /// The rows with targets and weights, where each is paid for by −log p of the network's own belief.
    pub fn loss_rows(&self) -> Option<Vec<LossRow>> {
        let plain = |asked: &RowTerm| {
            let RowTerm { row, target, weight, cost } = *asked;
            (cost == Cost::CrossEntropy).then_some(LossRow { row, target, weight })
        };
        self.asked.iter().map(plain).collect()
    }

    /// What a network with self-conditioning believes without a belief, `[T, V]`, as it is to be fed back (Chen et al.,
    /// 2208.04202, section 3): rows that are not asked are believed to be what they are, or nothing where blocks see
    /// only earlier ones. `None` for other networks.
    ///
    /// # Errors
    /// When the network refuses.
    pub fn self_conditioning<D: Denoiser + ?Sized>(
        &self,
        model: &D,
        rows: &PackedBatch,
    ) -> Result<Option<Vec<f32>>, EvaluateError> {
        let spec = model.spec();
        if !spec.self_conditioning {
            return Ok(None);
        }
        let size = spec.vocabulary_size;
        let mut prediction = vec![0.0; rows.tokens.len() * size];
        if spec.is_sure_of_known() {
            for (row, &token) in rows.tokens.iter().enumerate() {
                prediction[row * size + token as usize] = 1.0;
            }
        }
        let asked = self.rows();
        let slots: Vec<OnceLock<Vec<f32>>> = asked.iter().map(|_| OnceLock::new()).collect();
        model.forward_rows(&self.input(rows, spec, None), &asked, &|index, logits| {
            softmax_row(logits);
            // Each index comes once.
            let _ = slots[index].set(logits.to_vec());
        })?;
        for (row, slot) in asked.into_iter().zip(slots) {
            if let Some(probabilities) = slot.into_inner() {
                prediction[row as usize * size..][..size].copy_from_slice(&probabilities);
            }
        }
        Ok(Some(prediction))
    }

    /// The cost of each asked row, in the order asked; not weighted.
    ///
    /// # Errors
    /// When the network refuses.
    pub fn costs<D: Denoiser + ?Sized>(
        &self,
        model: &D,
        rows: &PackedBatch,
        self_conditioning: Option<&[f32]>,
    ) -> Result<Vec<f64>, EvaluateError> {
        let input = self.input(rows, model.spec(), self_conditioning);
        if let Some(rows) = self.loss_rows() {
            return Ok(model.nll(&input, &rows)?);
        }
        let values = model.word_vectors()?.unwrap_or_default();
        let vectors = Vectors { size: model.spec().word_vector_size.unwrap_or(0), values: &values };
        let costs: Vec<OnceLock<f64>> = self.asked.iter().map(|_| OnceLock::new()).collect();
        model.forward_rows(&input, &self.rows(), &|index, logits| {
            softmax_row(logits);
            // Each index comes once.
            let _ = costs[index].set(self.asked[index].cost.value(self.asked[index].target, logits, vectors));
        })?;
        Ok(costs.into_iter().filter_map(OnceLock::into_inner).collect())
    }
}
