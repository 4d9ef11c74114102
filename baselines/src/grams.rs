//! Counts of n-grams, by sorting: every n-gram is one number, and equal numbers end up side by side.
//!
//! A hundred million n-grams take a few bytes each and no hash table. An n-gram of symbols below V is a number in base
//! V, first symbol first, so that those that share a context (all but the last symbol) are neighbours too.

use std::ops::Range;

/// N-grams that are sorted at a time before they are merged with the others.
const CHUNK: usize = 1 << 25;

/// Distinct n-grams in ascending order, and how often each counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Grams {
    pub(crate) keys: Vec<u64>,
    pub(crate) counts: Vec<u32>,
}

impl Grams {
    /// The n-grams of `order` symbols that end at each symbol of `stream` from `order - 1` on.
    pub(crate) fn count(stream: &[u32], order: usize, base: u64) -> Self {
        let mut all = Self::default();
        let first = order - 1;
        for start in (first..stream.len()).step_by(CHUNK) {
            let end = (start + CHUNK).min(stream.len());
            let keys = (start..end).map(|last| key(&stream[last - first..=last], base)).collect();
            all = all.merged(Self::of(keys));
        }
        all
    }

    /// How many different symbols stand before each of the shorter n-grams in which these end. `power` is V to the
    /// number of symbols of the shorter ones.
    pub(crate) fn continuations(&self, power: u64) -> Self {
        Self::of(self.keys.iter().map(|key| key % power).collect())
    }

    fn of(mut keys: Vec<u64>) -> Self {
        keys.sort_unstable();
        let mut counts: Vec<u32> = Vec::new();
        let mut distinct = 0;
        for at in 0..keys.len() {
            if at > 0 && keys[at] == keys[distinct - 1] {
                counts[distinct - 1] += 1;
            } else {
                keys[distinct] = keys[at];
                counts.push(1);
                distinct += 1;
            }
        }
        keys.truncate(distinct);
        keys.shrink_to_fit();
        counts.shrink_to_fit();
        Self { keys, counts }
    }

    fn merged(self, other: Self) -> Self {
        if self.keys.is_empty() {
            return other;
        }
        let mut merged = Self::default();
        merged.keys.reserve(self.keys.len() + other.keys.len());
        merged.counts.reserve(self.keys.len() + other.keys.len());
        let (mut a, mut b) = (0, 0);
        while a < self.keys.len() || b < other.keys.len() {
            let (left, right) = (self.keys.get(a), other.keys.get(b));
            let key = match (left, right) {
                (Some(&left), Some(&right)) => left.min(right),
                (Some(&key), None) | (None, Some(&key)) => key,
                (None, None) => break,
            };
            let mut count = 0;
            if left == Some(&key) {
                count += self.counts[a];
                a += 1;
            }
            if right == Some(&key) {
                count += other.counts[b];
                b += 1;
            }
            merged.keys.push(key);
            merged.counts.push(count);
        }
        merged
    }

    /// How often an n-gram counts.
    pub(crate) fn get(&self, key: u64) -> u32 {
        self.keys.binary_search(&key).map_or(0, |at| self.counts[at])
    }

    /// Where the n-grams are that begin with a context.
    pub(crate) fn after(&self, context: u64, base: u64) -> Range<usize> {
        let start = self.keys.partition_point(|&key| key / base < context);
        let end = start + self.keys[start..].partition_point(|&key| key / base == context);
        start..end
    }
}

/// Symbols as one number.
pub(crate) fn key(symbols: &[u32], base: u64) -> u64 {
    symbols.iter().fold(0, |key, &symbol| key * base + u64::from(symbol))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn n_grams_are_counted_and_found_by_their_context() {
        let stream = [0, 1, 2, 1, 2, 0, 1, 2];
        let pairs = Grams::count(&stream, 2, 3);
        assert_eq!(pairs.get(key(&[1, 2], 3)), 3);
        assert_eq!(pairs.get(key(&[0, 1], 3)), 2);
        assert_eq!(pairs.get(key(&[0, 0], 3)), 0);
        let after_two: Vec<u64> = pairs.keys[pairs.after(2, 3)].to_vec();
        assert_eq!(after_two, [key(&[2, 0], 3), key(&[2, 1], 3)]);
        assert!(pairs.after(7, 3).is_empty());
        // Before 1 stand 0 and 2; before 2 stands only 1; before 0 stands 2.
        assert_eq!(pairs.continuations(3), Grams { keys: vec![0, 1, 2], counts: vec![1, 2, 1] });
    }

    #[test]
    fn merging_adds_counts() {
        let (a, b) = (Grams::of(vec![5, 1, 5]), Grams::of(vec![7, 5, 0]));
        assert_eq!(a.merged(b), Grams { keys: vec![0, 1, 5, 7], counts: vec![1, 1, 3, 1] });
    }
}
