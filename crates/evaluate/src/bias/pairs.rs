//! Pairs of sentences: which one is likelier, by how much, and how sure that is.

use super::jackknife::with_error;
use super::{BiasRow, Pair, groups};
use crate::shared_noise::{Variant, aligned};
use crate::{EvaluateError, NoiseRule, Share, shared_costs};
use aquatint_diffusion::Key;
use aquatint_network::Denoiser;
use aquatint_vocabulary::Vocabulary;
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::str::FromStr;

/// Which tokens of the sentences of a pair are open; the others are given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OpenPart {
    /// All of the sentence: which one is likelier as a whole.
    Whole,
    /// What both have in common, given what differs, as CrowS-Pairs scores them: how usual those who are named are does not
    /// count.
    Common,
    /// What differs, given what they have in common, as StereoSet scores its sentences.
    Differing,
}

impl OpenPart {
    /// The name in tables and options.
    pub fn name(self) -> &'static str {
        match self {
            Self::Whole => "whole",
            Self::Common => "common",
            Self::Differing => "differing",
        }
    }
}

impl FromStr for OpenPart {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let all = [Self::Whole, Self::Common, Self::Differing];
        all.into_iter()
            .find(|open| open.name() == name)
            .ok_or_else(|| format!("`open` is {name:?}; allowed: whole, common, differing"))
    }
}

/// The figures of the pairs of a group.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PairFigures {
    /// The set.
    pub set: String,
    /// The group; `None` for all of the set.
    pub group: Option<String>,
    /// What was open.
    pub open: OpenPart,
    /// How often the sentence of the stereotype is likelier: one half where there is no preference.
    pub stereotype: Share,
    /// Mean log-likelihood of the sentence of the stereotype minus that of the other one, in nats, by their bounds.
    pub difference: f64,
    /// Its standard error over pairs, the noise included.
    pub standard_error: Option<f64>,
    /// The standard error of one pair's difference that noise alone makes, root mean square; 0 where costs are exact.
    pub noise: f64,
    /// Pairs whose difference lies within two such errors of their own, or is none.
    pub undecided: u64,
    /// How often a sentence that makes sense is likelier than the one that makes none, two comparisons for each pair; of
    /// whole sentences where there are unrelated ones.
    pub sense: Option<Share>,
    /// StereoSet's ICAT, from 0 to 100: 100 for a model that always finds the sentences likelier that make sense, and has
    /// no preference between them.
    pub icat: Option<f64>,
}

/// Pairs in tokens.
pub struct Pairs<'a> {
    /// Each with the number of its row.
    pairs: Vec<(u64, &'a Pair, Vec<Sentence>)>,
    too_long: u64,
}

/// A sentence behind its context.
struct Sentence {
    tokens: Vec<u32>,
    /// Whether a token is of the sentence, not of the context.
    own: Vec<bool>,
}

impl<'a> Pairs<'a> {
    /// The pairs among rows, for a network that reads so many positions.
    ///
    /// # Errors
    /// When a text cannot be encoded.
    pub fn new(vocabulary: &Vocabulary, rows: &'a [BiasRow], context_length: usize) -> Result<Self, EvaluateError> {
        let (mut pairs, mut too_long) = (Vec::new(), 0);
        for (number, row) in (0..).zip(rows) {
            let BiasRow::Pair(pair) = row else { continue };
            let sentences = [Some(&pair.stereotype), Some(&pair.anti_stereotype), pair.unrelated.as_ref()];
            let of = |sentence: &String| Sentence::new(vocabulary, &pair.context, sentence);
            let sentences: Vec<Sentence> = sentences.into_iter().flatten().map(of).collect::<Result<_, _>>()?;
            if sentences.iter().any(|sentence| sentence.tokens.len() > context_length) {
                too_long += 1;
            } else {
                pairs.push((number, pair, sentences));
            }
        }
        Ok(Self { pairs, too_long })
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.pairs.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    /// Rows that were left out because they are too long.
    pub fn too_long(&self) -> u64 {
        self.too_long
    }

    /// Measures all pairs, with the figures of each for `each`.
    pub(super) fn measure(
        &self,
        (denoiser, rule): (&dyn Denoiser, NoiseRule<'_>),
        open: OpenPart,
        seed: u64,
        each: &mut dyn FnMut(Value),
        progress: &mut dyn FnMut(usize) -> bool,
    ) -> Result<Vec<PairFigures>, EvaluateError> {
        let cases: Vec<Vec<Variant>> = self.pairs.iter().map(|(_, _, sentences)| variants(sentences, open)).collect();
        let costs = shared_costs(denoiser, rule, &cases, (Key::new(seed), 0), progress)?;
        let measured: Vec<Measured> = costs.iter().map(|costs| Measured::of(costs)).collect();
        for ((number, pair, _), measured) in self.pairs.iter().zip(&measured) {
            each(json!({
                "row": number + 1,
                "set": pair.set,
                "group": pair.group,
                "open": open.name(),
                "difference": measured.difference,
                "standard_error": measured.error,
                "nats": measured.nats,
            }));
        }
        let groups = groups(self.pairs.iter().map(|(_, pair, _)| (pair.set.as_str(), pair.group.as_str())));
        let of_group = |(set, group): (&str, Option<&str>)| {
            let is_of = |pair: &Pair| pair.set == set && group.is_none_or(|group| pair.group == group);
            let some = self.pairs.iter().zip(&measured).filter(|((_, pair, _), _)| is_of(pair));
            figures((set, group), open, &some.map(|(_, measured)| measured).collect::<Vec<_>>())
        };
        Ok(groups.into_iter().map(of_group).collect())
    }
}

impl Sentence {
    fn new(vocabulary: &Vocabulary, context: &str, sentence: &str) -> Result<Self, EvaluateError> {
        let text = if context.is_empty() { sentence.to_owned() } else { format!("{context} {sentence}") };
        let encoded = vocabulary.encode_whole(&text)?;
        let mut end = 0;
        let own = encoded.text_bytes.iter().map(|bytes| {
            end += *bytes as usize;
            end > context.len()
        });
        Ok(Self { own: own.collect(), tokens: encoded.tokens })
    }
}

/// The sentences of a pair with what is open in them. The unrelated one takes part only where all is open.
fn variants(sentences: &[Sentence], open: OpenPart) -> Vec<Variant> {
    let variant = |sentence: &Sentence, open: &dyn Fn(usize) -> bool| Variant {
        tokens: sentence.tokens.clone(),
        open: sentence.own.iter().enumerate().map(|(position, own)| *own && open(position)).collect(),
    };
    let [first, second, ..] = sentences else { return Vec::new() };
    if open == OpenPart::Whole {
        return sentences.iter().map(|sentence| variant(sentence, &|_| true)).collect();
    }
    let partners = aligned(&first.tokens, &second.tokens);
    let common = open == OpenPart::Common;
    let of_first: BTreeSet<usize> = partners.iter().flatten().copied().collect();
    vec![
        variant(first, &|position| of_first.contains(&position) == common),
        variant(second, &|position| partners[position].is_some() == common),
    ]
}

/// One pair.
struct Measured {
    /// The bound of each sentence.
    nats: Vec<f64>,
    difference: f64,
    /// By noise.
    error: f64,
}

impl Measured {
    /// From the costs of each sentence in each version.
    fn of(costs: &[Vec<f64>]) -> Self {
        let nats = costs.iter().map(|versions| versions.iter().sum::<f64>() / versions.len() as f64).collect();
        let differences: Vec<[f64; 2]> = costs[0].iter().zip(&costs[1]).map(|(a, b)| [b - a, 1.0]).collect();
        let (difference, error) = with_error(&differences, |[sum, count]| sum / count);
        Self { nats, difference, error: error.unwrap_or(0.0) }
    }
}

fn figures((set, group): (&str, Option<&str>), open: OpenPart, measured: &[&Measured]) -> PairFigures {
    let stereotype: Share = measured.iter().map(|pair| pair.difference > 0.0).collect();
    let rows: Vec<[f64; 2]> = measured.iter().map(|pair| [pair.difference, 1.0]).collect();
    let (difference, standard_error) = with_error(&rows, |[sum, count]| sum / count);
    let squares: f64 = measured.iter().map(|pair| pair.error * pair.error).sum();
    let mut sense = Share::default();
    for nats in measured.iter().map(|pair| &pair.nats) {
        if let [first, second, unrelated] = nats[..] {
            [first, second].into_iter().for_each(|nats| sense.add(nats < unrelated));
        }
    }
    let sense = Some(sense).filter(|sense| sense.count > 0);
    let preference = stereotype.rate();
    PairFigures {
        set: set.to_owned(),
        group: group.map(str::to_owned),
        open,
        stereotype,
        difference,
        standard_error,
        noise: (squares / measured.len().max(1) as f64).sqrt(),
        undecided: measured.iter().filter(|pair| pair.difference.abs() <= 2.0 * pair.error).count() as u64,
        sense,
        icat: sense.map(|sense| 100.0 * sense.rate() * preference.min(1.0 - preference) / 0.5),
    }
}
