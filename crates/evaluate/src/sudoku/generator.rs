//! Puzzles without end, each with one solution: a full grid by chance, from which digits are taken as long as it stays the
//! only one.

use super::solver::{solution_count, solve_by};
use super::{Grid, Size};
use aquatint_diffusion::{Draws, Key};
use std::ops::RangeInclusive;

/// Which puzzles: no solution of one part is in the other, since a hash of the solution decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// To learn from: fifteen of sixteen.
    Training,
    /// To be measured by.
    Unseen,
}

/// A puzzle with its only solution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Puzzle {
    /// What is given.
    pub clues: Grid,
    /// All digits.
    pub solution: Grid,
}

/// Puzzles of a seed, one after another.
#[derive(Debug, Clone)]
pub struct Puzzles {
    size: Size,
    key: Key,
    part: Part,
    clues: RangeInclusive<usize>,
    next: u64,
}

impl Puzzles {
    /// The puzzles of a seed; each gets a number of clues of this range, or more where fewer do not leave one solution.
    pub fn new(size: Size, seed: u64, part: Part, clues: RangeInclusive<usize>) -> Self {
        Self { size, key: Key::new(seed), part, clues, next: 0 }
    }
}

impl Iterator for Puzzles {
    type Item = Puzzle;

    fn next(&mut self) -> Option<Puzzle> {
        loop {
            let mut draws = self.key.at(self.next, 0);
            self.next += 1;
            let solution = full(self.size, &mut draws)?;
            if part_of(&solution) == self.part {
                let span = (self.clues.end().saturating_sub(*self.clues.start()) + 1) as u64;
                let clues = self.clues.start() + draws.below(span) as usize;
                return Some(Puzzle { clues: thinned(solution, clues, &mut draws), solution });
            }
        }
    }
}

impl Puzzle {
    /// The puzzle as a document.
    pub fn document(&self) -> String {
        format!("{}{}", self.clues, self.solution)
    }
}

/// A full grid: digits in random order, tried cell by cell.
fn full(size: Size, draws: &mut Draws) -> Option<Grid> {
    solve_by(&Grid::empty(size), &mut |left| {
        let mut bits = left;
        for _ in 0..draws.below(u64::from(left.count_ones())) {
            bits &= bits - 1;
        }
        bits & bits.wrapping_neg()
    })
}

/// Takes digits away in random order while the solution stays the only one.
fn thinned(solution: Grid, clues: usize, draws: &mut Draws) -> Grid {
    let mut grid = solution;
    // All cells, in random order.
    let mut cells: Vec<usize> = (0..solution.size().cells()).collect();
    (1..cells.len()).rev().for_each(|last| cells.swap(last, draws.below(last as u64 + 1) as usize));
    for cell in cells {
        if grid.filled() <= clues {
            break;
        }
        grid.set(cell, 0);
        if solution_count(&grid, 2) > 1 {
            grid.set(cell, solution.get(cell));
        }
    }
    grid
}

/// The part that a solution belongs to.
fn part_of(solution: &Grid) -> Part {
    let hash = solution.digits().iter().fold(Key::new(0), |key, digit| key.fold(u64::from(*digit)));
    if hash.at(0, 0).below(16) == 0 { Part::Unseen } else { Part::Training }
}
