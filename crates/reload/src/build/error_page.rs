//! The page that the browser shows while the program cannot be built or does not start: the output of the compiler or
//! the program, as in a terminal.

use std::fmt::Write;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use html_escape::encode_quoted_attribute;

use super::ansi;

/// The error page as HTML in UTF-8, to be sent with status 503 and `Cache-Control: no-store`. It loads no other
/// resources, and is dark or light as the browser prefers. It keeps the 16 colours and bold of the terminal output, and
/// drops all other control sequences.
///
/// With `poll` the page requests itself at this interval, and reloads when the response has another status or another
/// output. Without it the page contains no script.
///
/// ```
/// let page = amboss_reload::error_page("It can't be built", "\x1b[31merror\x1b[0m: <i32>", None);
/// assert!(page.contains("<span class=\"c1\">error</span>: &lt;i32&gt;"));
/// ```
pub fn error_page(title: &str, output: &str, poll: Option<Duration>) -> String {
    let mut hasher = DefaultHasher::new();
    (title, output).hash(&mut hasher);
    let output_id = hasher.finish();
    let title = encode_quoted_attribute(title);
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\" data-output=\"{output_id:016x}\">\n<head>\n<meta charset=\"utf-8\">\n<title>{title}</title>\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n<meta name=\"color-scheme\" content=\"light dark\">\n\
         <style>\n{STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n<pre>"
    );
    for (text, style) in ansi::pieces(output) {
        let mut classes = Vec::new();
        classes.extend(style.bold.then(|| "b".to_string()));
        classes.extend(style.color.map(|color| format!("c{color}")));
        classes.extend(style.background.map(|color| format!("k{color}")));
        if classes.is_empty() {
            page.push_str(&encode_quoted_attribute(text));
        } else {
            let _ = write!(page, "<span class=\"{}\">{}</span>", classes.join(" "), encode_quoted_attribute(text));
        }
    }
    page.push_str("</pre>\n");
    if let Some(poll) = poll {
        page.push_str("<p>This page reloads automatically.</p>\n<script>\n");
        let _ = write!(page, "const interval = {};\n{POLL}</script>\n", poll.as_millis().max(1));
    }
    page.push_str("</body>\n</html>\n");
    page
}

/// The same content as plain text, for clients that do not accept HTML.
pub fn error_text(title: &str, output: &str) -> String {
    format!("{title}\n\n{}\n", ansi::strip(output).trim_end())
}

/// The script that polls. Errors of `fetch` are ignored: no server listens until it has started.
const POLL: &str = "\
const shown = `data-output=\"${document.documentElement.dataset.output}\"`;
async function check() {
  try {
    const response = await fetch(location.href, { cache: 'no-store', headers: { Accept: 'text/html' } });
    if (response.status !== 503 || !(await response.text()).includes(shown)) return location.reload();
  } catch {}
  setTimeout(check, interval);
}
setTimeout(check, interval);
";

const STYLE: &str = "\
:root { --back: #fdfdfc; --text: #24292f; --faint: #6e7781; --edge: #d33a2c;
  --0: #24292f; --1: #b3261e; --2: #1a7f37; --3: #8a6100; --4: #0b57c4; --5: #8250df; --6: #0f7285; --7: #6e7781;
  --8: #57606a; --9: #cf222e; --10: #1f883d; --11: #9a6700; --12: #0969da; --13: #a03fd6; --14: #107c93; --15: #4d555e; }
@media (prefers-color-scheme: dark) {
  :root { --back: #16181c; --text: #dfe3e8; --faint: #8b949e; --edge: #ff6b5e;
    --0: #6e7681; --1: #ff7b72; --2: #56d364; --3: #e3b341; --4: #79b8ff; --5: #d2a8ff; --6: #56d4dd; --7: #c9d1d9;
    --8: #8b949e; --9: #ff8f87; --10: #6fdd8b; --11: #f0c75e; --12: #8cc2ff; --13: #e2c5ff; --14: #76e3ea; --15: #ffffff; }
}
body { margin: 0; padding: 2rem; background: var(--back); color: var(--text); font: 1rem/1.5 system-ui, sans-serif; }
h1 { margin: 0 0 1.5rem; padding-left: .75rem; border-left: .3rem solid var(--edge); font-size: 1.25rem; }
pre { margin: 0; overflow-x: auto; font: .875rem/1.45 ui-monospace, 'SF Mono', Menlo, Consolas, monospace; tab-size: 4; }
p { color: var(--faint); font-size: .875rem; }
.b { font-weight: 700; }
.c0 { color: var(--0); } .c1 { color: var(--1); } .c2 { color: var(--2); } .c3 { color: var(--3); }
.c4 { color: var(--4); } .c5 { color: var(--5); } .c6 { color: var(--6); } .c7 { color: var(--7); }
.c8 { color: var(--8); } .c9 { color: var(--9); } .c10 { color: var(--10); } .c11 { color: var(--11); }
.c12 { color: var(--12); } .c13 { color: var(--13); } .c14 { color: var(--14); } .c15 { color: var(--15); }
.k0 { background: var(--0); } .k1 { background: var(--1); } .k2 { background: var(--2); } .k3 { background: var(--3); }
.k4 { background: var(--4); } .k5 { background: var(--5); } .k6 { background: var(--6); } .k7 { background: var(--7); }
.k8 { background: var(--8); } .k9 { background: var(--9); } .k10 { background: var(--10); } .k11 { background: var(--11); }
.k12 { background: var(--12); } .k13 { background: var(--13); } .k14 { background: var(--14); } .k15 { background: var(--15); }
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_escaped_and_nothing_is_loaded() {
        let page = error_page("<b>&", "</pre><script>alert('\"')</script>\x1b[1;31m<x>\x1b[0m", None);
        assert!(page.contains("<title>&lt;b&gt;&amp;</title>"));
        assert!(page.contains("&lt;/pre&gt;&lt;script&gt;alert(&#x27;&quot;&#x27;)&lt;/script&gt;"));
        assert!(page.contains("<span class=\"b c1\">&lt;x&gt;</span>"));
        for outside in ["<script", "src=", "href=", "url(", "@import", "http"] {
            assert!(!page.contains(outside), "{outside}");
        }
    }

    #[test]
    fn the_page_polls_only_if_asked_to() {
        assert!(error_page("", "", Some(Duration::from_millis(700))).contains("const interval = 700;"));
        assert!(!error_page("", "", None).contains("interval"));
    }

    #[test]
    fn the_text_has_no_control_sequences() {
        assert_eq!(
            error_text("It can't be built", "\x1b[31merror\x1b[0m: <i32>\n\n"),
            "It can't be built\n\nerror: <i32>\n"
        );
    }
}
