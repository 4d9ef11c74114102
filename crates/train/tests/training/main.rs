//! Whole runs of tiny models on the sample that ships in the repository.

mod processes;
mod ranks;
mod runs;
mod support;
