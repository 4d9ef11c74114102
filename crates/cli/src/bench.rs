//! Measuring speed and memory: what is measured, how often, and how it is reported.

pub(crate) mod batch;
pub(crate) mod measure;
pub(crate) mod report;
pub(crate) mod subject;
pub(crate) mod timed;
