//! The output of a compiler or a program: its colours, and its places as links.

use std::fmt::Write;

use super::{attribute, escape};
use crate::ansi::{self, Style};
use crate::output::find_place;
use crate::page::Page;
use crate::report::FailureReport;

/// Writes the section of the output.
pub(super) fn write(html: &mut String, output: &str, report: &FailureReport, page: &Page) {
    html.push_str("<section class=\"output\">\n<h2>Output</h2>\n<pre tabindex=\"0\">");
    for line in lines(output.trim_end()) {
        write_line(html, &line, report, page);
        html.push('\n');
    }
    html.push_str("</pre>\n</section>\n");
}

/// The pieces of each line with their styles.
fn lines(output: &str) -> Vec<Vec<(&str, Style)>> {
    let mut lines = vec![Vec::new()];
    for (piece, style) in ansi::pieces(output) {
        for (index, text) in piece.split('\n').enumerate() {
            if index > 0 {
                lines.push(Vec::new());
            }
            if let (false, Some(line)) = (text.is_empty(), lines.last_mut()) {
                line.push((text, style));
            }
        }
    }
    lines
}

/// Writes a line. A place in it may consist of several pieces: Python colours the name of the file and the number.
fn write_line(html: &mut String, line: &[(&str, Style)], report: &FailureReport, page: &Page) {
    let text: String = line.iter().map(|(piece, _)| *piece).collect();
    let link = find_place(&text).and_then(|place| {
        // The frames of the report know the absolute paths.
        let frame = report.causes.iter().flat_map(|cause| &cause.frames).find(|frame| {
            let is_same_file = frame.label == place.file
                || frame.file == place.file
                || frame.file.ends_with(&format!("/{}", place.file));
            is_same_file && frame.line == place.line
        });
        let file = frame.map_or(place.file, |frame| &frame.file);
        Some((place.range.clone(), page.editor.link(file, place.line, place.column)?))
    });
    let Some((range, url)) = link else {
        line.iter().for_each(|(piece, style)| write_piece(html, piece, *style));
        return;
    };
    let mut at = 0;
    for (piece, style) in line {
        // The parts of the piece before, in and after the link.
        let (start, end) = (range.start.clamp(at, at + piece.len()) - at, range.end.clamp(at, at + piece.len()) - at);
        write_piece(html, &piece[..start], *style);
        if start < end {
            let _ = write!(html, "<a href=\"{}\" title=\"Open in the editor\">", attribute(&url));
            write_piece(html, &piece[start..end], *style);
            html.push_str("</a>");
        }
        write_piece(html, &piece[end..], *style);
        at += piece.len();
    }
}

fn write_piece(html: &mut String, text: &str, style: Style) {
    if text.is_empty() || style == Style::default() {
        html.push_str(&escape(text));
        return;
    }
    let mut classes = Vec::new();
    classes.extend(style.bold.then(|| "b".to_owned()));
    classes.extend(style.color.map(|color| format!("c{color}")));
    classes.extend(style.background.map(|color| format!("k{color}")));
    let _ = write!(html, "<span class=\"{}\">{}</span>", classes.join(" "), escape(text));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::project::Project;

    fn rendered(output: &str) -> String {
        let report = FailureReport::from_output("", output.as_bytes(), &Project::new("/p"));
        let mut html = String::new();
        write(&mut html, output, &report, &Page::default());
        html.split_once("<pre tabindex=\"0\">").unwrap().1.split_once("\n</pre>").unwrap().0.to_owned()
    }

    #[test]
    fn colours_are_kept_and_places_are_links() {
        let title = "title=\"Open in the editor\"";
        let cases = [
            ("\x1b[1;31merror\x1b[0m: <i32>\r\n", "<span class=\"b c1\">error</span>: &lt;i32&gt;".to_owned()),
            (
                "error: no\n\x1b[94m--> \x1b[0msrc/a.rs:3:5",
                format!("error: no\n<span class=\"c12\">--&gt; </span><a href=\"vscode://file/p/src/a.rs:3:5\" {title}>src/a.rs:3:5</a>"),
            ),
            (
                "File \x1b[35m\"/p/a.py\"\x1b[0m, line \x1b[35m3\x1b[0m, in f",
                format!(
                    "File <span class=\"c5\">\"</span><a href=\"vscode://file/p/a.py:3:1\" {title}><span class=\"c5\">/p/a.py</span></a>\
                     <a href=\"vscode://file/p/a.py:3:1\" {title}><span class=\"c5\">\"</span></a>"
                ),
            ),
            ("warning: x\n --> src/b.rs:1:1", "warning: x\n --&gt; src/b.rs:1:1".to_owned()),
            ("a\n\n  b", "a\n\n  b".to_owned()),
        ];
        for (output, expected) in cases {
            let html = rendered(output);
            let expected = expected.split("</a><a").next().unwrap();
            assert!(html.starts_with(expected), "{output:?}: {html}");
        }
    }
}
