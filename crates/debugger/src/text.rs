//! A report as plain text, for terminals.

use std::fmt::Write;

use amboss_core::http::imf_fixdate;

use crate::ansi;
use crate::frame::Frame;
use crate::report::{Cause, FailureReport};
use crate::visible::visible;

/// The note in a report that has no place.
pub(crate) const NO_PLACE: &str = "This error does not record where it happened.";

impl FailureReport {
    /// The report as plain text. It contains no control characters besides line feeds and tabs, so that a terminal shows
    /// it as it is.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        for (index, cause) in self.causes.iter().enumerate() {
            write_cause(&mut text, self, index, cause);
        }
        if self.has_no_place() {
            let _ = write!(text, "\n{NO_PLACE}\n");
        }
        if let Some((output, _)) = &self.output {
            let _ = write!(text, "\n{}\n", ansi::strip(output).trim_end());
        }
        if let Some(request) = &self.request {
            let _ = write!(text, "\nRequest\n  {} {}\n", request.method, request.url);
            for (name, value) in &request.fields {
                let _ = writeln!(text, "  {name}: {value}");
            }
        }
        let _ = write!(text, "\n{}", self.date());
        for (name, version) in &self.versions {
            let _ = write!(text, " · {name} {version}");
        }
        text.push('\n');
        visible(&text).into_owned()
    }

    /// The time of the report as in HTTP's `Date`.
    pub(crate) fn date(&self) -> String {
        String::from_utf8_lossy(&imf_fixdate(self.seconds())).into_owned()
    }

    /// The time of the report in seconds since 1970.
    pub(crate) fn seconds(&self) -> u64 {
        self.time.duration_since(std::time::UNIX_EPOCH).map_or(0, |time| time.as_secs())
    }
}

/// The words between a failure and the one before it in the chain.
pub(crate) fn relation(cause: &Cause) -> &'static str {
    if cause.is_context {
        "Raised while this was handled"
    } else {
        "Caused by"
    }
}

fn write_cause(text: &mut String, report: &FailureReport, index: usize, cause: &Cause) {
    if index > 0 {
        let _ = write!(text, "\n{}:\n", relation(cause));
    }
    match (cause.kind.as_str(), cause.message.as_str()) {
        (kind, "") => text.push_str(kind),
        (kind, message) => {
            let _ = write!(text, "{kind}: {message}");
        }
    }
    text.push('\n');
    // An output shows its places itself.
    if cause.frames.is_empty() || report.output.is_some() {
        return;
    }
    text.push_str("\nThe most recent call comes first:\n");
    for frame in &cause.frames {
        write_frame(text, frame);
    }
}

fn write_frame(text: &mut String, frame: &Frame) {
    let _ = match (frame.place().as_str(), frame.function.as_str()) {
        (place, "") => writeln!(text, "  {place}"),
        ("", function) => writeln!(text, "  {function}"),
        (place, function) => writeln!(text, "  {place} in {function}"),
    };
    if !frame.is_project {
        return;
    }
    for line in &frame.source {
        let mark = if line.is_failing { '>' } else { ' ' };
        let _ = writeln!(text, "  {mark} {:>5} | {}", line.number, line.text);
    }
    for (name, repr) in &frame.locals {
        let _ = writeln!(text, "        {name} = {repr}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::project::Project;
    use crate::request::RequestInfo;

    #[test]
    fn the_text_shows_everything_and_no_control_character() {
        let mut report = FailureReport::from_error(&std::fmt::Error, &Project::new("/p")).with_version("app", "2.0");
        report.time = std::time::UNIX_EPOCH;
        let frame = Frame::new(&Project::new("/p"), "/p/a.py", 3, None, "f").with_local("x", "'\x1b[31m'");
        report.causes.push(Cause { is_context: true, ..Cause::new("ValueError", "no anvil", vec![frame]) });
        let fields = [("User-Agent", "curl"), ("Cookie", "hunter2")];
        report.request = Some(RequestInfo::new("GET", "http://localhost/?token=hunter2", fields, []));
        let expected = concat!(
            "Error: an error occurred when formatting an argument\n\n",
            "Raised while this was handled:\nValueError: no anvil\n\n",
            "The most recent call comes first:\n  a.py:3 in f\n        x = '\\u{1b}[31m'\n\n",
            "Request\n  GET http://localhost/?token=••••\n  User-Agent: curl\n  Cookie: ••••\n\n",
            "Thu, 01 Jan 1970 00:00:00 GMT · amboss ",
            env!("CARGO_PKG_VERSION"),
            " · app 2.0\n"
        );
        assert_eq!(report.to_text(), expected);
    }

    #[test]
    fn an_output_is_printed_without_its_colours() {
        let report =
            FailureReport::from_output("It can't be built", b"\x1b[31merror: no\x1b[0m\r\n\x07", &Project::current());
        assert!(report.to_text().starts_with("It can't be built: error: no\n\nerror: no\n\n"), "{}", report.to_text());
    }
}
