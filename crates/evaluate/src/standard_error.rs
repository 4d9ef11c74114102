//! The standard error of a cost per token: how far it would lie from that of all text of the kind.
//!
//! A document is what is drawn from the text of a kind, so that the error is of the mean over documents. A document may
//! lie in several canvases, whose costs hang together; and a canvas may hold several documents, whose noise hangs
//! together. With residuals `u = x − r·n` of the parts of documents in canvases (cost `x`, tokens `n`, ratio `r`), the
//! variance is clustered both ways (Cameron, Gelbach & Miller 2011, equation 2.11):
//!
//! ```text
//! V = G/(G−1) · [ Σ_canvases (Σu)² + Σ_documents (Σu)² − Σ_parts u² ] / (Σn)²
//! ```
//! with `G` the smaller of the numbers of documents and canvases. Where every document lies in one canvas, this is the
//! error over canvases. What canvases of a document have in common counts only where it makes the error larger.
//!
//! Of one document in several canvases only the error over its canvases can be said: it is that of more text of this
//! document. Of one canvas nothing can be said.

use std::collections::BTreeMap;

/// How far a cost per token may lie from that of all text of the kind.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StandardError {
    /// In nats per token.
    pub nats_per_token: f64,
    /// What it is an error over.
    pub over: Units,
}

/// What a text is a sample of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Units {
    /// Documents.
    Documents,
    /// Canvases of one document.
    Canvases,
}

/// Tokens and nats.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Cost {
    pub(crate) tokens: f64,
    pub(crate) nats: f64,
}

impl Cost {
    /// The sum of costs.
    pub(crate) fn sum(costs: impl Iterator<Item = Self>) -> Self {
        costs.fold(Self::default(), |sum, cost| Self { tokens: sum.tokens + cost.tokens, nats: sum.nats + cost.nats })
    }

    fn residual(self, ratio: f64) -> f64 {
        self.nats - ratio * self.tokens
    }
}

impl StandardError {
    /// The error of the ratio of all nats to all tokens, from the costs of canvases and of the parts of documents in them,
    /// each with its document.
    pub(crate) fn of_ratio(canvases: &[Cost], parts: &[(u64, Cost)]) -> Option<Self> {
        let Cost { tokens, nats } = Cost::sum(canvases.iter().copied());
        let ratio = nats / tokens;
        let mut documents: BTreeMap<u64, Vec<f64>> = BTreeMap::new();
        for (document, cost) in parts {
            documents.entry(*document).or_default().push(cost.residual(ratio));
        }
        let over = if documents.len() > 1 { Units::Documents } else { Units::Canvases };
        let (groups, common) = match over {
            Units::Documents => {
                // What the canvases of one document have in common.
                let squares =
                    |parts: &Vec<f64>| parts.iter().sum::<f64>().powi(2) - parts.iter().map(|u| u * u).sum::<f64>();
                (canvases.len().min(documents.len()), documents.values().map(squares).sum::<f64>().max(0.0))
            }
            Units::Canvases => (canvases.len(), 0.0),
        };
        if groups < 2 {
            return None;
        }
        let squares: f64 = canvases.iter().map(|cost| cost.residual(ratio).powi(2)).sum();
        let groups = groups as f64;
        let nats_per_token = (groups / (groups - 1.0) * (squares + common)).sqrt() / tokens;
        Some(Self { nats_per_token, over })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cost(nats: f64) -> Cost {
        Cost { tokens: 2.0, nats }
    }

    /// The usual error of a mean over groups of equal size.
    fn of_mean(values: &[f64]) -> f64 {
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        (squares / (values.len() - 1) as f64 / values.len() as f64).sqrt()
    }

    #[test]
    fn of_documents_in_canvases_of_their_own_it_is_that_of_a_mean() {
        let nats = [1.0, 4.0, 2.0, 3.0];
        let canvases = nats.map(cost);
        let parts: Vec<(u64, Cost)> = (0..).zip(canvases).collect();
        let error = StandardError::of_ratio(&canvases, &parts).unwrap();
        assert_eq!(error.over, Units::Documents);
        assert!((error.nats_per_token - of_mean(&nats) / 2.0).abs() < 1e-12);
        // Two documents in each canvas, whose noise may hang together: only canvases count.
        let halves: Vec<(u64, Cost)> = (0..)
            .zip(nats.iter().flat_map(|n| [n + 5.0, -5.0]))
            .map(|(d, nats)| (d, Cost { tokens: 1.0, nats }))
            .collect();
        assert_eq!(StandardError::of_ratio(&canvases, &halves), Some(error));
    }

    #[test]
    fn what_the_canvases_of_a_document_have_in_common_counts() {
        // Three documents of four canvases each, whose canvases are alike: there are three figures, not twelve.
        let nats = [1.0, 4.0, 2.5];
        let canvases: Vec<Cost> = nats.iter().flat_map(|nats| [cost(*nats); 4]).collect();
        let parts: Vec<(u64, Cost)> = canvases.iter().enumerate().map(|(i, cost)| (i as u64 / 4, *cost)).collect();
        let error = StandardError::of_ratio(&canvases, &parts).unwrap();
        assert!((error.nats_per_token - of_mean(&nats) / 2.0).abs() < 1e-12, "{error:?}");
        // Taken for documents of their own they would seem to say more.
        let apart: Vec<(u64, Cost)> = (0..).zip(canvases.iter().copied()).collect();
        let smaller = StandardError::of_ratio(&canvases, &apart).unwrap();
        assert!(smaller.nats_per_token < 0.6 * error.nats_per_token, "{smaller:?} {error:?}");
    }

    #[test]
    fn of_one_document_it_is_over_canvases_and_of_one_canvas_there_is_none() {
        let canvases = [cost(1.0), cost(4.0)];
        let parts = [(7, canvases[0]), (7, canvases[1])];
        let error = StandardError::of_ratio(&canvases, &parts).unwrap();
        assert_eq!(error.over, Units::Canvases);
        assert!((error.nats_per_token - of_mean(&[1.0, 4.0]) / 2.0).abs() < 1e-12);
        assert_eq!(StandardError::of_ratio(&canvases[..1], &parts[..1]), None);
        assert_eq!(StandardError::of_ratio(&canvases[..1], &[(7, cost(0.5)), (8, cost(0.5))]), None);
    }
}
