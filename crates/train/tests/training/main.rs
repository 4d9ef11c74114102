//! Recipes, and whole runs of tiny models on the sample that ships in the repository.

mod adapters;
mod balance;
mod codecs;
mod compressed;
mod families;
mod gpu;
mod instruct;
mod joint;
mod matchers;
mod order;
mod own_objective;
mod preference;
mod processes;
mod ranks;
mod recipes;
mod resuming;
mod rewards;
mod runs;
mod support;
mod tokenizers;
