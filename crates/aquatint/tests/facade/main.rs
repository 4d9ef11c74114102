//! The façade, as a user of the library calls it.

mod begin_token;
mod classifier;
mod dit;
mod experiment;
mod guards;
mod learning;
mod media;
mod nemotron;
mod trajectories;
