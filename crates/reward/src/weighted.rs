//! A weighted sum of rewards.

use crate::{Attempt, Reward, RewardError, Seconds, reward};

/// Some rewards with what each weighs.
#[derive(Debug)]
pub struct Rewards {
    terms: Vec<(Box<dyn Reward>, f64)>,
}

/// What one attempt is worth.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Score {
    /// The weighted sum.
    pub total: f64,
    /// Whether each of the rewards is 1 or more.
    pub solved: bool,
}

impl Rewards {
    /// Rewards by name ([`reward`]), each with its weight.
    ///
    /// # Errors
    /// When there is no such reward, its argument does not fit, or there are none at all.
    pub fn new<'a>(names: impl IntoIterator<Item = (&'a str, f64)>, seconds: Seconds) -> Result<Self, RewardError> {
        let terms = names.into_iter().map(|(name, weight)| Ok((reward(name, seconds)?, weight)));
        Self::of(terms.collect::<Result<_, RewardError>>()?)
    }

    /// Rewards of one's own, each with its weight.
    ///
    /// # Errors
    /// When there are none.
    pub fn of(terms: Vec<(Box<dyn Reward>, f64)>) -> Result<Self, RewardError> {
        if terms.is_empty() {
            return Err(RewardError::Name { given: "[]".to_owned(), allowed: "one reward or more".to_owned() });
        }
        Ok(Self { terms })
    }

    /// What each attempt is worth, in their order.
    ///
    /// # Errors
    /// When a reward refuses, or is no finite number.
    pub fn scores(&self, attempts: &[Attempt<'_>]) -> Result<Vec<Score>, RewardError> {
        let mut scores = vec![Score { total: 0.0, solved: true }; attempts.len()];
        for (reward, weight) in &self.terms {
            let values = reward.rewards(attempts)?;
            if values.len() != attempts.len() {
                let reason = format!("gave {} rewards for {} attempts", values.len(), attempts.len());
                return Err(RewardError::Program { reward: reward.name(), reason });
            }
            for (index, (score, value)) in scores.iter_mut().zip(values).enumerate() {
                if !value.is_finite() {
                    return Err(RewardError::NotFinite { reward: reward.name(), index, value });
                }
                score.total += weight * value;
                score.solved &= value >= 1.0;
            }
        }
        Ok(scores)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Says the same of every attempt.
    #[derive(Debug)]
    struct Constant(f64);

    impl Reward for Constant {
        fn name(&self) -> String {
            "constant".to_owned()
        }

        fn rewards(&self, attempts: &[Attempt<'_>]) -> Result<Vec<f64>, RewardError> {
            Ok(vec![self.0; attempts.len()])
        }
    }

    #[test]
    fn what_is_no_number_is_refused_by_its_name_and_place() {
        for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            let rewards = Rewards::of(vec![(Box::new(Constant(value)), 1.0)]).unwrap();
            let refused = rewards.scores(&[Attempt::default()]).unwrap_err().to_string();
            assert_eq!(refused, format!("the reward `constant` of attempt 0 is {value}; allowed: a finite number"));
        }
        assert!(Rewards::of(Vec::new()).is_err());
    }

    #[test]
    fn a_sum_is_weighted_and_solved_where_each_part_is() {
        let of = |values: [f64; 2]| {
            let terms = values.into_iter().zip([1.0, -0.5]);
            let rewards = terms.map(|(value, weight)| (Box::new(Constant(value)) as Box<dyn Reward>, weight)).collect();
            Rewards::of(rewards).unwrap().scores(&[Attempt::default(); 2]).unwrap()
        };
        assert_eq!(of([1.0, 2.0]), [Score { total: 0.0, solved: true }; 2]);
        assert_eq!(of([1.0, 0.5]), [Score { total: 0.75, solved: false }; 2]);
    }
}
