//! The program as people use it: every test runs the binary and looks at what it prints and how it ends.

mod adapters;
mod answers;
mod benching;
mod causal;
mod clients;
mod codecs;
mod comparing;
#[cfg(feature = "credentials")]
mod credentials;
mod effects;
mod families;
mod fixtures;
mod foreign_folders;
mod generation;
mod gguf;
mod guards;
mod hub;
mod interrupting;
mod measuring;
mod media;
mod owning;
mod quantising;
mod refusals;
mod screens;
mod sources;
mod spans;
mod support;
mod tokens;
mod training;
mod trust;
mod watermarks;
