//! Pictures and sounds that come with a request, as `data:` URLs or in base64. Nothing is fetched.

use crate::error::ApiError;
use aquatint::vocabulary::MediaKind;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;

/// Pictures and sounds of one request at most.
pub(crate) const MOST: usize = 16;
/// Characters of an address that a refusal shows.
const SHOWN: usize = 40;

/// A file that came with a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GivenMedia {
    pub(crate) kind: MediaKind,
    pub(crate) bytes: Vec<u8>,
}

impl GivenMedia {
    /// Reads a `data:` URL; `place` is the field that has it.
    ///
    /// # Errors
    /// When it is another address or no base64, or when its type is none of pictures and sounds.
    pub(crate) fn of_url(place: &str, url: &str) -> Result<Self, ApiError> {
        let refused = || {
            let mut shown: String = url.chars().take(SHOWN).collect();
            if shown.len() < url.len() {
                shown.push('…');
            }
            let allowed = "a URL that holds a picture or a sound, as `data:image/png;base64,…`; nothing is fetched";
            ApiError::field(place, format!("`{shown}`"), allowed)
        };
        let head = url.get(..5).filter(|scheme| scheme.eq_ignore_ascii_case("data:")).and(url.split_once(','));
        let (head, data) = head.ok_or_else(refused)?;
        let (kind, encoding) = head[5..].rsplit_once(';').ok_or_else(refused)?;
        let kind = kind.to_ascii_lowercase();
        let kind = match kind.split_once('/') {
            Some(("image", _)) => MediaKind::Picture,
            Some(("audio", _)) => MediaKind::Sound,
            _ => return Err(refused()),
        };
        if !encoding.trim().eq_ignore_ascii_case("base64") {
            return Err(refused());
        }
        Self::of_base64(place, kind, data)
    }

    /// Reads a file in base64.
    ///
    /// # Errors
    /// As [`GivenMedia::of_url`].
    pub(crate) fn of_base64(place: &str, kind: MediaKind, text: &str) -> Result<Self, ApiError> {
        let bytes = BASE64_STANDARD.decode(text.trim());
        let bytes = bytes.map_err(|error| ApiError::invalid(format!("`{place}` is no base64: {error}")).of(place))?;
        Ok(Self { kind, bytes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(kind: &str, bytes: &[u8]) -> String {
        format!("data:{kind};base64,{}", BASE64_STANDARD.encode(bytes))
    }

    fn message(read: Result<GivenMedia, ApiError>) -> String {
        read.unwrap_err().message().to_owned()
    }

    #[test]
    fn a_url_that_holds_a_file_is_read_and_any_other_refused() {
        let picture = GivenMedia::of_url("f", &url("image/png", b"PNG")).unwrap();
        assert_eq!(picture, GivenMedia { kind: MediaKind::Picture, bytes: b"PNG".to_vec() });
        let sound = GivenMedia::of_url("f", &url("AUDIO/wav;rate=8000", b"RIFF")).unwrap();
        assert_eq!(sound, GivenMedia { kind: MediaKind::Sound, bytes: b"RIFF".to_vec() });
        for other in [
            "https://example.org/fox.png",
            "file:///etc/passwd",
            "fox.png",
            "",
            "data:",
            "data:,x",
            "data:image/png,x",
            "data:text/plain;base64,eA==",
            "data:é;base64,eA==",
        ] {
            let start = format!("`f` is `{other}`; allowed: a URL that holds a picture or a sound");
            assert!(message(GivenMedia::of_url("f", other)).starts_with(&start), "{other}");
        }
        let long = message(GivenMedia::of_url("f", &format!("http://{}", "x".repeat(1000))));
        assert!(long.len() < 200 && long.contains('…'), "{long}");
        assert!(message(GivenMedia::of_url("f", "data:image/png;base64,e")).starts_with("`f` is no base64: "));
    }
}
