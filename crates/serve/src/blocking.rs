//! Work that takes a processor for a while, away from the threads that serve connections: texts become tokens, schemas
//! become automata.

use crate::error::ApiError;

/// Does work on a thread where it may block.
///
/// # Errors
/// Those of the work; also when it panics, which costs this request only.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(ApiError::server(error.to_string())))
}
