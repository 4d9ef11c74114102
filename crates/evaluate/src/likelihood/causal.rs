//! Token by token: what a causal network pays, exactly.

use super::{Estimate, MeasuredCanvases, Rule, add_terms};
use crate::EvaluateError;
use crate::documents::Costs;
use aquatint_batch::NoisyBatch;
use aquatint_diffusion::TokenId;
use aquatint_network::Denoiser;

/// The likelihood of each token given those before it in its document.
#[derive(Debug, Clone, Copy)]
pub struct CausalLikelihood {
    /// What stands before the first token of a document.
    pub begin: TokenId,
    /// Tokens at the beginning of each document that are given and cost nothing.
    pub prompt: usize,
}

impl Rule for CausalLikelihood {
    fn check(&self) -> Result<(), EvaluateError> {
        Ok(())
    }

    fn estimate(&self) -> Estimate {
        Estimate::Exact
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
        let mut batch = NoisyBatch::causal(rows, self.begin, 1.0);
        batch.terms.retain(|term| canvases.documents.is_open(term.position));
        add_terms(costs, &batch, (model, rows), 1)
    }
}
