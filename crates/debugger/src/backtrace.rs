//! Parses the printed form of a `std::backtrace::Backtrace`.
//!
//! ```text
//!    3: app::handler
//!              at ./src/main.rs:7:9
//!    4: <F as amboss_core::wsgi::application::Application>::call
//! ```
//!
//! The frames of the panic machinery above the application's, and those of the server and of the runtime below, are left
//! out.

use crate::frame::Frame;
use crate::project::Project;

/// The maximum number of frames of a backtrace. Endless recursion makes far more of them, all alike.
const MAX_FRAMES: usize = 100;

/// The functions between the place of a panic and the panic hook.
const PANIC_MACHINERY: [&str; 12] = [
    "rust_begin_unwind",
    "__rustc::rust_begin_unwind",
    "core::panicking::",
    "std::panicking::begin_panic",
    "std::rt::begin_panic",
    "core::option::unwrap_failed",
    "core::option::expect_failed",
    "core::result::unwrap_failed",
    "core::slice::index::slice_",
    "core::str::slice_error_fail",
    "alloc::alloc::handle_alloc_error",
    "core::cell::panic_",
];
/// The functions that call the application: the first one of them, and all frames below it, are left out.
const CALLERS: [&str; 4] =
    ["amboss_core::server::", "amboss_debugger::", "std::sys::backtrace::__rust_begin_short_backtrace", "__rust_try"];

/// A line pair of a backtrace.
struct Entry<'a> {
    function: &'a str,
    location: Option<(&'a str, u32, Option<u32>)>,
}

/// Parses a backtrace, with the innermost frame first. Text that is not a backtrace has no frames.
pub(crate) fn parse(text: &str, project: &Project) -> Vec<Frame> {
    let entries = entries(text);
    let relevant = &entries[first_relevant(&entries)..];
    let end = relevant.iter().position(|entry| is_caller(entry.function)).unwrap_or(relevant.len());
    // The shim through which the caller has called the application.
    let shims = relevant[..end].iter().rev().take_while(|entry| entry.function.starts_with("core::ops::function::"));
    let end = end - shims.count();
    let frame = |entry: &Entry<'_>| {
        let (file, line, column) = entry.location.unwrap_or(("", 0, None));
        Frame::new(project, file, line, column, entry.function)
    };
    let mut frames: Vec<Frame> = relevant[..end].iter().take(MAX_FRAMES).map(frame).collect();
    mark_own_crates(&mut frames);
    frames
}

/// Whether a function calls the application. `<F as amboss_core::wsgi::application::Application>::call` is a method of
/// the application in other crates, and a shim in core.
fn is_caller(function: &str) -> bool {
    let function = function.trim_start_matches(['<', '&']);
    CALLERS.iter().any(|caller| function.starts_with(caller)) || function.starts_with("F as amboss_core::")
}

/// The index of the first frame below the panic machinery; 0 if there is no panic.
fn first_relevant(entries: &[Entry<'_>]) -> usize {
    let is_machinery = |entry: &Entry<'_>| PANIC_MACHINERY.iter().any(|name| entry.function.starts_with(name));
    let Some(begin) = entries.iter().position(is_machinery) else { return 0 };
    let machinery = entries[begin..].iter().take_while(|entry| is_machinery(entry) || is_std_panic(entry)).count();
    begin + machinery
}

/// Whether the frame is a method of `Option` or `Result` that panics, in a build without inlining.
fn is_std_panic(entry: &Entry<'_>) -> bool {
    let function = entry.function.trim_start_matches('<');
    let is_wrapper = ["core::option::Option<", "core::result::Result<"].iter().any(|name| function.starts_with(name));
    let method = function.rsplit("::").next().unwrap_or_default();
    is_wrapper && ["unwrap", "expect", "unwrap_err", "expect_err"].contains(&method)
}

/// Marks the frames without a place that belong to the same crate as a frame of the project. An optimized build loses
/// the places of some calls.
fn mark_own_crates(frames: &mut [Frame]) {
    let crate_of = |frame: &Frame| {
        let path = frame.function.trim_start_matches(['<', '&']);
        path.split_once("::").map(|(name, _)| name.to_owned())
    };
    let own: Vec<String> = frames.iter().filter(|frame| frame.is_project).filter_map(crate_of).collect();
    for frame in frames.iter_mut().filter(|frame| frame.file.is_empty()) {
        frame.is_project = crate_of(frame).is_some_and(|name| own.contains(&name));
    }
}

fn entries(text: &str) -> Vec<Entry<'_>> {
    let mut entries: Vec<Entry<'_>> = Vec::new();
    for line in text.lines() {
        let trimmed = line.trim_start();
        if let (Some(place), Some(entry)) = (trimmed.strip_prefix("at "), entries.last_mut()) {
            entry.location = entry.location.or_else(|| location(place));
        } else if let Some(function) = function(line) {
            entries.push(Entry { function, location: None });
        }
    }
    entries
}

/// The function of a line `  3: name`, or of a line with spaces instead of the number for a function that was inlined.
fn function(line: &str) -> Option<&str> {
    let trimmed = line.trim_start();
    let indent = line.len() - trimmed.len();
    let digits = trimmed.find(|c: char| !c.is_ascii_digit())?;
    let name = match trimmed[digits..].strip_prefix(": ") {
        Some(name) if digits > 0 && indent > 0 || digits > 3 => name,
        None if digits == 0 && indent == 6 => trimmed,
        _ => return None,
    };
    Some(without_hash(name.trim()))
}

/// Removes the hash of the legacy mangling, `::h` and 16 digits.
fn without_hash(name: &str) -> &str {
    match name.rsplit_once("::h") {
        Some((path, hash)) if hash.len() == 16 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()) => path,
        _ => name,
    }
}

/// Parses `file:line:column` or `file:line`.
pub(crate) fn location(place: &str) -> Option<(&str, u32, Option<u32>)> {
    let place = place.trim().trim_end_matches(':');
    let (before, last) = place.rsplit_once(':')?;
    let last = last.parse().ok()?;
    match before.rsplit_once(':').and_then(|(file, line)| Some((file, line.parse().ok()?))) {
        Some((file, line)) if !file.is_empty() => Some((file, line, Some(last))),
        _ if before.is_empty() || before.starts_with(':') => None,
        _ => Some((before, last, None)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As printed by a program of ours, shortened in the middle of the server.
    const PRINTED: &str = "\
   0: std::backtrace_rs::backtrace::libunwind::trace
             at /rustc/254b59607d4417e9dffbc307138ae5c86280fe4c/library/std/src/../../backtrace/src/backtrace/libunwind.rs:117:9
   1: std::backtrace::Backtrace::create
             at /rustc/254b59607d4417e9dffbc307138ae5c86280fe4c/library/std/src/backtrace.rs:331:13
   2: amboss_core::server::panics::install_hook::{{closure}}::{{closure}}
             at /home/me/amboss/crates/core/src/server/panics.rs:91:66
   3: std::panicking::panic_with_hook
   4: __rustc::rust_begin_unwind
             at /rustc/254b59607d4417e9dffbc307138ae5c86280fe4c/library/std/src/panicking.rs:689:5
   5: core::panicking::panic_fmt
   6: core::option::unwrap_failed
   7: core::option::Option<T>::unwrap
   8: app::inner
             at ./src/main.rs:4:5
      app::outer::hfedcba9876543210
             at ./src/main.rs:9:5
   9: <alloc::vec::Vec<T> as core::iter::Iterator>::for_each
  10: <app::Handler as app::Handle>::handle
  11: app::handler
             at ./src/main.rs:12
      core::ops::function::Fn::call
             at /rustc/59807616e1fa2540724bfbac14d7976d7e4a3860/library/core/src/ops/function.rs:79:5
  12: <F as amboss_core::wsgi::application::Application>::call
             at /home/me/amboss/crates/core/src/wsgi/application.rs:72:9
  13: amboss_core::server::connection::dispatch::call_application::{{closure}}
  14: std::panicking::catch_unwind
  15: main
";

    #[test]
    fn only_the_frames_of_the_application_are_left() {
        let frames = parse(PRINTED, &Project::new("/home/me/app"));
        let found: Vec<(&str, String, bool)> =
            frames.iter().map(|frame| (frame.function.as_str(), frame.place(), frame.is_project)).collect();
        let expected = [
            ("app::inner", "src/main.rs:4:5".to_owned(), true),
            ("app::outer", "src/main.rs:9:5".to_owned(), true),
            ("<alloc::vec::Vec<T> as core::iter::Iterator>::for_each", String::new(), false),
            ("<app::Handler as app::Handle>::handle", String::new(), true),
            ("app::handler", "src/main.rs:12".to_owned(), true),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn text_that_is_not_a_backtrace_has_no_frames() {
        for text in ["", "disabled backtrace", "error: no\n  at the end\n1: x", "at a:1:2", ": ", "\u{fffd}\n\n"] {
            assert!(parse(text, &Project::current()).is_empty(), "{text}");
        }
    }

    #[test]
    fn endless_recursion_is_cut() {
        let text: String = (0..5000).map(|n| format!("{n:4}: app::again\n             at ./a.rs:1:2\n")).collect();
        assert_eq!(parse(&text, &Project::current()).len(), MAX_FRAMES);
    }

    #[test]
    fn locations_are_parsed_from_the_end() {
        let cases = [
            ("src/main.rs:3:5", Some(("src/main.rs", 3, Some(5)))),
            ("src/main.rs:3:5:", Some(("src/main.rs", 3, Some(5)))),
            ("C:\\a\\b.rs:3:5", Some(("C:\\a\\b.rs", 3, Some(5)))),
            ("C:\\a\\b.rs:3", Some(("C:\\a\\b.rs", 3, None))),
            ("a b.rs:3", Some(("a b.rs", 3, None))),
            ("12:30", Some(("12", 30, None))),
            (":3:5", None),
            ("a:99999999999", None),
            ("a", None),
        ];
        for (place, expected) in cases {
            assert_eq!(location(place), expected, "{place}");
        }
    }
}
