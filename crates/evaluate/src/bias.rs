//! Whom a model wrongs: which of two sentences it finds likelier that differ in whom they are about, what it answers where a
//! text does not say, and how toxic what it writes is.
//!
//! Rows ([`BiasRow`]) are JSON lines of three kinds. A **pair** has a sentence that agrees with a stereotype and one that does
//! not (CrowS-Pairs 2010.00133, StereoSet 2004.09456, WinoBias 1804.06876); both are measured under the noise that
//! [`shared_costs`](crate::shared_costs) gives them in common. A **choice** has a text, a query and three answers
//! (BBQ 2110.08193), listed in each of three rotations. A **prompt** is continued by the model
//! (RealToxicityPrompts 2009.11462), and what it writes is scored by whoever judges it ([`Prompts`]).
//!
//! Deviations: the published scores of masked models mask one token at a time (pseudo-log-likelihood) or score a word
//! alone; here each cost is the bound of the diffusion model. An answer is chosen by the bound of its text over its bytes, not by
//! what the model would write.

mod choices;
mod continuations;
mod jackknife;
mod pairs;
mod report;
mod rows;
mod toxicity;

pub use choices::{ChoiceFigures, Choices};
pub use continuations::{ContinuationSettings, Continuations, Prompts};
pub use pairs::{OpenPart, PairFigures, Pairs};
pub use report::{bias_page, bias_tables};
pub use rows::{BiasRow, Choice, Pair, Prompt, bias_rows};
pub use toxicity::{AtCount, ToxicityFigures};

use crate::{EvaluateError, NoiseRule};
use aquatint_generate::GenerateError;
use aquatint_network::Denoiser;
use aquatint_vocabulary::Vocabulary;
use serde::Serialize;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// How bias is measured.
#[derive(Debug, Clone)]
pub struct BiasSettings {
    /// Noisy versions of each text, 2 or more.
    pub versions: usize,
    /// Which tokens of pairs are open, one measurement each.
    pub open: Vec<OpenPart>,
    /// Same seed, same noise.
    pub seed: u64,
}

/// What was measured.
#[derive(Debug, Clone, Default, Serialize)]
pub struct BiasFigures {
    /// Noisy versions of each text; `None` of a causal model, whose costs are exact.
    pub versions: Option<usize>,
    /// Of pairs, by set and group; a group of `None` is all of a set.
    pub pairs: Vec<PairFigures>,
    /// Of choices, by set and group.
    pub choices: Vec<ChoiceFigures>,
    /// Pairs and choices that are longer than the model can read.
    pub too_long: u64,
    /// What [`Prompts`] say of continuations.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub continuations: Option<Continuations>,
}

impl BiasFigures {
    /// Whether no row was measured.
    pub fn is_empty(&self) -> bool {
        let no_continuation = self.continuations.as_ref().is_none_or(|continuations| continuations.groups.is_empty());
        self.pairs.is_empty() && self.choices.is_empty() && no_continuation
    }
}

/// Measures the pairs and choices among rows under a model; prompts need who judges and are for [`Prompts`]. `each` receives
/// the figures of every row as JSON, in their order; `progress` how many texts of how many are done, and returns whether to go
/// on. Rows that the model cannot read are counted; where it can read none, there are no other figures.
///
/// # Errors
/// When there is no pair and no choice, a setting is impossible, a text cannot be encoded, the network refuses, or it was
/// stopped.
pub fn bias(
    (denoiser, vocabulary): (&dyn Denoiser, &Vocabulary),
    rows: &[BiasRow],
    settings: &BiasSettings,
    each: &mut dyn FnMut(Value),
    progress: &mut dyn FnMut(usize, usize) -> bool,
) -> Result<BiasFigures, EvaluateError> {
    if settings.versions < 2 {
        return Err(EvaluateError::setting("samples", settings.versions, "2 or more"));
    }
    let process = denoiser.spec().process().map_err(GenerateError::Setting)?;
    let rule = NoiseRule::new(process.as_deref(), settings.versions, vocabulary)?;
    let pairs = Pairs::new(vocabulary, rows, denoiser.spec().context_length)?;
    let choices = Choices::new(vocabulary, rows, denoiser.spec().context_length)?;
    let too_long = pairs.too_long() + choices.too_long();
    if pairs.is_empty() && choices.is_empty() && too_long == 0 {
        return Err(EvaluateError::Empty);
    }
    let all = settings.open.len() * pairs.len() + choices.len();
    let mut done = 0;
    let mut of_pairs = Vec::new();
    for open in &settings.open {
        let before = done;
        let go_on = &mut |some| {
            done = before + some;
            progress(done, all)
        };
        of_pairs.extend(pairs.measure((denoiser, rule), *open, settings.seed, each, go_on)?);
    }
    let go_on = &mut |some| progress(done + some, all);
    let of_choices = choices.measure((denoiser, rule), settings.seed, each, go_on)?;
    let versions = process.as_ref().map(|_| settings.versions);
    Ok(BiasFigures { versions, pairs: of_pairs, choices: of_choices, too_long, continuations: None })
}

/// Of rows by set and group: each set as a whole, and behind it its groups where it has several.
fn groups<'a>(rows: impl Iterator<Item = (&'a str, &'a str)>) -> Vec<(&'a str, Option<&'a str>)> {
    let mut sets: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (set, group) in rows {
        sets.entry(set).or_default().insert(group);
    }
    let of_set = |(set, groups): (&'a str, BTreeSet<&'a str>)| {
        let several = groups.len() > 1;
        let each = groups.into_iter().filter(move |_| several).map(move |group| (set, Some(group)));
        std::iter::once((set, None)).chain(each).collect::<Vec<_>>()
    };
    sets.into_iter().flat_map(of_set).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_of_one_group_is_no_group_beside_itself() {
        let rows = [("b", "age"), ("a", "gender"), ("b", "origin"), ("b", "age"), ("a", "gender")];
        let found = groups(rows.into_iter());
        assert_eq!(found, [("a", None), ("b", None), ("b", Some("age")), ("b", Some("origin"))]);
    }
}
