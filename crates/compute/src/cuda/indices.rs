//! Lists of rows on a GPU, with what the host derives from them on first use.

use super::Cuda;
use super::arguments::In;
use super::memory::Array;
use crate::DeviceError;
use std::collections::BTreeMap;
use std::sync::OnceLock;

/// A list of rows, tokens or positions on a GPU.
#[derive(Debug)]
pub struct GpuIndices {
    values: Vec<u32>,
    on_device: Array<u32>,
    grouped: OnceLock<Grouped>,
    levels: OnceLock<(Array<u32>, Vec<Level>)>,
    last: OnceLock<Last>,
}

/// Equal ids side by side: the places of each in their order, where each one's places end, and the ids.
#[derive(Debug)]
pub(super) struct Grouped {
    pub(super) rows: Array<u32>,
    pub(super) ends: Array<u32>,
    pub(super) ids: Array<u32>,
}

/// Rows of a piece of a sum: enough to make up for the piece's own row, which is written and read once more, and few enough
/// for one thread.
pub(super) const PIECE: usize = 32;

/// Pieces of sums over rows with equal ids. Of an id with more rows than a piece has, the sums of the pieces are the rows
/// of the next level.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Pieces {
    /// The rows of one piece after another.
    pub(super) rows: Vec<u32>,
    /// Where each piece's rows end.
    pub(super) ends: Vec<u32>,
    /// The id of each.
    pub(super) ids: Vec<u32>,
    /// So many at first are parts of an id's rows.
    pub(super) split: usize,
}

impl Pieces {
    fn push(&mut self, id: u32, rows: &[u32]) {
        self.rows.extend(rows);
        self.ends.push(self.rows.len() as u32);
        self.ids.push(id);
    }

    /// Level by level, until every id's sum is one piece; the order of the rows of an id is theirs.
    pub(super) fn levels(values: &[u32]) -> Vec<Self> {
        let (mut groups, mut levels) = (by_id(values), Vec::new());
        while !groups.is_empty() {
            let (long, short): (Vec<_>, Vec<_>) = groups.into_iter().partition(|(_, rows)| rows.len() > PIECE);
            let mut level = Self::default();
            let cut = |(id, rows): (u32, Vec<u32>)| {
                let first = level.ids.len() as u32;
                rows.chunks(PIECE).for_each(|piece| level.push(id, piece));
                (id, (first..level.ids.len() as u32).collect())
            };
            groups = long.into_iter().map(cut).collect();
            level.split = level.ids.len();
            short.into_iter().for_each(|(id, rows)| level.push(id, &rows));
            levels.push(level);
        }
        levels
    }
}

/// Each id with its rows, in their order.
fn by_id(values: &[u32]) -> Vec<(u32, Vec<u32>)> {
    let mut rows: Vec<u32> = (0..values.len() as u32).collect();
    let id = |row: &u32| values[*row as usize];
    rows.sort_by_key(id);
    rows.chunk_by(|a, b| id(a) == id(b)).map(|rows| (id(&rows[0]), rows.to_vec())).collect()
}

/// [`Pieces`] on a GPU.
#[derive(Debug)]
pub(super) struct Level {
    pub(super) pieces: usize,
    pub(super) split: usize,
    pub(super) rows: In<u32>,
    pub(super) ends: In<u32>,
    pub(super) ids: In<u32>,
}

/// Each id once, with the last of its places.
#[derive(Debug)]
pub(super) struct Last {
    pub(super) ids: Array<u32>,
    pub(super) places: Array<u32>,
}

impl GpuIndices {
    pub(super) fn new(device: &Cuda, values: &[u32]) -> Result<Self, DeviceError> {
        let on_device = device.store(values)?;
        let (grouped, levels, last) = (OnceLock::new(), OnceLock::new(), OnceLock::new());
        Ok(Self { values: values.to_vec(), on_device, grouped, levels, last })
    }

    pub(super) fn len(&self) -> usize {
        self.values.len()
    }

    pub(super) fn largest(&self) -> u32 {
        self.values.iter().copied().max().unwrap_or(0)
    }

    pub(super) fn input(&self) -> In<u32> {
        self.on_device.input()
    }
}

impl Cuda {
    /// Equal ids gathered, so that no two threads add to one place.
    pub(super) fn grouped<'a>(&self, indices: &'a GpuIndices) -> &'a Grouped {
        indices.grouped.get_or_init(|| {
            let mut all = Pieces::default();
            by_id(&indices.values).into_iter().for_each(|(id, rows)| all.push(id, &rows));
            let [rows, ends, ids] = [all.rows, all.ends, all.ids].map(|values| self.must_store(&values));
            Grouped { rows, ends, ids }
        })
    }

    /// Sums over rows with equal ids, cut into pieces.
    pub(super) fn levels<'a>(&self, indices: &'a GpuIndices) -> &'a [Level] {
        let (_, levels) = indices.levels.get_or_init(|| {
            let levels = Pieces::levels(&indices.values);
            let all: Vec<u32> =
                levels.iter().flat_map(|level| [&level.rows, &level.ends, &level.ids]).flatten().copied().collect();
            let stored = self.must_store(&all);
            let mut rest = stored.input();
            let mut next = |list: &Vec<u32>| {
                let at = rest;
                rest = rest.skip(list.len());
                at
            };
            let of = |level: Pieces| {
                let [rows, ends, ids] = [&level.rows, &level.ends, &level.ids].map(&mut next);
                Level { pieces: level.ids.len(), split: level.split, rows, ends, ids }
            };
            (stored, levels.into_iter().map(of).collect())
        });
        levels
    }

    /// In the order of the rows the last of equal ids stays; threads have no order.
    pub(super) fn last<'a>(&self, indices: &'a GpuIndices) -> &'a Last {
        indices.last.get_or_init(|| {
            let last: BTreeMap<u32, u32> = indices.values.iter().copied().zip(0..).collect();
            let (ids, places): (Vec<u32>, Vec<u32>) = last.into_iter().unzip();
            Last { ids: self.must_store(&ids), places: self.must_store(&places) }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sum_of_many_rows_is_cut_until_no_piece_is_long() {
        // Of 5 there are as many as 33 pieces, of 2 one more than a piece has, of 9 a piece, of 7 one.
        let mut values = vec![5; 33 * PIECE];
        values.extend(std::iter::repeat_n(2, PIECE + 1).chain(std::iter::repeat_n(9, PIECE)).chain([7, 5]));
        let levels = Pieces::levels(&values);
        let counts = |level: &Pieces| (level.ids.len(), level.split);
        // 2 and 34 pieces at first, whose ids come before those of one piece.
        assert_eq!(levels.iter().map(counts).collect::<Vec<_>>(), [(38, 36), (3, 2), (1, 0)]);
        assert_eq!([levels[0].ids[1], levels[0].ids[2]], [2, 5]);
        assert_eq!(levels[0].ids[36..], [7, 9]);
        assert_eq!((&levels[1].ids[..], &levels[1].ends[..]), (&[5, 5, 2][..], &[32, 34, 36][..]));
        assert_eq!(levels[2], Pieces { rows: vec![0, 1], ends: vec![2], ids: vec![5], split: 0 });
        for level in &levels {
            let starts = std::iter::once(&0).chain(&level.ends);
            assert!(starts.zip(&level.ends).all(|(start, end)| ((start + 1)..=(start + PIECE as u32)).contains(end)));
        }
        assert_eq!(Pieces::levels(&[]), []);
    }
}
