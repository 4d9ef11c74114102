//! Conversations as prompts: by the model's own template, and as plain text where it has none.

use crate::error::ApiError;
use crate::models::Loaded;
use aquatint::vocabulary::{Message, Template};
use aquatint::{Prepared, SamplingOptions};
use serde::Deserialize;
use utoipa::ToSchema;

/// What is said in a turn: a text, or parts of which all are texts.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(untagged, expecting = "expected a text or an array of parts with a `type`")]
pub(crate) enum Content {
    Text(String),
    Parts(Vec<Part>),
}

/// A part of a turn.
#[derive(Debug, Clone, Deserialize, ToSchema)]
pub(crate) struct Part {
    /// `text`; pictures and sounds are refused.
    #[serde(rename = "type")]
    kind: String,
    text: Option<String>,
}

impl Content {
    /// The text. `place` is the field that is named where there is something else.
    ///
    /// # Errors
    /// When a part is no text.
    pub(crate) fn text(&self, place: &str) -> Result<String, ApiError> {
        match self {
            Self::Text(text) => Ok(text.clone()),
            Self::Parts(parts) => {
                let mut text = String::new();
                for (index, part) in parts.iter().enumerate() {
                    match (&*part.kind, &part.text) {
                        ("text", Some(part)) => text.push_str(part),
                        ("text", None) => {
                            return Err(ApiError::invalid(format!("`{place}[{index}].text` is missing")).of(place));
                        }
                        (kind, _) => {
                            let place = format!("{place}[{index}].type");
                            return Err(ApiError::field(
                                &place,
                                format!("`{kind}`"),
                                "`text`: this model reads text only",
                            ));
                        }
                    }
                }
                Ok(text)
            }
        }
    }
}

/// Makes a conversation ready to be continued. A model without a template of conversations continues the turns as the
/// paragraphs of one text.
///
/// # Errors
/// When the template refuses the conversation, or it does not fit the model.
pub(crate) fn prepare(
    loaded: &Loaded,
    turns: &[Message],
    tools: &[serde_json::Value],
    options: &SamplingOptions,
) -> Result<Prepared, ApiError> {
    if turns.is_empty() {
        return Err(ApiError::field("messages", "empty", "at least one message"));
    }
    let Some(chat) = &loaded.chat else {
        let texts = turns.iter().map(|turn| turn.content.as_str()).filter(|text| !text.is_empty());
        let text = texts.collect::<Vec<_>>().join("\n\n");
        return Ok(loaded.model.prepare_template(Template::text(text), options)?);
    };
    let refused = |error: aquatint::vocabulary::ChatError| {
        let hint = error.hint().map(|hint| format!("; {hint}")).unwrap_or_default();
        ApiError::invalid(format!("{error}{hint}")).of("messages")
    };
    let answers = turns.last().is_some_and(|turn| turn.role == "assistant");
    let text = match turns.split_last() {
        // A begun answer is continued: it stands behind the prompt that asks for one.
        Some((last, before)) if answers => chat.render_with_tools(before, tools, true).map(|text| text + &last.content),
        _ => chat.render_with_tools(turns, tools, true),
    };
    let tokens = loaded.vocabulary().encode_marked(&text.map_err(refused)?).map_err(aquatint::Error::from)?;
    Ok(loaded.model.prepare_tokens(&tokens, options)?)
}
