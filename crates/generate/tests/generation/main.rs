//! The generation loop against denoisers in closed form and a small real network.

mod audit;
mod causal;
mod chain;
mod classifier;
mod conditioning;
mod constrained;
mod counted_blocks;
mod described;
mod editing;
mod effects;
mod engine;
mod graphs;
mod insert_delete;
mod laws;
mod observing;
mod parts;
mod real;
mod refusals;
mod reuse;
mod shaping;
mod speculation;
mod token_editing;
mod unconditional;
