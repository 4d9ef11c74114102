//! LLaDA's `generate.py` with iLLaDA's shape (golden/illada/README.md).

use super::llada::steps;
use super::{Case, follow};

#[test]
fn the_sampler_of_illada_is_followed_step_by_step() {
    follow("illada", &[Case::new("low_confidence_blocks", steps).begun()]);
}
