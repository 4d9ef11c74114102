//! The name by which a server is called.

use crate::ServeSettings;
use crate::error::ApiError;
use axum::extract::Request;
use axum::http::header::HOST;
use std::net::{Ipv4Addr, Ipv6Addr};

/// `Host` of a request: a name or an address, with a port where it is not the usual one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Host(String);

impl Host {
    /// The host that a request names.
    ///
    /// # Errors
    /// When it names none, several, or another one in its target.
    pub(super) fn of(request: &Request) -> Result<Self, ApiError> {
        let mut given = request.headers().get_all(HOST).iter();
        let (Some(host), None) = (given.next(), given.next()) else {
            return Err(ApiError::invalid("a request needs exactly one `Host` header").of("Host"));
        };
        let host = host.to_str().map_err(|_| ApiError::invalid("the `Host` header is no name").of("Host"))?;
        match request.uri().authority() {
            Some(target) if !target.as_str().eq_ignore_ascii_case(host) => {
                Err(ApiError::invalid("the target of the request and its `Host` header differ").of("Host"))
            }
            _ => Ok(Self(host.to_ascii_lowercase())),
        }
    }

    /// Whether the server goes by this name. An address always is its own; a name has to be known, because whoever owns
    /// a name can point it at any address.
    ///
    /// # Errors
    /// When it is a name that is not the server's.
    pub(super) fn check(&self, settings: &ServeSettings) -> Result<(), ApiError> {
        let name = self.name();
        let bound = settings.host.eq_ignore_ascii_case(name);
        let own = settings.allowed_hosts.iter().any(|allowed| allowed.eq_ignore_ascii_case(name));
        let loopback = name == "localhost" || name.ends_with(".localhost");
        let address = name.parse::<Ipv4Addr>().is_ok()
            || name.strip_prefix('[').and_then(|name| name.strip_suffix(']')?.parse::<Ipv6Addr>().ok()).is_some();
        if bound || own || loopback || address {
            return Ok(());
        }
        let message =
            format!("this server is not called `{name}`; `--allowed-host {name}` makes it answer to that name");
        Err(ApiError::forbidden(message).of("Host").code("host_not_allowed"))
    }

    /// The host with its port.
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// Without the port, and without the dot that may end a full name.
    fn name(&self) -> &str {
        let name = match self.0.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && !name.ends_with(':') => name,
            _ => &self.0,
        };
        name.strip_suffix('.').unwrap_or(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_addresses_and_known_names_are_the_servers_own() {
        let mut settings = ServeSettings::new(Vec::new());
        settings.allowed_hosts = vec!["Texts.example".to_owned()];
        let allowed = |host: &str| Host(host.to_ascii_lowercase()).check(&settings).is_ok();
        for host in [
            "localhost",
            "LOCALHOST:8642",
            "a.localhost:1",
            "127.0.0.1:8642",
            "192.168.0.7",
            "[::1]",
            "[fe80::1]:80",
            "texts.example",
            "texts.example.:443",
        ] {
            assert!(allowed(host), "{host}");
        }
        for host in [
            "",
            ":80",
            "evil.example",
            "evil.example:8642",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
            "notlocalhost",
            "::1",
            "[::1",
            "[localhost]",
            "texts.example.evil",
            "127.0.0.1:80:80",
            "1.2.3",
        ] {
            assert!(!allowed(host), "{host}");
        }
        settings.host = "box.lan".to_owned();
        assert!(Host("box.lan:8642".to_owned()).check(&settings).is_ok());
    }
}
