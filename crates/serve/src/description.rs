//! `/openapi.json`: the description of the whole interface, made of the router's own.
//!
//! What every path has in common is added here: who is let in, the errors that come before any handler, and the form of
//! streams.

use crate::app::App;
use crate::gate::OPEN_PATHS;
use axum::Extension;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};
use std::sync::Arc;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// Errors of every path.
const ERRORS: [(&str, &str); 4] = [
    ("400", "The request could not be read, or a field has a value that it cannot have"),
    ("403", "The server is not called that, or a foreign page calls it"),
    ("500", "Something went wrong here"),
    ("503", "The model is being loaded, or the server is stopping"),
];
/// Errors of paths that need a key.
const KEY_ERRORS: [(&str, &str); 1] = [("401", "The API key is missing or wrong")];
/// Errors of paths that read a body.
const BODY_ERRORS: [(&str, &str); 3] = [
    ("408", "The body did not come in time"),
    ("413", "The body is too large"),
    ("415", "A page sends something else than JSON"),
];

/// The description as it is sent.
#[derive(Debug, Clone)]
pub(crate) struct Description(Arc<str>);

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(show))
}

/// This description.
#[utoipa::path(get, path = "/openapi.json", responses((status = OK, body = serde_json::Value)))]
async fn show(Extension(Description(text)): Extension<Description>) -> Response {
    ([(CONTENT_TYPE, "application/json")], String::from(&*text)).into_response()
}

impl Description {
    /// The router's description with what all paths have in common. `keys`: whether requests need an API key.
    pub(crate) fn new(api: &utoipa::openapi::OpenApi, keys: bool) -> Self {
        let mut api = serde_json::to_value(api).unwrap_or_default();
        join_closed_objects(&mut api);
        drop_integer_formats(&mut api);
        let bodies: Vec<String> = bodies(&api).collect();
        for body in bodies {
            allow_null(&mut api["components"]["schemas"][body]);
        }
        let schemas = api.pointer("/components/schemas").and_then(Value::as_object).cloned().unwrap_or_default();
        api["components"]["securitySchemes"] = json!({
            "api_key": { "type": "http", "scheme": "bearer", "description": "One of the server's keys (`--api-key`)" }
        });
        if let Some(paths) = api["paths"].as_object_mut() {
            for (path, item) in paths {
                for (method, operation) in item.as_object_mut().into_iter().flatten() {
                    complete(path, operation, keys, &schemas);
                    // The names of handlers are not different from each other, as those of operations have to be.
                    operation["operationId"] =
                        json!(format!("{method}{path}").replace(|c: char| !c.is_alphanumeric(), "_"));
                }
            }
        }
        Self(api.to_string().into())
    }
}

/// Adds to an operation what it has in common with all.
fn complete(path: &str, operation: &mut Value, keys: bool, schemas: &Map<String, Value>) {
    let ollama = path.starts_with("/api/");
    let mut errors = ERRORS.to_vec();
    if keys && !OPEN_PATHS.contains(&path) {
        errors.extend(KEY_ERRORS);
        operation["security"] = json!([{ "api_key": [] }]);
    }
    if operation.get("requestBody").is_some() {
        errors.extend(BODY_ERRORS);
    }
    let streams = operation
        .pointer("/requestBody/content/application~1json/schema")
        .is_some_and(|schema| resolved(schema, schemas).and_then(|body| body["properties"].get("stream")).is_some());
    let Some(responses) = operation["responses"].as_object_mut() else { return };
    let schema = if ollama { "#/components/schemas/OllamaError" } else { "#/components/schemas/ErrorBody" };
    for (status, description) in errors {
        responses.entry(status).or_insert_with(|| json!({ "description": description }))["content"] =
            json!({ "application/json": { "schema": { "$ref": schema } } });
    }
    // Every answer has a description, by OpenAPI.
    for (status, response) in responses.iter_mut() {
        let reason = status.parse().ok().and_then(|status| StatusCode::from_u16(status).ok()?.canonical_reason());
        if response.get("description").is_none() {
            response["description"] = json!(reason.unwrap_or_default());
        }
    }
    if streams {
        let kind = if ollama { "application/x-ndjson" } else { "text/event-stream" };
        responses["200"]["content"][kind] = json!({ "schema": { "type": "string" } });
    }
}

/// What a reference refers to.
fn resolved<'a>(schema: &'a Value, schemas: &'a Map<String, Value>) -> Option<&'a Value> {
    match schema["$ref"].as_str() {
        Some(reference) => schemas.get(reference.rsplit('/').next()?),
        None => Some(schema),
    }
}

/// The names of the schemas of bodies.
fn bodies(api: &Value) -> impl Iterator<Item = String> {
    let operations = api["paths"].as_object().into_iter().flat_map(Map::values).filter_map(Value::as_object);
    let body = |operation: &Value| {
        let schema = operation.pointer("/requestBody/content/application~1json/schema/$ref")?;
        schema.as_str()?.rsplit('/').next().map(str::to_owned)
    };
    operations.flat_map(Map::values).filter_map(body)
}

/// A field of a body that may be left out may be null as well.
fn allow_null(body: &mut Value) {
    let required: Vec<Value> = body["required"].as_array().cloned().unwrap_or_default();
    let Some(properties) = body["properties"].as_object_mut() else { return };
    for (_, property) in properties.iter_mut().filter(|(name, _)| !required.contains(&json!(name))) {
        match property.get("type").cloned() {
            Some(Value::String(kind)) => property["type"] = json!([kind, "null"]),
            // It has several types, of which null is one.
            Some(_) => {}
            None => {
                let null = json!({ "type": "null" });
                let nullable = property["oneOf"].as_array().is_some_and(|kinds| kinds.contains(&null));
                if !nullable {
                    *property = json!({ "oneOf": [{ "type": "null" }, property.take()] });
                }
            }
        }
    }
}

/// Leaves out the formats of integers, which say that they are signed. Ours are not.
fn drop_integer_formats(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            if matches!(fields.get("format").and_then(Value::as_str), Some("int32" | "int64")) {
                fields.remove("format");
            }
            fields.values_mut().for_each(drop_integer_formats);
        }
        Value::Array(values) => values.iter_mut().for_each(drop_integer_formats),
        _ => {}
    }
}

/// Makes one object of those that a body is made of. Each of them refuses what it does not know, so that taken one by one
/// they would refuse each other's fields.
fn join_closed_objects(api: &mut Value) {
    let Some(schemas) = api.pointer_mut("/components/schemas").and_then(Value::as_object_mut) else { return };
    let all = schemas.clone();
    for schema in schemas.values_mut() {
        let Some(parts) = schema["allOf"].as_array() else { continue };
        let parts: Option<Vec<&Value>> = parts.iter().map(|part| resolved(part, &all)).collect();
        let Some(parts) = parts.filter(|parts| parts.iter().any(|part| part["additionalProperties"] == json!(false)))
        else {
            continue;
        };
        let (mut properties, mut required) = (Map::new(), Vec::new());
        for part in parts {
            properties.extend(part["properties"].as_object().cloned().unwrap_or_default());
            required.extend(part["required"].as_array().cloned().unwrap_or_default());
        }
        let description = schema["description"].clone();
        *schema = json!({ "type": "object", "properties": properties, "additionalProperties": false });
        if !required.is_empty() {
            schema["required"] = required.into();
        }
        if !description.is_null() {
            schema["description"] = description;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_that_refuse_each_others_fields_become_one() {
        let closed = |name: &str| json!({ "type": "object", "properties": { name: {} }, "required": [name], "additionalProperties": false });
        let both = json!({ "allOf": [{ "$ref": "#/components/schemas/A" }, closed("b")], "description": "both" });
        let mut api = json!({ "components": { "schemas": { "A": closed("a"), "Both": both } } });
        join_closed_objects(&mut api);
        drop_integer_formats(&mut api);
        let bodies: Vec<String> = bodies(&api).collect();
        for body in bodies {
            allow_null(&mut api["components"]["schemas"][body]);
        }
        let joined = json!({
            "type": "object", "properties": { "a": {}, "b": {} }, "required": ["a", "b"],
            "additionalProperties": false, "description": "both",
        });
        assert_eq!(api["components"]["schemas"]["Both"], joined);
        assert_eq!(api["components"]["schemas"]["A"], closed("a"));
    }

    #[test]
    fn what_may_be_left_out_may_be_null() {
        let mut body = json!({ "required": ["a"], "properties": {
            "a": { "type": "string" }, "b": { "type": "string" }, "c": { "type": ["string", "null"] },
            "d": { "$ref": "#/e" }, "f": { "oneOf": [{ "type": "null" }, { "$ref": "#/e" }] },
        } });
        allow_null(&mut body);
        assert_eq!(
            body["properties"],
            json!({
                "a": { "type": "string" }, "b": { "type": ["string", "null"] }, "c": { "type": ["string", "null"] },
                "d": { "oneOf": [{ "type": "null" }, { "$ref": "#/e" }] },
                "f": { "oneOf": [{ "type": "null" }, { "$ref": "#/e" }] },
            })
        );
    }
}
