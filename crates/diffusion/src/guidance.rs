//! Guidance on the prediction about clean tokens, without a classifier (SMDM, 2410.18514; LLaDA, 2502.09992) and by one
//! (D-CBG, 2412.10193).
//!
//! Without: `log p = u + s (c − u)` up to a constant, with c and u the logits with and without the condition; s = 1 changes
//! nothing. Others count from 0: their `cfg_scale` w is s = w + 1, see [`guidance_scale`].

use crate::TokenId;

/// Writes the guided logits of one or several rows into `out`: `u + s (c − u)` for each entry.
///
/// A token that the conditional prediction excludes (−∞) stays excluded at any scale. Entries beyond the shortest of
/// the three slices are not touched.
pub fn guide(conditional: &[f32], unconditional: &[f32], scale: f64, out: &mut [f32]) {
    for ((out, &c), &u) in out.iter_mut().zip(conditional).zip(unconditional) {
        // Where one of the two is −∞ the formula is ∞ − ∞; the condition has the last word. What is not a number stays
        // so.
        let excluded = c == f32::NEG_INFINITY || (u == f32::NEG_INFINITY && c.is_finite());
        *out = if scale == 1.0 || excluded { c } else { (f64::from(u) + scale * (f64::from(c) - f64::from(u))) as f32 };
    }
}

/// Guides the logits of one row by a classifier: `log p(v) + s (log p(y | z with v in this place) − log p(y | z))` for each token
/// `v` that was tried. `tried` are those tokens with the classifier's log-probability of the target, and `untried` is that of the
/// canvas as it stands, so that all others keep their logits. Excluded tokens (−∞) stay excluded, and at scale 0 nothing changes.
/// Where the canvas as it stands excludes the target, only tokens stay that make it possible.
pub fn guide_by_classifier(logits: &mut [f32], tried: &[(TokenId, f64)], untried: f64, scale: f64) {
    if scale == 0.0 {
        return;
    }
    let neutral = if untried.is_finite() { untried } else { 0.0 };
    let mut gains = vec![scale * (untried - neutral); logits.len()];
    for (token, log_probability) in tried {
        if let Some(gain) = gains.get_mut(*token as usize) {
            *gain = scale * (log_probability - neutral);
        }
    }
    for (logit, gain) in logits.iter_mut().zip(gains) {
        *logit = (f64::from(*logit) + gain) as f32;
    }
}

/// The guidance scale that others call `cfg_scale`: off at 0 there, off at 1 here.
pub fn guidance_scale(cfg_scale: f64) -> f64 {
    cfg_scale + 1.0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bayes: the law of a token given the target, where every token was tried at scale 1.
    #[test]
    fn a_classifier_gives_the_law_behind_its_target() {
        let (prior, likelihood) = ([0.5f64, 0.3, 0.2], [0.1f64, 0.6, 0.4]);
        let of = |scale: f64, tried: &[TokenId]| -> Vec<f64> {
            let mut logits = prior.map(|p| p.ln() as f32).to_vec();
            logits.push(f32::NEG_INFINITY);
            let tried: Vec<_> = tried.iter().map(|token| (*token, likelihood[*token as usize].ln())).collect();
            guide_by_classifier(&mut logits, &tried, 0.31f64.ln(), scale);
            assert_eq!(logits[3], f32::NEG_INFINITY);
            let weights: Vec<f64> = logits[..3].iter().map(|logit| f64::from(*logit).exp()).collect();
            weights.iter().map(|weight| weight / weights.iter().sum::<f64>()).collect()
        };
        let law = |weights: [f64; 3]| weights.map(|weight| weight / weights.iter().sum::<f64>());
        let close = |a: &[f64], b: &[f64]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-6);
        assert!(close(&of(1.0, &[0, 1, 2]), &law([0.05, 0.18, 0.08])));
        assert!(close(&of(2.0, &[0, 1, 2]), &law([0.005, 0.108, 0.032])));
        assert!(close(&of(0.0, &[0, 1, 2]), &prior));
        assert!(close(&of(1.0, &[1]), &law([0.5 * 0.31, 0.18, 0.2 * 0.31])));
    }

    #[test]
    fn what_a_classifier_excludes_is_excluded() {
        let mut logits = [0.0f32, 0.0, 0.0];
        guide_by_classifier(&mut logits, &[(0, f64::NEG_INFINITY), (1, -1.0)], f64::NEG_INFINITY, 1.0);
        assert_eq!(logits, [f32::NEG_INFINITY, -1.0, f32::NEG_INFINITY]);
        let mut none = [0.0f32, 1.0];
        guide_by_classifier(&mut none, &[(0, f64::NEG_INFINITY)], f64::NEG_INFINITY, 1.0);
        assert_eq!(none, [f32::NEG_INFINITY; 2]);
    }

    #[test]
    fn neutral_scales_give_either_branch() {
        let (c, u) = ([0.5f32, -2.0, f32::NEG_INFINITY, 3.0], [1.5f32, 0.25, 0.0, f32::NEG_INFINITY]);
        let mut out = [0.0f32; 4];
        guide(&c, &u, 1.0, &mut out);
        assert_eq!(out, c);
        guide(&c, &u, guidance_scale(0.0), &mut out);
        assert_eq!(out, c);
        guide(&c[..2], &u[..2], 0.0, &mut out[..2]);
        assert_eq!(out[..2], u[..2]);
    }

    #[test]
    fn a_larger_scale_moves_away_from_the_unconditional_prediction() {
        let mut out = [0.0f32; 2];
        guide(&[2.0, 1.0], &[1.0, 2.0], 3.0, &mut out);
        assert_eq!(out, [4.0, -1.0]);
    }

    #[test]
    fn excluded_tokens_stay_excluded() {
        let mut out = [0.0f32; 2];
        guide(&[f32::NEG_INFINITY, 0.0], &[f32::NEG_INFINITY, 0.0], 2.5, &mut out);
        assert_eq!(out, [f32::NEG_INFINITY, 0.0]);
    }

    #[test]
    fn a_broken_branch_does_not_go_unnoticed() {
        let mut out = [0.0f32; 2];
        guide(&[0.0, f32::NAN], &[f32::NAN, 0.0], 2.0, &mut out);
        assert!(out.iter().all(|o| o.is_nan()));
    }
}
