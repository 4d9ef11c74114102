//! Who calls, and identifiers of answers.

use crate::app::App;
use crate::error::ApiError;
use crate::scheduler::Client;
use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::{IpAddr, SocketAddr};
use std::time::{SystemTime, UNIX_EPOCH};
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};

/// What stands before the key in `Authorization`.
const BEARER: &[u8] = b"Bearer ";

/// Where a connection comes from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer(pub(crate) SocketAddr);

/// The client of a request: the key that it shows, or its address where no key is asked for.
///
/// # Errors
/// When a key is asked for and none of those is shown.
pub(crate) fn client(app: &App, headers: &HeaderMap, peer: Option<Peer>) -> Result<Client, ApiError> {
    let keys = &app.settings.api_keys;
    if keys.is_empty() {
        // A connection without an address is one of a test.
        let address = peer.map_or(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), |Peer(peer)| peer.ip());
        return Ok(Client::Address(address));
    }
    let shown = headers.get(AUTHORIZATION).and_then(|value| value.as_bytes().split_at_checked(BEARER.len()));
    // Names of schemes have no case (RFC 9110, 11.1).
    let shown = shown.filter(|(scheme, _)| scheme.eq_ignore_ascii_case(BEARER)).map(|(_, key)| key);
    let Some(shown) = shown.or_else(|| headers.get("x-api-key").map(|value| value.as_bytes())) else {
        return Err(ApiError::unauthorised("an API key is needed; send `Authorization: Bearer KEY`"));
    };
    find(keys, shown).map(Client::Key).ok_or_else(|| ApiError::unauthorised("the API key is wrong"))
}

/// Who calls, as the gate found out.
impl FromRequestParts<App> for Client {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, ApiError> {
        let client = parts.extensions.get::<Self>().copied();
        client.ok_or_else(|| ApiError::unauthorised("this path needs a client, and none was let in"))
    }
}

/// The number of the key that is shown. How long this takes depends on the lengths alone, not on how much of a key is
/// right or which one it is.
fn find(keys: &[String], shown: &[u8]) -> Option<usize> {
    let mut found = u64::MAX;
    for (number, key) in keys.iter().enumerate() {
        let equal: Choice = key.as_bytes().ct_eq(shown);
        found = u64::conditional_select(&found, &(number as u64), equal);
    }
    usize::try_from(found).ok().filter(|number| *number < keys.len())
}

/// An identifier that nobody else has: `chatcmpl-` and 24 digits.
pub(crate) fn identifier(prefix: &str) -> String {
    // The keys of the standard library's hashers come from the operating system's randomness.
    let (one, two) = (RandomState::new().build_hasher().finish(), RandomState::new().build_hasher().finish());
    format!("{prefix}{one:016x}{:08x}", two as u32)
}

/// Seconds since 1970.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_keys_are_keys() {
        let keys = ["one".to_owned(), "another".to_owned()];
        assert_eq!([find(&keys, b"one"), find(&keys, b"another")], [Some(0), Some(1)]);
        for wrong in [&b""[..], b"on", b"one ", b"onf", b"One"] {
            assert_eq!(find(&keys, wrong), None);
        }
    }
}
