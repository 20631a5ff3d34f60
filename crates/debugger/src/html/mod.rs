//! A report as a page for browsers: one document without other resources, readable without its script.

mod frames;
mod output;
mod request;

use std::fmt::Write;
use std::hash::{DefaultHasher, Hash, Hasher};

use html_escape::{encode_double_quoted_attribute, encode_text};

use crate::page::Page;
use crate::report::{Cause, FailureReport};
use crate::text::{relation, NO_PLACE};
use crate::visible::visible;

const STYLE: &str = include_str!("../page/page.css");
const SCRIPT: &str = include_str!("../page/page.js");
/// The maximum length of a message in large letters, in bytes: about two lines on a desktop, five on a phone.
const MAX_HEADING: usize = 120;
/// A small anvil, so that the tab is found and the browser does not ask the application for an icon.
const ICON: &str =
    "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E%3Cpath fill='%23d9480f' \
                    d='M1 4h14v3c-3 0-4 1-4 3v1h2v3H3v-3h2v-1C5 8 3 7 1 7z'/%3E%3C/svg%3E";

/// Escapes text for the content of an element. Control characters are shown.
fn escape(text: &str) -> String {
    encode_text(&visible(text)).into_owned()
}

/// Escapes text for an attribute in double quotes.
fn attribute(text: &str) -> String {
    encode_double_quoted_attribute(&visible(text)).into_owned()
}

/// Renders the page.
pub(crate) fn page(report: &FailureReport, page: &Page, nonce: &str) -> String {
    let mut html = String::with_capacity(64 * 1024);
    let poll = page.poll.map_or(String::new(), |interval| format!(" data-poll=\"{}\"", interval.as_millis().max(1)));
    let title = escape(&title(report));
    let _ = write!(
        html,
        "<!doctype html>\n<html lang=\"en\" data-report=\"{:016x}\"{poll}>\n<head>\n<meta charset=\"utf-8\">\n\
         <title>{title}</title>\n<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<link rel=\"icon\" href=\"{ICON}\">\n\
         <style nonce=\"{nonce}\">\n{STYLE}</style>\n</head>\n<body>\n",
        id(report)
    );
    write_header(&mut html, report, page);
    html.push_str("<main>\n");
    if let Some((text, project)) = &report.output {
        output::write(&mut html, text, project, page);
    }
    for (index, cause) in report.causes.iter().enumerate() {
        write_cause(&mut html, report, page, index, cause);
    }
    if let Some(info) = &report.request {
        request::write(&mut html, info);
    }
    write_copies(&mut html, report);
    html.push_str("</main>\n<footer>\n");
    for (name, version) in &report.versions {
        let _ = writeln!(html, "<span>{} {}</span>", escape(name), escape(version));
    }
    let _ = write!(
        html,
        "<span>{}</span>\n</footer>\n<script nonce=\"{nonce}\">\n{SCRIPT}</script>\n</body>\n</html>\n",
        report.date()
    );
    html
}

/// A number that differs between reports of different failures, for a page that polls.
fn id(report: &FailureReport) -> u64 {
    let mut hasher = DefaultHasher::new();
    (report.kind(), report.message(), report.output.as_ref().map(|(output, _)| output)).hash(&mut hasher);
    hasher.finish()
}

fn title(report: &FailureReport) -> String {
    let message = report.message().lines().next().unwrap_or_default();
    if message.is_empty() {
        report.kind().to_owned()
    } else {
        format!("{}: {message}", report.kind())
    }
}

fn write_header(html: &mut String, report: &FailureReport, page: &Page) {
    let (kind, message) = (report.kind(), report.message());
    html.push_str("<header>\n<p class=\"eyebrow\">");
    if !message.is_empty() {
        let _ = write!(html, "<span class=\"kind\">{}</span>", escape(kind));
    }
    if let Some(request) = &report.request {
        let _ = write!(html, "<span class=\"target\">{} {}</span>", escape(&request.method), escape(&request.path));
    }
    let heading = if message.is_empty() { kind } else { message };
    let is_long = heading.len() > MAX_HEADING || heading.contains('\n');
    let class = if is_long { " class=\"long\"" } else { "" };
    let _ = writeln!(html, "</p>\n<h1{class}>{}</h1>", escape(heading));
    if let Some(frame) = report.place() {
        html.push_str("<p class=\"where\">");
        frames::write_place(html, frame, page);
        if !frame.function.is_empty() && report.output.is_none() {
            let _ = write!(html, " in <code>{}</code>", escape(&frame.function));
        }
        html.push_str("</p>\n");
    }
    if report.has_no_place() {
        let _ = writeln!(html, "<p class=\"where\">{NO_PLACE}</p>");
    }
    html.push_str(
        "<p class=\"actions\">\n<button type=\"button\" data-copy=\"as-text\" hidden>Copy as text</button>\n",
    );
    if report.request.is_some() {
        html.push_str("<button type=\"button\" data-copy=\"as-curl\" hidden>Copy as curl</button>\n");
    }
    if page.poll.is_some() {
        html.push_str("<span class=\"note\">This page reloads when the code changes.</span>\n");
    }
    html.push_str("<span id=\"status\" role=\"status\"></span>\n</p>\n</header>\n");
}

fn write_cause(html: &mut String, report: &FailureReport, page: &Page, index: usize, cause: &Cause) {
    // The header shows the failure itself, and an output shows where its errors are.
    if index == 0 && cause.frames.is_empty() {
        return;
    }
    let heading = match (index, report.output.is_some()) {
        (0, true) => "Errors",
        (0, false) => "Most recent call first",
        _ => relation(cause),
    };
    let _ = write!(html, "<section class=\"cause\">\n<h2>{heading}</h2>\n");
    if index > 0 {
        let _ = write!(html, "<p class=\"reason\"><span class=\"kind\">{}</span> ", escape(&cause.kind));
        let _ = writeln!(html, "<span class=\"message\">{}</span></p>", escape(&cause.message));
    }
    frames::write(html, &cause.frames, page);
    html.push_str("</section>\n");
}

/// Writes the texts that the buttons copy. Without a script, they can be opened and selected.
fn write_copies(html: &mut String, report: &FailureReport) {
    html.push_str("<section class=\"copies\">\n<h2>Export</h2>\n");
    let mut write_copy = |id: &str, name: &str, text: &str| {
        let _ = writeln!(
            html,
            "<details class=\"fold\"><summary>{name}</summary>\n<pre id=\"{id}\" tabindex=\"0\">{}</pre></details>",
            escape(text)
        );
    };
    write_copy("as-text", "As text", &report.to_text());
    if let Some(request) = &report.request {
        write_copy("as-curl", "As a curl command", &request.curl());
    }
    html.push_str("</section>\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::Frame;
    use crate::project::Project;
    use crate::request::RequestInfo;
    use amboss_testkit::TempDir;

    const HOSTILE: &str =
        "</pre></style></script><script>alert(1)</script><img src=x onerror=\"alert(1)\">'\"&amp;\u{202e}\0\x1b[31m";

    /// A report in which everything that comes from outside is hostile.
    fn hostile() -> String {
        let folder = TempDir::new("html");
        folder.write("a.rs", &format!("{HOSTILE}\n"));
        let project = Project::new(folder.path());
        let frame = Frame::new(&project, "a.rs", 1, Some(3), HOSTILE).with_local(HOSTILE, HOSTILE);
        let library = Frame::new(&Project::new("/nowhere"), &format!("/lib/{HOSTILE}"), 7, None, HOSTILE);
        let output = format!("error: {HOSTILE}\n --> {HOSTILE}:1:1\n");
        let mut report = FailureReport::from_output(HOSTILE, output.as_bytes(), &project)
            .with_version(HOSTILE, HOSTILE)
            .with_request(RequestInfo::new(HOSTILE, HOSTILE, [(HOSTILE, HOSTILE)], [(HOSTILE, HOSTILE)]));
        report.causes.push(Cause::new(HOSTILE, HOSTILE, vec![frame, library]));
        page(&report, &Page::default(), "nonce")
    }

    #[test]
    fn everything_from_outside_is_escaped() {
        let html = hostile();
        assert_eq!(html.matches("<script").count(), 1, "{html}");
        for forbidden in ["<img", "alert(1)</script>", "\u{202e}", "\0", "\x1b"] {
            assert!(!html.contains(forbidden), "{forbidden:?}");
        }
        // No text ends an attribute: each tag of the page has an even number of quotes.
        for tag in html.split('<').skip(1).filter_map(|text| text.split_once('>')).map(|(tag, _)| tag) {
            let is_code = tag.contains('\n') || tag.starts_with(' ');
            assert!(is_code || tag.matches('"').count() % 2 == 0, "{tag}");
        }
    }

    #[test]
    fn the_page_loads_nothing() {
        let html = hostile();
        for tag in html.split('<').skip(1).filter(|text| !text.starts_with("!doctype")) {
            let tag = tag.split('>').next().unwrap();
            assert!(!tag.contains(" src=") && !tag.contains("style="), "{tag}");
            let href = tag.split_once("href=\"").map_or("data:", |(_, value)| value);
            assert!(href.starts_with("data:") || href.starts_with("vscode:"), "{tag}");
        }
        assert!(!STYLE.contains("url(") && !STYLE.contains("@import"));
    }

    #[test]
    fn frames_of_the_project_are_open_and_others_are_folded() {
        let project = Project::new(env!("CARGO_MANIFEST_DIR"));
        let own = Frame::new(&project, "src/lib.rs", 2, None, "app::own");
        let library = |name: &str| Frame::new(&project, "/usr/lib/x.rs", 2, None, name);
        let frames = vec![library("lib::a"), own.clone(), library("lib::b"), library("lib::c"), own];
        let report = FailureReport::with_causes(vec![Cause::new("panic", "no anvil", frames)]);
        let html = page(&report, &Page::default(), "nonce");
        assert_eq!(html.matches("<details class=\"frame project\" open>").count(), 2);
        assert_eq!(html.matches("<details class=\"library\">").count(), 2);
        assert!(html.contains("1 library frame</summary>") && html.contains("2 library frames</summary>"));
        assert_eq!(html.matches("<mark class=\"line\">").count(), 2);
    }

    #[test]
    fn only_a_page_that_polls_says_so() {
        let report = FailureReport::from_output("broken", b"error: no\n", &Project::current());
        assert!(!page(&report, &Page::default(), "n").contains("data-poll=\""));
        let polling = Page::default().poll(std::time::Duration::from_millis(700));
        assert!(page(&report, &polling, "n").contains("data-poll=\"700\""));
        let other = FailureReport::from_output("broken", b"error: yes\n", &Project::current());
        assert_ne!(id(&report), id(&other));
    }
}
