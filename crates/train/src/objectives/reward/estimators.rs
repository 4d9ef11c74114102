//! The estimators that a recipe names.

mod bound;
mod coupled;
mod mean_field;
pub(super) mod trace;
mod two_sided;

use super::estimator::Estimator;
use crate::recipe::{EstimatorKind, RewardRecipe};

/// The estimator of a recipe.
pub(super) fn of(recipe: &RewardRecipe) -> Box<dyn Estimator> {
    let readings = recipe.readings;
    match recipe.estimator {
        EstimatorKind::MeanField => Box::new(mean_field::MeanField { hidden_prompt: recipe.hidden_prompt }),
        EstimatorKind::Coupled => Box::new(coupled::Coupled),
        EstimatorKind::Bound => Box::new(bound::Bound { readings }),
        EstimatorKind::Trace => Box::new(trace::Trace { readings }),
        EstimatorKind::TwoSided => Box::new(two_sided::TwoSided { readings }),
    }
}
