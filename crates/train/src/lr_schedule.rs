//! The learning rate of each step: linear warm-up, then warm-up–stable–decay (Hu et al., 2404.06395, section 4), half a
//! cosine (Loshchilov & Hutter, 1608.03983, equation 5) or nothing more.
//!
//! `wsd` is the default because a run that is stopped in its stable part can go on for longer than planned, or decay
//! at once, without a restart: the decay is a function of the total number of steps alone.

use crate::recipe::{LrSchedule, OptimiserRecipe};

/// Factor of the peak learning rate at `step` (counted from 0) of `steps`.
pub fn learning_rate_factor(recipe: &OptimiserRecipe, step: u64, steps: u64) -> f64 {
    let warm = if step < recipe.warm_up { (step + 1) as f64 / recipe.warm_up as f64 } else { 1.0 };
    let floor = recipe.floor;
    let slow = match recipe.lr_schedule {
        LrSchedule::Constant => 1.0,
        LrSchedule::Wsd => {
            let decaying = (steps as f64 * recipe.decay).max(f64::MIN_POSITIVE);
            let left = steps.saturating_sub(step) as f64 / decaying;
            floor + (1.0 - floor) * left.min(1.0)
        }
        LrSchedule::Cosine => {
            let after = step.saturating_sub(recipe.warm_up) as f64;
            let whole = steps.saturating_sub(recipe.warm_up).max(1) as f64;
            floor + (1.0 - floor) * 0.5 * (1.0 + (std::f64::consts::PI * (after / whole).min(1.0)).cos())
        }
    };
    warm * slow
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Overrides, Recipe};

    fn recipe(name: &str) -> OptimiserRecipe {
        let text = format!(
            "output = 'x'\n[data]\ntrain = [{{ path = 'a' }}]\nvalid = [{{ path = 'b' }}]\n\
             [optimiser]\nlr_schedule = '{name}'\nwarm_up = 10\ndecay = 0.2\nfloor = 0.1"
        );
        Recipe::parse(&text, &Overrides::default()).unwrap().resolve().unwrap().optimiser
    }

    #[test]
    fn warms_up_stays_and_decays() {
        let wsd = recipe("wsd");
        let at = |step| learning_rate_factor(&wsd, step, 100);
        assert!((at(0) - 0.1).abs() < 1e-12 && (at(4) - 0.5).abs() < 1e-12);
        assert_eq!((at(9), at(50), at(80)), (1.0, 1.0, 1.0));
        assert!((at(90) - 0.55).abs() < 1e-12, "half way down from 1 to 0.1, not {}", at(90));
        assert!((at(100) - 0.1).abs() < 1e-12);

        let cosine = recipe("cosine");
        assert!((learning_rate_factor(&cosine, 55, 100) - 0.55).abs() < 1e-12);
        assert!((learning_rate_factor(&cosine, 100, 100) - 0.1).abs() < 1e-12);
        let constant = recipe("constant");
        assert_eq!(learning_rate_factor(&constant, 99, 100), 1.0);
    }

    #[test]
    fn never_rises_after_the_warm_up() {
        for name in ["wsd", "cosine", "constant"] {
            let recipe = recipe(name);
            let rates: Vec<f64> = (10..=200).map(|step| learning_rate_factor(&recipe, step, 200)).collect();
            assert!(rates.windows(2).all(|w| w[1] <= w[0]), "{name}");
        }
    }
}
