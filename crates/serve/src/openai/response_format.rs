//! `response_format`: what an answer's text may be.

use crate::error::ApiError;
use aquatint::constraint::ConstraintSpec;
use serde::Deserialize;
use serde_json::Value;
use utoipa::ToSchema;

/// The form of an answer.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum ResponseFormat {
    /// Any text.
    Text {},
    /// Any JSON object.
    JsonObject {},
    /// JSON that a schema allows.
    JsonSchema {
        /// The schema.
        json_schema: NamedSchema,
    },
}

/// A schema with its name.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NamedSchema {
    /// Not used.
    #[serde(rename = "name")]
    _name: Option<String>,
    /// Not used: the model reads its prompt only.
    #[serde(rename = "description")]
    _description: Option<String>,
    #[schema(value_type = Object)]
    schema: Option<Value>,
    /// The schema is always kept.
    #[serde(rename = "strict")]
    _strict: Option<bool>,
}

impl ResponseFormat {
    /// What the text is kept within; `None` for any text.
    ///
    /// # Errors
    /// When a schema is missing.
    pub(crate) fn spec(self) -> Result<Option<ConstraintSpec>, ApiError> {
        Ok(match self {
            Self::Text {} => None,
            Self::JsonObject {} => Some(ConstraintSpec::JsonObject),
            Self::JsonSchema { json_schema } => {
                let missing =
                    || ApiError::invalid("`response_format.json_schema.schema` is missing").of("response_format");
                Some(ConstraintSpec::JsonSchema(json_schema.schema.ok_or_else(missing)?))
            }
        })
    }
}
