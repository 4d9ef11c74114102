//! Length.

use crate::{Attempt, Reward, RewardError};

/// 1 at so many characters, falling evenly to 0 at none and at twice as many.
#[derive(Debug)]
pub(super) struct Length {
    /// 1 or more.
    pub(super) characters: usize,
}

impl Reward for Length {
    fn name(&self) -> String {
        format!("length:{}", self.characters)
    }

    fn rewards(&self, attempts: &[Attempt<'_>]) -> Result<Vec<f64>, RewardError> {
        let worth = |attempt: &Attempt<'_>| {
            let distance = attempt.completion.chars().count().abs_diff(self.characters);
            (1.0 - distance as f64 / self.characters as f64).max(0.0)
        };
        Ok(attempts.iter().map(worth).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_are_counted_and_not_bytes() {
        let attempts = ["", "äö", "äöü", "äöüß", "äöüßäöüß", "äöüßäöüßx"];
        let attempts = attempts.map(|completion| Attempt { completion, ..Attempt::default() });
        assert_eq!(Length { characters: 4 }.rewards(&attempts).unwrap(), [0.0, 0.5, 0.75, 1.0, 0.0, 0.0]);
    }
}
