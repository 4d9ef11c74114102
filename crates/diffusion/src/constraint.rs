//! Constrained decoding: the text of a span is a sentence of a language, whatever the order in which positions are
//! committed.
//!
//! The language is a [`TokenAutomaton`]. A span whose positions hold tokens or are open has a set of completions: the
//! sentences that agree with the tokens. [`SpanLanguage`] draws the open positions of a block *jointly*, from the product
//! of the predictions conditioned on that set being hit. Any subset of such a draw may be committed, as the rest of the
//! draw is a completion of it, so the set never becomes empty and the last commit ends in the language. Remasking only
//! makes the set larger.
//!
//! DINGO (2505.23061) finds the likeliest assignment of a block by the same dynamic programme. Deviations: here the draw
//! is exact at every temperature, forward filtering and backward sampling over the automaton; positions outside the block
//! may hold tokens or be open, before it and behind it; an end token may close the span wherever the automaton accepts.

mod automaton;
mod row;
mod span;

pub use automaton::{State, TokenAutomaton, TokenSet, Transition};
pub use row::PredictedRow;
pub use span::{Cell, SpanLanguage};
