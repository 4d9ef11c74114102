//! How much of the codes is used.

use std::collections::BTreeMap;

/// How often each code occurred.
#[derive(Debug, Clone)]
pub struct CodeCounts {
    /// Codes that there are.
    codes: usize,
    /// How often each occurs that does: codecs may have more codes than memory has room for.
    counts: BTreeMap<u32, u64>,
}

impl CodeCounts {
    /// None of so many codes occurred yet.
    pub fn new(codes: usize) -> Self {
        Self { codes, counts: BTreeMap::new() }
    }

    /// Counts codes; those that there are not are passed over.
    pub fn add(&mut self, codes: &[u32]) {
        for &code in codes.iter().filter(|code| (**code as usize) < self.codes) {
            *self.counts.entry(code).or_default() += 1;
        }
    }

    /// Share of the codes that occurred at all.
    pub fn used(&self) -> f64 {
        self.counts.len() as f64 / self.codes.max(1) as f64
    }

    /// Perplexity of the codes: as many evenly used ones carry as much.
    pub fn perplexity(&self) -> f64 {
        let total = self.counts.values().sum::<u64>().max(1) as f64;
        let shares = self.counts.values().map(|count| *count as f64 / total);
        shares.map(|share| -share * share.ln()).sum::<f64>().exp()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_take_no_memory_before_they_occur() {
        let mut counts = CodeCounts::new(i32::MAX as usize);
        counts.add(&[7, i32::MAX as u32 - 1, u32::MAX]);
        assert_eq!(counts.used(), 2.0 / f64::from(i32::MAX));
        assert!((counts.perplexity() - 2.0).abs() < 1e-12);
    }
}
