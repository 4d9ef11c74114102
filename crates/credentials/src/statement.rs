//! What is stated of a file.

use serde::Serialize;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::time::SystemTime;

/// The label of the assertion that says how it was made: an assertion of our own, by a name that no other one has.
pub const GENERATION: &str = "io.github.aquatint.generation";

/// What is stated of a file; that Aquatint made it, with its version, is stated of each.
#[derive(Debug, Clone)]
pub struct Statement {
    /// Its name for people.
    pub title: String,
    /// When it was made, by the clock of whoever signs: nobody else vouches for it.
    pub time: SystemTime,
    /// Where it comes from.
    pub origin: Origin,
    /// How it was made: model, seed, settings and what else is to be said, an object.
    pub generation: Value,
    /// What was given.
    pub ingredients: Vec<Ingredient>,
}

/// Where content comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// A model made all of it.
    Model,
    /// A model made parts of it, beside parts that were given.
    Both,
}

impl Origin {
    /// The address of IPTC's term for it.
    fn address(self) -> &'static str {
        match self {
            Self::Model => "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia",
            Self::Both => "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia",
        }
    }
}

/// A picture or a sound that was given.
#[derive(Debug, Clone)]
pub struct Ingredient {
    /// Its name for people.
    pub title: String,
    /// What its name ends with, as in `png`, or its media type.
    pub format: String,
    /// Its content, whose own credentials are kept.
    pub bytes: Vec<u8>,
    /// What it is to what was made.
    pub relation: Relation,
}

/// What an ingredient is to what was made of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relation {
    /// A model read it.
    Input,
    /// Parts of it were made anew; there is one at most.
    Parent,
}

impl Relation {
    /// C2PA's word for it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Input => "inputTo",
            Self::Parent => "parentOf",
        }
    }
}

/// By what a manifest names the ingredient of a number, from 0.
pub(crate) fn label_of(ingredient: usize) -> String {
    format!("given-{}", ingredient + 1)
}

impl Statement {
    /// The manifest that says so, in the form in which `c2pa` reads definitions.
    pub(crate) fn definition(&self) -> Value {
        let generator = json!({ "name": "Aquatint", "version": env!("CARGO_PKG_VERSION") });
        let time = chrono::DateTime::<chrono::Utc>::from(self.time).to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
        let labels_of = |relation| -> Vec<String> {
            let all = self.ingredients.iter().enumerate();
            all.filter(|(_, given)| given.relation == relation).map(|(number, _)| label_of(number)).collect()
        };
        let action = |name: &str, source: Option<Origin>, given: Vec<String>| {
            let mut action = json!({ "action": name, "when": time, "softwareAgent": generator });
            if let Some(origin) = source {
                action["digitalSourceType"] = origin.address().into();
            }
            if !given.is_empty() {
                action["parameters"] = json!({ "ingredientIds": given });
            }
            action
        };
        let inputs = labels_of(Relation::Input);
        // What has a parent was not created: it was opened, and parts of it were made anew.
        let actions = match labels_of(Relation::Parent) {
            parents if parents.is_empty() => vec![action("c2pa.created", Some(self.origin), inputs)],
            parents => vec![action("c2pa.opened", None, parents), action("c2pa.edited", Some(self.origin), inputs)],
        };
        json!({
            "claim_generator_info": [generator],
            "title": self.title,
            "assertions": [
                { "label": "c2pa.actions.v2", "data": { "actions": actions, "allActionsIncluded": true }, "created": true },
                // As JSON, since `c2pa` writes no integer above 2^63 as CBOR, and a seed may be one.
                { "label": GENERATION, "data": self.generation, "kind": "Json", "created": true },
            ],
        })
    }
}

/// A hash of content, SHA-256 in hexadecimal digits, as the Hub shows it and `sha256sum` prints it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Digest(String);

impl Digest {
    /// That of some bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_that_of_sha256sum() {
        let digest = serde_json::to_value(Digest::of(b"a tale\n")).unwrap();
        assert_eq!(digest, "6f6853a0ea7ac8ce733b81189cd964fde0b6075b63b8e5da834bbdfd21431b78");
    }
}
