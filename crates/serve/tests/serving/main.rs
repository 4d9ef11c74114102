//! A server in this process, as clients see it.

mod canvas;
mod completions;
mod description;
mod documentation;
mod given_media;
mod guards;
mod laws;
mod media;
mod metrics;
mod models;
mod ollama;
mod openai;
mod page;
mod refusals;
mod safety;
mod stopping;
mod structured;
mod support;
mod tokens;
mod watermark;
