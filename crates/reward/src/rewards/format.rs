//! Formats: a regular expression or a JSON schema is kept, or the text is a molecule.

use crate::{Attempt, Reward, RewardError};
use aquatint_constraint::{CompileError, ConstraintSpec, TextSet};
use std::path::PathBuf;

/// 1 where the completion, without blanks around it where it is JSON and behind what its prompt begins where it is a molecule,
/// is one of the texts.
#[derive(Debug)]
pub(super) struct Format {
    name: String,
    texts: TextSet,
    /// Whether blanks around the text mean nothing.
    is_json: bool,
}

impl Format {
    /// The whole text matches a regular expression, in the syntax of the crate `regex`.
    pub(super) fn regex(pattern: &str) -> Result<Self, RewardError> {
        let name = format!("regex:{pattern}");
        let texts = texts(&name, &ConstraintSpec::Regex(pattern.to_owned()))?;
        Ok(Self { name, texts, is_json: false })
    }

    /// The text is a molecule as SMILES, together with what its prompt has begun of it.
    pub(super) fn molecule() -> Result<Self, RewardError> {
        let name = "molecule".to_owned();
        let texts = texts(&name, &ConstraintSpec::Molecule)?;
        Ok(Self { name, texts, is_json: false })
    }

    /// The text is JSON as constrained decoding under the schema of a file writes it.
    pub(super) fn json_schema(path: &str) -> Result<Self, RewardError> {
        let name = format!("json-schema:{path}");
        let refused = |reason: String| RewardError::File { reward: name.clone(), path: PathBuf::from(path), reason };
        let text = std::fs::read_to_string(path).map_err(|error| refused(error.to_string()))?;
        let schema = serde_json::from_str(&text).map_err(|error| refused(error.to_string()))?;
        let texts = texts(&name, &ConstraintSpec::JsonSchema(schema))?;
        Ok(Self { name, texts, is_json: true })
    }
}

fn texts(name: &str, spec: &ConstraintSpec) -> Result<TextSet, RewardError> {
    let refused = |source: CompileError| RewardError::Constraint { reward: name.to_owned(), source };
    TextSet::new(spec).map_err(refused)
}

impl Reward for Format {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn rewards(&self, attempts: &[Attempt<'_>]) -> Result<Vec<f64>, RewardError> {
        let worth = |attempt: &Attempt<'_>| {
            let text = if self.is_json { attempt.completion.trim() } else { attempt.completion };
            f64::from(u8::from(self.texts.continues(attempt.prompt, text)))
        };
        Ok(attempts.iter().map(worth).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worth(reward: &Format, completion: &str) -> f64 {
        reward.rewards(&[Attempt { completion, ..Attempt::default() }]).unwrap()[0]
    }

    #[test]
    fn the_whole_completion_matches() {
        let dates = Format::regex(r"\d{4}-\d\d-\d\d").unwrap();
        assert_eq!(dates.name(), r"regex:\d{4}-\d\d-\d\d");
        assert_eq!((worth(&dates, "2026-11-28"), worth(&dates, "on 2026-11-28"), worth(&dates, "")), (1.0, 0.0, 0.0));
        assert!(Format::regex("(").unwrap_err().to_string().starts_with("the reward `regex:(` cannot be checked"));
    }

    #[test]
    fn a_molecule_is_worth_something() {
        let molecules = Format::molecule().unwrap();
        assert_eq!(
            (worth(&molecules, "c1ccccc1O"), worth(&molecules, "c1ccccc1("), worth(&molecules, "")),
            (1.0, 0.0, 0.0)
        );
    }

    /// A molecule is the prompt's part of it and the completion, as with `--molecule`.
    #[test]
    fn a_molecule_goes_on_with_its_prompt() {
        let molecules = Format::molecule().unwrap();
        for (prompt, completion, expected) in [
            ("c1ccc(", "O)cc1", 1.0),
            ("c1ccc(", "O)cc", 0.0),
            ("c1ccc(", "c1ccccc1O", 0.0),
            ("[QED=9][LOGP=-1]", "CCO", 1.0),
            ("[QED=9]c1ccc(", "O)cc1", 1.0),
            ("CC[QED=9]", "CCO", 0.0),
            ("[nH]1ccc", "c1", 1.0),
            ("Write a molecule: C", "CO", 1.0),
            ("C ", "c1ccccc1", 1.0),
            ("CC", "", 1.0),
        ] {
            let attempt = Attempt { prompt, completion, ..Attempt::default() };
            assert_eq!(molecules.rewards(&[attempt]).unwrap(), [expected], "{prompt} {completion}");
        }
        let one = Format::regex("O").unwrap();
        assert_eq!(one.rewards(&[Attempt { prompt: "C", completion: "O", ..Attempt::default() }]).unwrap(), [1.0]);
    }

    #[test]
    fn what_a_schema_allows_is_worth_something() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("schema.json");
        let schema = r#"{"type": "object", "properties": {"age": {"type": "integer"}}, "required": ["age"],
                         "additionalProperties": false}"#;
        std::fs::write(&path, schema).unwrap();
        let reward = Format::json_schema(path.to_str().unwrap()).unwrap();
        for (text, expected) in [
            (r#" {"age": 7} "#, 1.0),
            (r#"{"age":7}"#, 1.0),
            (r#"{"age": "7"}"#, 0.0),
            (r#"{"age": 7"#, 0.0),
            ("{}", 0.0),
            ("", 0.0),
        ] {
            assert_eq!(worth(&reward, text), expected, "{text}");
        }
        let missing = Format::json_schema("/nowhere/schema.json").unwrap_err().to_string();
        assert!(missing.starts_with("could not read `/nowhere/schema.json`"), "{missing}");
    }
}
