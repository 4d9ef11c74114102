//! The order of the training canvases: a new permutation for each epoch, computed and not stored.
//!
//! A permutation of 0..n is a Feistel network over the next even number of bits (Luby and Rackoff 1988: a few rounds of
//! any keyed function permute), walked until it lands inside 0..n (Black and Rogaway 2002, "cycle walking": a
//! restriction of a permutation to a subset is a permutation). Position `k` of the whole training is thus a pure
//! function of the seed and `k`, and a run that stopped anywhere continues with its next canvas. The keyed function is
//! the finaliser of SplitMix64; it mixes well; secrecy is not needed here.

use crate::CorpusError;

/// Rounds of the network; four suffice for a pseudorandom permutation, two more cost nothing that could be measured.
const ROUNDS: u64 = 6;

/// Which canvas comes when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Order {
    seed: u64,
    count: u64,
}

impl Order {
    /// An order of `count` canvases for a seed.
    ///
    /// # Errors
    /// When `count` is zero.
    pub fn new(seed: u64, count: u64) -> Result<Self, CorpusError> {
        if count == 0 {
            return Err(CorpusError::NothingToOrder);
        }
        Ok(Self { seed, count })
    }

    /// The canvases of a step, each below the count. Steps count up from 0 and follow one another through the epochs; a
    /// batch that reaches over the end of an epoch goes on in the next.
    pub fn batch(&self, step: u64, size: usize) -> Vec<u64> {
        let first = step.wrapping_mul(size as u64);
        (0..size as u64).map(|offset| self.at(first.wrapping_add(offset))).collect()
    }

    /// The canvas at a place of the whole training.
    pub fn at(&self, place: u64) -> u64 {
        self.permute(place / self.count, place % self.count)
    }

    fn permute(&self, epoch: u64, index: u64) -> u64 {
        let bits = u64::BITS - (self.count - 1).leading_zeros();
        let half = bits.div_ceil(2);
        let mask = (1u64 << half) - 1;
        let key = mix(mix(self.seed) ^ epoch);
        let mut value = index;
        loop {
            let (mut left, mut right) = (value >> half, value & mask);
            for round in 0..ROUNDS {
                let next = left ^ (mix(key ^ mix((round << 32) ^ right)) & mask);
                (left, right) = (right, next);
            }
            value = (left << half) | right;
            if value < self.count {
                return value;
            }
        }
    }
}

/// The finaliser of SplitMix64 (Steele, Lea and Flood 2014), after its increment.
fn mix(value: u64) -> u64 {
    let mut mixed = value.wrapping_add(0x9E37_79B9_7F4A_7C15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn every_epoch_is_a_permutation(seed in any::<u64>(), count in 1u64..400, epoch in 0u64..4) {
            let order = Order::new(seed, count).unwrap();
            let visited: BTreeSet<u64> = (epoch * count..(epoch + 1) * count).map(|place| order.at(place)).collect();
            prop_assert_eq!(visited, (0..count).collect::<BTreeSet<_>>());
        }

        #[test]
        fn stopping_anywhere_changes_nothing(seed in any::<u64>(), count in 1u64..50, size in 1usize..9, stop in 0u64..20) {
            let straight: Vec<u64> = (0..30).flat_map(|step| Order::new(seed, count).unwrap().batch(step, size)).collect();
            let before = (0..stop).flat_map(|step| Order::new(seed, count).unwrap().batch(step, size));
            let after = (stop..30).flat_map(|step| Order::new(seed, count).unwrap().batch(step, size));
            prop_assert_eq!(before.chain(after).collect::<Vec<_>>(), straight);
        }
    }

    #[test]
    fn epochs_and_seeds_differ() {
        let epoch = |seed, epoch: u64| -> Vec<u64> {
            let order = Order::new(seed, 1000).unwrap();
            (0..1000).map(|index| order.at(1000 * epoch + index)).collect()
        };
        let fixed = |left: &[u64], right: &[u64]| left.iter().zip(right).filter(|(a, b)| a == b).count();
        // Two independent permutations agree in one place on average.
        assert!(fixed(&epoch(1, 0), &epoch(1, 1)) < 10);
        assert!(fixed(&epoch(1, 0), &epoch(2, 0)) < 10);
        assert!(fixed(&epoch(1, 0), &(0..1000).collect::<Vec<_>>()) < 10);
    }

    #[test]
    fn every_place_is_as_likely_as_every_other() {
        // 8 canvases, 4000 seeds: each of the 64 pairs (place, canvas) is expected 500 times, deviation about 21.
        let mut counts = [[0u32; 8]; 8];
        for seed in 0..4000 {
            let order = Order::new(seed, 8).unwrap();
            for (place, row) in counts.iter_mut().enumerate() {
                row[order.at(place as u64) as usize] += 1;
            }
        }
        let squares: f64 = counts.iter().flatten().map(|&count| (f64::from(count) - 500.0).powi(2) / 500.0).sum();
        // Chi-square with 49 degrees of freedom exceeds 100 with probability 2e-5; the seeds are fixed.
        assert!(squares < 100.0, "{squares}");
    }

    #[test]
    fn nothing_cannot_be_ordered() {
        assert!(matches!(Order::new(0, 0), Err(CorpusError::NothingToOrder)));
        assert_eq!(Order::new(3, 1).unwrap().batch(5, 2), [0, 0]);
    }
}
