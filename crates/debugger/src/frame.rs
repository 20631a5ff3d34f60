//! Frames of a backtrace or traceback, with the source around their lines.

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use crate::project::Project;
use crate::secrets::mask_repr;
use crate::visible::shorten;

/// The number of lines that an excerpt shows before and after the line of the frame: five lines in all.
const LINES_AROUND: u32 = 2;
/// The maximum size of a source file, in bytes. A larger file is generated, and reading it delays the report.
const MAX_FILE: u64 = 4 * 1024 * 1024;
/// The maximum length of a source line, in bytes. Longer lines are found in minified code.
const MAX_LINE: usize = 500;
/// The maximum length of the printed value of a local, in bytes.
const MAX_LOCAL: usize = 2 * 1024;
/// The maximum number of locals of a frame.
const MAX_LOCALS: usize = 100;

/// A line of source code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SourceLine {
    pub(crate) number: u32,
    pub(crate) text: String,
    /// Whether this is the line of the frame.
    pub(crate) is_failing: bool,
}

/// A function call on the way to a failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The absolute path; empty if it is unknown.
    pub(crate) file: String,
    /// The path as it is shown.
    pub(crate) label: String,
    /// The line, from 1; 0 if it is unknown.
    pub(crate) line: u32,
    pub(crate) column: Option<u32>,
    pub(crate) function: String,
    pub(crate) source: Vec<SourceLine>,
    pub(crate) is_project: bool,
    /// Whether the file exists here: those of std, for example, were compiled on another machine.
    pub(crate) is_present: bool,
    pub(crate) locals: Vec<(String, String)>,
}

impl Frame {
    /// Makes a frame from its place, as a backtrace or a traceback names it. Reads the lines around it from the file, if
    /// there is such a file.
    pub fn new(project: &Project, file: &str, line: u32, column: Option<u32>, function: &str) -> Frame {
        // `<frozen importlib>` and `<string>` are no files.
        let is_path = !file.is_empty() && !file.starts_with('<');
        let path = if is_path { project.resolve(file) } else { file.into() };
        Frame {
            label: if is_path { project.label(&path) } else { file.to_owned() },
            is_project: is_path && project.contains(&path),
            is_present: is_path && path.is_file(),
            source: if is_path { excerpt(&path, line) } else { Vec::new() },
            file: path.to_string_lossy().into_owned(),
            line,
            column,
            function: function.to_owned(),
            locals: Vec::new(),
        }
    }

    /// Adds a local variable with its printed value (`repr`). The value of a secret is masked, and a long value is cut.
    #[must_use]
    pub fn with_local(mut self, name: &str, repr: &str) -> Frame {
        if self.locals.len() < MAX_LOCALS {
            self.locals.push((name.to_owned(), mask_repr(name, &shorten(repr, MAX_LOCAL))));
        }
        self
    }

    /// The place as `file:line:column`, as far as it is known.
    pub(crate) fn place(&self) -> String {
        match (self.line, self.column) {
            (0, _) => self.label.clone(),
            (line, None) => format!("{}:{line}", self.label),
            (line, Some(column)) => format!("{}:{line}:{column}", self.label),
        }
    }
}

/// Reads the lines around a line of a file. Empty if the file can't be read or has no such line.
fn excerpt(file: &Path, line: u32) -> Vec<SourceLine> {
    // A named pipe would block the reader.
    let is_readable = fs::metadata(file).is_ok_and(|found| found.is_file() && found.len() <= MAX_FILE);
    let mut bytes = Vec::new();
    let read = |bytes: &mut Vec<u8>| File::open(file)?.take(MAX_FILE).read_to_end(bytes);
    if line == 0 || !is_readable || read(&mut bytes).is_err() {
        return Vec::new();
    }
    let text = String::from_utf8_lossy(&bytes);
    let first = line.saturating_sub(LINES_AROUND).max(1);
    let lines: Vec<SourceLine> = (first..=line.saturating_add(LINES_AROUND))
        .zip(text.lines().skip(first as usize - 1))
        .map(|(number, text)| SourceLine { number, text: shorten(text, MAX_LINE), is_failing: number == line })
        .collect();
    if lines.iter().any(|line| line.is_failing) {
        lines
    } else {
        Vec::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secrets::MASK;
    use amboss_testkit::TempDir;

    #[test]
    fn five_lines_surround_the_failing_one() {
        let folder = TempDir::new("frame");
        folder.write("a.rs", "1\n2\n3\n4\n5\n6\n7\n");
        let project = Project::new(folder.path());
        let cases: [(u32, &[u32]); 6] =
            [(4, &[2, 3, 4, 5, 6]), (1, &[1, 2, 3]), (7, &[5, 6, 7]), (8, &[]), (0, &[]), (u32::MAX, &[])];
        for (line, expected) in cases {
            let frame = Frame::new(&project, "a.rs", line, None, "f");
            let numbers: Vec<u32> = frame.source.iter().map(|line| line.number).collect();
            assert_eq!(numbers, expected, "line {line}");
            assert!(frame.source.iter().all(|found| found.is_failing == (found.number == line)));
            assert!(frame.source.iter().all(|line| line.text == line.number.to_string()));
        }
        let frame = Frame::new(&project, "a.rs", 3, Some(9), "f");
        assert_eq!((frame.place().as_str(), frame.is_project), ("a.rs:3:9", true));
    }

    #[test]
    fn places_that_are_not_files_have_no_source() {
        let folder = TempDir::new("frame-none");
        std::fs::create_dir(folder.join("folder")).unwrap();
        folder.write("latin", &"x".repeat(2 * MAX_LINE));
        let project = Project::new(folder.path());
        for file in ["", "<string>", "folder", "missing.rs", "/dev/zero"] {
            let frame = Frame::new(&project, file, 1, None, "f");
            assert!(frame.source.is_empty(), "{file}");
        }
        assert!(Frame::new(&project, "latin", 1, None, "f").source[0].text.len() < MAX_LINE + 10);
    }

    #[test]
    fn locals_are_masked_and_bounded() {
        let mut frame = Frame::new(&Project::current(), "", 0, None, "f")
            .with_local("password", "'hunter2'")
            .with_local("environ", "{'HTTP_COOKIE': 'hunter2'}")
            .with_local("big", &"x".repeat(3 * MAX_LOCAL));
        assert_eq!(frame.locals[0].1, MASK);
        assert!(!format!("{frame:?}").contains("hunter2"));
        assert!(frame.locals[2].1.len() < MAX_LOCAL + 10);
        for n in 0..200 {
            frame = frame.with_local(&n.to_string(), "1");
        }
        assert_eq!(frame.locals.len(), MAX_LOCALS);
    }
}
