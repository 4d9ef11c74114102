//! For tests only: tiny networks of every kind, golden files made by a reference implementation, and equality that says
//! where it fails. It reports errors by panics: only tests call it.
#![forbid(unsafe_code)]

mod closeness;
mod example;
mod golden;

pub use closeness::Comparison;
pub use example::Example;
pub use golden::Golden;
