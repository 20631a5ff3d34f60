//! Links that open a file in an editor.

use percent_encoding::{utf8_percent_encode, AsciiSet, NON_ALPHANUMERIC};

/// The variable that names the editor.
const VARIABLE: &str = "AMBOSS_EDITOR";

/// Everything but the unreserved characters of RFC 3986 §2.3 and the slash.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

/// The editors that are known by name. `{file}` begins with a slash.
const KNOWN: [(&str, &str); 14] = [
    ("vscode", "vscode://file{file}:{line}:{column}"),
    ("code", "vscode://file{file}:{line}:{column}"),
    ("vscode-insiders", "vscode-insiders://file{file}:{line}:{column}"),
    ("vscodium", "vscodium://file{file}:{line}:{column}"),
    ("cursor", "cursor://file{file}:{line}:{column}"),
    ("windsurf", "windsurf://file{file}:{line}:{column}"),
    ("zed", "zed://file{file}:{line}:{column}"),
    ("idea", "idea://open?file={file}&line={line}&column={column}"),
    ("pycharm", "pycharm://open?file={file}&line={line}&column={column}"),
    ("sublime", "subl://open?url=file://{file}&line={line}&column={column}"),
    ("textmate", "txmt://open?url=file://{file}&line={line}&column={column}"),
    ("macvim", "mvim://open?url=file://{file}&line={line}&column={column}"),
    ("emacs", "emacs://open?url=file://{file}&line={line}&column={column}"),
    ("nova", "nova://open?path={file}&line={line}&column={column}"),
];

/// Schemes that a browser runs or shows instead of passing them to another program.
const REFUSED_SCHEMES: [&str; 6] = ["javascript", "data", "vbscript", "blob", "view-source", "about"];

/// The editor that opens the files of a report: a template of its URLs. The default is VS Code.
///
/// ```
/// use amboss_debugger::Editor;
/// let link = |name: &str| Editor::new(name).unwrap().link("/home/me/my app/main.rs", 3, None);
/// assert_eq!(link("zed").unwrap(), "zed://file/home/me/my%20app/main.rs:3:1");
/// assert_eq!(link("my-editor://{file}#{line}").unwrap(), "my-editor:///home/me/my%20app/main.rs#3");
/// assert_eq!(link("none"), None);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Editor {
    /// The template; `None` for pages without links.
    template: Option<String>,
}

impl Editor {
    /// Makes an editor from a name or a template.
    ///
    /// Names are `vscode`, `vscode-insiders`, `vscodium`, `cursor`, `windsurf`, `zed`, `idea`, `pycharm`, `sublime`,
    /// `textmate`, `macvim`, `emacs`, `nova`, and `none` for pages without links. A template is a URL with `{file}`, and
    /// usually with `{line}` and `{column}`. Returns `None` for everything else, and for URLs that a browser would run,
    /// such as `javascript:`.
    pub fn new(editor: &str) -> Option<Editor> {
        let editor = editor.trim();
        if editor.eq_ignore_ascii_case("none") {
            return Some(Editor { template: None });
        }
        if let Some((_, template)) = KNOWN.iter().find(|(name, _)| name.eq_ignore_ascii_case(editor)) {
            return Some(Editor { template: Some((*template).to_owned()) });
        }
        let (scheme, _) = editor.split_once(':')?;
        let is_scheme = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
        let is_refused = REFUSED_SCHEMES.iter().any(|refused| scheme.eq_ignore_ascii_case(refused));
        if !is_scheme || is_refused || !editor.contains("{file}") || editor.contains(char::is_control) {
            return None;
        }
        // `vscode://file/{file}`, as templates are often written, has the slash of the path already.
        let template = match editor.split_once("/{file}") {
            Some((before, after)) if !before.ends_with(['/', ':']) => format!("{before}{{file}}{after}"),
            _ => editor.to_owned(),
        };
        Some(Editor { template: Some(template) })
    }

    /// Makes the editor that the variable `AMBOSS_EDITOR` names; the default if it is not set or can't be used.
    pub fn from_env() -> Editor {
        std::env::var(VARIABLE).ok().and_then(|editor| Editor::new(&editor)).unwrap_or_default()
    }

    /// The URL that opens this file, an absolute path, at a line and a column; both count from 1. `None` if there are no
    /// links, or the path is not absolute.
    pub fn link(&self, file: &str, line: u32, column: Option<u32>) -> Option<String> {
        let template = self.template.as_deref()?;
        let has_drive = file.as_bytes().get(1) == Some(&b':');
        if !file.starts_with('/') && !has_drive {
            return None;
        }
        let path = if has_drive {
            // `C:\app` is /C:/app in a URL (RFC 8089 appendix E.2).
            let (drive, rest) = file.split_at(2);
            format!("/{drive}{}", utf8_percent_encode(&rest.replace('\\', "/"), ENCODED))
        } else {
            utf8_percent_encode(file, ENCODED).to_string()
        };
        let column = column.unwrap_or(1).to_string();
        // The path is last: it may contain what looks like a placeholder, before it is encoded.
        Some(template.replace("{line}", &line.to_string()).replace("{column}", &column).replace("{file}", &path))
    }
}

impl Default for Editor {
    fn default() -> Editor {
        Editor { template: Some(KNOWN[0].1.to_owned()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_templates_make_links() {
        let cases = [
            ("vscode", "/a/b.rs", "vscode://file/a/b.rs:3:7"),
            ("IDEA", "/a/b.rs", "idea://open?file=/a/b.rs&line=3&column=7"),
            ("sublime", "/a/b.rs", "subl://open?url=file:///a/b.rs&line=3&column=7"),
            ("vscode://file/{file}:{line}:{column}", "/a/b.rs", "vscode://file/a/b.rs:3:7"),
            ("x://open?url=file://{file}&l={line}", "/a", "x://open?url=file:///a&l=3"),
            ("vscode", "C:\\my app\\b.rs", "vscode://file/C:/my%20app/b.rs:3:7"),
            (
                "vscode",
                "/a&b=\"'<>?#%{line}/ü:9",
                "vscode://file/a%26b%3D%22%27%3C%3E%3F%23%25%7Bline%7D/%C3%BC%3A9:3:7",
            ),
        ];
        for (editor, file, link) in cases {
            assert_eq!(Editor::new(editor).unwrap().link(file, 3, Some(7)).as_deref(), Some(link), "{editor}: {file}");
        }
        assert_eq!(Editor::default(), Editor::new("vscode").unwrap());
        assert_eq!(Editor::default().link("src/main.rs", 1, None), None, "an editor knows no relative paths");
        for (name, template) in KNOWN {
            assert!(Editor::new(template).is_some(), "{name}");
        }
    }

    #[test]
    fn templates_that_can_not_open_a_file_are_refused() {
        for editor in [
            "",
            "vim",
            "x://open",
            "{file}",
            "javascript:alert('{file}')",
            "JavaScript:{file}",
            "data:text/html,{file}",
            "java\tscript:{file}",
            "x://{file}\n",
            " :{file}",
        ] {
            let refused = Editor::new(editor).is_none() || editor.ends_with('\n');
            assert!(refused, "{editor:?}");
        }
        assert_eq!(Editor::new("none").unwrap().link("/a", 1, None), None);
    }
}
