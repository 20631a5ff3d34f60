//! Finds places in the output of a compiler or a program: `--> src/main.rs:3:5`, `File "app.py", line 3`.

use std::ops::Range;

use crate::backtrace::location;
use crate::frame::Frame;
use crate::project::Project;

/// The maximum number of frames that are made from an output.
const MAX_FRAMES: usize = 50;
/// The text before `file:line:column` in a line of rustc's output, of a panic message and of a backtrace.
const MARKS: [&str; 4] = ["--> ", "::: ", "panicked at ", " at "];
/// The line with which Python begins a traceback.
const TRACEBACK: &str = "Traceback (most recent call last):";

/// The beginnings of lines that follow the message of a failure and do not say what failed.
const AFTERWORDS: [&str; 5] =
    ["error: aborting due to", "error: could not compile", "error: process didn't exit", "note: ", "stack backtrace:"];

/// A place that a line of output names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place<'a> {
    /// The bytes of the line that name it.
    pub(crate) range: Range<usize>,
    pub(crate) file: &'a str,
    pub(crate) line: u32,
    pub(crate) column: Option<u32>,
}

/// Finds the place that a line without control sequences names.
pub(crate) fn find_place(line: &str) -> Option<Place<'_>> {
    find_python_place(line).or_else(|| {
        let start = MARKS.iter().find_map(|mark| line.find(mark).map(|at| at + mark.len()))?;
        let text = line[start..].trim_end().trim_end_matches(':');
        let (file, number, column) = location(text)?;
        Some(Place { range: start..start + text.len(), file, line: number, column })
    })
}

fn find_python_place(line: &str) -> Option<Place<'_>> {
    let start = line.find("File \"")? + "File \"".len();
    let (file, after) = line[start..].split_once("\", line ")?;
    let digits = after.bytes().take_while(u8::is_ascii_digit).count();
    let number = after[..digits].parse().ok()?;
    let end = start + file.len() + "\", line ".len() + digits;
    Some(Place { range: start..end, file, line: number, column: None })
}

/// The error and its places in the output of a failed build or start.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    /// The error in one line; empty if none was found.
    pub(crate) message: String,
    /// The places of errors; for Python those of the last traceback, with the innermost first.
    pub(crate) frames: Vec<Frame>,
}

/// Finds the error and its places in an output without control sequences.
pub(crate) fn examine(output: &str, project: &Project) -> Findings {
    if output.lines().any(is_rustc_error) {
        examine_rustc(output, project)
    } else {
        examine_program(output, project)
    }
}

/// Whether a line is the headline of an error of rustc, and not cargo's summary of them.
fn is_rustc_error(line: &str) -> bool {
    let is_error = line.starts_with("error:") || line.starts_with("error[");
    is_error && !AFTERWORDS.iter().any(|word| line.starts_with(word))
}

/// Makes a frame of each error with a place. Warnings do not stop a build, so their places are left out.
fn examine_rustc(output: &str, project: &Project) -> Findings {
    let mut findings = Findings::default();
    let mut headline = None;
    for line in output.lines() {
        if is_rustc_error(line) {
            headline = Some(line);
            if findings.message.is_empty() {
                findings.message = line.to_owned();
            }
        } else if line.starts_with("warning") || line.starts_with("note") {
            headline = None;
        } else if let (Some(error), true) = (headline, line.trim_start().starts_with("--> ")) {
            // Further places of the same error are notes.
            headline = None;
            push_frame(&mut findings.frames, project, find_place(line), error);
        }
    }
    findings
}

/// Examines the output of a program that failed, in Python or in Rust.
fn examine_program(output: &str, project: &Project) -> Findings {
    let (mut message, mut of_python, mut of_rust) = (String::new(), Vec::new(), Vec::new());
    for line in output.lines() {
        if line.trim() == TRACEBACK {
            of_python.clear();
        } else if let Some(place) = find_python_place(line) {
            let function = line.rsplit_once(", in ").map_or("", |(_, name)| name);
            push_frame(&mut of_python, project, Some(place), function);
        } else if !line.contains("--> ") && !line.contains("::: ") {
            push_frame(&mut of_rust, project, find_place(line), "");
            // The command says last what it could not do because of the error.
            let is_summary = line.starts_with("amboss: ") && !message.is_empty();
            let is_afterword = is_summary || AFTERWORDS.iter().any(|word| line.starts_with(word));
            if line.starts_with(|c: char| !c.is_whitespace()) && !is_afterword {
                line.clone_into(&mut message);
            }
        }
    }
    // Python prints the most recent call last.
    of_python.reverse();
    Findings { message, frames: if of_python.is_empty() { of_rust } else { of_python } }
}

fn push_frame(frames: &mut Vec<Frame>, project: &Project, place: Option<Place<'_>>, function: &str) {
    let Some(place) = place else { return };
    let mut frame = Frame::new(project, place.file, place.line, place.column, function);
    // The output may name any file, and only those of the project are the reader's.
    if !frame.is_project {
        frame.source.clear();
    }
    if frames.len() < MAX_FRAMES {
        frames.push(frame);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_found_in_lines_of_compilers_and_tracebacks() {
        let cases = [
            ("  --> src/main.rs:3:5", Some(("src/main.rs:3:5", "src/main.rs", 3, Some(5)))),
            ("   ::: src/a.rs:12:1", Some(("src/a.rs:12:1", "src/a.rs", 12, Some(1)))),
            ("thread 'main' panicked at src/main.rs:3:5:", Some(("src/main.rs:3:5", "src/main.rs", 3, Some(5)))),
            ("             at ./src/main.rs:3:5", Some(("./src/main.rs:3:5", "./src/main.rs", 3, Some(5)))),
            ("  File \"/a b/ä.py\", line 3, in f", Some(("/a b/ä.py\", line 3", "/a b/ä.py", 3, None))),
            ("    File \"x.py\", line 3", Some(("x.py\", line 3", "x.py", 3, None))),
            ("  File \"x.py\", line", None),
            ("look at that: 12", None),
            ("error: no", None),
            ("", None),
        ];
        for (line, expected) in cases {
            let found = find_place(line).map(|it| (&line[it.range.clone()], it.file, it.line, it.column));
            assert_eq!(found, expected, "{line}");
        }
    }

    #[test]
    fn the_message_is_that_of_the_error_and_not_the_summary_of_the_command() {
        let project = Project::new("/");
        let error = "  File \"/a/b.py\", line 3\n    def app(:\n            ^\nSyntaxError: invalid syntax\n";
        let summary = "amboss: 'b:app' can't be imported\n";
        for (output, message) in [
            (format!("{error}{summary}"), "SyntaxError: invalid syntax"),
            (summary.to_owned(), "amboss: 'b:app' can't be imported"),
        ] {
            assert_eq!(examine(&output, &project).message, message);
        }
    }

    #[test]
    fn the_errors_of_rustc_are_frames_and_warnings_are_not() {
        let output = "   Compiling app\nwarning: unused\n --> src/a.rs:1:1\n\nerror[E0308]: mismatched types\n  \
                      --> src/main.rs:3:5\n   |\nnote: defined\n  --> src/b.rs:1:2\n\nerror: expected `;`\n --> src/c.rs:9:1\n\n\
                      error: could not compile `app`\n";
        let findings = examine(output, &Project::new("/p"));
        let found: Vec<_> = findings.frames.iter().map(|frame| (frame.place(), frame.function.as_str())).collect();
        assert_eq!(findings.message, "error[E0308]: mismatched types");
        assert_eq!(
            found,
            [
                ("src/main.rs:3:5".to_owned(), "error[E0308]: mismatched types"),
                ("src/c.rs:9:1".to_owned(), "error: expected `;`")
            ]
        );
    }

    #[test]
    fn the_last_traceback_of_python_is_shown() {
        let output = "Traceback (most recent call last):\n  File \"/p/old.py\", line 1, in <module>\nKeyError: 'a'\n\n\
                      During handling of the above exception, another exception occurred:\n\n\
                      Traceback (most recent call last):\n  File \"/p/app.py\", line 3, in <module>\n    import b\n  \
                      File \"/lib/b.py\", line 7, in f\n    x(\nValueError: no anvil\n";
        let findings = examine(output, &Project::new("/p"));
        let found: Vec<_> = findings.frames.iter().map(|frame| (frame.place(), frame.is_project)).collect();
        assert_eq!(findings.message, "ValueError: no anvil");
        assert_eq!(found, [("/lib/b.py:7".to_owned(), false), ("app.py:3".to_owned(), true)]);
    }

    #[test]
    fn a_panic_at_the_start_is_found_among_warnings() {
        let output = "warning: unused\n --> src/a.rs:1:1\n\nthread 'main' panicked at src/main.rs:3:5:\nno anvil\n\
                      note: run with `RUST_BACKTRACE=1`\nerror: process didn't exit successfully: `app`\n";
        let findings = examine(output, &Project::new("/p"));
        assert_eq!((findings.message.as_str(), findings.frames.len()), ("no anvil", 1));
        assert_eq!(findings.frames[0].place(), "src/main.rs:3:5");
    }

    #[test]
    fn an_output_without_an_error_has_no_findings() {
        let findings = examine("", &Project::current());
        assert!(findings.message.is_empty() && findings.frames.is_empty());
    }
}
