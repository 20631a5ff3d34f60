//! From a report to a response: the body in one of the formats, and the fields.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;

use crate::html;
use crate::negotiate::Format;
use crate::page::Page;
use crate::report::FailureReport;

/// A report in one of its formats, with the fields of the response.
#[derive(Clone, Debug)]
pub struct Rendered {
    /// The fields, of which `Content-Type` is the first.
    pub fields: Vec<(&'static str, String)>,
    /// The body.
    pub body: String,
}

impl Page {
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
    use std::time::Duration;

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
