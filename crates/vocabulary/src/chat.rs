//! Chat templates: a conversation as the one text that a model was trained on.
//!
//! Models carry their template as Jinja source in `tokenizer_config.json`. The conventions are those of Hugging Face's
//! `apply_chat_template`: the variables `messages`, `add_generation_prompt`, `bos_token` and `eos_token`; the function
//! `raise_exception`; blocks trimmed and stripped on the left; and, since those templates were written for Python, the
//! methods of strings and dictionaries that they use. There is no clock (`strftime_now` is not defined): a conversation
//! has one text.

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Serde, Value, ValueKind};
use minijinja::{Environment, Error, ErrorKind, context};
use std::collections::BTreeMap;

/// One turn of a conversation.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// The speaker: `system`, `user`, `assistant`, or what else the template knows.
    pub role: String,
    /// What is said.
    pub content: String,
    /// What else the template may read: `tool_calls` of an answer, `tool_call_id` of a tool's result.
    pub extra: BTreeMap<String, serde_json::Value>,
}

impl Message {
    /// A turn.
    pub fn new(role: impl Into<String>, content: impl Into<String>) -> Self {
        Self { role: role.into(), content: content.into(), extra: BTreeMap::new() }
    }
}

/// Why a conversation has no text.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChatError {
    /// The template is not Jinja that can be read.
    #[error("the chat template cannot be read: {reason}")]
    Malformed {
        /// What the reader said, with the line.
        reason: String,
    },
    /// The configuration has no template.
    #[error("the model has no chat template (chat_template.jinja, or `chat_template` in tokenizer_config.json)")]
    Missing,
    /// The template refused the conversation by `raise_exception`.
    #[error("the chat template refuses the conversation: {reason}")]
    Refused {
        /// Its words.
        reason: String,
    },
    /// The template failed on this conversation.
    #[error("the chat template failed: {reason}")]
    Failed {
        /// What went wrong, with the line.
        reason: String,
    },
}

impl ChatError {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Malformed { .. } => Some("check `chat_template` in tokenizer_config.json".to_owned()),
            Self::Missing => Some("complete text instead of chatting".to_owned()),
            Self::Refused { .. } | Self::Failed { .. } => None,
        }
    }
}

/// A conversation's template, read once.
#[derive(Debug, Clone)]
pub struct ChatTemplate {
    environment: Environment<'static>,
    begin: String,
    end: String,
}

/// The template of models whose makers gave them none: a line for each turn.
const PLAIN: &str = "\
{% for message in messages %}\
{% if message['role'] == 'assistant' %}{{ 'A: ' + message['content'].strip() + eos_token + '\\n' }}\
{% elif message['role'] == 'system' %}{{ message['content'].strip() + '\\n' }}\
{% else %}{{ 'Q: ' + message['content'].strip() + '\\n' }}{% endif %}\
{% endfor %}{% if add_generation_prompt %}A:{% endif %}";
const NAME: &str = "chat";
/// What a template may do for one text, in the engine's unit: an instruction, or 64 bytes of text. A conversation takes a
/// few dozen for each turn; a template that a stranger wrote ends after a second and a quarter of a gigabyte.
const FUEL: u64 = 4_000_000;
/// Marks an error of `raise_exception`, to distinguish it from a failure of the template.
const REFUSAL: &str = "\u{1}refused\u{1}";

impl ChatTemplate {
    /// The source of the template that is taken where a model has none: `Q: …`, `A: …`, a line each.
    pub const PLAIN: &str = PLAIN;

    /// Reads a template. `begin` and `end` are the texts of `bos_token` and `eos_token`, empty where a model has none.
    ///
    /// # Errors
    /// When the source is not Jinja that can be read.
    pub fn new(source: &str, begin: &str, end: &str) -> Result<Self, ChatError> {
        let malformed = |error: Error| ChatError::Malformed { reason: described(&error) };
        let mut environment = Environment::new();
        environment.set_fuel(Some(FUEL));
        environment
            .set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build().map_err(malformed)?);
        environment.set_unknown_method_callback(|_, value, method, arguments| python_method(value, method, arguments));
        environment.add_function("raise_exception", |reason: String| -> Result<Value, Error> {
            Err(Error::new(ErrorKind::InvalidOperation, format!("{REFUSAL}{reason}")))
        });
        environment.add_template_owned(NAME, source.to_owned()).map_err(malformed)?;
        Ok(Self { environment, begin: begin.to_owned(), end: end.to_owned() })
    }

    /// Reads the template of a `tokenizer_config.json`: `chat_template` is its source, or a list of named ones of which
    /// `default` (or the only one) is taken; `bos_token` and `eos_token` are texts or objects with `content`.
    ///
    /// # Errors
    /// When there is no template or it cannot be read.
    pub fn from_config(config: &serde_json::Value) -> Result<Self, ChatError> {
        let template = &config["chat_template"];
        let source = match template.as_array() {
            Some(named) => {
                let default = named.iter().find(|entry| entry["name"] == "default");
                default.or(named.first()).and_then(|entry| entry["template"].as_str())
            }
            None => template.as_str(),
        };
        let token = |key: &str| {
            let value = &config[key];
            value.as_str().or_else(|| value["content"].as_str()).unwrap_or_default().to_owned()
        };
        Self::new(source.ok_or(ChatError::Missing)?, &token("bos_token"), &token("eos_token"))
    }

    /// The same with a variable that templates of some models read, such as `enable_thinking`.
    #[must_use]
    pub fn with_variable(mut self, name: &'static str, value: bool) -> Self {
        self.environment.add_global(name, value);
        self
    }

    /// Whether the template speaks of tools. One that does not would leave them out.
    pub fn knows_tools(&self) -> bool {
        let variables = self.environment.get_template(NAME).map(|template| template.undeclared_variables(false));
        variables.is_ok_and(|variables| variables.contains("tools"))
    }

    /// The text of a conversation; with `add_generation_prompt` it ends where the model's answer begins. Encode it by
    /// [`crate::Vocabulary::encode_marked`].
    ///
    /// Messages are put into the text unchanged: a message that contains the name of a special token counts as that
    /// token when it is encoded, as everywhere in this ecosystem.
    ///
    /// # Errors
    /// When the template refuses the conversation or fails.
    pub fn render(&self, messages: &[Message], add_generation_prompt: bool) -> Result<String, ChatError> {
        self.render_with_tools(messages, &[], add_generation_prompt)
    }

    /// The same of a conversation in which the model may call tools: each a JSON object as OpenAI's protocol has it, which
    /// the template finds in the variable `tools`.
    ///
    /// # Errors
    /// As [`ChatTemplate::render`].
    pub fn render_with_tools(
        &self,
        messages: &[Message],
        tools: &[serde_json::Value],
        add_generation_prompt: bool,
    ) -> Result<String, ChatError> {
        let failed = |error: Error| {
            let reason = described(&error);
            match error.detail().and_then(|detail| detail.strip_prefix(REFUSAL)) {
                Some(words) => ChatError::Refused { reason: words.to_owned() },
                None => ChatError::Failed { reason },
            }
        };
        let turn = |message: &Message| {
            let own = [("role", &message.role), ("content", &message.content)];
            let own = own.map(|(name, text)| (name.to_owned(), Value::from(text.clone())));
            let extra = message.extra.iter().map(|(name, value)| (name.clone(), Value::from(Serde(value))));
            Value::from_pairs(own.into_iter().chain(extra))
        };
        let turns: Vec<Value> = messages.iter().map(turn).collect();
        // As in `apply_chat_template`, the variable is there, and none where there are no tools.
        let tools = if tools.is_empty() { Value::from(()) } else { Value::from(Serde(tools)) };
        let variables = context! {
            messages => turns,
            tools => tools,
            add_generation_prompt => add_generation_prompt,
            bos_token => self.begin.clone(),
            eos_token => self.end.clone(),
        };
        self.environment.get_template(NAME).and_then(|template| template.render(variables)).map_err(failed)
    }
}

/// What a template engine says, in one line.
fn described(error: &Error) -> String {
    let what = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
    error.line().map_or_else(|| what.clone(), |line| format!("{what} (line {line})"))
}

/// The methods of Python's strings and dictionaries that chat templates call.
fn python_method(value: &Value, method: &str, arguments: &[Value]) -> Result<Value, Error> {
    let unknown = || Error::from(ErrorKind::UnknownMethod);
    if let Some(text) = value.as_str() {
        return string_method(text, method, arguments)?.ok_or_else(unknown);
    }
    if value.kind() == ValueKind::Map {
        let keys = || value.try_iter();
        return match (method, arguments) {
            ("keys", []) => Ok(keys()?.collect()),
            ("values", []) => keys()?.map(|key| value.get_item(&key)).collect(),
            ("items", []) => keys()?.map(|key| Ok(Value::from(vec![key.clone(), value.get_item(&key)?]))).collect(),
            ("get", [key, default @ ..]) if default.len() < 2 => {
                let found = value.get_item(key)?;
                let default = default.first().cloned().unwrap_or_else(|| Value::from(()));
                Ok(if found.is_undefined() { default } else { found })
            }
            _ => Err(unknown()),
        };
    }
    Err(unknown())
}

/// `Ok(None)` for a method that is not known.
fn string_method(text: &str, method: &str, arguments: &[Value]) -> Result<Option<Value>, Error> {
    let mut given = Vec::new();
    for argument in arguments {
        given.push(argument.as_str().ok_or_else(|| {
            Error::new(ErrorKind::InvalidOperation, format!("`{method}` takes strings, and was given {argument}"))
        })?);
    }
    let set =
        |characters: Option<&&str>| -> Vec<char> { characters.map_or_else(Vec::new, |set| set.chars().collect()) };
    let strip = |left: bool, right: bool| {
        let characters = set(given.first());
        let drop = |c: char| if given.is_empty() { c.is_whitespace() } else { characters.contains(&c) };
        let text = if left { text.trim_start_matches(drop) } else { text };
        Value::from(if right { text.trim_end_matches(drop) } else { text })
    };
    Ok(match (method, given.as_slice()) {
        ("strip", [] | [_]) => Some(strip(true, true)),
        ("lstrip", [] | [_]) => Some(strip(true, false)),
        ("rstrip", [] | [_]) => Some(strip(false, true)),
        ("startswith", [prefix]) => Some(Value::from(text.starts_with(prefix))),
        ("endswith", [suffix]) => Some(Value::from(text.ends_with(suffix))),
        ("upper", []) => Some(Value::from(text.to_uppercase())),
        ("lower", []) => Some(Value::from(text.to_lowercase())),
        ("replace", [from, to]) => Some(Value::from(text.replace(from, to))),
        ("split", []) => Some(text.split_whitespace().map(Value::from).collect()),
        ("split", [separator]) if !separator.is_empty() => Some(text.split(separator).map(Value::from).collect()),
        _ => None,
    })
}
