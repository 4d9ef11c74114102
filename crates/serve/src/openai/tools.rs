//! Tools: what the model may call, and the calls in what it wrote.
//!
//! A call is written as one JSON object, `{"name": …, "arguments": {…}}`, which a constraint keeps valid where a call is
//! required. Where the model may choose, it writes freely, and what it wrote is a call if it is such an object, bare or
//! between `<tool_call>` and `</tool_call>`.

use crate::error::ApiError;
use crate::identity::identifier;
use aquatint::vocabulary::{ChatTemplate, Message};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

/// Tools of a request at most.
const MOST_TOOLS: usize = 128;
const OPEN: &str = "<tool_call>";
const CLOSE: &str = "</tool_call>";

/// A tool.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Tool {
    /// `function`.
    #[serde(rename = "type")]
    kind: String,
    function: Function,
}

/// A function that the model may call.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Function {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    /// The JSON schema of its arguments; any object where it is left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    parameters: Option<Value>,
    /// Accepted: where a call is required, arguments always keep their schema.
    #[serde(skip_serializing_if = "Option::is_none")]
    strict: Option<bool>,
}

/// Whether a tool is called: `none`, `auto`, `required`, or one by its name.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(untagged, expecting = "expected `none`, `auto`, `required` or an object that names a tool")]
pub(super) enum ToolChoice {
    Mode(String),
    Named(NamedTool),
}

/// One tool by its name.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NamedTool {
    /// `function`.
    #[serde(rename = "type")]
    kind: String,
    function: FunctionName,
}

/// The name of a function.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct FunctionName {
    name: String,
}

/// A call that the model wrote.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(super) struct ToolCall {
    /// Which call of the answer, in a stream.
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<usize>,
    id: String,
    /// `function`.
    #[serde(rename = "type")]
    kind: &'static str,
    function: CalledFunction,
}

/// A function with its arguments.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
struct CalledFunction {
    name: String,
    /// JSON.
    arguments: String,
}

/// The tools of a request.
#[derive(Debug, Clone)]
pub(super) struct Tools {
    tools: Vec<Tool>,
    /// Those that have to be called, one of them; none where the model may choose.
    required: Vec<usize>,
}

impl Tools {
    /// Reads the fields of a request; `None` where no tool is to be called.
    ///
    /// # Errors
    /// When a tool is no function, a name stands twice, or the choice names none of them.
    pub(super) fn read(tools: Option<Vec<Tool>>, choice: Option<ToolChoice>) -> Result<Option<Self>, ApiError> {
        let tools = tools.unwrap_or_default();
        if tools.len() > MOST_TOOLS {
            return Err(ApiError::field("tools", format!("{} tools", tools.len()), &format!("at most {MOST_TOOLS}")));
        }
        for (index, tool) in tools.iter().enumerate() {
            if tool.kind != "function" {
                return Err(ApiError::field(&format!("tools[{index}].type"), format!("`{}`", tool.kind), "`function`"));
            }
            if tools[..index].iter().any(|before| before.function.name == tool.function.name) {
                let place = format!("tools[{index}].function.name");
                return Err(ApiError::field(&place, format!("`{}`", tool.function.name), "each name once"));
            }
        }
        let all = || (0..tools.len()).collect();
        let required = match &choice {
            Some(ToolChoice::Mode(mode)) => match mode.as_str() {
                "none" => return Ok(None),
                "auto" => Vec::new(),
                "required" if !tools.is_empty() => all(),
                "required" => {
                    return Err(ApiError::invalid("`tool_choice` is `required` without `tools`").of("tool_choice"));
                }
                other => {
                    let allowed = "`none`, `auto`, `required`, or an object that names a function";
                    return Err(ApiError::field("tool_choice", format!("`{other}`"), allowed));
                }
            },
            Some(ToolChoice::Named(named)) => {
                let found = tools.iter().position(|tool| tool.function.name == named.function.name);
                let found = found.filter(|_| named.kind == "function");
                vec![found.ok_or_else(|| {
                    let given = format!("`{}`", named.function.name);
                    ApiError::field("tool_choice", given, "the name of one of `tools`")
                })?]
            }
            None => Vec::new(),
        };
        Ok((!tools.is_empty()).then_some(Self { tools, required }))
    }

    /// The schema of a call, where one is required.
    pub(super) fn schema(&self) -> Option<Value> {
        let call = |index: &usize| {
            let function = &self.tools[*index].function;
            let arguments = function.parameters.clone().unwrap_or_else(|| json!({"type": "object"}));
            json!({
                "type": "object",
                "properties": {"name": {"const": function.name}, "arguments": arguments},
                "required": ["name", "arguments"],
                "additionalProperties": false,
            })
        };
        match self.required.as_slice() {
            [] => None,
            [one] => Some(call(one)),
            several => Some(json!({"anyOf": several.iter().map(call).collect::<Vec<_>>()})),
        }
    }

    /// Whether what is written is a call, whatever it says.
    pub(super) fn is_required(&self) -> bool {
        !self.required.is_empty()
    }

    /// The tools as a template of conversations reads them; where it does not, a turn in front says what they are.
    pub(super) fn introduce(&self, chat: Option<&ChatTemplate>, turns: &mut Vec<Message>) -> Vec<Value> {
        let tools: Vec<Value> = self.tools.iter().map(|tool| json!(tool)).collect();
        if chat.is_some_and(ChatTemplate::knows_tools) {
            return tools;
        }
        let listed: String = tools.iter().map(|tool| format!("{}\n", tool["function"])).collect();
        let text = format!("Functions, one on each line:\n{listed}A call is {{\"name\": …, \"arguments\": {{…}}}}.");
        match turns.first_mut().filter(|turn| turn.role == "system") {
            Some(system) => system.content = format!("{}\n\n{text}", system.content),
            None => turns.insert(0, Message::new("system", text)),
        }
        Vec::new()
    }

    /// The calls in a text; `None` where it is an answer in words.
    pub(super) fn calls(&self, text: &str) -> Option<Vec<ToolCall>> {
        let mut rest = text.trim();
        let bare = !rest.starts_with(OPEN);
        let mut calls = Vec::new();
        while !rest.is_empty() {
            let object = if bare {
                std::mem::take(&mut rest)
            } else {
                let inside = rest.strip_prefix(OPEN)?;
                let (object, behind) = inside.split_once(CLOSE).unwrap_or((inside, ""));
                rest = behind.trim_start();
                object.trim()
            };
            calls.push(self.call(object)?);
        }
        (!calls.is_empty()).then_some(calls)
    }

    fn call(&self, object: &str) -> Option<ToolCall> {
        let value: Value = serde_json::from_str(object).ok()?;
        let name = value.get("name")?.as_str()?.to_owned();
        let arguments = value.get("arguments").filter(|arguments| arguments.is_object())?.to_string();
        let known = self.tools.iter().any(|tool| tool.function.name == name);
        let function = CalledFunction { name, arguments };
        known.then(|| ToolCall { index: None, id: identifier("call_"), kind: "function", function })
    }

    /// Whether a text that goes on may still become a call.
    fn may_be_call(&self, text: &str) -> bool {
        let text = text.trim_start();
        self.is_required() || text.starts_with('{') || text.starts_with(OPEN) || OPEN.starts_with(text)
    }
}

/// The beginning of a streamed answer, which is held back as long as it may become a call.
#[derive(Debug, Default)]
pub(super) struct Beginning {
    held: String,
    /// Whether it is known to be an answer in words, of which nothing is held back.
    is_words: bool,
}

impl Beginning {
    /// Takes more of the text in; returns what can be sent now.
    pub(super) fn push(&mut self, text: String, tools: &Tools) -> Option<String> {
        if self.is_words {
            return Some(text);
        }
        self.held.push_str(&text);
        self.is_words = !tools.may_be_call(&self.held);
        self.is_words.then(|| std::mem::take(&mut self.held))
    }

    /// What is held back.
    pub(super) fn take(&mut self) -> String {
        std::mem::take(&mut self.held)
    }
}

/// The calls as a stream has them.
pub(super) fn numbered(calls: Vec<ToolCall>) -> Vec<ToolCall> {
    calls.into_iter().enumerate().map(|(index, call)| ToolCall { index: Some(index), ..call }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tools(choice: Value) -> Result<Option<Tools>, ApiError> {
        let tool =
            |name: &str| json!({"type": "function", "function": {"name": name, "parameters": {"type": "object"}}});
        let tools = serde_json::from_value(json!([tool("a"), tool("b")])).unwrap();
        Tools::read(Some(tools), serde_json::from_value(choice).unwrap())
    }

    #[test]
    fn a_choice_says_which_may_be_called() {
        assert!(tools(json!("none")).unwrap().is_none());
        assert_eq!(tools(json!("auto")).unwrap().unwrap().schema(), None);
        assert_eq!(tools(json!("required")).unwrap().unwrap().schema().unwrap()["anyOf"].as_array().unwrap().len(), 2);
        let named = tools(json!({"type": "function", "function": {"name": "b"}})).unwrap().unwrap();
        assert_eq!(named.schema().unwrap()["properties"]["name"], json!({"const": "b"}));
        assert!(tools(json!({"type": "function", "function": {"name": "c"}})).is_err());
        assert!(tools(json!("always")).is_err());
    }

    #[test]
    fn only_the_beginning_of_an_answer_is_held_back() {
        let tools = tools(json!("auto")).unwrap().unwrap();
        let sent = |parts: &[&str]| {
            let mut beginning = Beginning::default();
            let sent: Vec<_> = parts.iter().map(|part| beginning.push((*part).to_owned(), &tools)).collect();
            (sent, beginning.take())
        };
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(
            sent(&[" ", "<tool", "s>", "{", " "]),
            (vec![None, None, text(" <tools>"), text("{"), text(" ")], String::new())
        );
        assert_eq!(sent(&["{", "\"name"]), (vec![None, None], "{\"name".to_owned()));
    }

    #[test]
    fn calls_are_found_and_words_are_left_alone() {
        let tools = tools(json!("auto")).unwrap().unwrap();
        let names = |text: &str| {
            let names = |calls: Vec<ToolCall>| calls.into_iter().map(|call| call.function.name).collect::<Vec<_>>();
            tools.calls(text).map(names)
        };
        assert_eq!(names(r#" {"name": "a", "arguments": {"x": 1}}"#).unwrap(), ["a"]);
        let two = "<tool_call>\n{\"name\": \"a\", \"arguments\": {}}\n</tool_call>\n<tool_call>{\"name\":\"b\",\"arguments\":{}}</tool_call>";
        assert_eq!(names(two).unwrap(), ["a", "b"]);
        for words in
            ["", "Hello", "{}", r#"{"name": "c", "arguments": {}}"#, r#"{"name": "a", "arguments": 1}"#, "<tool_call>"]
        {
            assert_eq!(names(words), None, "{words}");
        }
        assert!(
            tools.may_be_call("  <tool") && tools.may_be_call("{") && tools.may_be_call("") && !tools.may_be_call("He")
        );
    }
}
