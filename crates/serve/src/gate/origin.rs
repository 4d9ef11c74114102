//! Pages that call the server (CORS).

use super::host::Host;
use crate::error::ApiError;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};

/// How long a browser may remember what a preflight was answered, in seconds.
const MAX_AGE: &str = "600";

/// Where the page comes from that sends a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Origin {
    /// No page sends it, or a browser does not say so: a program, or a link that is followed.
    None,
    /// A page of this origin.
    Page(HeaderValue),
    /// The server's own page.
    Own,
    /// A page of an origin that the settings name.
    Allowed(HeaderValue),
}

impl Origin {
    /// As a request names it.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        headers.get(header::ORIGIN).map_or(Self::None, |origin| Self::Page(origin.clone()))
    }

    /// Whether such a page may call the server.
    ///
    /// # Errors
    /// When it is foreign and the settings do not name it.
    pub(super) fn check(self, host: &Host, allowed: &[String]) -> Result<Self, ApiError> {
        let Self::Page(origin) = self else { return Ok(self) };
        let given = origin.to_str().unwrap_or_default();
        let own = given.split_once("://").is_some_and(|(scheme, rest)| {
            matches!(scheme, "http" | "https") && rest.eq_ignore_ascii_case(host.as_str())
        });
        if own {
            return Ok(Self::Own);
        }
        if allowed.iter().any(|allowed| allowed.trim_end_matches('/').eq_ignore_ascii_case(given)) {
            return Ok(Self::Allowed(origin));
        }
        let message = format!("pages of `{given}` may not call this server; `--cors-origin {given}` lets them");
        Err(ApiError::forbidden(message).of("Origin").code("origin_not_allowed"))
    }

    /// Whether a page sends the request.
    pub(super) fn is_some(&self) -> bool {
        *self != Self::None
    }

    /// The answer to a browser that asks what a page may send.
    pub(super) fn preflight(&self, request: &Request) -> Option<Response> {
        let Self::Allowed(_) = self else { return None };
        let asks = request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
        if request.method() != Method::OPTIONS || !asks {
            return None;
        }
        let mut response = StatusCode::NO_CONTENT.into_response();
        let headers = response.headers_mut();
        let allow = [
            (header::ACCESS_CONTROL_ALLOW_METHODS, "GET, POST, DELETE"),
            (header::ACCESS_CONTROL_ALLOW_HEADERS, "authorization, content-type, last-event-id, x-api-key"),
            (header::ACCESS_CONTROL_MAX_AGE, MAX_AGE),
        ];
        headers.extend(allow.map(|(name, value)| (name, HeaderValue::from_static(value))));
        self.mark(headers);
        Some(response)
    }

    /// Lets the page read the answer.
    pub(super) fn mark(&self, headers: &mut HeaderMap) {
        if let Self::Allowed(origin) = self {
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
            headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("retry-after"));
            headers.append(header::VARY, HeaderValue::from_static("origin"));
        }
    }
}
