//! The cells of a grid and the rule that they follow.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

/// Cells of the largest grid.
const MOST_CELLS: usize = 81;

/// How large a grid is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Size {
    /// 16 cells in four boxes of 2 × 2, with the digits 1 to 4: a small puzzle for comparing many runs (d1, 2504.12216). There
    /// are 288 full grids, of which 22 are unseen, so that many puzzles have one solution and hang together.
    Four,
    /// 81 cells in nine boxes of 3 × 3, with the digits 1 to 9.
    Nine,
}

impl Size {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Four, Self::Nine];

    /// Cells of a box in a row.
    const fn box_side(self) -> usize {
        match self {
            Self::Four => 2,
            Self::Nine => 3,
        }
    }

    /// Cells of a row, and how many digits there are.
    pub const fn side(self) -> usize {
        self.box_side() * self.box_side()
    }

    /// Cells of a grid.
    pub const fn cells(self) -> usize {
        self.side() * self.side()
    }

    /// The fewest clues that leave one solution (of nine, 17: 1201.0749).
    pub const fn fewest_clues(self) -> usize {
        match self {
            Self::Four => 4,
            Self::Nine => 17,
        }
    }

    /// Numbers of clues where nothing is said. So few that a puzzle has to be thought about, and not so few that one is
    /// seldom found.
    pub const fn usual_clues(self) -> RangeInclusive<usize> {
        match self {
            Self::Four => 4..=8,
            Self::Nine => 24..=40,
        }
    }

    /// The row, the column and the box of a cell.
    pub(crate) fn units(self, cell: usize) -> [usize; 3] {
        let (row, column, side) = (cell / self.side(), cell % self.side(), self.box_side());
        [row, column, row / side * side + column / side]
    }
}

/// Cells row by row; 0 where nothing is.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Grid {
    size: Size,
    /// Those that the size does not have stay 0.
    digits: [u8; MOST_CELLS],
}

/// Why a text is no grid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SudokuError {
    /// It is too long or too short.
    #[error("a grid has 81 or 16 characters, one for each cell; this text has {0}")]
    Length(usize),
    /// A character is no cell.
    #[error("character {position} is {found:?}; allowed: 1 to {most}, and `.` or 0 where nothing is")]
    Character {
        /// The largest digit of a grid of this size.
        most: usize,
        /// Which, from 0.
        position: usize,
        /// What stands there.
        found: char,
    },
}

impl Grid {
    /// The grid without a digit.
    pub const fn empty(size: Size) -> Self {
        Self { size, digits: [0; MOST_CELLS] }
    }

    /// How large it is.
    pub fn size(&self) -> Size {
        self.size
    }

    /// The digits of all cells, row by row, 0 where nothing is.
    pub fn digits(&self) -> &[u8] {
        &self.digits[..self.size.cells()]
    }

    /// The digit of a cell, 0 where nothing is.
    pub fn get(&self, cell: usize) -> u8 {
        self.digits()[cell]
    }

    /// Writes a digit, or takes it away with 0.
    pub(crate) fn set(&mut self, cell: usize, digit: u8) {
        self.digits[cell] = digit;
    }

    /// Number of cells that have a digit.
    pub fn filled(&self) -> usize {
        self.digits.iter().filter(|digit| **digit > 0).count()
    }

    /// Whether each cell has a digit.
    pub fn is_full(&self) -> bool {
        self.filled() == self.size.cells()
    }

    /// Whether no digit stands twice in a row, a column or a box.
    pub fn is_valid(&self) -> bool {
        let mut observed = [[0u16; 9]; 3];
        self.digits().iter().enumerate().filter(|(_, digit)| **digit > 0).all(|(cell, digit)| {
            let bit = 1u16 << digit;
            self.size.units(cell).into_iter().zip(&mut observed).all(|(unit, observed)| {
                let fresh = observed[unit] & bit == 0;
                observed[unit] |= bit;
                fresh
            })
        })
    }

    /// Whether every digit of `clues` stands here, too.
    pub fn extends(&self, clues: &Self) -> bool {
        self.size == clues.size && self.digits.iter().zip(clues.digits).all(|(digit, clue)| clue == 0 || *digit == clue)
    }
}

impl FromStr for Grid {
    type Err = SudokuError;

    fn from_str(text: &str) -> Result<Self, SudokuError> {
        let count = text.chars().count();
        let size = Size::ALL.into_iter().find(|size| size.cells() == count).ok_or(SudokuError::Length(count))?;
        let mut grid = Self::empty(size);
        for (position, found) in text.chars().enumerate() {
            grid.digits[position] = match found {
                '.' => 0,
                '0'..='9' if found as usize - '0' as usize <= size.side() => found as u8 - b'0',
                _ => return Err(SudokuError::Character { most: size.side(), position, found }),
            };
        }
        Ok(grid)
    }
}

impl fmt::Display for Grid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.digits().iter().try_for_each(|digit| if *digit == 0 { f.write_str(".") } else { write!(f, "{digit}") })
    }
}

impl fmt::Debug for Grid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Grid({self})")
    }
}
