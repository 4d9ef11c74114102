//! Countdown: make a target of some numbers by arithmetic.

use crate::expression::{Fraction, read};
use crate::{Attempt, Reward, RewardError};

/// What an expression of the right numbers with another value is worth.
const RIGHT_NUMBERS: f64 = 0.1;

/// The last line of the prompt that has whole numbers names them, the target last: `3 5 7 = 22`. An expression of all of
/// them, each once, is worth 1 where it has the target's value and 0.1 where it has another (d1, 2504.12216, section 4);
/// anything else is worth nothing. What stands behind `=` in the completion is not read.
#[derive(Debug)]
pub(super) struct Countdown;

impl Reward for Countdown {
    fn name(&self) -> String {
        "countdown".to_owned()
    }

    fn rewards(&self, attempts: &[Attempt<'_>]) -> Result<Vec<f64>, RewardError> {
        attempts.iter().map(|attempt| self.reward(attempt)).collect()
    }
}

impl Countdown {
    fn reward(&self, attempt: &Attempt<'_>) -> Result<f64, RewardError> {
        let lines = attempt.prompt.lines().rev().map(whole_numbers);
        let mut numbers = lines.into_iter().find(|numbers| !numbers.is_empty()).unwrap_or_default();
        let (Some(target), false) = (numbers.pop(), numbers.is_empty()) else {
            let reason = "no line has some numbers and a target behind them";
            return Err(RewardError::prompt(&self.name(), attempt.prompt, reason));
        };
        let written = attempt.completion.split('=').next().unwrap_or_default();
        let Some(mut expression) = read(written) else { return Ok(0.0) };
        numbers.sort_unstable();
        expression.numbers.sort_unstable();
        Ok(match (expression.numbers == numbers, expression.value == Some(Fraction::whole(target))) {
            (true, true) => 1.0,
            (true, false) => RIGHT_NUMBERS,
            (false, _) => 0.0,
        })
    }
}

/// The runs of digits of a line, without those that no number holds.
fn whole_numbers(line: &str) -> Vec<i64> {
    line.split(|c: char| !c.is_ascii_digit()).filter_map(|digits| digits.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_number_is_used_once_and_the_target_is_met() {
        let worth = |prompt, completion| Countdown.rewards(&[Attempt { prompt, completion, ..Attempt::default() }]);
        let prompt = "Example: 1 2 = 3\nNumbers 3, 5 and 7; target 22:";
        for (completion, expected) in [
            (" 3 * 5 + 7", 1.0),
            ("3 * 5 + 7 = 22", 1.0),
            ("(3 + 5) * 7", 0.1),
            ("3 * 5 + 7 + 0", 0.0),
            ("15 + 7", 0.0),
            ("22", 0.0),
            ("3 + 5 + 7 + 7", 0.0),
            ("3 / (5 - 5) + 7", 0.0),
            ("", 0.0),
        ] {
            assert_eq!(worth(prompt, completion).unwrap(), [expected], "{completion}");
        }
        assert_eq!(worth("4 4 4 = 0", "4 / (4 - 4)").unwrap(), [0.1]);
        assert!(worth("Make 22", "22").unwrap_err().to_string().contains("some numbers and a target"));
    }
}
