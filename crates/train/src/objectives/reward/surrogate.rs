//! What is minimised of an estimate of the log-probability, and its derivative with respect to it.

use crate::recipe::{AdvantageScale, KlEstimator, RewardRecipe, SurrogateKind};

/// The advantages of a group: rewards without their mean, in units of their standard deviation or as they are. All 0 where
/// the rewards are alike.
pub(crate) fn advantages(rewards: &[f64], scale: AdvantageScale) -> Vec<f64> {
    let count = rewards.len().max(1) as f64;
    let mean = rewards.iter().sum::<f64>() / count;
    if is_flat(rewards) {
        return vec![0.0; rewards.len()];
    }
    let deviation = (rewards.iter().map(|reward| (reward - mean).powi(2)).sum::<f64>() / count).sqrt();
    let unit = match scale {
        AdvantageScale::Deviation if deviation > 0.0 => deviation,
        _ => 1.0,
    };
    rewards.iter().map(|reward| (reward - mean) / unit).collect()
}

/// What is to be added to the advantages of a group so that the expected gradient is that of the entropy, from the
/// log-probabilities of its completions: `∇H = −E[(ln p − b) ∇ln p]`, with the group's mean for `b`.
pub(super) fn entropy_bonuses(log_probabilities: &[f64]) -> Vec<f64> {
    let mean = log_probabilities.iter().sum::<f64>() / log_probabilities.len().max(1) as f64;
    log_probabilities.iter().map(|ln_p| mean - ln_p).collect()
}

/// Whether the rewards of a group are alike, so that nothing follows from them.
pub(crate) fn is_flat(rewards: &[f64]) -> bool {
    rewards.windows(2).all(|pair| pair[0] == pair[1])
}

/// What the completions of a group weigh: their advantages, or how much more the softmax of the advantages gives them than
/// that of the opposites (wd1, 2507.08838, equation 8), as a multiple of an even share.
pub(super) fn factors(advantages: &[f64], surrogate: SurrogateKind) -> Vec<f64> {
    match surrogate {
        SurrogateKind::Clipped | SurrogateKind::Plain => advantages.to_vec(),
        SurrogateKind::Weighted => {
            let softmax = |sign: f64| {
                let most = advantages.iter().map(|a| sign * a).fold(f64::NEG_INFINITY, f64::max);
                let powers: Vec<f64> = advantages.iter().map(|a| (sign * a - most).exp()).collect();
                let sum: f64 = powers.iter().sum();
                powers.into_iter().map(move |power| power / sum)
            };
            let count = advantages.len() as f64;
            softmax(1.0).zip(softmax(-1.0)).map(|(more, less)| count * (more - less)).collect()
        }
    }
}

/// What an estimate costs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Cost {
    pub(super) value: f64,
    /// With respect to the estimate.
    pub(super) slope: f64,
    /// Whether the ratio went so far that nothing follows from it.
    pub(super) is_clipped: bool,
}

/// What an estimate costs that was `old` when the completion was drawn.
pub(super) fn cost(recipe: &RewardRecipe, factor: f64, new: f64, old: f64) -> Cost {
    match recipe.surrogate {
        SurrogateKind::Plain | SurrogateKind::Weighted => {
            Cost { value: -factor * new, slope: -factor, is_clipped: false }
        }
        SurrogateKind::Clipped => {
            let ratio = (new - old).exp();
            let bounded = ratio.clamp(1.0 - recipe.clip, 1.0 + recipe.clip);
            // The worse of both counts (PPO, 1707.06347, equation 7).
            match ratio * factor <= bounded * factor {
                true => Cost { value: -ratio * factor, slope: -ratio * factor, is_clipped: false },
                false => Cost { value: -bounded * factor, slope: 0.0, is_clipped: true },
            }
        }
    }
}

/// The divergence from a reference and its slope with respect to the estimate, of which the reference has another.
pub(super) fn divergence(estimator: KlEstimator, new: f64, reference: f64) -> (f64, f64) {
    let difference = new - reference;
    match estimator {
        KlEstimator::K2 => (0.5 * difference * difference, difference),
        KlEstimator::K3 => ((-difference).exp_m1() + difference, -(-difference).exp_m1()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Overrides, Recipe};

    fn recipe(set: &[&str]) -> RewardRecipe {
        let text = "output = 'x'\ninitial = 'tales'\n[data]\ntrain = [{ path = 'a' }]\n[objective]\nkind = 'reward'\n\
                    [reward]\nterms = [{ name = 'length:4' }]\ncompletion_length = 4\n";
        Recipe::parse(text, &Overrides::parse(set).unwrap()).unwrap().resolve().unwrap().reward.unwrap()
    }

    #[test]
    fn advantages_sum_to_zero_and_are_in_units_of_the_deviation() {
        let rewards = [0.1, 0.7, 0.7, 0.2, 1.0];
        for scale in [AdvantageScale::Deviation, AdvantageScale::Reward] {
            let advantages = advantages(&rewards, scale);
            assert!(advantages.iter().sum::<f64>().abs() < 1e-12);
            let variance = advantages.iter().map(|a| a * a).sum::<f64>() / 5.0;
            let expected = if scale == AdvantageScale::Deviation { 1.0 } else { 0.1144 };
            assert!((variance - expected).abs() < 1e-12, "{variance}");
        }
        // A sum of such rewards is not exactly their number times one of them.
        assert_eq!(advantages(&[0.1; 7], AdvantageScale::Deviation), [0.0; 7]);
        assert!(is_flat(&[0.1; 7]) && !is_flat(&[0.1, 0.2]));
    }

    #[test]
    fn weights_of_a_group_sum_to_zero_and_follow_the_advantages() {
        let advantages = advantages(&[0.0, 0.5, 1.0, 0.2], AdvantageScale::Reward);
        let factors = factors(&advantages, SurrogateKind::Weighted);
        assert!(factors.iter().sum::<f64>().abs() < 1e-12);
        assert!(factors[2] > factors[1] && factors[1] > factors[3] && factors[3] > factors[0]);
        let exact = |a: f64, sign: f64| {
            let sum: f64 = advantages.iter().map(|a| (sign * a).exp()).sum();
            (sign * a).exp() / sum
        };
        for (factor, a) in factors.iter().zip(&advantages) {
            assert!((factor - 4.0 * (exact(*a, 1.0) - exact(*a, -1.0))).abs() < 1e-12);
        }
    }

    #[test]
    fn slopes_are_derivatives_and_a_clipped_ratio_has_none() {
        let recipe = recipe(&["reward.clip=0.2"]);
        let at_first = cost(&recipe, 1.5, -3.0, -3.0);
        assert_eq!(at_first, Cost { value: -1.5, slope: -1.5, is_clipped: false });
        for factor in [2.0, -2.0] {
            for difference in [-0.5, -0.1, 0.1, 0.5] {
                let at = |new: f64| cost(&recipe, factor, new, -1.0);
                let new = -1.0 + difference;
                let slope = (at(new + 1e-6).value - at(new - 1e-6).value) / 2e-6;
                assert!((slope - at(new).slope).abs() < 1e-8, "{factor} {difference}");
                // What went too far where it was to go is held; what went the other direction is not.
                assert_eq!(at(new).is_clipped, difference.abs() > 0.2 && difference * factor > 0.0);
            }
        }
        for kl in [KlEstimator::K2, KlEstimator::K3] {
            for difference in [-0.7, 0.0, 0.3] {
                let at = |new: f64| divergence(kl, new, -2.0);
                let new = -2.0 + difference;
                let slope = (at(new + 1e-6).0 - at(new - 1e-6).0) / 2e-6;
                assert!((slope - at(new).1).abs() < 1e-8 && at(new).0 >= 0.0);
            }
        }
    }

    /// All groups of two draws of one token of three: the expected gradient is `(1 − 1/G)` times that of the entropy.
    #[test]
    fn bonuses_follow_the_gradient_of_the_entropy() {
        let logits = [0.3f64, -0.4, 1.1];
        let sum: f64 = logits.iter().map(|logit| logit.exp()).sum();
        let p = logits.map(|logit| logit.exp() / sum);
        let entropy: f64 = -p.iter().map(|p| p * p.ln()).sum::<f64>();
        let mut gradient = [0.0; 3];
        for one in 0..3 {
            for other in 0..3 {
                let bonuses = entropy_bonuses(&[p[one].ln(), p[other].ln()]);
                for (arm, bonus) in [one, other].into_iter().zip(bonuses) {
                    for (logit, gradient) in gradient.iter_mut().enumerate() {
                        let own = f64::from(u8::from(arm == logit)) - p[logit];
                        *gradient += p[one] * p[other] / 2.0 * bonus * own;
                    }
                }
            }
        }
        for logit in 0..3 {
            // d H / d logit = −p (ln p + H)
            let exact = -0.5 * p[logit] * (p[logit].ln() + entropy);
            assert!((gradient[logit] - exact).abs() < 1e-12, "{gradient:?} {exact}");
        }
    }

    /// One token of three arms with known rewards, groups of two: the expected gradient over all groups is `(1 − 1/G)`
    /// times that of the expected reward, since the mean of a group holds each completion's own reward.
    #[test]
    fn the_gradient_of_a_bandit_is_that_of_its_expected_reward() {
        let logits = [0.3f64, -0.4, 1.1];
        let rewards = [0.2, 1.0, 0.5];
        let sum: f64 = logits.iter().map(|logit| logit.exp()).sum();
        let p = logits.map(|logit| logit.exp() / sum);
        let mean: f64 = p.iter().zip(rewards).map(|(p, reward)| p * reward).sum();
        for surrogate in ["clipped", "plain"] {
            let recipe = recipe(&["reward.scale=reward", &format!("reward.surrogate={surrogate}")]);
            let mut gradient = [0.0; 3];
            for one in 0..3 {
                for other in 0..3 {
                    let group = [one, other];
                    let advantages = advantages(&group.map(|arm| rewards[arm]), recipe.scale);
                    let factors = factors(&advantages, recipe.surrogate);
                    for (arm, factor) in group.into_iter().zip(factors) {
                        let slope = cost(&recipe, factor, p[arm].ln(), p[arm].ln()).slope;
                        for (logit, gradient) in gradient.iter_mut().enumerate() {
                            // d ln p(arm) / d logit
                            let own = f64::from(u8::from(arm == logit)) - p[logit];
                            *gradient += p[one] * p[other] / 2.0 * slope * own;
                        }
                    }
                }
            }
            for logit in 0..3 {
                let exact = -0.5 * p[logit] * (rewards[logit] - mean);
                assert!((gradient[logit] - exact).abs() < 1e-12, "{surrogate}: {gradient:?} {exact}");
            }
        }
    }
}
