//! Marking by order (dgMARK, 2601.22985): no probability is changed; of the positions that a policy could make final, those
//! go first whose drawn token is green beside its neighbours.
//!
//! Every token is drawn from the prediction as it is. What is not chosen is drawn anew at the next step, so green pairs
//! become more than chance gives; it is the choice among draws that leans, and with it the law of the whole text, as under any policy that
//! looks at what was drawn. Deviation: the paper's parity of a token is the colour of a pair of neighbours here, so that
//! one token is not always green.

use crate::pairs::Pairs;
use crate::secret::Secret;
use crate::{Detection, Scheme};
use aquatint_diffusion::TokenId;
use aquatint_generate::{Mark, MarkedOrder, Watermark};

/// Positions whose token is green beside its neighbours become final first.
#[derive(Debug, Clone)]
pub struct OrderMark {
    pairs: Pairs,
    width: usize,
}

impl OrderMark {
    pub(crate) const NAME: &'static str = "order";

    pub(crate) fn new(secret: Secret, share: f64, width: usize) -> Self {
        Self { pairs: Pairs::new(secret, share), width }
    }
}

impl Watermark for OrderMark {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn mark(&self) -> Mark<'_> {
        Mark::Order(self)
    }
}

impl MarkedOrder for OrderMark {
    fn width(&self) -> usize {
        self.width
    }

    fn score(&self, known: &[Option<TokenId>], position: usize, token: TokenId) -> f64 {
        let at = |position: Option<usize>| position.and_then(|at| known.get(at).copied().flatten());
        let worth = |is_green: bool| f64::from(is_green) - self.pairs.share();
        let left = at(position.checked_sub(1)).map_or(0.0, |left| worth(self.pairs.is_green(left, token)));
        let right = at(Some(position + 1)).map_or(0.0, |right| worth(self.pairs.is_green(token, right)));
        left + right
    }
}

impl Scheme for OrderMark {
    fn detect(&self, tokens: &[TokenId]) -> Detection {
        self.pairs.detect(Self::NAME, tokens)
    }
}
