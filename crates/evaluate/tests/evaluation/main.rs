//! Measuring with networks in closed form.

mod answers;
mod bounds;
mod sudoku;
mod writing;
