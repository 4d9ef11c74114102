//! What every row sees, on the GPU.

use super::Cuda;
use super::arguments::In;
use super::memory::Array;
use crate::{DeviceError, Visibility};
use std::sync::OnceLock;

/// A visibility on a GPU.
#[derive(Debug)]
pub struct GpuVisibility {
    visibility: Visibility,
    /// Two half-open intervals for each row: `[T, 4]`.
    intervals: Array<u32>,
    /// See [`Cuda::readers`]; made for the first backward.
    readers: OnceLock<Array<u32>>,
    /// See [`Cuda::tile_summaries`]; made for the first backward by tiles.
    summaries: OnceLock<Array<u32>>,
}

impl GpuVisibility {
    pub(super) fn new(device: &Cuda, visibility: &Visibility) -> Result<Self, DeviceError> {
        let rows = (0..visibility.len()).map(|row| visibility.row(row));
        let intervals: Vec<u32> = rows.flat_map(|[a, b]| [a.start, a.end, b.start, b.end]).collect();
        let intervals = device.store(&intervals)?;
        Ok(Self { visibility: visibility.clone(), intervals, readers: OnceLock::new(), summaries: OnceLock::new() })
    }

    /// `T`.
    pub(super) fn len(&self) -> usize {
        self.visibility.len()
    }

    /// Two half-open intervals for each row: `[T, 4]`.
    pub(super) fn intervals(&self) -> In<u32> {
        self.intervals.input()
    }
}

impl Cuda {
    /// For each row the half-open interval of rows within which all are that see it: `[T, 2]`.
    pub(super) fn readers(&self, visible: &GpuVisibility) -> In<u32> {
        // Another thread may have been faster: both made the same.
        visible.readers.get_or_init(|| self.must_store(&readers(&visible.visibility))).input()
    }

    /// For each 32 rows the smallest intervals that hold all their first and all their second intervals, then what all
    /// of them see of either: `[T / 32, 8]`.
    pub(super) fn tile_summaries(&self, visible: &GpuVisibility) -> In<u32> {
        visible.summaries.get_or_init(|| self.must_store(&summaries(&visible.visibility))).input()
    }
}

/// Rows that share a summary, as in `tiles.cu`.
const SUMMARY: usize = 32;

/// Hulls and common parts of the intervals of each 32 rows. Where there are fewer rows, nothing is common to all.
fn summaries(visibility: &Visibility) -> Vec<u32> {
    let starts = (0..visibility.len()).step_by(SUMMARY);
    starts
        .flat_map(|start| {
            let (mut hulls, mut common) = ([u32::MAX, 0, u32::MAX, 0], [0, u32::MAX, 0, u32::MAX]);
            for row in start..start + SUMMARY {
                if row >= visibility.len() {
                    common = [0; 4];
                    break;
                }
                for (part, interval) in visibility.row(row).iter().enumerate() {
                    let (from, to) = (2 * part, 2 * part + 1);
                    if !interval.is_empty() {
                        hulls[from] = interval.start.min(hulls[from]);
                        hulls[to] = interval.end.max(hulls[to]);
                    }
                    common[from] = interval.start.max(common[from]);
                    common[to] = interval.end.min(common[to]);
                }
            }
            hulls.into_iter().chain(common)
        })
        .collect()
}

/// First reader and one past the last of each row, `0, 0` where there is none.
fn readers(visibility: &Visibility) -> Vec<u32> {
    let rows = visibility.len();
    let first = earliest(visibility, 0..rows);
    let last = earliest(visibility, (0..rows).rev());
    first.into_iter().zip(last).flat_map(|(first, last)| first.zip(last).map_or([0, 0], |(a, b)| [a, b + 1])).collect()
}

/// For each row the first of `readers` that sees it. Every row is reached once: those that are done are skipped by
/// pointers to the next that is not, shortened on the way.
fn earliest(visibility: &Visibility, readers: impl Iterator<Item = usize>) -> Vec<Option<u32>> {
    let mut found = vec![None; visibility.len()];
    let mut next: Vec<usize> = (0..=visibility.len()).collect();
    fn open(next: &mut [usize], mut row: usize) -> usize {
        while next[row] != row {
            next[row] = next[next[row]];
            row = next[row];
        }
        row
    }
    for reader in readers {
        for interval in visibility.row(reader) {
            let mut row = open(&mut next, interval.start as usize);
            while row < interval.end as usize {
                found[row] = Some(reader as u32);
                next[row] = row + 1;
                row = open(&mut next, row);
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::{Numbers, random_visibility};

    #[test]
    fn readers_bound_all_rows_that_see_a_row() {
        for seed in 0..50 {
            let mut numbers = Numbers(seed);
            let lengths = [1 + numbers.below(9) as usize, 1 + numbers.below(30) as usize];
            let visibility = random_visibility(&lengths, &mut numbers);
            let readers = readers(&visibility);
            for row in 0..visibility.len() {
                let sees = |reader: &u32| visibility.row(*reader as usize).iter().any(|i| i.contains(&(row as u32)));
                let seeing: Vec<u32> = (0..visibility.len() as u32).filter(sees).collect();
                let expected = seeing.first().zip(seeing.last()).map_or([0, 0], |(a, b)| [*a, b + 1]);
                assert_eq!(readers[2 * row..][..2], expected, "seed {seed}, row {row}");
            }
        }
    }

    #[test]
    fn summaries_hold_what_any_row_sees_and_what_all_see() {
        for seed in 0..50 {
            let mut numbers = Numbers(seed);
            let lengths = [1 + numbers.below(40) as usize, 1 + numbers.below(90) as usize];
            let visibility = random_visibility(&lengths, &mut numbers);
            let summaries = summaries(&visibility);
            assert_eq!(summaries.len(), visibility.len().div_ceil(SUMMARY) * 8);
            for (summary, start) in summaries.chunks_exact(8).zip((0..).step_by(SUMMARY)) {
                let rows: Vec<usize> = (start..visibility.len().min(start + SUMMARY)).collect();
                for key in 0..visibility.len() as u32 {
                    for part in 0..2 {
                        let within = |numbers: &[u32]| numbers[0] <= key && key < numbers[1];
                        let sees = |&row: &usize| visibility.row(row)[part].contains(&key);
                        let all = rows.len() == SUMMARY && rows.iter().all(sees);
                        assert!(within(&summary[2 * part..]) || !rows.iter().any(sees), "seed {seed}, key {key}");
                        assert_eq!(within(&summary[4 + 2 * part..]), all, "seed {seed}, rows from {start}, key {key}");
                    }
                }
            }
        }
    }
}
