//! Sudoku: text whose truth can be checked, and that is wrong when one character is. A model that fills it well has planned.
//!
//! A puzzle is a document of 162 characters: the 81 cells as they are given, row by row, `.` where nothing is, and then the
//! 81 digits of the one solution; of a small puzzle, of four digits, it is 32 ([`Size`]). A model is given the first half and asked for the second, so that the order in which it
//! becomes sure is its own; 2502.06768 shows how much hangs on that order.

mod exam;
mod generator;
mod grid;
mod score;
mod solver;

pub use exam::{ExamResult, ExamSettings, examine};
pub use generator::{Part, Puzzle, Puzzles};
pub use grid::{Grid, Size, SudokuError};
pub use score::{Answer, Scores};
pub use solver::{solution_count, solve};
