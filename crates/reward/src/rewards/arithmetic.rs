//! Arithmetic: the prompt ends in an expression, the completion is its value.

use crate::expression::read;
use crate::{Attempt, Reward, RewardError};

/// 1 where the completion is a number, or an expression, of the value that the prompt's last line has (without `=` or `?`
/// at its end, and behind its last colon).
#[derive(Debug)]
pub(super) struct Arithmetic;

impl Reward for Arithmetic {
    fn name(&self) -> String {
        "arithmetic".to_owned()
    }

    fn rewards(&self, attempts: &[Attempt<'_>]) -> Result<Vec<f64>, RewardError> {
        attempts.iter().map(|attempt| self.reward(attempt)).collect()
    }
}

impl Arithmetic {
    fn reward(&self, attempt: &Attempt<'_>) -> Result<f64, RewardError> {
        let line = attempt.prompt.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
        let line = line.trim_end_matches(|c: char| c.is_whitespace() || c == '=' || c == '?');
        let expression = line.rsplit(':').next().and_then(read).and_then(|expression| expression.value);
        let Some(value) = expression else {
            let reason = "its last line is no expression of whole numbers with + - * / ( ) that has a value";
            return Err(RewardError::prompt(&self.name(), attempt.prompt, reason));
        };
        let written = read(attempt.completion).and_then(|expression| expression.value);
        Ok(f64::from(u8::from(written == Some(value))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_value_is_what_counts() {
        let worth = |prompt, completion| Arithmetic.rewards(&[Attempt { prompt, completion, ..Attempt::default() }]);
        assert_eq!(worth("What is: 7 * (8 - 2) = ?", " 42\n").unwrap(), [1.0]);
        assert_eq!(worth("1 / 4 =", "2 / 8").unwrap(), [1.0]);
        for wrong in ["41", "", "forty-two", "42.", "4 2"] {
            assert_eq!(worth("6 * 7 =", wrong).unwrap(), [0.0], "{wrong}");
        }
        assert!(worth("Once upon a time", "42").unwrap_err().to_string().contains("no expression"));
    }
}
