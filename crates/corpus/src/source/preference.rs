//! Preferences in JSON lines, in TRL's forms: what is said, an answer that is better, and one that is worse.
//!
//! ```text
//! {"prompt": "The fox", "chosen": " ran home.", "rejected": " ran ran ran."}
//! {"prompt": [{"role": "user", "content": "…"}], "chosen": [{"role": "assistant", "content": "…"}], "rejected": [ … ]}
//! ```
//! Texts continue each other as they stand. Turns are those of OpenAI's conversations; the answers of `chosen` and `rejected`
//! are learned, those of `prompt` are given. Without `prompt`, it is what `chosen` and `rejected` begin with in common: whole
//! turns, and of texts whole words.
//!
//! Deviation: TRL cuts a common beginning of texts between any two characters, also within a word, which a tokenizer would
//! then write in other tokens than the whole text.

use super::conversation::{ASSISTANT, Conversation, is_nothing, openai, unreadable};
use super::counts::Fault;
use super::json::{kind, names};
use super::rows::read::ReadRow;
use super::rows::{StructuredRow, StructuredRows};
use aquatint_vocabulary::Message;
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};

const PROMPT: &str = "prompt";
const ANSWERS: [&str; 2] = ["chosen", "rejected"];

/// Two answers to the same, one of which is better.
#[derive(Debug, Clone, PartialEq)]
pub struct Preference {
    /// The answers with what stands before them.
    pub answers: PreferredAnswers,
    /// The other fields of the row.
    pub fields: Map<String, Value>,
    /// Its file.
    pub file: PathBuf,
    /// The number of its line, from 1.
    pub row: u64,
}

/// The answers of a preference.
#[derive(Debug, Clone, PartialEq)]
pub enum PreferredAnswers {
    /// Texts that go on.
    Texts {
        /// What they go on from.
        prompt: String,
        /// The better one.
        chosen: String,
        /// The worse one.
        rejected: String,
    },
    /// Conversations that begin with the same turns.
    Conversations {
        /// With the better answers.
        chosen: Box<Conversation>,
        /// With the worse ones.
        rejected: Box<Conversation>,
    },
}

/// Iterator over the preferences of a [`Source`](super::Source).
pub type Preferences<'source> = StructuredRows<'source, Preference>;

impl StructuredRow for Preference {}

impl ReadRow for Preference {
    const NAME: &'static str = "preference";
    const EXAMPLE: &'static str = r#"{"prompt": "…", "chosen": "…", "rejected": "…"}"#;

    fn read(row: Value) -> Result<Self, Fault> {
        let missing = |name: &&&str| row.get(**name).is_none();
        if let Some(name) = ANSWERS.iter().find(missing) {
            return Err(Fault::Lacking(format!("no `{name}`; it has {}", names(&row))));
        }
        let Value::Object(mut fields) = row else { return unreadable("no object") };
        if let Some(tool) = ["tools", "functions"].into_iter().find(|key| !is_nothing(fields.get(*key))) {
            return unreadable(format!("`{tool}` is there, and conversations with tools are not learned"));
        }
        let prompt = fields.remove(PROMPT).filter(|prompt| !prompt.is_null());
        let [chosen, rejected] = ANSWERS.map(|name| fields.remove(name).unwrap_or_default());
        let answers = match (prompt, chosen, rejected) {
            (Some(Value::String(prompt)), Value::String(chosen), Value::String(rejected)) => {
                texts(prompt, chosen, rejected)
            }
            (None, Value::String(chosen), Value::String(rejected)) => {
                let common = common_words(&chosen, &rejected);
                let (prompt, chosen, rejected) =
                    (chosen[..common].to_owned(), chosen[common..].to_owned(), rejected[common..].to_owned());
                texts(prompt, chosen, rejected)
            }
            (Some(Value::Array(prompt)), Value::Array(chosen), Value::Array(rejected)) => {
                conversations(turns(&prompt, PROMPT)?, turns(&chosen, ANSWERS[0])?, turns(&rejected, ANSWERS[1])?)
            }
            (None, Value::Array(chosen), Value::Array(rejected)) => {
                let (mut chosen, mut rejected) = (turns(&chosen, ANSWERS[0])?, turns(&rejected, ANSWERS[1])?);
                let common = chosen.iter().zip(&rejected).take_while(|(one, other)| one == other).count();
                let (prompt, _) = (chosen.drain(..common).collect(), rejected.drain(..common));
                conversations(prompt, chosen, rejected)
            }
            (prompt, chosen, rejected) => {
                let of_prompt = prompt.as_ref().map_or("nothing", kind);
                return unreadable(format!(
                    "`prompt` is {of_prompt}, `chosen` is {}, `rejected` is {}; allowed: texts, or arrays of turns",
                    kind(&chosen),
                    kind(&rejected)
                ));
            }
        }?;
        Ok(Self { answers, fields, file: PathBuf::new(), row: 0 })
    }

    fn text_bytes(&self) -> u64 {
        match &self.answers {
            PreferredAnswers::Texts { prompt, chosen, rejected } => {
                (prompt.len() + chosen.len() + rejected.len()) as u64
            }
            PreferredAnswers::Conversations { chosen, rejected } => chosen.text_bytes() + rejected.text_bytes(),
        }
    }

    fn at(self, file: &Path, row: u64) -> Self {
        let answers = match self.answers {
            PreferredAnswers::Conversations { chosen, rejected } => PreferredAnswers::Conversations {
                chosen: Box::new(chosen.at(file, row)),
                rejected: Box::new(rejected.at(file, row)),
            },
            texts => texts,
        };
        Self { answers, file: file.to_path_buf(), row, ..self }
    }

    fn place(&self) -> (&Path, u64) {
        (&self.file, self.row)
    }
}

/// How many bytes two texts have in common at their beginning, up to the blank before the word in which they differ.
fn common_words(one: &str, other: &str) -> usize {
    let same = one.char_indices().zip(other.chars()).find(|((_, one), other)| one != other);
    let end = same.map_or(one.len().min(other.len()), |((at, _), _)| at);
    let is_between = |text: &str| text[end..].chars().next().is_none_or(char::is_whitespace);
    let before = &one[..end];
    match is_between(one) && is_between(other) {
        true => end,
        // The blank belongs to the word behind it.
        false => before.trim_end_matches(|character: char| !character.is_whitespace()).trim_end().len(),
    }
}

fn texts(prompt: String, chosen: String, rejected: String) -> Result<PreferredAnswers, Fault> {
    let all = [&chosen, &rejected];
    if let Some(place) = all.iter().position(|text| text.trim().is_empty()) {
        return unreadable(format!("`{}` says nothing", ANSWERS[place]));
    }
    if chosen == rejected {
        return unreadable("`chosen` and `rejected` are the same");
    }
    Ok(PreferredAnswers::Texts { prompt, chosen, rejected })
}

fn turns(given: &[Value], field: &str) -> Result<Vec<Message>, Fault> {
    given.iter().enumerate().map(|(index, turn)| openai(turn, &format!("{field}[{index}]"))).collect()
}

fn conversations(
    prompt: Vec<Message>,
    chosen: Vec<Message>,
    rejected: Vec<Message>,
) -> Result<PreferredAnswers, Fault> {
    let answers = [&chosen, &rejected];
    for (field, turns) in ANSWERS.iter().zip(answers) {
        if !turns.iter().any(|turn| turn.role == ASSISTANT) {
            return unreadable(format!("`{field}` has no turn of the assistant"));
        }
        let silent = |turn: &Message| turn.role == ASSISTANT && turn.content.trim().is_empty();
        if let Some(index) = turns.iter().position(silent) {
            return unreadable(format!("`{field}[{index}]` is an answer that says nothing"));
        }
    }
    if chosen == rejected {
        return unreadable("`chosen` and `rejected` are the same");
    }
    let of = |answers: Vec<Message>| {
        let learned = prompt.iter().map(|_| false).chain(answers.iter().map(|turn| turn.role == ASSISTANT)).collect();
        let messages = prompt.iter().cloned().chain(answers).collect();
        Box::new(Conversation { messages, learned, fields: Map::new(), file: PathBuf::new(), row: 0 })
    };
    Ok(PreferredAnswers::Conversations { chosen: of(chosen), rejected: of(rejected) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(row: Value) -> Result<PreferredAnswers, String> {
        match Preference::read(row) {
            Ok(found) => Ok(found.answers),
            Err(Fault::Lacking(reason) | Fault::Unreadable(reason)) => Err(reason),
        }
    }

    fn said(role: &str, content: &str) -> Value {
        json!({ "role": role, "content": content })
    }

    #[test]
    fn texts_may_have_their_prompt_or_begin_with_it() {
        let expected = PreferredAnswers::Texts {
            prompt: "The fox ran".into(),
            chosen: " home.".into(),
            rejected: " hopping.".into(),
        };
        let explicit = json!({ "prompt": "The fox ran", "chosen": " home.", "rejected": " hopping.", "score": 3 });
        assert_eq!(read(explicit), Ok(expected.clone()));
        // No word is cut: both begin with ` ho`.
        let implicit = json!({ "chosen": "The fox ran home.", "rejected": "The fox ran hopping." });
        assert_eq!(read(implicit), Ok(expected));
        let longer = json!({ "chosen": "Ja wohl", "rejected": "Ja" });
        assert_eq!(read(longer).unwrap_err(), "`rejected` says nothing");
        let (one, other) = ("für mich", "für dich");
        assert_eq!(common_words(one, other), "für".len());
        assert_eq!(common_words("a b", "c b"), 0);
        assert_eq!(common_words("über", "übel"), 0);
    }

    #[test]
    fn conversations_may_have_their_prompt_or_begin_with_it() {
        let (user, good, bad) = (said("user", "Who?"), said("assistant", "A fox."), said("assistant", "No."));
        let explicit = json!({ "prompt": [user], "chosen": [good], "rejected": [bad] });
        let implicit = json!({ "chosen": [user, good], "rejected": [user, bad] });
        let found = read(explicit).unwrap();
        assert_eq!(read(implicit), Ok(found.clone()));
        let PreferredAnswers::Conversations { chosen, rejected } = found else { panic!("{found:?}") };
        assert_eq!(chosen.messages, [Message::new("user", "Who?"), Message::new("assistant", "A fox.")]);
        assert_eq!((chosen.learned.as_slice(), rejected.learned.as_slice()), (&[false, true][..], &[false, true][..]));
        assert_eq!(rejected.messages[1].content, "No.");
        // An answer of the prompt is given.
        let earlier = json!({ "prompt": [user, good, user], "chosen": [good], "rejected": [bad] });
        let PreferredAnswers::Conversations { chosen, .. } = read(earlier).unwrap() else { panic!("conversations") };
        assert_eq!(chosen.learned, [false, false, false, true]);
    }

    #[test]
    fn what_says_nothing_of_a_preference_is_refused_by_its_field() {
        let (user, good) = (said("user", "Who?"), said("assistant", "A fox."));
        for (row, reason) in [
            (json!({ "prompt": "a", "chosen": "b" }), "no `rejected`; it has `prompt`, `chosen`"),
            (json!({ "prompt": "a", "chosen": "b", "rejected": "b" }), "`chosen` and `rejected` are the same"),
            (json!({ "prompt": "a", "chosen": " ", "rejected": "b" }), "`chosen` says nothing"),
            (
                json!({ "prompt": [user], "chosen": "b", "rejected": "c" }),
                "`prompt` is an array, `chosen` is a string, `rejected` is a string; allowed: texts, or arrays of turns",
            ),
            (
                json!({ "chosen": ["b"], "rejected": null }),
                "`prompt` is nothing, `chosen` is an array, `rejected` is null; allowed: texts, or arrays of turns",
            ),
            (
                json!({ "prompt": [user], "chosen": [user], "rejected": [good] }),
                "`chosen` has no turn of the assistant",
            ),
            (
                json!({ "prompt": [user], "chosen": [good], "rejected": [said("assistant", "")] }),
                "`rejected[0]` is an answer that says nothing",
            ),
            (
                json!({ "prompt": [user], "chosen": [said("tool", "3")], "rejected": [good] }),
                "`chosen[0].role` is `tool`; allowed: `system`, `developer`, `user`, `assistant`",
            ),
        ] {
            assert_eq!(read(row.clone()).unwrap_err(), reason, "{row}");
        }
    }
}
