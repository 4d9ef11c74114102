//! Green pairs of neighbours: what two of the schemes write more of than chance does, and how it is counted.
//!
//! A key calls a token green behind another one with a fixed probability (Kirchenbauer et al., 2301.10226). In a text
//! that does not know the key, the colours of different pairs are independent, so the green ones among the different pairs
//! of a text follow a binomial law, exactly. A pair that is there twice counts once.

use crate::Detection;
use crate::secret::{Secret, Use};
use crate::tail::binomial_tail;
use crate::windows::{self, Evidence};
use aquatint_diffusion::TokenId;
use std::collections::BTreeSet;
use std::ops::Range;

/// The colours of pairs under a key.
#[derive(Debug, Clone)]
pub(crate) struct Pairs {
    secret: Secret,
    share: f64,
}

impl Pairs {
    pub(crate) fn new(secret: Secret, share: f64) -> Self {
        Self { secret, share }
    }

    /// The share of pairs that are green.
    pub(crate) fn share(&self) -> f64 {
        self.share
    }

    /// Whether a token is green behind another one.
    pub(crate) fn is_green(&self, left: TokenId, token: TokenId) -> bool {
        self.secret.uniform(Use::Green, [u64::from(left), u64::from(token)]) < self.share
    }

    /// How many more green pairs a text has than chance gives.
    pub(crate) fn detect(&self, scheme: &'static str, tokens: &[TokenId]) -> Detection {
        let evidence = |window: &Range<usize>| {
            let different: BTreeSet<(TokenId, TokenId)> =
                tokens[window.clone()].windows(2).map(|pair| (pair[0], pair[1])).collect();
            let green = different.iter().filter(|(left, token)| self.is_green(*left, *token)).count();
            Evidence { counted: different.len(), p_value: binomial_tail(different.len(), green, self.share) }
        };
        windows::detect(scheme, tokens.len(), |windows| windows.iter().map(evidence).collect())
    }
}
