//! JSON bodies: the fields of an endpoint beside those of sampling, which every endpoint has. A field that is unknown,
//! or there twice, is refused by its name.

use crate::app::App;
use crate::error::ApiError;
use crate::json::object;
use crate::sampling::SamplingFields;
use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use std::time::Duration;

/// How long a client may take to send a body.
const BODY_TIME: Duration = Duration::from_secs(30);

/// A request's body: `T` is the endpoint's own part, without the fields of sampling.
#[derive(Debug)]
pub(crate) struct Body<T> {
    pub(crate) own: T,
    pub(crate) sampling: SamplingFields,
}

/// A request's body at an endpoint that samples nothing.
#[derive(Debug)]
pub(crate) struct Plain<T>(pub(crate) T);

impl<T: DeserializeOwned> Body<T> {
    /// Reads a body.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, ApiError> {
        let (sampling, own): (Map<_, _>, Map<_, _>) =
            object(bytes)?.into_iter().partition(|(key, _)| SamplingFields::NAMES.contains(&key.as_str()));
        Ok(Self { own: read(own)?, sampling: read(sampling)? })
    }
}

/// Fields as a type; what is wrong is named by its path. `null` is as good as a field that is left out.
pub(crate) fn read<T: DeserializeOwned>(mut fields: Map<String, Value>) -> Result<T, ApiError> {
    fields.retain(|_, value| !value.is_null());
    serde_path_to_error::deserialize(Value::Object(fields)).map_err(|error| {
        let (path, inner) = (error.path().to_string(), error.inner().to_string());
        if let Some(name) = inner.strip_prefix("unknown field `").and_then(|rest| rest.split('`').next()) {
            let place = if path == "." || path == name || path == "?" { name.to_owned() } else { path };
            return ApiError::invalid(format!("`{place}` is no field of this request"))
                .of(place)
                .code("unknown_parameter");
        }
        if let Some(name) = inner.strip_prefix("missing field `").and_then(|rest| rest.split('`').next()) {
            let place = if path == "." { name.to_owned() } else { format!("{path}.{name}") };
            return ApiError::invalid(format!("`{place}` is missing")).of(place).code("missing_required_parameter");
        }
        // The place of a key that cannot be is the object.
        let place = path.trim_end_matches(".?");
        ApiError::invalid(format!("`{place}`: {}", in_terms_of_json(&inner))).of(place).code("invalid_type")
    })
}

/// What serde says is wrong, with JSON's names for the types of Rust.
fn in_terms_of_json(message: &str) -> String {
    // A key that is a number is read as a text of its own, whose lines say nothing.
    let message = message.split(" at line ").next().unwrap_or(message);
    let Some((given, expected)) = message.rsplit_once(", expected ") else { return message.to_owned() };
    let given = match given {
        "invalid type: sequence" => "invalid type: array".to_owned(),
        "invalid type: map" => "invalid type: object".to_owned(),
        given => given.replacen("invalid type: floating point ", "invalid type: number ", 1),
    };
    let expected = match expected {
        "u32" => "a whole number from 0 to 4294967295",
        "u64" | "usize" => "a whole number from 0 to 18446744073709551615",
        "f64" => "a number",
        "a sequence" => "an array",
        "a map" => "an object",
        expected if expected.starts_with("struct ") || expected.starts_with("internally tagged enum ") => "an object",
        expected => expected,
    };
    format!("{given}, expected {expected}")
}

async fn bytes(request: Request, app: &App) -> Result<Bytes, ApiError> {
    let read = tokio::time::timeout(BODY_TIME, Bytes::from_request(request, app)).await;
    let read = read.map_err(|_| {
        let message = format!("the body of the request took longer than {} s", BODY_TIME.as_secs());
        ApiError::of_status(StatusCode::REQUEST_TIMEOUT, message)
    })?;
    read.map_err(|rejection| match rejection.into_response().status() {
        StatusCode::PAYLOAD_TOO_LARGE => ApiError::too_large(app.settings.body_limit),
        _ => ApiError::invalid("the body of the request could not be read"),
    })
}

impl<T: DeserializeOwned> Plain<T> {
    /// Reads a body.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, ApiError> {
        read(object(bytes)?).map(Self)
    }
}

impl<T: DeserializeOwned> FromRequest<App> for Body<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &App) -> Result<Self, ApiError> {
        Self::parse(&bytes(request, app).await?)
    }
}

impl<T: DeserializeOwned> FromRequest<App> for Plain<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &App) -> Result<Self, ApiError> {
        Self::parse(&bytes(request, app).await?)
    }
}
