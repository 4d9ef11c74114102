//! Errors: those of the server itself, and those that a request is answered with, in OpenAI's form.

use crate::models::ModelError;
use crate::scheduler::Rejected;
use aquatint::constraint::CompileError;
use aquatint::generate::GenerateError;
use aquatint::{Fault, Hint, MediaError};
use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::{IntoResponses, ToSchema};

/// The code of errors about canvases that are too long.
const TOO_LONG: &str = "context_length_exceeded";

/// The code of texts that a guard refuses, in OpenAI's words.
const REFUSED: &str = "content_filter";

/// Why a server cannot run.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// It cannot listen there.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// Where.
        address: String,
        /// Why not.
        source: std::io::Error,
    },
    /// A setting has a value that it cannot have.
    #[error("`{parameter}` is `{given}`; allowed: {allowed}")]
    Setting {
        /// The setting.
        parameter: &'static str,
        /// Its value.
        given: String,
        /// What is allowed.
        allowed: &'static str,
    },
    /// The first model cannot be loaded.
    #[error("{0}")]
    Model(String),
    /// The system gives no thread.
    #[error("the server cannot start")]
    Thread(#[source] std::io::Error),
}

impl Hint for ServeError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Listen { source, .. } if source.kind() == std::io::ErrorKind::AddrInUse => {
                Some("another program has this port; `--port 0` takes a free one".to_owned())
            }
            Self::Listen { .. } => Some("`--host 127.0.0.1` listens on this machine only".to_owned()),
            Self::Setting { parameter, .. } => {
                let flag = match *parameter {
                    "body_limit" => "--max-body",
                    "canvas_limit" => "--max-canvas",
                    "time_limit" => "--timeout",
                    _ => return None,
                };
                Some(format!("`{flag}` sets it"))
            }
            Self::Model(_) | Self::Thread(_) => None,
        }
    }
}

impl Fault for ServeError {
    fn is_failure(&self) -> bool {
        match self {
            Self::Listen { source, .. } => source.is_failure(),
            Self::Setting { .. } | Self::Model(_) => false,
            Self::Thread(_) => true,
        }
    }
}

/// An error as a request is answered with it.
#[derive(Debug, Clone)]
pub(crate) struct ApiError {
    status: StatusCode,
    kind: &'static str,
    message: String,
    /// The field of the request that is to blame.
    param: Option<String>,
    code: Option<&'static str>,
    /// Seconds.
    retry_after: Option<u64>,
}

/// OpenAI's form of an error.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct ErrorBody {
    error: ErrorFields,
}

/// What is said of an error.
#[derive(Debug, Clone, Serialize, ToSchema)]
struct ErrorFields {
    /// What is wrong, the value, what is allowed, and what helps.
    message: String,
    /// `invalid_request_error`, `authentication_error`, `permission_error`, `not_found_error`, `timeout_error`,
    /// `overloaded_error`, `unavailable_error` or `server_error`.
    #[serde(rename = "type")]
    kind: &'static str,
    /// The field that is to blame, where it is one.
    #[schema(required)]
    param: Option<String>,
    /// A name for programs.
    #[schema(required)]
    code: Option<&'static str>,
}

/// The errors of a path that fills canvases, beside those of every path.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "describes the answers; handlers answer with `ApiError`")]
pub(crate) enum FillErrors {
    /// There is no such model
    #[response(status = NOT_FOUND)]
    NoModel(ErrorBody),
    /// Too much waits already
    #[response(status = TOO_MANY_REQUESTS)]
    Busy(ErrorBody),
}

impl ApiError {
    fn new(status: StatusCode, kind: &'static str, message: impl Into<String>) -> Self {
        Self { status, kind, message: message.into(), param: None, code: None, retry_after: None }
    }

    /// A request that cannot be answered as it is.
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_request_error", message)
    }

    /// A field with a value that it cannot have.
    pub(crate) fn field(param: &str, given: impl std::fmt::Display, allowed: &str) -> Self {
        Self::invalid(format!("`{param}` is {given}; allowed: {allowed}")).of(param).code("invalid_value")
    }

    /// A field that is known and that this server does not do.
    pub(crate) fn unsupported(param: &str, hint: &str) -> Self {
        Self::invalid(format!("`{param}` is not supported; {hint}")).of(param).code("unsupported_parameter")
    }

    /// A key that is missing or wrong.
    pub(crate) fn unauthorised(message: &str) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "authentication_error", message).code("invalid_api_key")
    }

    /// A caller that is not let in.
    pub(crate) fn forbidden(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "permission_error", message)
    }

    /// Something that is not there.
    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found_error", message)
    }

    /// A path that is known, by another method.
    pub(crate) fn wrong_method() -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "invalid_request_error", "this path does not take this method")
    }

    /// Something that HTTP has a status for.
    pub(crate) fn of_status(status: StatusCode, message: impl Into<String>) -> Self {
        let kind = match status {
            StatusCode::UNAUTHORIZED => "authentication_error",
            StatusCode::FORBIDDEN => "permission_error",
            StatusCode::NOT_FOUND => "not_found_error",
            StatusCode::REQUEST_TIMEOUT => "timeout_error",
            status if status.is_server_error() => "server_error",
            _ => "invalid_request_error",
        };
        Self::new(status, kind, message)
    }

    /// A server that takes no more work.
    pub(crate) fn stopping() -> Self {
        Self::unavailable("the server is stopping").code("stopping")
    }

    /// A body that is too large.
    pub(crate) fn too_large(limit: usize) -> Self {
        let message = format!("the body of the request is too large; allowed: {limit} bytes");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "invalid_request_error", message)
    }

    /// A server that is not ready, or not any more.
    pub(crate) fn unavailable(message: &str) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable_error", message)
    }

    /// Something that went wrong here.
    pub(crate) fn server(message: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "server_error", message)
    }

    /// Names the field that is to blame.
    #[must_use]
    pub(crate) fn of(mut self, param: impl Into<String>) -> Self {
        self.param = Some(param.into());
        self
    }

    /// The same error of a field that is part of another one.
    pub(crate) fn within(mut self, place: &str) -> Self {
        if let Some(param) = self.param.take() {
            let whole = format!("{place}.{param}");
            self.message = self.message.replacen(&format!("`{param}`"), &format!("`{whole}`"), 1);
            self.param = Some(whole);
        }
        self
    }

    /// The same error by the name that the field has in the request, where it is blamed on `param`.
    #[must_use]
    pub(crate) fn renamed(mut self, param: &str, name: &str) -> Self {
        if self.param.as_deref() == Some(param) {
            self.param = Some(name.to_owned());
        }
        self
    }

    /// The same error of `field`, where it is about a length that this field gives.
    #[must_use]
    pub(crate) fn of_length(self, field: &str) -> Self {
        if self.code == Some(TOO_LONG) { self.of(field) } else { self }
    }

    /// A canvas that is longer than the server allows; `given` of its positions are not open.
    pub(crate) fn too_long(length: usize, given: usize, limit: usize) -> Self {
        let message = format!("the canvas has {length} positions; allowed: {limit}");
        Self::invalid(message).of(lengthening(given, limit)).code(TOO_LONG)
    }

    /// Names the error for programs.
    #[must_use]
    pub(crate) fn code(mut self, code: &'static str) -> Self {
        self.code = Some(code);
        self
    }

    /// Whether a guard refused what was given or written.
    pub(crate) fn is_refused(&self) -> bool {
        self.code == Some(REFUSED)
    }

    /// The field that is to blame.
    pub(crate) fn param(&self) -> Option<&str> {
        self.param.as_deref()
    }

    /// The message alone.
    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// The HTTP status.
    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }

    /// The JSON of it, for a stream whose status has been sent.
    pub(crate) fn body(&self) -> ErrorBody {
        let error =
            ErrorFields { message: self.message.clone(), kind: self.kind, param: self.param.clone(), code: self.code };
        ErrorBody { error }
    }

    /// What an error of a library is to a client: the request's fault, or the server's.
    fn of_library(error: &(impl std::error::Error + Hint + Fault), param: Option<&str>) -> Self {
        let message = described(error);
        let answer = if error.is_failure() { Self::server(message) } else { Self::invalid(message) };
        match param {
            Some(param) => answer.of(param),
            None => answer,
        }
    }
}

/// A message with its sources and its hint, in one line.
pub(crate) fn described(error: &(impl std::error::Error + Hint)) -> String {
    let mut message = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        message.push_str(": ");
        message.push_str(&inner.to_string());
        source = inner.source();
    }
    if let Some(hint) = error.hint() {
        message.push_str("; ");
        message.push_str(&hint);
    }
    message
}

/// The field that makes a continued text too long, of which so many tokens are given.
fn lengthening(given: usize, limit: usize) -> &'static str {
    if given < limit { "max_tokens" } else { "prompt" }
}

/// The field that says what a text is kept within, by the kind of the constraint.
fn constraining(kind: &str) -> &'static str {
    match kind {
        "regular expression" => "regex",
        "grammar" => "grammar",
        "molecule" => "molecule",
        _ => "response_format",
    }
}

impl From<GenerateError> for ApiError {
    fn from(error: GenerateError) -> Self {
        let param = match &error {
            GenerateError::Setting(setting) => Some(setting.parameter),
            GenerateError::TooLong { given, context_length, .. } => Some(lengthening(*given, *context_length)),
            GenerateError::Constraint { constraint, .. } => Some(constraining(constraint)),
            _ => None,
        };
        let answer = Self::of_library(&error, param);
        match error {
            GenerateError::TooLong { .. } => answer.code(TOO_LONG),
            GenerateError::Refused { .. } => answer.code(REFUSED),
            _ => answer,
        }
    }
}

impl From<aquatint::Error> for ApiError {
    fn from(error: aquatint::Error) -> Self {
        match error {
            aquatint::Error::Generate(error) => error.into(),
            aquatint::Error::Constraint(error) => {
                let param = match &error {
                    CompileError::Regex { .. } => "regex",
                    CompileError::Grammar { .. } => "grammar",
                    CompileError::TooLarge { kind, .. } | CompileError::Empty { kind } => constraining(kind),
                    CompileError::NotByteLevel | CompileError::Schema { .. } => "response_format",
                };
                Self::of_library(&error, Some(param))
            }
            aquatint::Error::Media(error) => {
                // Files are called as fields are.
                let param = match &error {
                    MediaError::Codec(error) => error.sample_name(),
                    MediaError::TooLong { .. } => Some("seconds"),
                    _ => None,
                };
                Self::of_library(&error, param)
            }
            aquatint::Error::Guard(error) => Self::of_library(&error, None).code(REFUSED),
            other => Self::of_library(&other, None),
        }
    }
}

impl From<ModelError> for ApiError {
    fn from(error: ModelError) -> Self {
        match &error {
            ModelError::Unknown { .. } => Self::not_found(error.to_string()).of("model").code("model_not_found"),
            ModelError::Broken { .. } => Self::server(error.to_string()).of("model"),
        }
    }
}

impl From<Rejected> for ApiError {
    fn from(rejected: Rejected) -> Self {
        match rejected {
            Rejected::Busy { limit, retry_after } => {
                let message = format!("{limit} requests wait already; try again in {retry_after} s");
                let mut error =
                    Self::new(StatusCode::TOO_MANY_REQUESTS, "overloaded_error", message).code("queue_full");
                error.retry_after = Some(retry_after);
                error
            }
            Rejected::Stopping => Self::stopping(),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(self.body())).into_response();
        let headers = response.headers_mut();
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        // Another protocol says the same in its own form.
        response.extensions_mut().insert(self);
        response
    }
}
