//! The 81 cells and the rule that they follow.

use std::fmt;
use std::str::FromStr;

/// 81 cells, row by row; 0 where nothing is.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Grid([u8; Grid::CELLS]);

/// Why a text is no grid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SudokuError {
    /// It is too long or too short.
    #[error("a grid has 81 characters, one for each cell; this text has {0}")]
    Length(usize),
    /// A character is no cell.
    #[error("character {position} is {found:?}; allowed: 1 to 9, and `.` or 0 where nothing is")]
    Character {
        /// Which, from 0.
        position: usize,
        /// What stands there.
        found: char,
    },
}

impl Grid {
    /// Cells of a grid.
    pub const CELLS: usize = 81;

    /// The grid without a digit.
    pub const EMPTY: Self = Self([0; Self::CELLS]);

    /// The digit of a cell, 0 where nothing is.
    pub fn get(&self, cell: usize) -> u8 {
        self.0[cell]
    }

    /// Writes a digit, or takes it away with 0.
    pub(crate) fn set(&mut self, cell: usize, digit: u8) {
        self.0[cell] = digit;
    }

    /// Number of cells that have a digit.
    pub fn filled(&self) -> usize {
        self.0.iter().filter(|digit| **digit > 0).count()
    }

    /// Whether no digit stands twice in a row, a column or a box.
    pub fn is_valid(&self) -> bool {
        let mut observed = [[0u16; 9]; 3];
        (0..Self::CELLS).filter(|cell| self.0[*cell] > 0).all(|cell| {
            let bit = 1u16 << self.0[cell];
            units(cell).into_iter().zip(&mut observed).all(|(unit, observed)| {
                let fresh = observed[unit] & bit == 0;
                observed[unit] |= bit;
                fresh
            })
        })
    }

    /// Whether every digit of `clues` stands here, too.
    pub fn extends(&self, clues: &Self) -> bool {
        self.0.iter().zip(clues.0).all(|(digit, clue)| clue == 0 || *digit == clue)
    }
}

/// The row, the column and the box of a cell.
pub(crate) fn units(cell: usize) -> [usize; 3] {
    let (row, column) = (cell / 9, cell % 9);
    [row, column, row / 3 * 3 + column / 3]
}

impl FromStr for Grid {
    type Err = SudokuError;

    fn from_str(text: &str) -> Result<Self, SudokuError> {
        let count = text.chars().count();
        if count != Self::CELLS {
            return Err(SudokuError::Length(count));
        }
        let mut grid = Self::EMPTY;
        for (position, found) in text.chars().enumerate() {
            grid.0[position] = match found {
                '.' => 0,
                '0'..='9' => found as u8 - b'0',
                _ => return Err(SudokuError::Character { position, found }),
            };
        }
        Ok(grid)
    }
}

impl fmt::Display for Grid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|digit| if *digit == 0 { f.write_str(".") } else { write!(f, "{digit}") })
    }
}

impl fmt::Debug for Grid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Grid({self})")
    }
}
