//! Whole runs of tiny models on the sample that ships in the repository.

mod gpu;
mod processes;
mod ranks;
mod runs;
mod support;
