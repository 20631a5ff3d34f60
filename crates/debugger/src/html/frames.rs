//! Frames: those of the project open, and the others folded in groups.

use std::fmt::Write;

use super::{attribute, escape};
use crate::frame::{Frame, SourceLine};
use crate::page::Page;

/// Writes the frames of a cause.
pub(super) fn write(html: &mut String, frames: &[Frame], page: &Page) {
    // The locals of the innermost frame of the project are open as well: they show most often what is wrong.
    let with_locals = frames.iter().position(|frame| frame.is_project);
    let mut index = 0;
    for group in frames.chunk_by(|a, b| !a.is_project && !b.is_project) {
        if group[0].is_project {
            write_frame(html, &group[0], page, with_locals == Some(index));
        } else {
            let s = if group.len() == 1 { "" } else { "s" };
            let _ = writeln!(html, "<details class=\"library\"><summary>{} library frame{s}</summary>", group.len());
            for frame in group {
                write_frame(html, frame, page, false);
            }
            html.push_str("</details>\n");
        }
        index += group.len();
    }
}

fn write_frame(html: &mut String, frame: &Frame, page: &Page, open_locals: bool) {
    let class = if frame.is_project { "frame project" } else { "frame" };
    let can_unfold = !frame.source.is_empty() || !frame.locals.is_empty();
    if can_unfold {
        let open = if frame.is_project { " open" } else { "" };
        let _ = write!(html, "<details class=\"{class}\"{open}><summary>");
    } else {
        let _ = write!(html, "<div class=\"{class}\"><p class=\"summary\">");
    }
    if !frame.function.is_empty() {
        let _ = write!(html, "<span class=\"function\">{}</span> ", escape(&frame.function));
    }
    write_place(html, frame, page);
    if !can_unfold {
        html.push_str("</p></div>\n");
        return;
    }
    html.push_str("</summary>\n");
    if !frame.source.is_empty() {
        html.push_str("<pre class=\"source\"><code>");
        frame.source.iter().for_each(|line| write_line(html, line, frame.column));
        html.push_str("</code></pre>\n");
    }
    if !frame.locals.is_empty() {
        let open = if open_locals { " open" } else { "" };
        let _ = writeln!(html, "<details class=\"fold locals\"{open}><summary>Locals</summary>");
        write_pairs(html, &frame.locals);
        html.push_str("</details>\n");
    }
    html.push_str("</details>\n");
}

/// Writes the place of a frame, as a link to the editor if there is one.
pub(super) fn write_place(html: &mut String, frame: &Frame, page: &Page) {
    let place = frame.place();
    if place.is_empty() {
        return;
    }
    // Between the parts of a path, and nowhere else, a line may be broken.
    let shown = escape(&place).replace('/', "/<wbr>");
    let link = page.editor.link(&frame.file, frame.line, frame.column).filter(|_| frame.is_present && frame.line > 0);
    let _ = match link {
        Some(link) => {
            write!(html, "<a class=\"place\" href=\"{}\" title=\"Open in the editor\">{shown}</a>", attribute(&link))
        }
        None => write!(html, "<span class=\"place\">{shown}</span>"),
    };
}

fn write_line(html: &mut String, line: &SourceLine, column: Option<u32>) {
    let (element, text) =
        if line.is_failing { ("mark", mark_column(&line.text, column)) } else { ("span", escape(&line.text)) };
    let _ = writeln!(html, "<{element} class=\"line\"><span class=\"number\">{}</span>{text}</{element}>", line.number);
}

/// Underlines the name, or the one character, at a column, which counts characters from 1.
fn mark_column(text: &str, column: Option<u32>) -> String {
    let start = column.and_then(|column| text.char_indices().nth((column as usize).checked_sub(1)?));
    let Some((start, _)) = start else { return escape(text) };
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    let name = text[start..].find(|c| !is_name(c)).unwrap_or(text.len() - start);
    let length = if name > 0 { name } else { text[start..].chars().next().map_or(0, char::len_utf8) };
    let (name, after) = text[start..].split_at(length);
    format!("{}<u>{}</u>{}", escape(&text[..start]), escape(name), escape(after))
}

/// Writes names with their values.
pub(super) fn write_pairs(html: &mut String, pairs: &[(String, String)]) {
    html.push_str("<dl class=\"pairs\">\n");
    for (name, value) in pairs {
        let _ = writeln!(html, "<div><dt>{}</dt><dd>{}</dd></div>", escape(name), escape(value));
    }
    html.push_str("</dl>\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_at_the_column_is_underlined() {
        let cases = [
            ("    x.unwrap();", Some(7), "    x.<u>unwrap</u>();"),
            ("ä<b", Some(2), "ä<u>&lt;</u>b"),
            ("ab", Some(1), "<u>ab</u>"),
            ("ab", Some(3), "ab"),
            ("ab", Some(0), "ab"),
            ("ab", None, "ab"),
        ];
        for (text, column, expected) in cases {
            assert_eq!(mark_column(text, column), expected, "{text} {column:?}");
        }
    }
}
