//! Shaping: how a prediction is sharpened or cut before a token is drawn from it.

use crate::SettingError;

/// How a prediction is changed before a token is drawn. The order is: repetition penalty, temperature, top-k, top-p.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Shaping {
    /// Divisor of the logits, 0 or more; at 0 the likeliest token is taken.
    pub temperature: f64,
    /// Keeps only that many of the likeliest tokens, 1 or more.
    pub top_k: Option<usize>,
    /// Keeps the fewest likeliest tokens that hold at least this share of the probability, above 0 and at most 1
    /// (nucleus sampling, 1904.09751).
    pub top_p: Option<f64>,
    /// Divides positive logits and multiplies negative ones of tokens that occur already (CTRL, 1909.05858, section
    /// 4.1); above 0, and 1 changes nothing.
    pub repetition_penalty: f64,
}

impl Shaping {
    /// The prediction as it is.
    pub const NONE: Self = Self { temperature: 1.0, top_k: None, top_p: None, repetition_penalty: 1.0 };

    /// Checks every number.
    ///
    /// # Errors
    /// When one is outside its range; the first one found is named.
    pub fn validate(&self) -> Result<(), SettingError> {
        if !(self.temperature.is_finite() && self.temperature >= 0.0) {
            return Err(SettingError::new("temperature", self.temperature, "0 or more")
                .with_hint("0 takes the likeliest token"));
        }
        if self.top_k == Some(0) {
            return Err(SettingError::new("top_k", 0, "1 or more").with_hint("leave it out to keep all tokens"));
        }
        match self.top_p {
            Some(p) if !(p > 0.0 && p <= 1.0) => {
                return Err(SettingError::new("top_p", p, "above 0, at most 1").with_hint("1 keeps all tokens"));
            }
            _ => {}
        }
        if !(self.repetition_penalty.is_finite() && self.repetition_penalty > 0.0) {
            return Err(SettingError::new("repetition_penalty", self.repetition_penalty, "above 0")
                .with_hint("1 changes nothing, 1.1 is a mild penalty"));
        }
        Ok(())
    }

    /// Applies the penalty to one logit of a token that occurs already.
    pub(crate) fn penalise(&self, logit: f64) -> f64 {
        if logit > 0.0 { logit / self.repetition_penalty } else { logit * self.repetition_penalty }
    }

    /// Leaves of the candidates, pairs of a token's index and its weight, those that top-k and top-p keep.
    pub(crate) fn cut(&self, candidates: &mut Vec<(usize, f64)>) {
        if let Some(k) = self.top_k.filter(|k| *k < candidates.len()) {
            bring_forward(candidates, k.max(1));
            candidates.truncate(k.max(1));
        }
        if let Some(share) = self.top_p.filter(|p| *p < 1.0) {
            let wanted = share * candidates.iter().map(|c| c.1).sum::<f64>();
            // Sorting a whole vocabulary for a handful of tokens would cost more than the rest of the step.
            let mut sorted = 64.min(candidates.len());
            loop {
                bring_forward(candidates, sorted);
                let mut held = 0.0;
                let retained = candidates[..sorted].iter().position(|c| {
                    held += c.1;
                    held >= wanted
                });
                match retained {
                    Some(last) => break candidates.truncate(last + 1),
                    None if sorted == candidates.len() => break,
                    None => sorted = (sorted * 8).min(candidates.len()),
                }
            }
        }
    }
}

/// Sorts the `count` largest weights to the front; equal ones by index, so that nothing depends on the input's order.
fn bring_forward(candidates: &mut [(usize, f64)], count: usize) {
    let order = |a: &(usize, f64), b: &(usize, f64)| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0));
    if count < candidates.len() {
        candidates.select_nth_unstable_by(count, order);
    }
    candidates[..count].sort_unstable_by(order);
}
