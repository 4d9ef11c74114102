//! `/v1/canvas`: a canvas filled, edited and varied, whose every step can be watched.

mod alternatives;
mod endpoints;
mod followed;
mod layout;
mod request;
mod run;

pub(crate) use alternatives::AlternativesRequest;
pub(crate) use endpoints::next_event;
pub(crate) use followed::FollowedCanvases;
pub(crate) use request::CanvasRequest;

use crate::app::App;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(endpoints::fill))
        .routes(routes!(alternatives::predict))
        .routes(routes!(endpoints::resume, endpoints::cancel))
}
