//! Who is let in, before any handler: the name by which the server is called, the page that calls, the key.
//!
//! A page from anywhere can make its reader's browser send requests to this machine. Two things keep it out: a request
//! that names an origin has to come from the server's own page or from an origin of the settings, and the name by which
//! the server is called (`Host`) has to be one of its own, so that no foreign name can be pointed at it (DNS rebinding).

mod host;
mod origin;

use crate::app::App;
use crate::error::ApiError;
use crate::identity::{Peer, client};
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use host::Host;
use origin::Origin;
use std::sync::atomic::Ordering::SeqCst;

/// What needs no key: whether the server runs, and the page with what it needs to ask for one.
pub(crate) const OPEN_PATHS: [&str; 3] = ["/", "/health", "/props"];

/// Lets a request through to its handler, or answers it.
pub(crate) async fn guard(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let host = match Host::of(&request).and_then(|host| host.check(&app.settings).map(|()| host)) {
        Ok(host) => host,
        Err(error) => return error.into_response(),
    };
    let origin = match Origin::of(request.headers()).check(&host, &app.settings.cors_origins) {
        Ok(origin) => origin,
        Err(error) => return error.into_response(),
    };
    if let Some(answer) = origin.preflight(&request) {
        return answer;
    }
    let mut response = match admit(&app, &mut request, &origin) {
        Ok(()) => next.run(request).await,
        Err(error) => error.into_response(),
    };
    origin.mark(response.headers_mut());
    response
}

/// Says who calls, which handlers then read, and refuses whoever may not.
fn admit(app: &App, request: &mut Request, origin: &Origin) -> Result<(), ApiError> {
    if !OPEN_PATHS.contains(&request.uri().path()) {
        let client = client(app, request.headers(), request.extensions().get::<Peer>().copied())?;
        request.extensions_mut().insert(client);
    }
    if request.method() == Method::POST {
        // A page can send anything but JSON without asking first.
        if origin.is_some() && !is_json(request.headers()) {
            return Err(ApiError::of_status(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "pages have to send `Content-Type: application/json`",
            ));
        }
        if app.stopping.load(SeqCst) {
            return Err(ApiError::stopping());
        }
    }
    Ok(())
}

fn is_json(headers: &header::HeaderMap) -> bool {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    value
        .and_then(|value| value.split(';').next())
        .is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
}
