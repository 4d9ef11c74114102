//! Which rows choose their experts together, where the rows of a block do.
//!
//! Rows of a block are neighbours that see the same rows, whatever else is in the batch: those of another document, of
//! another sequence or of the other stream in training see others. Of a block, so many rows from its beginning choose
//! together, then as many behind them, and what is left.

use crate::NetworkError;
use aquatint_compute::Visibility;

/// The first row of each block of rows that choose together, and the number of rows.
pub(crate) fn starts(length: usize, visibility: &Visibility) -> Vec<u32> {
    let (mut starts, mut first) = (Vec::new(), 0);
    for row in 0..visibility.len() {
        let begins = row == 0 || visibility.row(row) != visibility.row(row - 1);
        first = if begins { row } else { first };
        if (row - first).is_multiple_of(length) {
            starts.push(row as u32);
        }
    }
    starts.push(visibility.len() as u32);
    starts
}

/// The block of a row.
fn block_of(starts: &[u32], row: u32) -> usize {
    starts.partition_point(|start| *start <= row) - 1
}

/// Refuses rows, which ascend, that are a part of a block only: what it chooses cannot be said by them.
pub(crate) fn check_whole(starts: &[u32], rows: &[u32]) -> Result<(), NetworkError> {
    for together in rows.chunk_by(|a, b| block_of(starts, *a) == block_of(starts, *b)) {
        let block = block_of(starts, together[0]);
        if together.len() != (starts[block + 1] - starts[block]) as usize {
            return Err(NetworkError::PartOfBlock { row: together[0] });
        }
    }
    Ok(())
}

/// The same as [`starts`] for these rows of the batch alone, where those of a block are neighbours.
pub(crate) fn of_computed(starts: &[u32], rows: &[u32]) -> Vec<u32> {
    let mut own = vec![0];
    for together in rows.chunk_by(|a, b| block_of(starts, *a) == block_of(starts, *b)) {
        own.push(own[own.len() - 1] + together.len() as u32);
    }
    own
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::RowLayout;
    use aquatint_diffusion::Layout;

    #[test]
    fn rows_choose_together_within_their_block_sequence_document_and_stream() {
        let layout = Layout::Block { length: 4 };
        let mut rows = RowLayout::default();
        rows.push(layout, 9, &[]);
        rows.push(layout, 6, &[0, 0, 1, 1, 1, 1]);
        rows.push_two_streams(layout, 5, &[]);
        rows.push_behind_lead(layout, 1, 5);
        let (_, visibility) = rows.finish().unwrap();
        // A sequence of 4, 4 and 1; documents of 2 and of 4 rows, whose blocks begin with them; a noisy stream of 4 and 1,
        // and the clean one; a first block that is one row shorter.
        assert_eq!(starts(4, &visibility), [0, 4, 8, 9, 11, 15, 19, 20, 24, 25, 28, 30]);
        assert_eq!(starts(2, &visibility)[..6], [0, 2, 4, 6, 8, 9]);
        assert_eq!(starts(3, &visibility)[..6], [0, 3, 4, 7, 8, 9]);
    }

    #[test]
    fn a_part_of_a_block_is_refused_by_its_first_row() {
        let starts = [0, 4, 8, 10];
        assert!(check_whole(&starts, &[4, 5, 6, 7, 8, 9]).is_ok());
        assert!(check_whole(&starts, &[]).is_ok());
        let refused = |rows: &[u32]| check_whole(&starts, rows).unwrap_err().to_string();
        let words = "row 4 chooses its experts together with its block, of which other rows are not computed (`rows_to_compute`)";
        assert_eq!(refused(&[0, 1, 2, 3, 4, 5, 7]), words);
        assert!(check_whole(&starts, &[9]).is_err());
        // Rows come in the order of the pool.
        assert_eq!(of_computed(&starts, &[8, 9, 0, 1, 2, 3]), [0, 2, 6]);
    }
}
