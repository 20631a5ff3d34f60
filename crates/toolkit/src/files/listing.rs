//! The list of a folder's files: as a page for people, or as JSON for programs.

use amboss_core::{AppError, Body, Environ, StartResponse};

use crate::response::Response;

use super::entries::{Listing, Order};
use super::options::FolderOptions;
use super::page::{self, Page};
use super::path::RelativePath;
use super::request::accepts;
use super::root::Opened;
use super::time::iso_8601;
use super::token::random_token;

/// The key in the environ by which a page learns that a script is added to it.
const LIVE_RELOAD: &str = "amboss.live";

/// Answers a GET or HEAD request for a folder.
pub(super) fn respond(
    root: &Opened,
    path: &RelativePath<'_>,
    prefix: &str,
    options: &FolderOptions,
    environ: &Environ<'_>,
    start_response: &mut dyn StartResponse,
) -> Result<Body, AppError> {
    let order = Order::parse(&environ.query());
    let listing = Listing::read(root, &path.bytes, order, options)?;
    let response = if accepts(environ, b"application/json") && !accepts(environ, b"text/html") {
        Response::bytes(to_json(&listing).into_bytes()).with_header("Content-Type", "application/json")
    } else {
        let nonce = random_token();
        // The server that reloads pages when files change adds a script of its own to them.
        let script = if environ.get(LIVE_RELOAD).is_some() { " script-src 'self'; connect-src 'self';" } else { "" };
        let policy = format!(
            "default-src 'none';{script} style-src 'nonce-{nonce}'; base-uri 'none'; form-action 'none'; \
             frame-ancestors 'none'"
        );
        let root = [&environ.get("SCRIPT_NAME").unwrap_or_default()[..], prefix.as_bytes(), b"/"].concat();
        let page = Page { listing: &listing, root: &root, path: &path.bytes, order, nonce: &nonce };
        Response::html(page::render(&page)).with_header("Content-Security-Policy", policy)
    };
    response
        .with_header("Cache-Control", "no-cache")
        .with_header("Vary", "Accept")
        .with_header("X-Content-Type-Options", "nosniff")
        .respond(start_response)
}

fn to_json(listing: &Listing) -> String {
    let mut json = String::from("{\"entries\":[");
    for (index, entry) in listing.entries.iter().enumerate() {
        let kind = if entry.is_folder { "folder" } else { "file" };
        json.push_str(if index == 0 { "\n{\"name\":" } else { ",\n{\"name\":" });
        push_json_string(&mut json, &String::from_utf8_lossy(&entry.name));
        json.push_str(&format!(",\"type\":\"{kind}\",\"url\":\"{}\",\"size\":{}", entry.href(), entry.size));
        if let Some(modified) = entry.modified {
            json.push_str(&format!(",\"modified\":\"{}\"", iso_8601(modified)));
        }
        json.push('}');
    }
    json.push_str(&format!("\n],\"complete\":{}}}\n", !listing.is_cut));
    json
}

/// RFC 8259 §7.
fn push_json_string(json: &mut String, text: &str) {
    json.push('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => json.extend(['\\', character]),
            '\0'..='\x1f' => json.push_str(&format!("\\u{:04x}", character as u32)),
            _ => json.push(character),
        }
    }
    json.push('"');
}
