//! One module for each thing that people ask for.

use crate::failure::Failure;
use std::path::Path;

pub(crate) mod answers;
pub(crate) mod bench;
pub(crate) mod bias;
pub(crate) mod calibration;
pub(crate) mod codec;
pub(crate) mod compare;
pub(crate) mod completions;
pub(crate) mod detect;
pub(crate) mod doctor;
pub(crate) mod generate;
pub(crate) mod guard;
pub(crate) mod likelihood;
pub(crate) mod list;
pub(crate) mod memory;
pub(crate) mod merge;
pub(crate) mod pull;
pub(crate) mod quantise;
pub(crate) mod remove;
pub(crate) mod run;
pub(crate) mod serve;
pub(crate) mod show;
pub(crate) mod spans;
pub(crate) mod sudoku;
pub(crate) mod train;
pub(crate) mod watermark_key;

/// Writes a file of figures, which appears whole.
fn write_whole(path: &Path, text: &str) -> Result<(), Failure> {
    let written = aquatint_files::write_atomically(path, |out| out.write_all(text.as_bytes()));
    written.map_err(|error| Failure::of_file("write", path, &error))
}
