//! All solutions of a grid: always the cell with the fewest digits left, and back where none is.

use super::Grid;

/// Digits used in each row, column and box.
struct Search {
    grid: Grid,
    used: [[u16; 9]; 3],
}

impl Search {
    /// `None` where the grid is against the rule already.
    fn new(grid: &Grid) -> Option<Self> {
        let mut search = Self { grid: *grid, used: [[0; 9]; 3] };
        for cell in (0..grid.size().cells()).filter(|cell| grid.get(*cell) > 0) {
            search.turn(cell, 1 << grid.get(cell));
        }
        grid.is_valid().then_some(search)
    }

    /// Uses a digit in the units of a cell, or takes it back.
    fn turn(&mut self, cell: usize, bit: u16) {
        let units = self.grid.size().units(cell);
        units.into_iter().zip(&mut self.used).for_each(|(unit, used)| used[unit] ^= bit);
    }

    /// The digits that a cell may have, as bits from 1 on.
    fn left(&self, cell: usize) -> u16 {
        let size = self.grid.size();
        let all = (2 << size.side()) - 2;
        all & !size.units(cell).into_iter().zip(&self.used).fold(0, |used, (unit, of)| used | of[unit])
    }

    /// Calls `found` for each solution until it says to stop; `order` picks the next of the digits that are left. False
    /// where it was stopped.
    fn run(&mut self, order: &mut dyn FnMut(u16) -> u16, found: &mut dyn FnMut(&Grid) -> bool) -> bool {
        let empty = (0..self.grid.size().cells()).filter(|cell| self.grid.get(*cell) == 0);
        let Some(cell) = empty.min_by_key(|cell| self.left(*cell).count_ones()) else { return found(&self.grid) };
        let mut left = self.left(cell);
        while left > 0 {
            let bit = order(left);
            left ^= bit;
            self.grid.set(cell, bit.trailing_zeros() as u8);
            self.turn(cell, bit);
            let goes_on = self.run(order, found);
            self.turn(cell, bit);
            self.grid.set(cell, 0);
            if !goes_on {
                return false;
            }
        }
        true
    }
}

/// The first of the bits.
fn first(bits: u16) -> u16 {
    bits & bits.wrapping_neg()
}

/// A solution, if there is one.
pub fn solve(grid: &Grid) -> Option<Grid> {
    solve_by(grid, &mut first)
}

/// The first solution when the digits of a cell are tried in an order of one's own.
pub(super) fn solve_by(grid: &Grid, order: &mut dyn FnMut(u16) -> u16) -> Option<Grid> {
    let mut solution = None;
    Search::new(grid)?.run(order, &mut |found| {
        solution = Some(*found);
        false
    });
    solution
}

/// How many solutions there are, counted up to `limit`.
pub fn solution_count(grid: &Grid, limit: usize) -> usize {
    let mut count = 0;
    if let Some(mut search) = Search::new(grid) {
        search.run(&mut first, &mut |_| {
            count += 1;
            count < limit
        });
    }
    count
}
