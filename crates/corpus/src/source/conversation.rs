//! Conversations in JSON lines: OpenAI's form and ShareGPT's.
//!
//! ```text
//! {"messages": [{"role": "user", "content": "…"}, {"role": "assistant", "content": "…"}]}
//! {"conversations": [{"from": "human", "value": "…"}, {"from": "gpt", "value": "…"}], "system": "…"}
//! ```
//! A content may be an array of parts, all of which are text. An answer with `"weight": 0` is part of its conversation and
//! is not learned. A row with tools, pictures or sounds, one in which nothing is to be learned, and one whose speakers are
//! unknown is a bad row: it is passed over, counted and named.

use super::counts::Fault;
use super::json::{kind, names};
use super::rows::read::ReadRow;
use super::rows::{StructuredRow, StructuredRows};
use aquatint_vocabulary::Message;
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};

const SYSTEM: &str = "system";
const USER: &str = "user";
pub(super) const ASSISTANT: &str = "assistant";

/// A conversation, as a row has it.
#[derive(Debug, Clone, PartialEq)]
pub struct Conversation {
    /// Its turns, in the roles `system`, `user` and `assistant`.
    pub messages: Vec<Message>,
    /// Whether each turn is an answer that is to be learned.
    pub learned: Vec<bool>,
    /// The other fields of the row.
    pub fields: Map<String, Value>,
    /// Its file.
    pub file: PathBuf,
    /// The number of its line, from 1.
    pub row: u64,
}

impl Conversation {
    /// The index of the last answer that is to be learned; there is one.
    pub fn last_answer(&self) -> usize {
        self.learned.iter().rposition(|learned| *learned).unwrap_or_default()
    }
}

/// Iterator over the conversations of a [`Source`](super::Source).
pub type Conversations<'source> = StructuredRows<'source, Conversation>;

impl StructuredRow for Conversation {}

impl ReadRow for Conversation {
    const NAME: &'static str = "conversation";
    const EXAMPLE: &'static str =
        r#"{"messages": [{"role": "user", "content": "…"}, {"role": "assistant", "content": "…"}]}"#;

    fn read(row: Value) -> Result<Self, Fault> {
        conversation_of(row)
    }

    fn text_bytes(&self) -> u64 {
        self.messages.iter().map(|message| message.content.len() as u64).sum()
    }

    fn at(self, file: &Path, row: u64) -> Self {
        Self { file: file.to_path_buf(), row, ..self }
    }

    fn place(&self) -> (&Path, u64) {
        (&self.file, self.row)
    }
}

pub(super) fn unreadable<T>(reason: impl Into<String>) -> Result<T, Fault> {
    Err(Fault::Unreadable(reason.into()))
}

/// The conversation of a row, without its place.
fn conversation_of(row: Value) -> Result<Conversation, Fault> {
    let missing = || Fault::Unreadable(format!("no `messages` and no `conversations`; it has {}", names(&row)));
    let field = ["messages", "conversations"].into_iter().find(|field| row.get(field).is_some()).ok_or_else(missing)?;
    let Value::Object(mut fields) = row else { return unreadable("no object") };
    if let Some(tool) = ["tools", "functions"].into_iter().find(|key| !is_nothing(fields.get(*key))) {
        return unreadable(format!("`{tool}` is there, and conversations with tools are not learned"));
    }
    let turns = match fields.remove(field) {
        Some(Value::Array(turns)) => turns,
        other => return unreadable(format!("`{field}` is {} and no array", kind(&other.unwrap_or_default()))),
    };
    let (mut messages, mut learned) = (Vec::new(), Vec::new());
    if let (false, Some(Value::String(said))) = (field == "messages", fields.remove(SYSTEM))
        && !said.is_empty()
    {
        messages.push(Message::new(SYSTEM, said));
        learned.push(false);
    }
    for (index, turn) in turns.iter().enumerate() {
        let place = format!("{field}[{index}]");
        let message = if field == "messages" { openai(turn, &place)? } else { sharegpt(turn, &place)? };
        let is_answer = message.role == ASSISTANT;
        if is_answer && message.content.trim().is_empty() {
            return unreadable(format!("`{place}` is an answer that says nothing"));
        }
        learned.push(is_answer && turn.get("weight").and_then(Value::as_f64) != Some(0.0));
        messages.push(message);
    }
    if !learned.contains(&true) {
        return unreadable("there is no answer to learn: no turn is the assistant's, or all of them weigh 0");
    }
    Ok(Conversation { messages, learned, fields, file: PathBuf::new(), row: 0 })
}

/// Whether a field is missing, null or empty.
pub(super) fn is_nothing(value: Option<&Value>) -> bool {
    match value {
        None | Some(Value::Null) => true,
        Some(Value::Array(elements)) => elements.is_empty(),
        Some(_) => false,
    }
}

/// A turn in OpenAI's form.
pub(super) fn openai(turn: &Value, place: &str) -> Result<Message, Fault> {
    if let Some(call) = ["tool_calls", "function_call"].into_iter().find(|key| !is_nothing(turn.get(key))) {
        return unreadable(format!("`{place}.{call}` is there, and conversations with tools are not learned"));
    }
    let role = match turn["role"].as_str() {
        Some(USER) => USER,
        Some(ASSISTANT) => ASSISTANT,
        Some(SYSTEM | "developer") => SYSTEM,
        Some(other) => {
            let allowed = "`system`, `developer`, `user`, `assistant`";
            return unreadable(format!("`{place}.role` is `{other}`; allowed: {allowed}"));
        }
        None => return unreadable(format!("`{place}.role` is {} and no string", kind(&turn["role"]))),
    };
    let content = match &turn["content"] {
        Value::String(content) => content.clone(),
        Value::Array(parts) => {
            let mut content = String::new();
            for (index, part) in parts.iter().enumerate() {
                match (part["type"].as_str(), part["text"].as_str()) {
                    (Some("text"), Some(text)) => content.push_str(text),
                    (Some("text") | None, _) => {
                        return unreadable(format!("`{place}.content[{index}]` is no part with a `type` and its text"));
                    }
                    (Some(other), _) => {
                        let part = format!("{place}.content[{index}].type");
                        return unreadable(format!("`{part}` is `{other}`; allowed: `text`"));
                    }
                }
            }
            content
        }
        other => return unreadable(format!("`{place}.content` is {} and no text", kind(other))),
    };
    Ok(Message::new(role, content))
}

/// A turn in ShareGPT's form.
fn sharegpt(turn: &Value, place: &str) -> Result<Message, Fault> {
    let role = match turn["from"].as_str() {
        Some("human" | USER) => USER,
        Some("gpt" | ASSISTANT) => ASSISTANT,
        Some(SYSTEM) => SYSTEM,
        Some(other) => {
            return unreadable(format!("`{place}.from` is `{other}`; allowed: `system`, `human`, `gpt`"));
        }
        None => return unreadable(format!("`{place}.from` is {} and no string", kind(&turn["from"]))),
    };
    match turn["value"].as_str() {
        Some(value) => Ok(Message::new(role, value)),
        None => unreadable(format!("`{place}.value` is {} and no string", kind(&turn["value"]))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(row: Value) -> Result<Vec<(String, String, bool)>, String> {
        let parts = |(message, learned): (Message, bool)| (message.role, message.content, learned);
        match conversation_of(row) {
            Ok(found) => Ok(found.messages.into_iter().zip(found.learned).map(parts).collect()),
            Err(Fault::Lacking(reason) | Fault::Unreadable(reason)) => Err(reason),
        }
    }

    fn turn(role: &str, content: &str, learned: bool) -> (String, String, bool) {
        (role.to_owned(), content.to_owned(), learned)
    }

    #[test]
    fn openai_and_sharegpt_say_the_same() {
        let expected = vec![
            turn("system", "Be short.", false),
            turn("user", "Who?", false),
            turn("assistant", "A fox.", true),
            turn("user", "Where?", false),
            turn("assistant", "Here.", true),
        ];
        let openai = json!({ "messages": [
            { "role": "developer", "content": "Be short." },
            { "role": "user", "content": [{ "type": "text", "text": "Who" }, { "type": "text", "text": "?" }] },
            { "role": "assistant", "content": "A fox." },
            { "role": "user", "content": "Where?" },
            { "role": "assistant", "content": "Here.", "tool_calls": [] },
        ], "tools": null });
        let sharegpt = json!({ "system": "Be short.", "conversations": [
            { "from": "human", "value": "Who?" },
            { "from": "gpt", "value": "A fox." },
            { "from": "user", "value": "Where?" },
            { "from": "assistant", "value": "Here." },
        ] });
        assert_eq!(read(openai), Ok(expected.clone()));
        assert_eq!(read(sharegpt), Ok(expected));
    }

    #[test]
    fn an_answer_of_weight_zero_is_not_learned() {
        let row = |weight: f64| {
            json!({ "messages": [
                { "role": "assistant", "content": "No.", "weight": 0 },
                { "role": "assistant", "content": "Yes.", "weight": weight },
            ] })
        };
        assert_eq!(read(row(1.0)), Ok(vec![turn("assistant", "No.", false), turn("assistant", "Yes.", true)]));
        assert!(read(row(0.0)).unwrap_err().starts_with("there is no answer to learn"));
    }

    #[test]
    fn what_is_not_learned_is_refused_by_its_place() {
        let said = |content: Value| json!({ "messages": [{ "role": "assistant", "content": content }] });
        for (row, reason) in [
            (json!({ "text": "A fox." }), "no `messages` and no `conversations`; it has `text`"),
            (json!({ "messages": "A fox." }), "`messages` is a string and no array"),
            (
                json!({ "messages": [] }),
                "there is no answer to learn: no turn is the assistant's, or all of them weigh 0",
            ),
            (
                json!({ "messages": [{ "role": "user", "content": "Who?" }] }),
                "there is no answer to learn: no turn is the assistant's, or all of them weigh 0",
            ),
            (said(json!(" \n")), "`messages[0]` is an answer that says nothing"),
            (said(Value::Null), "`messages[0].content` is null and no text"),
            (
                said(json!([{ "type": "image_url", "image_url": { "url": "data:," } }])),
                "`messages[0].content[0].type` is `image_url`; allowed: `text`",
            ),
            (said(json!([{ "text": "A" }])), "`messages[0].content[0]` is no part with a `type` and its text"),
            (
                json!({ "messages": [{ "role": "tool", "content": "3" }] }),
                "`messages[0].role` is `tool`; allowed: `system`, `developer`, `user`, `assistant`",
            ),
            (
                json!({ "messages": [{ "role": "assistant", "content": null, "tool_calls": [{}] }] }),
                "`messages[0].tool_calls` is there, and conversations with tools are not learned",
            ),
            (
                json!({ "messages": [], "tools": [{}] }),
                "`tools` is there, and conversations with tools are not learned",
            ),
            (
                json!({ "conversations": [{ "from": "bing", "value": "A fox." }] }),
                "`conversations[0].from` is `bing`; allowed: `system`, `human`, `gpt`",
            ),
            (json!({ "conversations": [{ "from": "gpt" }] }), "`conversations[0].value` is null and no string"),
            (json!({ "conversations": [7] }), "`conversations[0].from` is null and no string"),
        ] {
            assert_eq!(read(row.clone()).unwrap_err(), reason, "{row}");
        }
    }
}
