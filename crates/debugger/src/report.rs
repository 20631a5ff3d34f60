//! [`FailureReport`]: describes what failed, why, where, and during which request.

use std::error::Error;
use std::io;
use std::time::SystemTime;

use crate::frame::Frame;
use crate::project::Project;
use crate::request::RequestInfo;
use crate::visible::shorten;
use crate::{ansi, backtrace, output};

/// The maximum number of causes of an error. A chain may be a circle.
const MAX_CAUSES: usize = 20;
/// The maximum length of a message, in bytes.
const MAX_MESSAGE: usize = 8 * 1024;
/// The maximum length of an output, in bytes. Of a longer one, the middle is left out: compilers print the first error
/// first, and Python prints the exception last.
const MAX_OUTPUT: usize = 256 * 1024;

/// A failure, or one of its causes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cause {
    pub(crate) kind: String,
    pub(crate) message: String,
    /// Whether the failure before this one happened while this one was handled (Python's `__context__`), and not because
    /// of it.
    pub(crate) is_context: bool,
    /// The frames, the innermost first.
    pub(crate) frames: Vec<Frame>,
}

impl Cause {
    pub(crate) fn new(kind: &str, message: &str, frames: Vec<Frame>) -> Cause {
        Cause { kind: kind.to_owned(), message: shorten(message, MAX_MESSAGE), is_context: false, frames }
    }
}

/// A report of a failure, which can be shown as a page, as text and as JSON.
///
/// ```
/// use amboss_debugger::{FailureReport, Project};
///
/// let error = "ten".parse::<u8>().unwrap_err();
/// let report = FailureReport::from_error(&error, &Project::current());
/// assert_eq!((report.kind(), report.message()), ("ParseIntError", "invalid digit found in string"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailureReport {
    /// The failure and its causes; there is at least one.
    pub(crate) causes: Vec<Cause>,
    pub(crate) request: Option<RequestInfo>,
    /// The output of a compiler or a program, with its control sequences, and the project to which its places belong.
    pub(crate) output: Option<(String, Project)>,
    pub(crate) time: SystemTime,
    pub(crate) versions: Vec<(String, String)>,
}

impl FailureReport {
    pub(crate) fn with_causes(causes: Vec<Cause>) -> FailureReport {
        debug_assert!(!causes.is_empty());
        let versions = vec![("amboss".to_owned(), env!("CARGO_PKG_VERSION").to_owned())];
        FailureReport { causes, request: None, output: None, time: SystemTime::now(), versions }
    }

    /// Makes a report from its parts, for a failure that no other constructor knows. The innermost frame is first.
    ///
    /// ```
    /// use amboss_debugger::{FailureReport, Frame, Project};
    /// let frame = Frame::new(&Project::current(), "forge.rb", 3, None, "strike").with_local("anvil", "nil");
    /// let report = FailureReport::new("NoMethodError", "undefined method", vec![frame]);
    /// assert!(report.to_text().contains("forge.rb:3 in strike"));
    /// ```
    pub fn new(kind: &str, message: &str, frames: Vec<Frame>) -> FailureReport {
        FailureReport::with_causes(vec![Cause::new(kind, message, frames)])
    }

    /// Adds the cause of the failure, or of the cause that was added last.
    #[must_use]
    pub fn with_cause(mut self, kind: &str, message: &str, frames: Vec<Frame>) -> FailureReport {
        self.causes.push(Cause::new(kind, message, frames));
        self
    }

    /// Makes the report of an error and the chain of its [`source`](Error::source)s.
    ///
    /// An error does not know where it happened. It has frames if its `Debug` form prints a backtrace, as that of `anyhow`
    /// does with `RUST_BACKTRACE=1`.
    pub fn from_error(error: &(dyn Error + 'static), project: &Project) -> FailureReport {
        let mut causes = Vec::new();
        let mut next = Some(error);
        while let Some(error) = next.filter(|_| causes.len() < MAX_CAUSES) {
            let debug = format!("{error:?}");
            let backtrace = debug.find("Stack backtrace:").map_or("", |at| &debug[at..]);
            causes.push(Cause::new(
                kind(error, &debug),
                &error.to_string(),
                if causes.is_empty() { backtrace::parse(backtrace, project) } else { Vec::new() },
            ));
            next = error.source();
        }
        FailureReport::with_causes(causes)
    }

    /// Makes the report of a panic from its message and its backtrace, as a panic hook prints them:
    /// `panicked at src/main.rs:3:5:`, the message, and the frames.
    ///
    /// ```
    /// use amboss_debugger::{FailureReport, Project};
    /// let panic = amboss_core::catch_panic(|| panic!("no anvil")).unwrap_err();
    /// let report = FailureReport::from_panic(&panic.to_string(), &Project::current());
    /// assert_eq!((report.kind(), report.message()), ("panic", "no anvil"));
    /// ```
    pub fn from_panic(panic: &str, project: &Project) -> FailureReport {
        let is_frame = |line: &&str| line.trim_start().starts_with("0: ") && line.starts_with(' ');
        let begin =
            panic.lines().find(is_frame).map_or(panic.len(), |line| line.as_ptr().addr() - panic.as_ptr().addr());
        let (headline, frames) = panic.split_at(begin);
        let mut frames = backtrace::parse(frames, project);
        let (first, message) = headline.split_once('\n').unwrap_or((headline, ""));
        let place = first.split_once("panicked at ").and_then(|(_, place)| backtrace::location(place));
        if let Some((file, line, column)) = place {
            // Without debug information, the frames have no places.
            let panicked = Frame::new(project, file, line, column, "");
            if !frames.iter().any(|frame| frame.file == panicked.file && frame.line == line) {
                frames.insert(0, panicked);
            }
        }
        let message = if place.is_some() { message } else { headline };
        FailureReport::new("panic", message.trim_end(), frames)
    }

    /// Makes the report of a failed build or start from the output of the compiler or the program. The places of its
    /// errors are the frames.
    pub fn from_output(title: &str, output: &[u8], project: &Project) -> FailureReport {
        let output = cut_middle(&String::from_utf8_lossy(output));
        let found = output::examine(&ansi::strip(&output), project);
        let mut report = FailureReport::new(title, &found.message, found.frames);
        report.output = Some((output, project.clone()));
        report
    }

    /// Adds the request during which the failure happened.
    #[must_use]
    pub fn with_request(mut self, request: RequestInfo) -> FailureReport {
        self.request = Some(request);
        self
    }

    /// Adds the version of a program or library.
    #[must_use]
    pub fn with_version(mut self, name: &str, version: &str) -> FailureReport {
        self.versions.push((name.to_owned(), version.to_owned()));
        self
    }

    /// The kind of the failure: the type of an error or exception, `panic`, or the title of an output.
    pub fn kind(&self) -> &str {
        &self.causes[0].kind
    }

    /// The message of the failure; empty if there is none.
    pub fn message(&self) -> &str {
        &self.causes[0].message
    }

    /// The place that the reader most likely has to change: the first frame in the project.
    pub(crate) fn place(&self) -> Option<&Frame> {
        self.causes.iter().flat_map(|cause| &cause.frames).find(|frame| frame.is_project)
    }

    /// Whether nothing says where the failure happened, as for most errors of Rust.
    pub(crate) fn has_no_place(&self) -> bool {
        self.output.is_none() && self.causes.iter().all(|cause| cause.frames.is_empty())
    }
}

/// The type of an error, as far as its `Debug` form tells; `error` for an error that was made of a string.
fn kind<'a>(error: &(dyn Error + 'static), debug: &'a str) -> &'a str {
    if error.is::<io::Error>() {
        return "io::Error";
    }
    let end = debug.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(debug.len());
    let (name, rest) = debug.split_at(end);
    let is_type = name.starts_with(char::is_uppercase) && (rest.is_empty() || rest.starts_with([' ', '(', '{']));
    // A sentence begins with a word and a space as well.
    if is_type && (!rest.starts_with(' ') || rest.starts_with(" {")) {
        name
    } else {
        "error"
    }
}

fn cut_middle(text: &str) -> String {
    if text.len() <= MAX_OUTPUT {
        return text.to_owned();
    }
    let half = MAX_OUTPUT / 2;
    let end = (0..=half).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
    let start = (text.len() - half..text.len()).find(|&at| text.is_char_boundary(at)).unwrap_or(text.len());
    format!("{}\x1b[0m\n… {} bytes are left out …\n{}", &text[..end], start - end, &text[start..])
}

#[cfg(test)]
mod tests {
    use std::fmt;

    use super::*;

    #[derive(Debug)]
    struct Layer {
        source: Option<Box<Layer>>,
    }

    impl fmt::Display for Layer {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "layer {}", usize::from(self.source.is_some()))
        }
    }

    impl Error for Layer {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            self.source.as_deref().map(|source| source as _)
        }
    }

    fn project() -> Project {
        Project::new("/p")
    }

    #[test]
    fn an_error_has_its_chain_of_causes() {
        let error = Layer { source: Some(Box::new(Layer { source: None })) };
        let report = FailureReport::from_error(&error, &project());
        let found: Vec<_> = report.causes.iter().map(|cause| (cause.kind.as_str(), cause.message.as_str())).collect();
        assert_eq!(found, [("Layer", "layer 1"), ("Layer", "layer 0")]);
        let deep = (0..100).fold(Layer { source: None }, |inner, _| Layer { source: Some(Box::new(inner)) });
        assert_eq!(FailureReport::from_error(&deep, &project()).causes.len(), MAX_CAUSES);
    }

    #[test]
    fn the_kind_of_an_error_is_its_type() {
        let kind_of = |error: Box<dyn Error>| FailureReport::from_error(&*error, &project()).kind().to_owned();
        let cases: [(Box<dyn Error>, &str); 5] = [
            ("x".parse::<u8>().unwrap_err().into(), "ParseIntError"),
            (io::Error::from(io::ErrorKind::NotFound).into(), "io::Error"),
            ("Error with the anvil".into(), "error"),
            (fmt::Error.into(), "Error"),
            (String::from_utf8(vec![255]).unwrap_err().into(), "FromUtf8Error"),
        ];
        for (error, expected) in cases {
            assert_eq!(kind_of(error), expected);
        }
    }

    #[derive(Debug)]
    struct Quoted(&'static str);

    struct Anyhow;

    impl fmt::Debug for Anyhow {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("no anvil\n\nCaused by:\n    0: no iron\n\nStack backtrace:\n   0: app::f\n             at /p/a.rs:3:5\n")
        }
    }

    impl fmt::Display for Anyhow {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(Quoted("no anvil").0)
        }
    }

    impl Error for Anyhow {}

    #[test]
    fn a_backtrace_in_the_debug_form_of_an_error_is_found() {
        let report = FailureReport::from_error(&Anyhow, &project());
        assert_eq!((report.kind(), report.causes[0].frames.len()), ("error", 1));
        assert_eq!(report.place().unwrap().place(), "a.rs:3:5");
    }

    #[test]
    fn a_panic_has_a_message_and_frames() {
        let text = "panicked at src/a.rs:3:5:\nno anvil\n1: no iron\n   0: __rustc::rust_begin_unwind\n   1: app::f\n             at ./src/a.rs:3:5\n";
        let report = FailureReport::from_panic(text, &project());
        assert_eq!((report.kind(), report.message()), ("panic", "no anvil\n1: no iron"));
        assert_eq!((report.causes[0].frames.len(), report.place().unwrap().function.as_str()), (1, "app::f"));
    }

    #[test]
    fn a_panic_without_places_in_its_backtrace_has_the_place_of_the_message() {
        let report = FailureReport::from_panic("panicked at src/a.rs:3:5:\nno anvil\n   0: app::f\n", &project());
        assert_eq!((report.causes[0].frames.len(), report.place().unwrap().place().as_str()), (2, "src/a.rs:3:5"));
        let report = FailureReport::from_panic("panicked", &project());
        assert_eq!((report.message(), report.causes[0].frames.len()), ("panicked", 0));
    }

    #[test]
    fn an_output_is_kept_with_its_places_and_cut_in_the_middle() {
        let colored =
            b"\x1b[1m\x1b[38;5;9merror[E1]\x1b[0m\x1b[1m: no anvil\x1b[0m\n  \x1b[94m--> \x1b[0msrc/a.rs:3:5\n";
        let report = FailureReport::from_output("It can't be built", colored, &project());
        assert_eq!((report.kind(), report.message()), ("It can't be built", "error[E1]: no anvil"));
        assert_eq!(report.place().unwrap().place(), "src/a.rs:3:5");
        assert!(report.output.unwrap().0.contains("\x1b[94m"));
        let long = format!("first\n{}\nlast\n", "ä".repeat(MAX_OUTPUT));
        let output = FailureReport::from_output("", long.as_bytes(), &project()).output.unwrap().0;
        assert!(output.starts_with("first\n") && output.ends_with("\nlast\n") && output.len() < MAX_OUTPUT + 100);
    }
}
