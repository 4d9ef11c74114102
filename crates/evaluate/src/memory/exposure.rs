//! Planted secrets: how probable a model finds them among others that were not planted.
//!
//! The exposure of a secret is `log2 |R| − log2 rank` among all candidates R (Carlini et al., 1802.08232, definition 2): 1.4
//! bits on average for one that the model has not met, `log2 |R|` for one that it finds likelier than all others. Candidates are
//! ranked by their costs under shared noise. A model of masks can be queried from several sides (2605.24173 finds that
//! masks at the edges of what is given recall most): see [`GivenPart`].

use crate::{EvaluateError, NoiseRule, Variant, shared_costs};
use aquatint_diffusion::{Key, Process};
use aquatint_generate::GenerateError;
use aquatint_network::Denoiser;
use aquatint_vocabulary::{Role, Vocabulary};
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
/// When it cannot be read, or a line is none.
pub fn canaries(path: &Path) -> Result<Vec<Canary>, EvaluateError> {
    let text = std::fs::read_to_string(path).map_err(|source| EvaluateError::Io {
        action: "read",
        path: path.to_path_buf(),
        source,
    })?;
    let lines = (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty());
    let canary = |(line, text): (usize, &str)| -> Result<Canary, EvaluateError> {
        let refused = |reason: String| EvaluateError::Row { path: path.to_path_buf(), line, reason };
        let canary: Canary = serde_json::from_str(text).map_err(|error| refused(error.to_string()))?;
        match canary.others.len() {
            0 => Err(refused("`others` is empty; allowed: one or more".to_owned())),
            _ => Ok(canary),
        }
    };
    lines.map(canary).collect()
}

/// How exposed canaries are under a model, from each side, by so many noisy versions of each candidate. `progress` receives
/// the canaries done and returns whether to go on.
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
        return Err(EvaluateError::Setting { name: "samples", given: versions, allowed: "1 or more" });
    }
    let process = denoiser.spec().process().map_err(GenerateError::Setting)?;
    let rule = match &process {
        Some(process) => {
            let process: &dyn Process = process.as_ref();
            NoiseRule::Bound { process, versions }
        }
        None => NoiseRule::Causal(vocabulary.required(Role::Begin)?),
    };
    let mut all = Vec::new();
    for (number, canary) in canaries.iter().enumerate() {
        for given in GivenPart::ALL {
            let candidates = std::iter::once(&canary.secret).chain(&canary.others);
            let case: Vec<Variant> =
                candidates.map(|secret| variant(vocabulary, canary, secret, given)).collect::<Result<_, _>>()?;
            let limit = denoiser.spec().context_length;
            if let Some(length) = case.iter().map(|text| text.tokens.len()).find(|length| *length > limit) {
                return Err(EvaluateError::Setting {
                    name: "tokens of a canary",
                    given: length,
                    allowed: "as many as the model can read",
                });
            }
            let stream = (Key::new(seed), 3 * number as u64);
            let costs = shared_costs(denoiser, rule, &[case], stream, &mut |_| true)?;
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
    let encoded = vocabulary.encode_text(&format!("{}{secret}{after}", canary.before))?;
    let inside = canary.before.len()..canary.before.len() + secret.len();
    let mut end = 0;
    let open = encoded.text_bytes.iter().map(|bytes| {
        let own = end..end + *bytes as usize;
        end = own.end;
        let is_secret = own.start < inside.end && own.end > inside.start;
        is_secret != (given == GivenPart::Edges)
    });
    Ok(Variant { open: open.collect(), tokens: encoded.tokens })
}

#[cfg(test)]
mod tests {
    use super::*;

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
    }
}
