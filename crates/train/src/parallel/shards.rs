//! Which rank answers for which parameters: the sums of gradients end there, and there they are updated where the states of
//! the optimiser are sharded.
//!
//! What an optimiser takes as a whole matrix (Muon) belongs to one rank: the largest ones are given out first, each to the rank
//! that has the least so far. All other parameters are laid one behind the other and cut into equal parts, wherever that is.
//! Both are functions of the parameters and the number of ranks alone, so that ranks need not tell each other.

use aquatint_compute::{Device, DeviceError, Part};
use std::cmp::Reverse;
use std::ops::Range;

/// Cuts within a parameter lie at multiples of so many elements: 256 bytes of f32, what memory is aligned to.
const GRAIN: usize = 64;

/// Elements of a parameter that one rank answers for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Piece {
    /// Which of the parameters that learn.
    pub(crate) parameter: usize,
    pub(crate) range: Range<usize>,
}

/// The pieces of each rank: each element of each parameter is in one of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Shards {
    of_rank: Vec<Vec<Piece>>,
}

impl Shards {
    /// For parameters of so many elements each, some of which belong to one rank as a whole.
    pub(crate) fn new(parameters: &[(usize, bool)], ranks: usize) -> Self {
        let mut of_rank = vec![Vec::new(); ranks];
        let mut whole: Vec<usize> = (0..parameters.len()).filter(|&index| parameters[index].1).collect();
        whole.sort_by_key(|&index| (Reverse(parameters[index].0), index));
        let mut loads = vec![0; ranks];
        for parameter in whole {
            let (len, _) = parameters[parameter];
            let least = (0..ranks).min_by_key(|&rank| loads[rank]).unwrap_or_default();
            loads[least] += len;
            of_rank[least].push(Piece { parameter, range: 0..len });
        }
        let divided = parameters.iter().enumerate().filter(|(_, (_, whole))| !whole);
        let total: usize = divided.clone().map(|(_, (len, _))| len).sum();
        let (mut before, mut rank) = (0, 0);
        for (parameter, &(len, _)) in divided {
            let mut first = 0;
            while first < len {
                // Where this rank's part ends in this parameter.
                let end = (total * (rank + 1) / ranks).saturating_sub(before).next_multiple_of(GRAIN).min(len);
                let end = if rank + 1 == ranks { len } else { end };
                if end > first {
                    of_rank[rank].push(Piece { parameter, range: first..end });
                    first = end;
                }
                if first < len {
                    rank += 1;
                }
            }
            before += len;
        }
        of_rank.iter_mut().for_each(|pieces| pieces.sort_by_key(|piece| piece.parameter));
        Self { of_rank }
    }

    /// The pieces of each rank, by parameter.
    pub(crate) fn of_ranks(&self) -> &[Vec<Piece>] {
        &self.of_rank
    }
}

impl Piece {
    /// Whether it is all of a buffer.
    pub(crate) fn is_whole<D: Device>(&self, device: &D, buffer: &D::Buffer) -> bool {
        self.range.len() == device.len(buffer)
    }

    /// Its elements of a buffer of its parameter, in a buffer of their own.
    pub(crate) fn cut<D: Device>(&self, device: &D, buffer: &D::Buffer) -> Result<D::Buffer, DeviceError> {
        let mut own = device.uninitialised(self.range.len())?;
        device.copy(Part { buffer, first: self.range.start, len: self.range.len() }, &mut own, 0);
        Ok(own)
    }

    /// Puts them back.
    pub(crate) fn paste<D: Device>(&self, device: &D, own: &D::Buffer, buffer: &mut D::Buffer) {
        device.copy(Part { buffer: own, first: 0, len: self.range.len() }, buffer, self.range.start);
    }

    /// Its elements of a buffer of its parameter.
    pub(crate) fn read<D: Device>(&self, device: &D, buffer: &D::Buffer) -> Result<Vec<D::Element>, DeviceError> {
        match self.is_whole(device, buffer) {
            true => Ok(device.download(buffer)),
            false => Ok(device.download(&self.cut(device, buffer)?)),
        }
    }

    /// Overwrites them.
    pub(crate) fn write<D: Device>(
        &self,
        device: &D,
        values: &[D::Element],
        buffer: &mut D::Buffer,
    ) -> Result<(), DeviceError> {
        if self.is_whole(device, buffer) {
            device.write(buffer, values);
        } else {
            self.paste(device, &device.upload(values)?, buffer);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lengths(shards: &Shards) -> Vec<usize> {
        shards.of_rank.iter().map(|pieces| pieces.iter().map(|piece| piece.range.len()).sum()).collect()
    }

    #[test]
    fn each_element_belongs_to_one_rank_and_shards_are_level() {
        let parameters = [
            (100_000, false),
            (64, false),
            (4096, true),
            (0, false),
            (16_384, true),
            (4096, true),
            (1, false),
            (4096, true),
            (77, false),
        ];
        for ranks in [1, 2, 3, 4, 7, 64, 5000] {
            let shards = Shards::new(&parameters, ranks);
            let mut owners: Vec<Vec<usize>> = parameters.iter().map(|(len, _)| vec![0; *len]).collect();
            for Piece { parameter, range } in shards.of_rank.iter().flatten() {
                assert!(!parameters[*parameter].1 || *range == (0..parameters[*parameter].0));
                assert!(range.start.is_multiple_of(GRAIN) && !range.is_empty(), "{range:?}");
                range.clone().for_each(|index| owners[*parameter][index] += 1);
            }
            assert!(owners.into_iter().flatten().all(|count| count == 1), "{ranks}");
            for pieces in &shards.of_rank {
                assert!(
                    pieces.windows(2).all(|two| two[0].parameter < two[1].parameter),
                    "a rank has one piece of each"
                );
            }
            let most = lengths(&shards).into_iter().max().unwrap();
            let divided = 100_142_usize.div_ceil(ranks) + 2 * GRAIN;
            assert!(most <= divided + (3 * 4096 + 16_384_usize).div_ceil(ranks).max(16_384), "{ranks}: {most}");
        }
        assert_eq!(lengths(&Shards::new(&parameters[..3], 1)), [104_160]);
        // Two of the small ones beside each other are still less than the large one.
        let wholes = |rank: usize| {
            let shards = Shards::new(&parameters, 2);
            let of_rank = shards.of_rank[rank].iter().filter(|piece| parameters[piece.parameter].1);
            of_rank.map(|piece| piece.range.len()).collect::<Vec<_>>()
        };
        assert_eq!((wholes(0), wholes(1)), (vec![16_384], vec![4096; 3]));
    }

    #[test]
    fn no_parameters_are_no_pieces() {
        assert_eq!(Shards::new(&[], 3).of_rank, vec![Vec::new(); 3]);
    }
}
