//! Constraints on what a model writes: a regular expression, a JSON schema, any JSON object, a grammar, a molecule.
//!
//! A [`Compiler`] belongs to a vocabulary and makes a constraint of a [`ConstraintSpec`]. Regular expressions and JSON
//! schemas become automata over the bytes of the text, these become automata over tokens, and those are kept whatever the
//! order in which positions are filled (see [`aquatint_diffusion::constraint`]). Grammars and molecules are kept from left
//! to right.
//!
//! A JSON schema is compiled to the texts that are written by its rules, not to all that it allows: JSON with at most one
//! blank behind `:` and `,`, properties in the order of the schema and no others, numbers without exponents. Recursion is
//! unrolled as deep as the limits on size allow. A keyword that cannot be kept is an error that names it.
//! A [`TextSet`] says of a text that is there whether it is one of these.
#![forbid(unsafe_code)]

mod automaton;
mod cache;
mod compile;
mod determine;
mod error;
mod expression;
mod grammar;
mod language;
mod left_to_right;
mod molecule;
mod pattern;
mod schema;
mod text_set;
mod tokens;

pub use compile::{Compiler, ConstraintSpec};
pub use error::{CompileError, Limit};
pub use text_set::TextSet;
