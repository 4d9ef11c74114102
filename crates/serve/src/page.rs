//! The page at `/`: one HTML document with its style and script inside, so that a browser fetches nothing else.
//!
//! The policy names the style and the script by their hashes: the browser runs these two and nothing that a text or a
//! model could smuggle in.

use crate::app::App;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use sha2::{Digest, Sha256};
use std::sync::LazyLock;

/// Style sheets, in the order in which later rules win.
const STYLE: &str = concat!(
    include_str!("page/style/theme.css"),
    include_str!("page/style/layout.css"),
    include_str!("page/style/controls.css"),
    include_str!("page/style/sheet.css"),
);

/// One module: each part may use those before it.
const SCRIPT: &str = concat!(
    include_str!("page/script/base.js"),
    include_str!("page/script/grain.js"),
    include_str!("page/script/stream.js"),
    include_str!("page/script/timeline.js"),
    include_str!("page/script/sheet.js"),
    include_str!("page/script/panel.js"),
    include_str!("page/script/player.js"),
    include_str!("page/script/truth.js"),
    include_str!("page/script/settings.js"),
    include_str!("page/script/compose.js"),
    include_str!("page/script/export.js"),
    include_str!("page/script/main.js"),
);

const BODY: &str = include_str!("page/page.html");

/// The document and the policy under which a browser shows it.
struct Page {
    html: String,
    policy: String,
}

static PAGE: LazyLock<Page> = LazyLock::new(|| {
    let html = format!(
        r#"<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Aquatint</title>
<link rel="icon" href="data:,">
<style id="style">{STYLE}</style>
<script type="module" id="script">{SCRIPT}</script>
</head>
<body>
{BODY}</body>
</html>
"#
    );
    let hash = |text: &str| BASE64_STANDARD.encode(Sha256::digest(text));
    // Pictures are tiles of grain, which the script paints.
    let policy = format!(
        "default-src 'none'; connect-src 'self'; img-src data:; style-src 'sha256-{}'; script-src 'sha256-{}'; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        hash(STYLE),
        hash(SCRIPT),
    );
    Page { html, policy }
});

/// The page at `/`. It is no part of the interface that `/openapi.json` describes.
pub(crate) fn routes() -> axum::Router<App> {
    axum::Router::new().route("/", get(page))
}

async fn page() -> Response {
    let headers = [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        // After an update of the program the old script would meet a new server.
        (CACHE_CONTROL, "no-cache"),
        (CONTENT_SECURITY_POLICY, &*PAGE.policy),
    ];
    (headers, &*PAGE.html).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_part_ends_the_element_that_holds_it() {
        assert!(!SCRIPT.contains("</script"), "a closing tag in the script ends it; write <\\/script>");
        assert!(!STYLE.contains("</style"));
        assert_eq!(PAGE.html.matches("<script").count(), 1 + SCRIPT.matches("<script").count());
    }

    #[test]
    fn nothing_comes_from_outside_and_nothing_needs_more_than_the_policy() {
        for text in [STYLE, BODY] {
            for outside in ["http:", "https:", "url(", "@import", "src="] {
                assert!(!text.contains(outside), "{outside}");
            }
        }
        // Such attributes are style and script without a hash.
        for attribute in [" style=", " onclick=", " oninput=", " onload="] {
            assert!(!BODY.contains(attribute), "{attribute}");
        }
        let addresses = SCRIPT.match_indices("http").map(|(at, _)| &SCRIPT[at..(at + 27).min(SCRIPT.len())]);
        for address in addresses {
            // The name of a vocabulary, which nobody fetches.
            assert!(address.starts_with("http://www.w3.org/2000/svg"), "{address}");
        }
    }
}
