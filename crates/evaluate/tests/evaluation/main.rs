//! Measuring with networks in closed form.

mod answers;
mod bounds;
mod pairs;
mod sudoku;
mod toxicity;
mod trust;
mod writing;
