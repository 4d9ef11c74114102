//! The rows of a ragged batch, laid out sequence after sequence: the position of each, and what it sees.

use crate::NetworkError;
use aquatint_compute::Visibility;
use aquatint_diffusion::{Intervals, Layout, two_stream_intervals};
use std::ops::Range;

/// Lays sequences out as the rows of one batch, one behind the other. A sequence sees itself alone.
#[derive(Debug, Clone, Default)]
pub struct RowLayout {
    positions: Vec<u32>,
    sequences: Vec<Range<u32>>,
    intervals: Vec<Intervals>,
    current: Vec<bool>,
}

impl RowLayout {
    /// Appends a sequence of `length` positions and returns its rows. `documents` is as in [`Layout::intervals`].
    pub fn push(&mut self, layout: Layout, length: usize, documents: &[u32]) -> Range<usize> {
        self.append(length, layout.intervals(length, documents), layout.current(length, documents))
    }

    /// Appends the `[noisy ; clean]` rows of block diffusion as one sequence of `2 · length` rows, see
    /// [`two_stream_intervals`], and returns them. Both halves have the positions `0..length`.
    pub fn push_two_streams(&mut self, layout: Layout, length: usize, documents: &[u32]) -> Range<usize> {
        let noisy = matches!(layout, Layout::CausalPrefix { .. });
        let current = (0..2 * length).map(|row| noisy && row < length).collect();
        self.append(length, two_stream_intervals(length, layout, documents), current)
    }

    /// Appends a sequence of `length` positions whose first block is `lead` positions shorter, see
    /// [`Layout::intervals_behind_lead`], and returns its rows.
    pub fn push_behind_lead(&mut self, layout: Layout, lead: usize, length: usize) -> Range<usize> {
        let current = layout.current(lead + length, &[]).split_off(lead);
        self.append(length, layout.intervals_behind_lead(lead, length), current)
    }

    /// Appends a sequence of `length` positions whose current block begins at `prefix`, see
    /// [`Layout::intervals_behind`], and returns its rows.
    pub fn push_behind(&mut self, prefix: usize, length: usize) -> Range<usize> {
        self.append(length, Layout::intervals_behind(prefix, length), (0..length).map(|row| row >= prefix).collect())
    }

    fn append(&mut self, length: usize, intervals: Vec<Intervals>, current: Vec<bool>) -> Range<usize> {
        self.current.extend(current);
        let start = self.intervals.len();
        let offset = start as u32;
        let shift = |range: Range<u32>| range.start + offset..range.end + offset;
        self.positions.extend((0..intervals.len()).map(|row| (row % length.max(1)) as u32));
        self.intervals.extend(intervals.into_iter().map(|two| two.map(shift)));
        self.sequences.push(offset..self.intervals.len() as u32);
        start..self.intervals.len()
    }

    /// Rows so far.
    pub fn rows(&self) -> usize {
        self.intervals.len()
    }

    /// Which rows so far are of a current block behind a causal prefix, `[T]`.
    pub fn current(&self) -> &[bool] {
        &self.current
    }

    /// Sequences so far.
    pub fn sequences(&self) -> usize {
        self.sequences.len()
    }

    /// The position of each row in its sequence, `[T]`, and what each row sees.
    ///
    /// # Errors
    /// When there are more rows than an index can count.
    pub fn finish(self) -> Result<(Vec<u32>, Visibility), NetworkError> {
        Ok((self.positions, Visibility::new(self.sequences, self.intervals)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aquatint_diffusion::PADDING_DOCUMENT;

    #[test]
    fn each_sequence_sees_what_it_would_see_alone() {
        let documents = [0, 0, 1, 1, PADDING_DOCUMENT];
        for layout in [Layout::Full, Layout::Causal, Layout::Block { length: 2 }] {
            let mut rows = RowLayout::default();
            assert_eq!(rows.push(layout, 3, &[]), 0..3);
            assert_eq!(rows.push(layout, 5, &documents), 3..8);
            assert_eq!((rows.rows(), rows.sequences()), (8, 2));
            let (positions, visibility) = rows.finish().unwrap();
            assert_eq!(positions, [0, 1, 2, 0, 1, 2, 3, 4]);
            assert_eq!(visibility.sequences(), [0..3, 3..8]);
            for (row, [alone, _]) in layout.intervals(5, &documents).into_iter().enumerate() {
                assert_eq!(visibility.row(3 + row)[0], alone.start + 3..alone.end + 3, "{layout}, row {row}");
            }
        }
    }

    #[test]
    fn two_streams_are_one_sequence_with_each_position_twice() {
        let mut rows = RowLayout::default();
        rows.push(Layout::Full, 2, &[]);
        assert_eq!(rows.push_two_streams(Layout::Block { length: 2 }, 3, &[]), 2..8);
        let (positions, visibility) = rows.finish().unwrap();
        assert_eq!(positions, [0, 1, 0, 1, 2, 0, 1, 2]);
        assert_eq!(visibility.sequences(), [0..2, 2..8]);
        // The noisy last block sees itself and the clean block before it.
        assert_eq!(visibility.row(4), &[4..5, 5..7]);
    }

    #[test]
    fn nothing_is_a_layout_without_rows() {
        let (positions, visibility) = RowLayout::default().finish().unwrap();
        assert!(positions.is_empty() && visibility.is_empty() && visibility.sequences().is_empty());
    }
}
