//! Measuring with networks in closed form.

mod bounds;
mod sudoku;
mod writing;
