//! The request during which a failure happened, with its secrets masked.

use amboss_core::Environ;
use percent_encoding::percent_decode_str;

use crate::secrets::{mask_url, mask_value};
use crate::visible::shorten;

/// The maximum length of a value, in bytes.
const MAX_VALUE: usize = 4 * 1024;

/// Fields that curl adds without being told, or that belong to the connection or to the body, which is not part of a report.
const CURL_OMITS: [&str; 9] = [
    "accept-encoding",
    "connection",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "te",
    "transfer-encoding",
    "upgrade",
];

/// A request as a report shows it. The values of secrets are masked when the value is made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestInfo {
    pub(crate) method: String,
    /// The whole URL, with the query as it was sent.
    pub(crate) url: String,
    /// The path, percent-decoded.
    pub(crate) path: String,
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) environ: Vec<(String, String)>,
}

impl RequestInfo {
    /// Makes a request from its method, its URL, its header fields and its environ.
    pub fn new<N: AsRef<str>, V: AsRef<str>>(
        method: &str,
        url: &str,
        fields: impl IntoIterator<Item = (N, V)>,
        environ: impl IntoIterator<Item = (N, V)>,
    ) -> RequestInfo {
        let masked = |(name, value): (N, V)| {
            let (name, value) = (name.as_ref(), value.as_ref());
            (name.to_owned(), mask_value(name, &shorten(value, MAX_VALUE)))
        };
        let after_scheme = url.split_once("://").map_or(url, |(_, rest)| rest);
        let path = after_scheme.find('/').map_or("", |at| &after_scheme[at..]);
        let path = path.split(['?', '#']).next().unwrap_or_default();
        RequestInfo {
            method: method.to_owned(),
            url: mask_url(&shorten(url, MAX_VALUE)),
            path: percent_decode_str(&shorten(path, MAX_VALUE)).decode_utf8_lossy().into_owned(),
            fields: fields.into_iter().map(masked).collect(),
            environ: environ.into_iter().map(masked).collect(),
        }
    }

    /// Makes a request from its environ. The fields are as the client has sent them, and the environ includes the changes
    /// of middleware.
    pub fn from_environ(environ: &Environ<'_>) -> RequestInfo {
        let head = environ.head();
        let target = String::from_utf8_lossy(head.target());
        let url = if target.starts_with('/') {
            let server = || format!("{}:{}", environ.text("SERVER_NAME"), environ.text("SERVER_PORT"));
            let host = environ.get("HTTP_HOST").map_or_else(server, |host| host.to_string_lossy().into_owned());
            format!("{}://{host}{target}", environ.text("wsgi.url_scheme"))
        } else {
            target.into_owned()
        };
        let lossy = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let fields = head.fields().map(|field| (lossy(field.name), lossy(field.value)));
        let mut keys: Vec<(String, String)> =
            environ.iter().map(|(key, value)| (key.into_owned(), lossy(value.as_bytes()))).collect();
        keys.sort();
        RequestInfo::new(&environ.method().to_string_lossy(), &url, fields, keys)
    }

    /// The parameters of the query, decoded. Secrets are masked.
    pub(crate) fn query(&self) -> Vec<(String, String)> {
        let Some((_, query)) = self.url.split_once('?') else { return Vec::new() };
        let decode = |text: &str| percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned();
        let pairs = query.split('&').filter(|pair| !pair.is_empty());
        pairs.map(|pair| pair.split_once('=').unwrap_or((pair, ""))).map(|(k, v)| (decode(k), decode(v))).collect()
    }

    /// The command line of curl that repeats the request, without its body. Masked values have to be filled in.
    pub(crate) fn curl(&self) -> String {
        // No globbing: brackets and braces of the URL are meant as they are.
        let mut command = "curl --globoff --path-as-is".to_owned();
        match &*self.method {
            "GET" => {}
            "HEAD" => command.push_str(" --head"),
            method => command.push_str(&format!(" --request {}", quote(method))),
        }
        for (name, value) in &self.fields {
            if CURL_OMITS.iter().any(|omitted| omitted.eq_ignore_ascii_case(name)) {
                continue;
            }
            // An empty value is written with a semicolon; with a colon, curl removes the field.
            let field = if value.is_empty() { format!("{name};") } else { format!("{name}: {value}") };
            command.push_str(&format!(" \\\n  --header {}", quote(&field)));
        }
        let has_body = |(name, value): &(String, String)| {
            name.eq_ignore_ascii_case("transfer-encoding")
                || name.eq_ignore_ascii_case("content-length") && value != "0"
        };
        if self.fields.iter().any(has_body) {
            command.push_str(" \\\n  --data-binary @body");
        }
        command.push_str(&format!(" \\\n  --url {}", quote(&self.url)));
        command
    }
}

/// Quotes a word for a POSIX shell (XCU 2.2.2). Control characters, which a terminal would obey when the command is
/// pasted, are left out.
fn quote(word: &str) -> String {
    let word: String = word.chars().filter(|c| !c.is_control()).collect();
    format!("'{}'", word.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(method: &str, url: &str, fields: &[(&str, &str)]) -> RequestInfo {
        RequestInfo::new(method, url, fields.iter().copied(), [("HTTP_COOKIE", "hunter2"), ("PATH_INFO", "/a")])
    }

    #[test]
    fn no_secret_is_kept() {
        let fields = [("Cookie", "hunter2"), ("Authorization", "hunter2"), ("Referer", "http://a/?token=hunter2")];
        let request = request("GET", "http://localhost/a%20b?password=hunter2&q=1+2%263", &fields);
        assert!(!format!("{request:?}{}{:?}", request.curl(), request.query()).contains("hunter2"));
        assert_eq!(
            (request.path.as_str(), request.url.as_str()),
            ("/a b", "http://localhost/a%20b?password=••••&q=1+2%263")
        );
        assert_eq!(request.query()[1], ("q".to_owned(), "1 2&3".to_owned()));
    }

    #[test]
    fn curl_repeats_the_request() {
        let fields =
            [("Host", "localhost"), ("X-It's", "a"), ("Cookie", "x"), ("X-Empty", ""), ("Content-Length", "3")];
        let command = request("PUT", "http://localhost/'$(id)`[1]?a=1", &fields).curl();
        let expected = "curl --globoff --path-as-is --request 'PUT' \\\n  --header 'X-It'\\''s: a' \\\n  \
                        --header 'Cookie: ••••' \\\n  --header 'X-Empty;' \\\n  --data-binary @body \\\n  \
                        --url 'http://localhost/'\\''$(id)`[1]?a=1'";
        assert_eq!(command, expected);
        assert!(request("HEAD", "http://a/", &[]).curl().contains("--head"));
    }

    #[cfg(unix)]
    #[test]
    fn a_shell_reads_each_argument_as_it_was() {
        let hostile = ["'; touch /tmp/no; '", "$(id)", "`id`", "a\\", "\"", "!!", "a b", "*", "", "-x", "é'é"];
        for word in hostile {
            let script = format!("printf %s {}", quote(word));
            let output = amboss_testkit::run("sh", &["-c", &script], b"").unwrap();
            assert_eq!(output.text(), word);
        }
        assert_eq!(quote("a\r\nb\x1b"), "'ab'");
    }

    #[test]
    fn long_values_are_cut() {
        let long = "x".repeat(3 * MAX_VALUE);
        let request = request("GET", &format!("http://a/{long}"), &[("X", &long)]);
        assert!(request.url.len() < MAX_VALUE + 20 && request.fields[0].1.len() < MAX_VALUE + 20);
    }
}
