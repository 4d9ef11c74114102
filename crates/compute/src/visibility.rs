//! Which keys each query row may see: the one description of every attention mask here.

use std::ops::Range;

/// For each row of a ragged batch, the at most two intervals of rows whose keys and values it attends to.
///
/// Two intervals are enough for every layout: full and causal attention, documents packed into one canvas, blocks,
/// sliding windows, and the two-stream training mask of block diffusion (own noisy block + clean earlier blocks).
/// Intervals are in rows of the whole batch, half open, the first one never empty, the second one possibly, and they
/// do not overlap. No row sees beyond the sequence that it belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Visibility {
    sequences: Vec<Range<u32>>,
    rows: Vec<[Range<u32>; 2]>,
}

/// Why a [`Visibility`] was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VisibilityError {
    /// The sequences do not follow one another from row 0 without a gap.
    #[error("sequence {index} begins at row {start}, expected {expected}")]
    Gap {
        /// Index of the offending sequence.
        index: usize,
        /// Where it begins.
        start: u32,
        /// Where it has to begin.
        expected: u32,
    },
    /// The number of rows differs from the sequences' total length.
    #[error("{rows} rows of intervals or positions for sequences of {expected} rows in all")]
    RowCount {
        /// Rows given.
        rows: usize,
        /// Rows the sequences hold.
        expected: usize,
    },
    /// An interval is empty where it may not be, leaves its sequence, or overlaps the other one.
    #[error("row {row} has the intervals {first:?} and {second:?}; its sequence is {sequence:?}")]
    Interval {
        /// The offending row.
        row: usize,
        /// Its first interval.
        first: Range<u32>,
        /// Its second interval.
        second: Range<u32>,
        /// The sequence that holds the row.
        sequence: Range<u32>,
    },
    /// The positions of an interval do not ascend, so its rows within a window need not be neighbours.
    #[error("row {row} sees rows whose positions do not ascend; a window needs them to")]
    Positions {
        /// The row that sees them.
        row: usize,
    },
    /// A row would see nothing.
    #[error("row {row} sees no row within a window of {window} positions")]
    Window {
        /// The row.
        row: usize,
        /// The window.
        window: usize,
    },
}

impl Visibility {
    /// Checks and keeps the intervals of each row; `sequences` are the row ranges of the batch's sequences, in order.
    ///
    /// # Errors
    /// When the sequences leave a gap, there are more or fewer rows than they hold, or an interval is empty, leaves its
    /// sequence or overlaps the other one.
    pub fn new(sequences: Vec<Range<u32>>, rows: Vec<[Range<u32>; 2]>) -> Result<Self, VisibilityError> {
        let mut expected = 0;
        for (index, sequence) in sequences.iter().enumerate() {
            if sequence.start != expected || sequence.end < sequence.start {
                return Err(VisibilityError::Gap { index, start: sequence.start, expected });
            }
            expected = sequence.end;
        }
        if rows.len() != expected as usize {
            return Err(VisibilityError::RowCount { rows: rows.len(), expected: expected as usize });
        }
        for sequence in &sequences {
            for row in sequence.clone() {
                let [first, second] = &rows[row as usize];
                let inside = |r: &Range<u32>| sequence.start <= r.start && r.end <= sequence.end;
                let apart = second.is_empty() || first.end <= second.start || second.end <= first.start;
                if first.is_empty() || !inside(first) || !(second.is_empty() || inside(second)) || !apart {
                    return Err(VisibilityError::Interval {
                        row: row as usize,
                        first: first.clone(),
                        second: second.clone(),
                        sequence: sequence.clone(),
                    });
                }
            }
        }
        Ok(Self { sequences, rows })
    }

    /// Every row sees its whole sequence; `lengths` are the sequences' lengths.
    pub fn full(lengths: &[usize]) -> Self {
        let mut sequences = Vec::with_capacity(lengths.len());
        let mut rows = Vec::with_capacity(lengths.iter().sum());
        let mut start = 0;
        for &length in lengths {
            let sequence = start..start + length as u32;
            rows.extend(std::iter::repeat_n([sequence.clone(), 0..0], length));
            start = sequence.end;
            sequences.push(sequence);
        }
        Self { sequences, rows }
    }

    /// The same within a window: each row sees those of its rows whose positions are less than `window` away from its
    /// own, before it and after it. `positions` are those of all rows, `[T]`; distances are counted in them and not in
    /// rows, because the two streams of a training batch have each position twice.
    ///
    /// # Errors
    /// When there are more or fewer positions than rows, the positions of an interval do not ascend, or a row is left
    /// with nothing to see.
    pub fn windowed(&self, window: usize, positions: &[u32]) -> Result<Self, VisibilityError> {
        let reach = u32::try_from(window).unwrap_or(u32::MAX);
        self.within(window, positions, |row| {
            let own = positions[row];
            (own.saturating_add(1).saturating_sub(reach), own.saturating_add(reach))
        })
    }

    /// The same behind a causal prefix, where rows of the current block see all of it and are as far from what is before
    /// it as its first row (DiffusionGemma, 2608.00146). `current` says which rows are of a current block; a block is a run
    /// of them that its rows see.
    ///
    /// # Errors
    /// As [`Visibility::windowed`], and when there are more or fewer rows in `current`.
    pub fn windowed_blocks(&self, window: usize, positions: &[u32], current: &[bool]) -> Result<Self, VisibilityError> {
        if current.len() != self.len() {
            return Err(VisibilityError::RowCount { rows: current.len(), expected: self.len() });
        }
        let reach = u32::try_from(window).unwrap_or(u32::MAX);
        // The first row of the run of current rows that each row is in.
        let mut begins: Vec<usize> = (0..current.len()).collect();
        for row in (1..current.len()).filter(|row| current[*row] && current[row - 1]) {
            begins[row] = begins[row - 1];
        }
        self.within(window, positions, |row| {
            let own = positions[row];
            if !current[row] {
                return (own.saturating_add(1).saturating_sub(reach), own.saturating_add(reach));
            }
            let own_range = self.rows[row].iter().find(|range| range.contains(&(row as u32)));
            let first = own_range.map_or(row, |range| begins[row].max(range.start as usize));
            (positions[first].saturating_add(1).saturating_sub(reach), u32::MAX)
        })
    }

    /// What each row sees from one position on and before another, which `reach` says of the row.
    fn within(
        &self,
        window: usize,
        positions: &[u32],
        reach: impl Fn(usize) -> (u32, u32),
    ) -> Result<Self, VisibilityError> {
        if positions.len() != self.len() {
            return Err(VisibilityError::RowCount { rows: positions.len(), expected: self.len() });
        }
        // How many rows so far are not at a later position than the row before: positions ascend where this stays.
        let mut descents = vec![0_u32; positions.len()];
        for row in 1..positions.len() {
            descents[row] = descents[row - 1] + u32::from(positions[row] <= positions[row - 1]);
        }
        let within = |row: usize, range: &Range<u32>| {
            if range.is_empty() {
                return Ok(range.clone());
            }
            let (start, end, (first, beyond)) = (range.start as usize, range.end as usize, reach(row));
            if descents[start] != descents[end - 1] {
                return Err(VisibilityError::Positions { row });
            }
            let inside = &positions[start..end];
            let before = inside.partition_point(|&other| other < first);
            let until = inside.partition_point(|&other| other < beyond);
            Ok(if before < until { range.start + before as u32..range.start + until as u32 } else { 0..0 })
        };
        let cut = |(row, [first, second]): (usize, &[Range<u32>; 2])| {
            let (first, second) = (within(row, first)?, within(row, second)?);
            match (first.is_empty(), second.is_empty()) {
                (false, _) => Ok([first, second]),
                (true, false) => Ok([second, first]),
                (true, true) => Err(VisibilityError::Window { row, window }),
            }
        };
        let rows = self.rows.iter().enumerate().map(cut).collect::<Result<Vec<[Range<u32>; 2]>, VisibilityError>>()?;
        Ok(Self { sequences: self.sequences.clone(), rows })
    }

    /// The number of rows in all.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is no row at all.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The row ranges of the sequences, in order.
    pub fn sequences(&self) -> &[Range<u32>] {
        &self.sequences
    }

    /// The intervals that `row` sees.
    pub fn row(&self, row: usize) -> &[Range<u32>; 2] {
        &self.rows[row]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two streams of six positions in blocks of two behind a sequence of three rows: noisy blocks see themselves and
    /// the clean blocks before them, clean rows the clean blocks up to their own.
    fn ragged() -> (Visibility, Vec<u32>) {
        let mut rows = vec![[0..3, 0..0]; 3];
        rows.extend((0..6).map(|row| {
            let block = row / 2 * 2;
            [3 + block..5 + block, 9..9 + block]
        }));
        rows.extend((0..6).map(|row| [9..11 + row / 2 * 2, 0..0]));
        let positions = (0..3).chain(0..6).chain(0..6).collect();
        (Visibility::new(vec![0..3, 3..15], rows).unwrap(), positions)
    }

    #[test]
    fn a_window_of_a_block_holds_the_block_and_is_counted_from_its_first_row() {
        // A prefix of five rows and a block of three.
        let rows = (0..8).map(|row| [0..if row < 5 { row + 1 } else { 8 }, 0..0]).collect();
        let (whole, positions) =
            (Visibility::new(std::iter::once(0..8).collect(), rows).unwrap(), (0..8).collect::<Vec<u32>>());
        let current: Vec<bool> = (0..8).map(|row| row >= 5).collect();
        let windowed = whole.windowed_blocks(3, &positions, &current).unwrap();
        let first = |row: usize| windowed.row(row)[0].clone();
        assert_eq!([first(0), first(2), first(4)], [0..1, 0..3, 2..5]);
        assert!((5..8).all(|row| first(row) == (3..8)));
        // Where no row is of a block, it is a window as any other.
        assert_eq!(whole.windowed_blocks(3, &positions, &[false; 8]), whole.windowed(3, &positions));
        // The noisy blocks of two streams are blocks of their own.
        let (whole, positions) = ragged();
        let current: Vec<bool> = (0..15).map(|row| (3..9).contains(&row)).collect();
        let windowed = whole.windowed_blocks(2, &positions, &current).unwrap();
        assert_eq!(windowed.row(5), &[5..7, 10..11]);
        assert_eq!(windowed.row(6), &[5..7, 10..11]);
        let error = whole.windowed_blocks(2, &positions, &[]).unwrap_err();
        assert_eq!(error, VisibilityError::RowCount { rows: 0, expected: 15 });
    }

    #[test]
    fn a_window_leaves_the_visible_rows_that_are_near() {
        let (whole, positions) = ragged();
        let visible = |visibility: &Visibility, row: usize| -> Vec<u32> {
            visibility.row(row).iter().cloned().flatten().collect()
        };
        for window in [1, 2, 3, 5, 6, usize::MAX] {
            let windowed = whole.windowed(window, &positions).unwrap();
            for (row, &own) in positions.iter().enumerate() {
                let near = |other: &u32| (positions[*other as usize].abs_diff(own) as usize) < window;
                let expected: Vec<u32> = visible(&whole, row).into_iter().filter(near).collect();
                assert_eq!(visible(&windowed, row), expected, "window {window}, row {row}");
            }
            // The result is one that could have been given, and a smaller window of it is that of the whole.
            let rows = (0..windowed.len()).map(|row| windowed.row(row).clone()).collect();
            Visibility::new(whole.sequences().to_vec(), rows).unwrap();
            let both = windowed.windowed(2, &positions).unwrap();
            for row in 0..both.len() {
                let smaller = whole.windowed(window.min(2), &positions).unwrap();
                assert_eq!(visible(&both, row), visible(&smaller, row));
            }
        }
    }

    #[test]
    fn a_window_over_all_positions_changes_nothing() {
        let (whole, positions) = ragged();
        assert_eq!(whole.windowed(6, &positions).unwrap(), whole);
    }

    #[test]
    fn windows_that_cannot_be_are_refused() {
        let full = Visibility::full(&[3]);
        assert_eq!(full.windowed(2, &[0, 1]), Err(VisibilityError::RowCount { rows: 2, expected: 3 }));
        assert_eq!(full.windowed(2, &[0, 1, 1]), Err(VisibilityError::Positions { row: 0 }));
        assert_eq!(full.windowed(0, &[0, 1, 2]), Err(VisibilityError::Window { row: 0, window: 0 }));
        let away = Visibility::new(full.sequences().to_vec(), vec![[0..1, 0..0], [1..2, 0..0], [0..1, 0..0]]).unwrap();
        assert_eq!(away.windowed(2, &[0, 1, 2]), Err(VisibilityError::Window { row: 2, window: 2 }));
        assert!(away.windowed(3, &[0, 1, 2]).is_ok());
    }
}
