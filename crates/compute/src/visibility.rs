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
    #[error("{rows} rows of intervals for sequences of {expected} rows in all")]
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
