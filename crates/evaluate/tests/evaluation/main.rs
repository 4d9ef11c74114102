//! Measuring with networks in closed form.

mod answers;
mod bounds;
mod pairs;
mod sudoku;
mod trust;
mod writing;
