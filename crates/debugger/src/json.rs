//! A report as JSON, for programs, and from JSON, for runtimes that collect failures in another language.
//!
//! ```json
//! {
//!   "kind": "ValueError", "message": "no anvil", "time": 784111777, "versions": {"amboss": "0.1.0"},
//!   "causes": [{
//!     "kind": "ValueError", "message": "no anvil", "is_context": false,
//!     "frames": [{
//!       "file": "/p/app.py", "line": 3, "column": null, "function": "f", "is_project": true,
//!       "source": [{"number": 3, "text": "raise ValueError('no anvil')", "is_failing": true}],
//!       "locals": [["x", "1"]]
//!     }]
//!   }],
//!   "request": {"method": "GET", "url": "http://localhost/", "path": "/", "query": [], "fields": [], "environ": [], "curl": ""},
//!   "output": null
//! }
//! ```

use std::fmt;
use std::time::{Duration, UNIX_EPOCH};

use serde_json::{json, Value};

use crate::ansi;
use crate::frame::Frame;
use crate::project::Project;
use crate::report::{Cause, FailureReport};
use crate::request::RequestInfo;

/// The maximum number of frames of a cause, and of causes, that are read from JSON.
const MAX_ITEMS: usize = 100;

/// The reason why a JSON document is not a report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JsonError(());

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the document is not a report: `causes` has to be a list of at least one object")
    }
}

impl std::error::Error for JsonError {}

impl FailureReport {
    /// The report as JSON. The innermost frame is first; lines and columns count from 1. `time` is in seconds since 1970.
    pub fn to_json(&self) -> Value {
        let request = self.request.as_ref().map(|request| {
            json!({
                "method": request.method, "url": request.url, "path": request.path, "query": request.query(),
                "fields": request.fields, "environ": request.environ, "curl": request.curl(),
            })
        });
        json!({
            "kind": self.kind(),
            "message": self.message(),
            "causes": self.causes.iter().map(cause_to_json).collect::<Vec<_>>(),
            "request": request,
            "output": self.output.as_ref().map(|(output, _)| ansi::strip(output)),
            "time": self.seconds(),
            "versions": self.versions.iter().cloned().collect::<std::collections::BTreeMap<_, _>>(),
        })
    }

    /// Makes a report from JSON in the form of [`to_json`](FailureReport::to_json). Only `causes` is required, with at
    /// least one object; whatever else is missing is empty. `source` and `is_project` are not read: they follow from the
    /// files. Secrets are masked.
    ///
    /// ```
    /// use amboss_debugger::{FailureReport, Project};
    /// let document = serde_json::json!({"causes": [{
    ///     "kind": "ValueError", "message": "no anvil",
    ///     "frames": [{"file": "/p/app.py", "line": 3, "function": "f", "locals": [["password", "'x'"]]}],
    /// }]});
    /// let report = FailureReport::from_json(&document, &Project::new("/p")).unwrap();
    /// assert!(report.to_text().contains("app.py:3 in f"));
    /// ```
    ///
    /// # Errors
    /// If there is no cause.
    pub fn from_json(document: &Value, project: &Project) -> Result<FailureReport, JsonError> {
        let cause = |value: &Value| Cause {
            is_context: value["is_context"].as_bool().unwrap_or(false),
            ..Cause::new(
                text(&value["kind"]),
                text(&value["message"]),
                items(&value["frames"]).map(|frame| frame_from_json(frame, project)).collect(),
            )
        };
        let causes: Vec<Cause> = items(&document["causes"]).filter(|value| value.is_object()).map(cause).collect();
        if causes.is_empty() {
            return Err(JsonError(()));
        }
        let mut report = FailureReport::with_causes(causes);
        report.output = document["output"].as_str().map(|output| (output.to_owned(), project.clone()));
        if let Some(seconds) = document["time"].as_u64() {
            report.time = UNIX_EPOCH.checked_add(Duration::from_secs(seconds)).unwrap_or(report.time);
        }
        for (name, version) in document["versions"].as_object().into_iter().flatten() {
            if !report.versions.iter().any(|(known, _)| known == name) {
                report = report.with_version(name, text(version));
            }
        }
        let request = &document["request"];
        if request.is_object() {
            let (fields, environ) = (pairs(&request["fields"]), pairs(&request["environ"]));
            report.request = Some(RequestInfo::new(text(&request["method"]), text(&request["url"]), fields, environ));
        }
        Ok(report)
    }
}

fn cause_to_json(cause: &Cause) -> Value {
    json!({
        "kind": cause.kind,
        "message": cause.message,
        "is_context": cause.is_context,
        "frames": cause.frames.iter().map(frame_to_json).collect::<Vec<_>>(),
    })
}

fn frame_to_json(frame: &Frame) -> Value {
    let line = |line: &crate::frame::SourceLine| json!({"number": line.number, "text": line.text, "is_failing": line.is_failing});
    json!({
        "file": frame.file,
        "line": frame.line,
        "column": frame.column,
        "function": frame.function,
        "is_project": frame.is_project,
        "source": frame.source.iter().map(line).collect::<Vec<_>>(),
        "locals": frame.locals,
    })
}

fn frame_from_json(value: &Value, project: &Project) -> Frame {
    let number = |value: &Value| value.as_u64().and_then(|number| u32::try_from(number).ok());
    let (line, column) = (number(&value["line"]).unwrap_or(0), number(&value["column"]));
    let frame = Frame::new(project, text(&value["file"]), line, column, text(&value["function"]));
    pairs(&value["locals"]).into_iter().fold(frame, |frame, (name, repr)| frame.with_local(name, repr))
}

/// The elements of a list; none if the value is not a list.
fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten().take(MAX_ITEMS)
}

/// The pairs of strings in a list.
fn pairs(value: &Value) -> Vec<(&str, &str)> {
    value.as_array().into_iter().flatten().map(|pair| (text(&pair[0]), text(&pair[1]))).collect()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_survives_the_way_through_json() {
        let project = Project::new(env!("CARGO_MANIFEST_DIR"));
        let frame = Frame::new(&project, "src/lib.rs", 2, Some(4), "f").with_local("token", "hunter2");
        let mut report = FailureReport::from_output("broken", b"error: no\n", &project)
            .with_version("python", "3.11")
            .with_request(RequestInfo::new("PUT", "http://a/b?secret=hunter2", [("Cookie", "hunter2")], [("A", "b")]));
        report.causes.push(Cause { is_context: true, ..Cause::new("ValueError", "no anvil", vec![frame]) });
        let document = report.to_json();
        let restored = FailureReport::from_json(&document, &project).unwrap();
        assert_eq!(restored.to_json(), document);
        assert_eq!(document["causes"][1]["frames"][0]["source"].as_array().unwrap().len(), 4);
        assert_eq!(document["causes"][1]["frames"][0]["is_project"], true);
        assert!(!document.to_string().contains("hunter2"));
    }

    #[test]
    fn documents_of_another_shape_are_refused_or_read_leniently() {
        for document in [json!(null), json!([]), json!({}), json!({"causes": []}), json!({"causes": ["x"]}), json!("x")]
        {
            assert!(FailureReport::from_json(&document, &Project::current()).is_err(), "{document}");
        }
        let odd =
            json!({"causes": [{"frames": [{"line": -1, "locals": {"a": 1}}, 7]}], "time": u64::MAX, "request": 1});
        let report = FailureReport::from_json(&odd, &Project::current()).unwrap();
        assert_eq!((report.causes[0].frames.len(), report.kind(), report.request.is_none()), (2, "", true));
    }
}
