//! What an answer is worth.

use super::{Grid, Puzzle};

/// An answer to one puzzle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// Every digit is right.
    pub solved: bool,
    /// Cells without a clue that are right.
    pub right: usize,
    /// Cells without a clue.
    pub requested: usize,
    /// It is a full grid, right or wrong.
    pub well_formed: bool,
}

impl Answer {
    /// Holds the digits that were written against the only solution.
    pub fn of(puzzle: &Puzzle, written: &str) -> Self {
        let size = puzzle.clues.size();
        let requested = size.cells() - puzzle.clues.filled();
        match written.parse::<Grid>() {
            Ok(grid) if grid.size() == size => {
                let right = (0..size.cells())
                    .filter(|cell| puzzle.clues.get(*cell) == 0 && grid.get(*cell) == puzzle.solution.get(*cell));
                let right = right.count();
                Self { solved: grid == puzzle.solution, right, requested, well_formed: grid.is_full() }
            }
            _ => Self { solved: false, right: 0, requested, well_formed: false },
        }
    }
}

/// The sum of many answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Scores {
    /// Puzzles answered.
    pub puzzles: usize,
    /// Puzzles solved.
    pub solved: usize,
    /// Cells that are right, of those without a clue.
    pub right: usize,
    /// Cells without a clue.
    pub requested: usize,
    /// Answers that are full grids.
    pub well_formed: usize,
}

impl Scores {
    /// Counts one more.
    pub fn add(&mut self, answer: Answer) {
        self.puzzles += 1;
        self.solved += usize::from(answer.solved);
        self.right += answer.right;
        self.requested += answer.requested;
        self.well_formed += usize::from(answer.well_formed);
    }

    /// Share of the puzzles that are solved.
    pub fn solve_rate(&self) -> f64 {
        self.solved as f64 / self.puzzles.max(1) as f64
    }

    /// Share of the cells without a clue that are right.
    pub fn cell_rate(&self) -> f64 {
        self.right as f64 / self.requested.max(1) as f64
    }
}
