//! Around every request: what is reported of it, the headers that every answer has, and what becomes of a handler that
//! panics.

use crate::app::App;
use crate::error::ApiError;
use crate::event::ServeEvent;
use crate::ollama;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use std::panic::AssertUnwindSafe;
use std::time::Instant;

/// Headers that an answer has where its handler does not say otherwise.
const HEADERS: [(HeaderName, &str); 6] = [
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    // Texts of people are in no cache.
    (header::CACHE_CONTROL, "no-store"),
];

/// Answers a request, whatever its handler does, and reports it.
pub(crate) async fn report(
    State(app): State<App>,
    matched: Option<MatchedPath>,
    request: Request,
    next: Next,
) -> Response {
    let begun = Instant::now();
    let (method, path) = (request.method().to_string(), request.uri().path().to_owned());
    let mut response = or_server_error(next.run(request)).await;
    let status = response.status();
    if path.starts_with("/api/") {
        response = ollama::with_ollama_error(response);
    }
    complete(response.headers_mut());
    // A path of a caller's own making would make a figure of its own.
    let route = matched.as_ref().map_or("other", MatchedPath::as_str);
    app.metrics.answered(route, status.as_u16());
    let seconds = begun.elapsed().as_secs_f64();
    (app.events)(ServeEvent::Answered { method, path, status: status.as_u16(), seconds });
    response
}

/// The answer, or a server error where making it panics; and an error in our form where it is one of the router's own.
async fn or_server_error(answer: impl Future<Output = Response>) -> Response {
    // What a handler shares with others is behind locks that are poisoned, or atomic.
    let Ok(response) = AssertUnwindSafe(answer).catch_unwind().await else {
        return ApiError::server("the server made a mistake; the request is lost").into_response();
    };
    let status = response.status();
    let ours = response.extensions().get::<ApiError>().is_some();
    if (status.is_client_error() || status.is_server_error()) && !ours {
        return ApiError::of_status(status, "the path or a header of the request could not be read").into_response();
    }
    response
}

fn complete(headers: &mut HeaderMap) {
    for (name, value) in HEADERS {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::StatusCode;

    fn answered(answer: impl Future<Output = Response>) -> StatusCode {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(or_server_error(answer)).status()
    }

    #[test]
    fn a_panic_is_a_server_error() {
        let lost = async {
            assert!(StatusCode::OK.is_server_error(), "a handler panics, as this test wants it");
            StatusCode::OK.into_response()
        };
        assert_eq!(answered(lost), StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(answered(async { StatusCode::OK.into_response() }), StatusCode::OK);
    }
}
