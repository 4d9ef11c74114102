//! What watermarks do to the law of a text, and what detection finds of them.

mod detection;
mod engine;
mod law;
