//! The request during which a failure happened.

use std::fmt::Write;

use super::escape;
use super::frames::write_pairs;
use crate::request::RequestInfo;

/// Writes the section of the request.
pub(super) fn write(html: &mut String, request: &RequestInfo) {
    let _ = writeln!(
        html,
        "<section class=\"request\">\n<h2>Request</h2>\n<p class=\"line-of-request\"><b>{}</b> {}</p>",
        escape(&request.method),
        escape(&request.url)
    );
    write_part(html, "Query", &request.query(), true);
    write_part(html, "Header fields", &request.fields, true);
    write_part(html, "Environ", &request.environ, false);
    html.push_str("</section>\n");
}

fn write_part(html: &mut String, name: &str, pairs: &[(String, String)], is_open: bool) {
    if pairs.is_empty() {
        return;
    }
    let open = if is_open { " open" } else { "" };
    let _ = writeln!(html, "<details class=\"fold\"{open}><summary>{name} <span>{}</span></summary>", pairs.len());
    write_pairs(html, pairs);
    html.push_str("</details>\n");
}
