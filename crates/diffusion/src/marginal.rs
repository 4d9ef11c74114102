//! The law of one token under a discrete process, whatever stationary noise it mixes in.
//!
//! A token is untouched with probability α and replaced by noise otherwise:
//! `q(j | x) = α 1[j = x] + b(j)`, where `b` gives every token of text the same probability and the mask one of its
//! own. Masked diffusion is the case without the first (MDLM, 2406.07524), uniform diffusion the case without the
//! second (UDLM, 2412.10193), and GIDD (2503.04482) mixes both. Steps between two times follow from Bayes' rule alone,
//! so one file serves all of them. Deviations: none.

use crate::{Draws, TokenId};

/// `q(j | x)` at one time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Marginal {
    /// Probability that the token is untouched.
    pub alpha: f64,
    /// Probability that noise writes one certain token of text.
    pub text: f64,
    /// Probability that noise writes the mask.
    pub masked: f64,
    /// Which tokens there are.
    pub alphabet: Alphabet,
}

/// The tokens that noise writes: all of the vocabulary, of which one may be the mask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Alphabet {
    /// `V`: tokens of the vocabulary.
    pub size: usize,
    /// The mask, which is no text.
    pub mask: Option<TokenId>,
}

impl Alphabet {
    /// Number of tokens of text.
    pub fn text(&self) -> usize {
        self.size - usize::from(self.mask.is_some_and(|mask| (mask as usize) < self.size))
    }

    /// A token of text, all equally likely.
    pub fn draw(&self, draws: &mut Draws) -> TokenId {
        let drawn = draws.below(self.text() as u64) as TokenId;
        match self.mask {
            Some(mask) if drawn >= mask => drawn + 1,
            _ => drawn,
        }
    }
}

impl Marginal {
    /// `b(token)`: the probability that noise writes this token.
    pub fn noise(&self, token: TokenId) -> f64 {
        if Some(token) == self.alphabet.mask { self.masked } else { self.text }
    }

    /// `q(shown | clean)`.
    pub fn probability(&self, shown: TokenId, clean: TokenId) -> f64 {
        self.noise(shown) + if shown == clean { self.alpha } else { 0.0 }
    }

    /// Draws what a clean token shows.
    pub fn draw(&self, clean: TokenId, draws: &mut Draws) -> TokenId {
        let u = draws.uniform() - self.alpha;
        match self.alphabet.mask {
            _ if u < 0.0 => clean,
            Some(mask) if u < self.masked || self.text == 0.0 => mask,
            _ => self.alphabet.draw(draws),
        }
    }

    /// How much likelier the shown token is if it is the clean one than if another is, `1 + α / b`.
    ///
    /// A prediction that was trained by the bound is about a position without looking at what it shows (leave-one-out:
    /// `p(xᵢ | z without zᵢ)`); times this factor at the shown token it is the posterior `p(xᵢ | z)`, and the other way
    /// round. Infinite where noise never writes the token.
    pub fn evidence(&self, shown: TokenId) -> f64 {
        1.0 + self.alpha / self.noise(shown)
    }
}

/// A step from a later, noisier time to an earlier one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bridge {
    later: Marginal,
    earlier: Marginal,
    /// `α(later) / α(earlier)`.
    retained: f64,
}

impl Bridge {
    /// Between two times of one process.
    pub fn new(later: Marginal, earlier: Marginal) -> Self {
        let retained = if earlier.alpha > 0.0 { (later.alpha / earlier.alpha).min(1.0) } else { 1.0 };
        Self { later, earlier, retained }
    }

    /// Probability that noise writes the token between the two times.
    fn noise(&self, token: TokenId) -> f64 {
        (self.later.noise(token) - self.retained * self.earlier.noise(token)).max(0.0)
    }

    /// `q(z_later | z_earlier) q(z_earlier | clean)`: the posterior of the earlier token but for its norm.
    fn weight(&self, shown: TokenId, clean: TokenId, token: TokenId) -> f64 {
        let arrived = self.noise(shown) + if token == shown { self.retained } else { 0.0 };
        arrived * self.earlier.probability(token, clean)
    }

    /// The law of the token at the earlier time, given what is shown at the later one and the clean token, over the
    /// whole vocabulary (UDLM, 2412.10193, equation 7; Duo's code writes it as one fraction).
    pub fn posterior(&self, shown: TokenId, clean: TokenId) -> Vec<f64> {
        let mut law: Vec<f64> =
            (0..self.later.alphabet.size).map(|token| self.weight(shown, clean, token as TokenId)).collect();
        let total: f64 = law.iter().sum();
        law.iter_mut().for_each(|p| *p /= total);
        law
    }

    /// Draws the token at the earlier time, from the posterior with one draw of the four cases that there are: it is
    /// what is shown, or the clean token, or the mask, or any other.
    pub fn draw(&self, shown: TokenId, clean: TokenId, draws: &mut Draws) -> TokenId {
        let alphabet = self.earlier.alphabet;
        let weight = |token| self.weight(shown, clean, token);
        let apart = |token: &TokenId| *token != shown && *token != clean;
        let mask = alphabet.mask.filter(apart);
        let is_text = |token: TokenId| Some(token) != alphabet.mask;
        let named = usize::from(is_text(shown)) + usize::from(clean != shown && is_text(clean));
        let others = (alphabet.text() - named.min(alphabet.text())) as f64;
        let weights = [
            weight(shown),
            if clean == shown { 0.0 } else { weight(clean) },
            mask.map_or(0.0, weight),
            self.noise(shown) * self.earlier.text * others,
        ];
        match draws.categorical(&weights) {
            Some(1) => clean,
            Some(2) => mask.unwrap_or(shown),
            Some(3) => loop {
                let token = alphabet.draw(draws);
                if apart(&token) {
                    break token;
                }
            },
            // Nothing has any weight only where the shown token could not be; then nothing is known better than it.
            _ => shown,
        }
    }
}
