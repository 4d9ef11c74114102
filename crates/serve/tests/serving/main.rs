//! A server in this process, as clients see it.

mod completions;
mod description;
mod laws;
mod metrics;
mod models;
mod ollama;
mod safety;
mod stopping;
mod support;
mod tokens;
