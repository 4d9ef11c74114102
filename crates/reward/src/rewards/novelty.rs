//! Repetition: what is written a second time is worth nothing.

use crate::{Attempt, Reward, RewardError};
use std::collections::HashSet;

/// The share of the completion's runs of so many words that are there for the first time (distinct-n: Li et al.,
/// 1510.03055, section 5.1); 0 for a completion of fewer words.
#[derive(Debug)]
pub(super) struct Novelty {
    /// 1 or more.
    pub(super) words: usize,
}

impl Reward for Novelty {
    fn name(&self) -> String {
        format!("novelty:{}", self.words)
    }

    fn rewards(&self, attempts: &[Attempt<'_>]) -> Result<Vec<f64>, RewardError> {
        let worth = |attempt: &Attempt<'_>| {
            let words: Vec<&str> = attempt.completion.split_whitespace().collect();
            let runs = words.windows(self.words);
            match runs.len() {
                0 => 0.0,
                count => runs.collect::<HashSet<_>>().len() as f64 / count as f64,
            }
        };
        Ok(attempts.iter().map(worth).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_count_once() {
        let attempts = ["the fox the fox the fox", "a b c d", "one", ""];
        let attempts = attempts.map(|completion| Attempt { completion, ..Attempt::default() });
        assert_eq!(Novelty { words: 2 }.rewards(&attempts).unwrap(), [0.4, 1.0, 0.0, 0.0]);
    }
}
