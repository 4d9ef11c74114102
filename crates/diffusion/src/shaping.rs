//! Shaping: how a prediction is sharpened or cut before a token is drawn from it.

use crate::{PlannedStep, SettingError, TokenId};
use std::collections::BTreeMap;

/// How a prediction is changed before a token is drawn. The order is: repetition penalty, presence and frequency penalty
/// with what else is added to logits, temperature, min-p, top-k, top-p.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Shaping {
    /// Divisor of the logits, 0 or more; at 0 the likeliest token is taken.
    pub temperature: f64,
    /// The temperature that the steps of a block approach, evenly from `temperature` at the first one: step n of N has what
    /// is left after n N-ths of the way (DiffusionGemma's `t_max` and `t_min`), and a step that only edits the last of it.
    /// `None` where all steps have the same.
    pub final_temperature: Option<f64>,
    /// Keeps only tokens that are at least this share as likely as the likeliest one, from 0 to 1 (min-p sampling,
    /// 2407.01082).
    pub min_p: Option<f64>,
    /// Keeps only that many of the likeliest tokens, 1 or more.
    pub top_k: Option<usize>,
    /// Keeps the fewest likeliest tokens that hold at least this share of the probability, above 0 and at most 1
    /// (nucleus sampling, 1904.09751).
    pub top_p: Option<f64>,
    /// Divides positive logits and multiplies negative ones of tokens that occur already (CTRL, 1909.05858, section
    /// 4.1); above 0, and 1 changes nothing.
    pub repetition_penalty: f64,
    /// Is taken from the logits of tokens that occur already, from −2 to 2; 0 changes nothing.
    pub presence_penalty: f64,
    /// Is taken from the logit of a token for each time that it occurs already, from −2 to 2; 0 changes nothing.
    pub frequency_penalty: f64,
}

/// Tokens whose logits are this far below the likeliest one's, in units of the temperature, change no sum in f64.
const NEGLIGIBLE: f64 = -40.0;

impl Shaping {
    /// The prediction as it is.
    pub const NONE: Self = Self {
        temperature: 1.0,
        final_temperature: None,
        min_p: None,
        top_k: None,
        top_p: None,
        repetition_penalty: 1.0,
        presence_penalty: 0.0,
        frequency_penalty: 0.0,
    };

    /// Checks every number.
    ///
    /// # Errors
    /// When one is outside its range; the first one found is named.
    pub fn validate(&self) -> Result<(), SettingError> {
        if !(self.temperature.is_finite() && self.temperature >= 0.0) {
            return Err(SettingError::new("temperature", self.temperature, "0 or more")
                .with_hint("0 takes the likeliest token"));
        }
        if let Some(last) = self.final_temperature.filter(|last| !(last.is_finite() && *last >= 0.0)) {
            return Err(SettingError::new("final_temperature", last, "0 or more")
                .with_hint("leave it out for one temperature at all steps"));
        }
        if let Some(share) = self.min_p.filter(|share| !(0.0..=1.0).contains(share)) {
            return Err(SettingError::new("min_p", share, "from 0 to 1").with_hint("0 keeps all tokens"));
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
        for (name, penalty) in
            [("presence_penalty", self.presence_penalty), ("frequency_penalty", self.frequency_penalty)]
        {
            if !(-2.0..=2.0).contains(&penalty) {
                return Err(SettingError::new(name, penalty, "from -2 to 2").with_hint("0 changes nothing"));
            }
        }
        Ok(())
    }

    /// The temperature of a step.
    pub fn temperature_at(&self, step: &PlannedStep) -> f64 {
        match self.final_temperature.filter(|_| step.index > 0) {
            Some(last) => {
                let to_come = step.of.saturating_sub(step.index);
                last + (self.temperature - last) * to_come as f64 / step.of.max(1) as f64
            }
            None => self.temperature,
        }
    }

    /// Whether tokens that occur already have something taken from their logits.
    pub fn counts_tokens(&self) -> bool {
        self.presence_penalty != 0.0 || self.frequency_penalty != 0.0
    }

    /// What is added to logits behind the repetition penalty, ascending by token, each of them once: `logit_bias`, less
    /// the presence penalty of every token that is among `occurring` and the frequency penalty for each time that it is.
    /// Of several biases of a token the last one counts.
    pub fn biases(&self, logit_bias: &[(TokenId, f64)], occurring: &[TokenId]) -> Vec<(TokenId, f32)> {
        let mut biases: BTreeMap<TokenId, f64> = logit_bias.iter().copied().collect();
        if self.counts_tokens() {
            let mut counts: BTreeMap<TokenId, f64> = BTreeMap::new();
            occurring.iter().for_each(|token| *counts.entry(*token).or_default() += 1.0);
            for (token, count) in counts {
                *biases.entry(token).or_default() -= self.presence_penalty + self.frequency_penalty * count;
            }
        }
        biases.into_iter().filter(|(_, bias)| *bias != 0.0).map(|(token, bias)| (token, bias as f32)).collect()
    }

    /// What is added to the largest logit for the least one that is drawn: below it tokens are negligible, or min-p
    /// leaves them out.
    pub(crate) fn reach(&self) -> f64 {
        self.min_p.map_or(NEGLIGIBLE, |share| share.ln().max(NEGLIGIBLE)) * self.temperature
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
