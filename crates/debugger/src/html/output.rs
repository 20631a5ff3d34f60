//! The output of a compiler or a program: its colours, and its places as links.

use std::fmt::Write;
use std::ops::Range;

use super::{attribute, escape};
use crate::ansi::{self, Style};
use crate::output::find_place;
use crate::page::Page;
use crate::project::Project;

/// Writes the section of the output.
pub(super) fn write(html: &mut String, output: &str, project: &Project, page: &Page) {
    html.push_str("<section class=\"output\">\n<h2>Output</h2>\n<pre tabindex=\"0\">");
    for line in lines(output.trim_end()) {
        write_line(html, &line, project, page);
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
fn write_line(html: &mut String, line: &[(&str, Style)], project: &Project, page: &Page) {
    let text: String = line.iter().map(|(piece, _)| *piece).collect();
    let link = find_place(&text).and_then(|place| {
        // Text that only looks like a place names no file.
        let file = Some(project.resolve(place.file)).filter(|file| file.is_file())?;
        let url = page.editor.link(&file.to_string_lossy(), place.line, place.column)?;
        Some((place.range.clone(), url))
    });
    let Some((range, url)) = link else {
        write_range(html, line, 0..text.len());
        return;
    };
    write_range(html, line, 0..range.start);
    let _ = write!(html, "<a href=\"{}\" title=\"Open in the editor\">", attribute(&url));
    write_range(html, line, range.clone());
    html.push_str("</a>");
    write_range(html, line, range.end..text.len());
}

/// Writes these bytes of a line.
fn write_range(html: &mut String, line: &[(&str, Style)], range: Range<usize>) {
    let mut at = 0;
    for (piece, style) in line {
        let end = at + piece.len();
        let (from, to) = (range.start.clamp(at, end), range.end.clamp(at, end));
        if from < to {
            write_piece(html, &piece[from - at..to - at], *style);
        }
        at = end;
    }
}

fn write_piece(html: &mut String, text: &str, style: Style) {
    if style == Style::default() {
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
    use amboss_testkit::TempDir;

    fn rendered(output: &str, project: &Project) -> String {
        let mut html = String::new();
        write(&mut html, output, project, &Page::default());
        html.split_once("<pre tabindex=\"0\">").unwrap().1.split_once("\n</pre>").unwrap().0.to_owned()
    }

    #[test]
    fn colours_are_kept_and_places_are_links() {
        let folder = TempDir::new("output");
        folder.write("a.rs", "");
        let project = Project::new(folder.path());
        let link = |column: u32| {
            let file = folder.join("a.rs");
            format!("<a href=\"vscode://file{}:3:{column}\" title=\"Open in the editor\">", file.display())
        };
        let cases = [
            ("\x1b[1;31merror\x1b[0m: <i32>\r\n", "<span class=\"b c1\">error</span>: &lt;i32&gt;".to_owned()),
            ("\x1b[94m--> \x1b[0ma.rs:3:5", format!("<span class=\"c12\">--&gt; </span>{}a.rs:3:5</a>", link(5))),
            (
                "File \x1b[35m\"a.rs\"\x1b[0m, line \x1b[35m3\x1b[0m, in f",
                format!(
                    "File <span class=\"c5\">\"</span>{}<span class=\"c5\">a.rs\"</span>, line \
                     <span class=\"c5\">3</span></a>, in f",
                    link(1)
                ),
            ),
            (" --> missing.rs:1:1", " --&gt; missing.rs:1:1".to_owned()),
            ("a\n\n  b", "a\n\n  b".to_owned()),
        ];
        for (output, expected) in cases {
            assert_eq!(rendered(output, &project), expected, "{output:?}");
        }
    }
}
