//! Token by token: what a causal network pays, exactly.

use super::{Estimate, MeasuredCanvases, Rule, add_costs};
use crate::EvaluateError;
use aquatint_batch::NoisyBatch;
use aquatint_diffusion::TokenId;
use aquatint_network::Denoiser;

/// The likelihood of each token given those before it in its document.
#[derive(Debug, Clone, Copy)]
pub struct CausalLikelihood {
    /// What stands before the first token of a document.
    pub begin: TokenId,
}

impl Rule for CausalLikelihood {
    fn check(&self) -> Result<(), EvaluateError> {
        Ok(())
    }

    fn estimate(&self) -> Estimate {
        Estimate::Exact
    }

    fn prompt(&self) -> usize {
        0
    }

    fn costs(&self, model: &dyn Denoiser, canvases: &MeasuredCanvases<'_>) -> Result<Vec<f64>, EvaluateError> {
        let rows = canvases.rows;
        let mut costs = vec![0.0; rows.canvases.len()];
        add_costs(&mut costs, &NoisyBatch::causal(rows, self.begin, 1.0), (model, rows), 1)?;
        Ok(costs)
    }
}
