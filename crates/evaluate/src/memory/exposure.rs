//! Planted secrets: how probable a model finds them among others that were not planted.
//!
//! The exposure of a secret is `log2 |R| − log2 rank` among all candidates R (Carlini et al., 1802.08232, definition 2): 1.4
//! bits on average for one that the model has not met, `log2 |R|` for one that it finds likelier than all others. Candidates are
//! ranked by their costs under shared noise. A model of masks can be queried from several sides (2605.24173 finds that
//! masks at the edges of what is given recall most): see [`GivenPart`].

use crate::json_lines::{json_lines_of, not_empty};
use crate::{EvaluateError, NoiseRule, Variant, shared_costs};
use aquatint_diffusion::Key;
use aquatint_generate::GenerateError;
use aquatint_network::Denoiser;
use aquatint_vocabulary::Vocabulary;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// A planted secret.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Canary {
    /// What stands before the secret.
    pub before: String,
    /// The secret, as it was planted.
    pub secret: String,
    /// What stands behind it.
    pub after: String,
    /// Others of its kind that were not planted, at least one.
    pub others: Vec<String>,
    /// How often it was planted.
    #[serde(default)]
    pub planted: Option<u64>,
}

/// From where a secret is queried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum GivenPart {
    /// What stands before it is given, and nothing stands behind.
    Prefix,
    /// What stands before and behind it is given.
    Infill,
    /// The secret is given, and both of its edges are open: which one fits them?
    Edges,
}

impl GivenPart {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Prefix, Self::Infill, Self::Edges];

    /// The name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Prefix => "prefix",
            Self::Infill => "infill",
            Self::Edges => "edges",
        }
    }
}

/// How exposed a secret is.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Exposure {
    /// The number of the canary, from 1.
    pub canary: usize,
    /// How often it was planted, where that is known.
    pub planted: Option<u64>,
    /// From where it was queried.
    pub given: GivenPart,
    /// Its rank among all candidates, from 1; of candidates of one cost the middle one.
    pub rank: f64,
    /// Candidates, the secret among them.
    pub candidates: usize,
    /// `log2(candidates / rank)`, in bits.
    pub exposure: f64,
}

/// The canaries of a file of JSON lines.
///
/// # Errors
/// When it cannot be read, has no line, or a line is none.
pub fn canaries(path: &Path) -> Result<Vec<Canary>, EvaluateError> {
    let canaries = json_lines_of(path, check)?;
    if canaries.is_empty() { Err(EvaluateError::Empty) } else { Ok(canaries) }
}

fn check(Canary { secret, others, .. }: &Canary) -> Result<(), String> {
    not_empty("secret", secret)?;
    if others.is_empty() {
        return Err("`others` is empty; allowed: one or more".to_owned());
    }
    others.iter().try_for_each(|other| not_empty("others", other))?;
    match others.contains(secret) {
        true => Err("`others` holds the `secret`; allowed: what was not planted".to_owned()),
        false => Ok(()),
    }
}

/// How exposed canaries are under a model, from each side, by so many noisy versions of each candidate. `progress` receives
/// the canaries done, several times for each, and returns whether to go on.
///
/// # Errors
/// When a text cannot be encoded or is too long, the network refuses, or it was stopped.
pub fn exposures(
    (denoiser, vocabulary): (&dyn Denoiser, &Vocabulary),
    canaries: &[Canary],
    (versions, seed): (usize, u64),
    progress: &mut dyn FnMut(usize) -> bool,
) -> Result<Vec<Exposure>, EvaluateError> {
    if versions == 0 {
        return Err(EvaluateError::setting("samples", versions, "1 or more"));
    }
    let process = denoiser.spec().process().map_err(GenerateError::Setting)?;
    let rule = NoiseRule::new(process.as_deref(), versions, vocabulary)?;
    let mut all = Vec::new();
    for (number, canary) in canaries.iter().enumerate() {
        for (part, given) in (0u64..).zip(GivenPart::ALL) {
            let candidates = std::iter::once(&canary.secret).chain(&canary.others);
            let case: Vec<Variant> =
                candidates.map(|secret| variant(vocabulary, canary, secret, given)).collect::<Result<_, _>>()?;
            let limit = denoiser.spec().context_length;
            if let Some(length) = case.iter().map(|text| text.tokens.len()).find(|length| *length > limit) {
                return Err(EvaluateError::setting("tokens of a canary", length, "as many as the model can read"));
            }
            let stream = (Key::new(seed), GivenPart::ALL.len() as u64 * number as u64 + part);
            let costs = shared_costs(denoiser, rule, &[case], stream, &mut |_| progress(number))?;
            let nats: Vec<f64> = costs[0].iter().map(|versions| versions.iter().sum()).collect();
            let likelier = nats.iter().filter(|other| **other < nats[0]).count() as f64;
            let equal = nats.iter().filter(|other| **other == nats[0]).count() as f64;
            let (rank, candidates) = (likelier + (equal + 1.0) / 2.0, nats.len());
            let exposure = (candidates as f64 / rank).log2();
            all.push(Exposure { canary: number + 1, planted: canary.planted, given, rank, candidates, exposure });
        }
        if !progress(number + 1) {
            return Err(EvaluateError::Stopped);
        }
    }
    Ok(all)
}

/// A candidate in its place, with what is open.
fn variant(vocabulary: &Vocabulary, canary: &Canary, secret: &str, given: GivenPart) -> Result<Variant, EvaluateError> {
    let after = if given == GivenPart::Prefix { "" } else { canary.after.as_str() };
    let encoded = vocabulary.encode_whole(&format!("{}{secret}{after}", canary.before))?;
    let inside = canary.before.len()..canary.before.len() + secret.len();
    let mut end = 0;
    let begin = vocabulary.text_begin();
    let open = encoded.text_bytes.iter().zip(&encoded.tokens).map(|(bytes, token)| {
        let own = end..end + *bytes as usize;
        end = own.end;
        let is_secret = own.start < inside.end && own.end > inside.start;
        is_secret != (given == GivenPart::Edges) && Some(*token) != begin
    });
    Ok(Variant { open: open.collect(), tokens: encoded.tokens })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json_lines::{BadLine, json_lines};

    #[test]
    fn what_is_empty_or_the_secret_itself_is_refused_with_its_line() {
        let row = |secret: &str, others: &str| {
            let good = r#"{"before":"","secret":"a","after":"","others":["b"]}"#;
            let row = format!(r#"{{"before":"","secret":"{secret}","after":"","others":[{others}]}}"#);
            let refused = json_lines(&format!("{good}\n\n{row}"), check);
            refused.map(|canaries| canaries.len()).map_err(|BadLine { line, reason }| (line, reason))
        };
        assert_eq!(row("a", r#""b","c""#), Ok(2));
        for (refused, message) in [
            (row("", r#""b""#), "`secret` is empty; allowed: a text"),
            (row("a", ""), "`others` is empty; allowed: one or more"),
            (row("a", r#""b"," ""#), "`others` is empty; allowed: a text"),
            (row("a", r#""b","a""#), "`others` holds the `secret`; allowed: what was not planted"),
        ] {
            assert_eq!(refused, Err((3, message.to_owned())));
        }
    }

    #[test]
    fn what_is_open_is_the_secret_or_its_edges() {
        let vocabulary = Vocabulary::train(std::iter::once("abc".to_owned()), 260).unwrap();
        let canary = Canary {
            before: "ab".to_owned(),
            secret: "ccc".to_owned(),
            after: "a".to_owned(),
            others: vec!["bbb".to_owned()],
            planted: None,
        };
        let open = |given| variant(&vocabulary, &canary, "bcb", given).unwrap().open;
        assert_eq!(open(GivenPart::Prefix), [false, false, true, true, true]);
        assert_eq!(open(GivenPart::Infill), [false, false, true, true, true, false]);
        assert_eq!(open(GivenPart::Edges), [true, true, false, false, false, true]);
        let mut beginning = vocabulary.clone();
        beginning.set_adds_begin(true).unwrap();
        let open = |given| variant(&beginning, &canary, "bcb", given).unwrap().open;
        assert_eq!(open(GivenPart::Prefix), [false, false, false, true, true, true]);
        assert_eq!(
            open(GivenPart::Edges),
            [false, true, true, false, false, false, true],
            "what begins a text is given"
        );
    }
}
