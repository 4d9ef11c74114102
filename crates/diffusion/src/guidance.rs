//! Classifier-free guidance on the prediction about clean tokens (SMDM, 2410.18514; LLaDA, 2502.09992).
//!
//! `log p = u + s (c − u)` up to a constant, with c and u the logits with and without the condition; s = 1 changes
//! nothing. Others count from 0: their `cfg_scale` w is s = w + 1, see [`guidance_scale`].

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

/// The guidance scale that others call `cfg_scale`: off at 0 there, off at 1 here.
pub fn guidance_scale(cfg_scale: f64) -> f64 {
    cfg_scale + 1.0
}

#[cfg(test)]
mod tests {
    use super::*;

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
