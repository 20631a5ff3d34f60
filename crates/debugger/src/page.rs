//! [`Page`]: renders a report for a client, with the fields of the response.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::time::Duration;

use crate::editor::Editor;
use crate::html;
use crate::negotiate::Format;
use crate::report::FailureReport;

/// The settings of a page, and the way from a report to a response.
///
/// ```
/// use amboss_debugger::{negotiate, FailureReport, Page, Project};
///
/// let report = FailureReport::from_output("It can't be built", b"error: no anvil\n", &Project::current());
/// let rendered = Page::default().render(&report, negotiate(b"text/html"));
/// assert!(rendered.body.contains("<h1>error: no anvil</h1>"));
/// assert!(rendered.fields.contains(&("Cache-Control", "no-store".to_owned())));
/// ```
#[derive(Clone, Debug, Default)]
pub struct Page {
    pub(crate) editor: Editor,
    pub(crate) poll: Option<Duration>,
    pub(crate) live_reload: bool,
}

/// A report in one of its formats, with the fields of the response.
#[derive(Clone, Debug)]
pub struct Rendered {
    /// The fields, of which `Content-Type` is the first.
    pub fields: Vec<(&'static str, String)>,
    /// The body.
    pub body: String,
}

impl Page {
    /// Makes the settings from the environment: the editor is that of `AMBOSS_EDITOR`.
    pub fn from_env() -> Page {
        Page { editor: Editor::from_env(), ..Page::default() }
    }

    /// Sets the editor that the links open.
    #[must_use]
    pub fn editor(mut self, editor: Editor) -> Page {
        self.editor = editor;
        self
    }

    /// Makes the page request itself at this interval. It reloads when the status of the response is not 503, or when the
    /// response is the page of another failure.
    #[must_use]
    pub fn poll(mut self, interval: Duration) -> Page {
        self.poll = Some(interval);
        self
    }

    /// Allows the script of a live reload, which is added to the page on the way to the client, to load from the server
    /// and to connect to it.
    #[must_use]
    pub fn live_reload(mut self, live_reload: bool) -> Page {
        self.live_reload = live_reload;
        self
    }

    /// Renders a report in a format, which usually comes from [`negotiate`](crate::negotiate).
    pub fn render(&self, report: &FailureReport, format: Format) -> Rendered {
        let mut fields = vec![
            ("Content-Type", format.content_type().to_owned()),
            // The page shows one moment, and may contain private data.
            ("Cache-Control", "no-store".to_owned()),
            ("Vary", "Accept".to_owned()),
            ("X-Content-Type-Options", "nosniff".to_owned()),
            ("Referrer-Policy", "no-referrer".to_owned()),
        ];
        let body = match format {
            Format::Text => report.to_text(),
            Format::Json => format!("{:#}\n", report.to_json()),
            Format::Html => {
                let nonce = nonce();
                fields.push(("Content-Security-Policy", self.policy(&nonce)));
                html::page(report, self, &nonce)
            }
        };
        Rendered { fields, body }
    }

    /// The Content-Security-Policy of the page: its own style and script and nothing else. The page shows what a client
    /// has sent, so a mistake in its escaping must not run a script.
    fn policy(&self, nonce: &str) -> String {
        let scripts = if self.live_reload { " 'self'" } else { "" };
        let connections = if self.live_reload || self.poll.is_some() { "'self'" } else { "'none'" };
        format!(
            "default-src 'none'; style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}'{scripts}; \
             connect-src {connections}; img-src data:; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
        )
    }
}

/// Makes a nonce of 128 bits. The keys of std's hashers come from the random numbers of the system, and SipHash does not
/// reveal them.
fn nonce() -> String {
    let half = || RandomState::new().hash_one(0_u8);
    format!("{:016x}{:016x}", half(), half())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::project::Project;

    fn rendered(page: &Page, format: Format) -> Rendered {
        page.render(&FailureReport::from_output("broken", b"error: no\n", &Project::current()), format)
    }

    fn field<'a>(rendered: &'a Rendered, name: &str) -> &'a str {
        rendered.fields.iter().find(|(known, _)| *known == name).map_or("", |(_, value)| value)
    }

    #[test]
    fn no_format_is_stored_or_sniffed() {
        for format in [Format::Html, Format::Text, Format::Json] {
            let rendered = rendered(&Page::default(), format);
            assert_eq!(rendered.fields[0], ("Content-Type", format.content_type().to_owned()));
            assert_eq!(field(&rendered, "Cache-Control"), "no-store");
            assert_eq!(field(&rendered, "X-Content-Type-Options"), "nosniff");
            assert_eq!(field(&rendered, "Referrer-Policy"), "no-referrer");
            assert_eq!(field(&rendered, "Content-Security-Policy").is_empty(), format != Format::Html);
        }
    }

    #[test]
    fn the_policy_allows_only_the_page_itself() {
        let page = Page::default();
        let first = rendered(&page, Format::Html);
        let policy = field(&first, "Content-Security-Policy");
        let nonce = policy.split("'nonce-").nth(1).unwrap().split('\'').next().unwrap();
        assert!(policy.starts_with("default-src 'none'; ") && !policy.contains("'self'"), "{policy}");
        for part in ["frame-ancestors 'none'", "base-uri 'none'", "form-action 'none'", "connect-src 'none'"] {
            assert!(policy.contains(part), "{policy}");
        }
        assert_eq!(first.body.matches(&format!("nonce=\"{nonce}\"")).count(), 2, "a style and a script");
        assert_eq!((nonce.len(), first.body.matches("<script").count()), (32, 1));
        assert_ne!(field(&rendered(&page, Format::Html), "Content-Security-Policy"), policy, "a nonce is used once");
        let polling = rendered(&page.clone().poll(Duration::from_millis(500)), Format::Html);
        assert!(field(&polling, "Content-Security-Policy").contains("connect-src 'self'"));
        let live = rendered(&page.live_reload(true), Format::Html);
        assert!(field(&live, "Content-Security-Policy").contains("' 'self'; connect-src 'self'"));
    }
}
