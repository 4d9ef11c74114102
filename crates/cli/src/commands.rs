//! One module for each thing that people ask for.

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
