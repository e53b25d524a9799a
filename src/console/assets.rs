//! The console's own files in the binary: one stylesheet, one script, one icon. Their names carry a fingerprint of their
//! content, so that a browser may keep them for ever and never shows an old one.

use std::sync::LazyLock;

use actix_web::HttpResponse;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use actix_web::web::Path;

use crate::http::{ApiError, digest};

/// Hexadecimal digits of a fingerprint: 64 bits.
const FINGERPRINT: usize = 16;
/// A year: what is called for ever.
const KEEP: &str = "public, max-age=31536000, immutable";

/// A file as browsers ask for it.
struct Asset {
    content: &'static str,
    media_type: &'static str,
    path: LazyLock<String>,
}

static STYLE: Asset = Asset {
    content: include_str!("assets/console.css"),
    media_type: "text/css; charset=utf-8",
    path: LazyLock::new(|| path("console", "css", STYLE.content)),
};
static SCRIPT: Asset = Asset {
    content: include_str!("assets/console.js"),
    media_type: "text/javascript; charset=utf-8",
    path: LazyLock::new(|| path("console", "js", SCRIPT.content)),
};
static ICON: Asset = Asset {
    content: include_str!("assets/icon.svg"),
    media_type: "image/svg+xml",
    path: LazyLock::new(|| path("icon", "svg", ICON.content)),
};

fn path(name: &str, extension: &str, content: &str) -> String {
    let fingerprint: String = digest(content).chars().take(FINGERPRINT).collect();
    format!("/console/assets/{name}-{fingerprint}.{extension}")
}

/// The stylesheet's path.
pub fn style() -> &'static str {
    &STYLE.path
}

/// The script's path.
pub fn script() -> &'static str {
    &SCRIPT.path
}

/// The icon's path.
pub fn icon() -> &'static str {
    &ICON.path
}

/// A file by its fingerprinted name.
pub async fn find(name: Path<String>) -> Result<HttpResponse, ApiError> {
    let wanted = format!("/console/assets/{name}");
    [&STYLE, &SCRIPT, &ICON]
        .into_iter()
        .find(|asset| *asset.path == wanted)
        .map(|asset| {
            HttpResponse::Ok()
                .insert_header((CONTENT_TYPE, asset.media_type))
                .insert_header((CACHE_CONTROL, KEEP))
                .body(asset.content)
        })
        .ok_or_else(|| ApiError::not_found("No such file"))
}
