//! The rows of bias data, one JSON object a line.

use crate::EvaluateError;
use crate::json_lines::{json_lines_of, not_empty};
use serde::Deserialize;
use std::path::Path;

/// One row.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum BiasRow {
    /// Two sentences that differ in whom they are about, or in what they say of them.
    Pair(Pair),
    /// A text, a query and three answers.
    Choice(Choice),
    /// A text that is to be continued.
    Prompt(Prompt),
}

/// Two sentences.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pair {
    /// The set that it is from.
    pub set: String,
    /// What the stereotype is about, such as `gender`.
    pub group: String,
    /// What stands before both sentences and is given; a blank follows it.
    #[serde(default)]
    pub context: String,
    /// The sentence that agrees with the stereotype.
    pub stereotype: String,
    /// The one that does not.
    pub anti_stereotype: String,
    /// One that makes no sense, to measure the model and not its bias.
    #[serde(default)]
    pub unrelated: Option<String>,
}

/// A text with three answers.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Choice {
    /// The set that it is from.
    pub set: String,
    /// What the stereotype is about.
    pub group: String,
    /// The text.
    pub context: String,
    /// What is to be answered.
    #[serde(rename = "question")]
    pub query: String,
    /// The answers.
    pub options: [String; 3],
    /// Which one is right, from 0.
    pub answer: usize,
    /// Which one says that the text does not tell.
    pub unknown: usize,
    /// Which one agrees with the stereotype, where it is known.
    #[serde(default)]
    pub stereotype: Option<usize>,
    /// Whether the text does not say.
    pub ambiguous: bool,
}

/// A text that is to be continued.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prompt {
    /// The set that it is from.
    pub set: String,
    /// The text.
    pub text: String,
    /// How toxic it is itself, from 0 to 1, where somebody has said so.
    #[serde(default)]
    pub toxicity: Option<f64>,
}

/// The rows of a file.
///
/// # Errors
/// When the file cannot be read, a line is no row, a sentence, an answer or a prompt is empty, the sentences of a pair are the
/// same, an answer is counted beyond the third, a row of an ambiguous text has another right answer than that the text does not
/// say, or a prompt is more or less toxic than can be.
pub fn bias_rows(path: &Path) -> Result<Vec<BiasRow>, EvaluateError> {
    json_lines_of(path, check)
}

fn check(row: &BiasRow) -> Result<(), String> {
    match row {
        BiasRow::Pair(pair) => check_pair(pair),
        BiasRow::Choice(choice) => check_choice(choice),
        BiasRow::Prompt(prompt) => check_prompt(prompt),
    }
}

fn check_pair(Pair { stereotype, anti_stereotype, unrelated, .. }: &Pair) -> Result<(), String> {
    not_empty("stereotype", stereotype)?;
    not_empty("anti_stereotype", anti_stereotype)?;
    unrelated.as_ref().map_or(Ok(()), |unrelated| not_empty("unrelated", unrelated))?;
    match stereotype == anti_stereotype {
        true => Err("`anti_stereotype` is the same as `stereotype`; allowed: another sentence".to_owned()),
        false => Ok(()),
    }
}

fn check_choice(choice: &Choice) -> Result<(), String> {
    let Choice { options, answer, unknown, stereotype, ambiguous, .. } = choice;
    options.iter().try_for_each(|option| not_empty("options", option))?;
    let named = [("answer", Some(*answer)), ("unknown", Some(*unknown)), ("stereotype", *stereotype)];
    for (name, index) in named {
        if let Some(index) = index.filter(|index| *index > 2) {
            return Err(format!("`{name}` is {index}; allowed: 0 to 2"));
        }
    }
    if *ambiguous != (answer == unknown) {
        return Err(format!(
            "`ambiguous` is {ambiguous}, and `answer` is {answer} where `unknown` is {unknown}; allowed: the same where \
             the text is ambiguous, and else not"
        ));
    }
    if *stereotype == Some(*unknown) {
        return Err(format!("`stereotype` is {unknown}, which is `unknown`; allowed: one of the other two"));
    }
    Ok(())
}

fn check_prompt(Prompt { text, toxicity, .. }: &Prompt) -> Result<(), String> {
    not_empty("text", text)?;
    match toxicity {
        Some(toxicity) if !(0.0..=1.0).contains(toxicity) => Err(format!("`toxicity` is {toxicity}; allowed: 0 to 1")),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json_lines::{BadLine, json_lines};

    const CHOICE: &str = r#"{"kind":"choice","set":"s","group":"age","context":"A and B met.","question":"Who sang?",
        "options":["A","B","Unknown"],"answer":2,"unknown":2,"stereotype":1,"ambiguous":true}"#;

    fn row(line: &str) -> Result<BiasRow, String> {
        let lines = json_lines(&line.replace('\n', " "), check).map_err(|BadLine { line, reason }| {
            assert_eq!(line, 1);
            reason
        });
        lines.map(|mut rows| rows.remove(0))
    }

    #[test]
    fn sentences_that_are_empty_or_the_same_are_refused() {
        let of = |stereotype: &str, other: &str, more: &str| {
            let texts = format!(r#""stereotype":"{stereotype}","anti_stereotype":"{other}"{more}"#);
            row(&format!(r#"{{"kind":"pair","set":"s","group":"age",{texts}}}"#)).map(|_| ())
        };
        assert_eq!(of("A", "B", r#","unrelated":"C""#), Ok(()));
        for (refused, message) in [
            (of("", "B", ""), "`stereotype` is empty; allowed: a text"),
            (of("A", " ", ""), "`anti_stereotype` is empty; allowed: a text"),
            (of("A", "B", r#","unrelated":"""#), "`unrelated` is empty; allowed: a text"),
            (of("A", "A", ""), "`anti_stereotype` is the same as `stereotype`; allowed: another sentence"),
            (row(&CHOICE.replace("\"B\"", "\"\"")).map(|_| ()), "`options` is empty; allowed: a text"),
        ] {
            assert_eq!(refused, Err(message.to_owned()));
        }
    }

    #[test]
    fn prompts_are_texts_with_a_toxicity_from_0_to_1_or_none() {
        let of = |fields: &str| match row(&format!(r#"{{"kind":"prompt","set":"s",{fields}}}"#))? {
            BiasRow::Prompt(Prompt { toxicity, .. }) => Ok(toxicity),
            other => Err(format!("{other:?}")),
        };
        assert_eq!(of(r#""text":"A man""#), Ok(None));
        for (given, toxicity) in [("0", 0.0), ("1", 1.0), ("0.5", 0.5)] {
            assert_eq!(of(&format!(r#""text":"A man","toxicity":{given}"#)), Ok(Some(toxicity)));
        }
        for given in ["-0.1", "1.1"] {
            let message = format!("`toxicity` is {given}; allowed: 0 to 1");
            assert_eq!(of(&format!(r#""text":"A man","toxicity":{given}"#)), Err(message));
        }
        assert_eq!(of(r#""text":" ""#), Err("`text` is empty; allowed: a text".to_owned()));
        for no_number in ["NaN", "1e999", "\"1\""] {
            assert!(of(&format!(r#""text":"A man","toxicity":{no_number}"#)).is_err(), "{no_number}");
        }
        assert!(of(r#""text":"A man","score":0.5"#).unwrap_err().contains("unknown field `score`"));
    }

    #[test]
    fn rows_are_read_and_wrong_ones_refused_with_the_field_and_what_is_allowed() {
        let pair = r#"{"kind":"pair","set":"s","group":"age","stereotype":"A","anti_stereotype":"B"}"#;
        let Ok(BiasRow::Pair(pair)) = row(pair) else { panic!() };
        assert_eq!((pair.context.as_str(), pair.unrelated), ("", None));
        assert!(matches!(row(CHOICE), Ok(BiasRow::Choice(_))));
        for (changed, message) in [
            (CHOICE.replace("\"answer\":2", "\"answer\":3"), "`answer` is 3; allowed: 0 to 2"),
            (CHOICE.replace("true", "false"), "`ambiguous` is false"),
            (CHOICE.replace("\"stereotype\":1", "\"stereotype\":2"), "`stereotype` is 2, which is `unknown`"),
            (CHOICE.replace("\"group\"", "\"gruop\""), "unknown field `gruop`"),
            (CHOICE.replace("choice", "chance"), "unknown variant `chance`"),
        ] {
            let error = row(&changed).unwrap_err();
            assert!(error.contains(message), "{error}");
        }
    }
}
