//! Where a text comes from: watermarks by a secret key, and their detection.
//!
//! A [`WatermarkKey`] is what a key file says: secret bytes, a [`SchemeKind`] and its settings. Its [`Scheme`] marks what an
//! engine writes ([`aquatint_generate::Settings::with_watermark`]) and finds the mark again in the tokens of a text
//! ([`Scheme::detect`]). Three schemes are here, each in a file:
//!
//! - [`Gumbel`]: tokens are drawn by numbers of key and position. The law of each draw is the prediction, as without a mark;
//!   that of a whole text is, too, where no position is drawn twice.
//! - [`GreenList`]: tokens are favoured that the key calls green beside their left neighbour, in expectation where a
//!   neighbour is not known yet.
//! - [`OrderMark`]: among positions that could become final, those go first whose token is green beside its neighbours.
//!
//! A p-value is the probability that a text that does not know the key looks as marked as this one, over random keys; it is
//! never too small ([`Detection::p_value`]).
#![forbid(unsafe_code)]

mod detection;
mod green;
mod gumbel;
mod key;
mod order;
mod pairs;
mod secret;
mod tail;
mod windows;

pub use detection::{Detection, Verdict};
pub use green::GreenList;
pub use gumbel::Gumbel;
pub use key::{KeyError, SchemeKind, WatermarkKey};
pub use order::OrderMark;
pub use tail::{binomial_tail, gamma_tail};

use aquatint_diffusion::TokenId;
use aquatint_generate::Watermark;

/// A watermark that can be found again.
pub trait Scheme: Watermark {
    /// How marked the tokens of a text are. They are those that the tokenizer makes of the text: those that were written
    /// may have been others.
    fn detect(&self, tokens: &[TokenId]) -> Detection;
}
