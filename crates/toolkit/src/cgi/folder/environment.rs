//! The environment of a script: the meta-variables of RFC 3875 §4.1, and nothing that was not asked for.
//!
//! `PATH_TRANSLATED` is left out: it maps `PATH_INFO` to a file below a document root, and there is none. The query is
//! never split into command-line arguments (§4.4): that let clients pass options to interpreters (CVE-2012-1823).

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use amboss_core::http::is_hop_by_hop;
use amboss_core::Environ;

use super::lookup::FoundScript;
use super::options::CgiOptions;

/// The variables that are taken from the environ if they are set there. `REQUEST_URI` is not in RFC 3875, but all
/// servers have it.
const FROM_ENVIRON: [&str; 13] = [
    "AUTH_TYPE",
    "REMOTE_ADDR",
    "REMOTE_HOST",
    "REMOTE_IDENT",
    "REMOTE_PORT",
    "REMOTE_USER",
    "REQUEST_METHOD",
    "REQUEST_URI",
    "SERVER_NAME",
    "SERVER_PORT",
    "SERVER_PROTOCOL",
    "SERVER_SOFTWARE",
    "QUERY_STRING",
];

/// Builds the environment. `script_name` is the path of the script for the client, and `body_length` the length of the
/// request body if there is one.
pub(super) fn script_variables(
    environ: &Environ<'_>,
    script: &FoundScript,
    script_name: &[u8],
    body_length: Option<u64>,
    options: &CgiOptions,
) -> Vec<(OsString, OsString)> {
    let mut variables = Vec::new();
    let mut set = |name: &str, value: &[u8]| {
        // The system can't pass NUL.
        if !value.contains(&0) {
            variables.push((OsString::from(name), OsString::from_vec(value.to_vec())));
        }
    };
    for name in &options.inherit {
        if let Some(value) = std::env::var_os(name) {
            set(name, &value.into_vec());
        }
    }
    for (name, value) in &options.variables {
        set(name, value.as_bytes());
    }
    set("GATEWAY_INTERFACE", b"CGI/1.1");
    set("SCRIPT_NAME", script_name);
    set("SCRIPT_FILENAME", &script.file.clone().into_os_string().into_vec());
    if !script.path_info.is_empty() {
        set("PATH_INFO", &script.path_info);
    }
    for name in FROM_ENVIRON {
        match environ.get(name) {
            Some(value) => set(name, &value),
            // RFC 3875 §4.1.7: always set.
            None if name == "QUERY_STRING" => set(name, b""),
            None => {}
        }
    }
    let is_secure = environ.get("wsgi.url_scheme").is_some_and(|scheme| scheme == "https");
    if is_secure {
        set("HTTPS", b"on");
    }
    if environ.get("REMOTE_ADDR").is_some_and(|address| address == "<local>") {
        // A client of a Unix socket. RFC 3875 §4.1.8, §4.1.14 and §4.1.15 want addresses: this machine, and the host
        // that the client has asked for.
        let host = environ.get("HTTP_HOST").filter(|host| !host.is_empty()).unwrap_or_default().into_owned();
        let port_at = host.iter().rposition(|&byte| byte == b':').filter(|_| !host.ends_with(b"]"));
        let (name, port) = port_at.map_or((&host[..], &b""[..]), |colon| (&host[..colon], &host[colon + 1..]));
        set("REMOTE_ADDR", b"127.0.0.1");
        set("SERVER_NAME", if name.is_empty() { b"localhost" } else { name });
        let usual: &[u8] = if is_secure { b"443" } else { b"80" };
        set("SERVER_PORT", if port.is_empty() { usual } else { port });
    }
    if let Some(length) = body_length {
        set("CONTENT_LENGTH", length.to_string().as_bytes());
        if let Some(value) = environ.get("CONTENT_TYPE") {
            set("CONTENT_TYPE", &value);
        }
    }
    for (key, value) in environ.iter() {
        if key.strip_prefix("HTTP_").is_some_and(|name| is_passed_on(name, options.pass_authorization)) {
            set(&key, &value);
        }
    }
    variables
}

/// Whether a script gets the request field whose key is `HTTP_` and this name.
fn is_passed_on(name: &str, pass_authorization: bool) -> bool {
    match name {
        // Scripts and libraries read HTTP_PROXY as the proxy of their own requests: httpoxy, CVE-2016-5385.
        "PROXY" => false,
        "AUTHORIZATION" => pass_authorization,
        // RFC 3875 §4.1.18: available as variables without HTTP_.
        "CONTENT_TYPE" | "CONTENT_LENGTH" => false,
        name if is_hop_by_hop(&name.replace('_', "-")) => false,
        // Shells can't use other names, and some treat them as code.
        name => name.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_'),
    }
}

#[cfg(test)]
mod tests {
    use amboss_core::EnvironBuilder;

    use super::*;

    fn variables(builder: EnvironBuilder, body: Option<u64>, options: &CgiOptions) -> Vec<(String, String)> {
        let script = FoundScript { file: "/srv/cgi/run".into(), name: b"/run".into(), path_info: b"/a b".into() };
        let mut owned = builder.build().unwrap();
        let variables = script_variables(&owned.environ(), &script, b"/cgi/run", body, options);
        let text = |value: OsString| value.into_string().unwrap();
        variables.into_iter().map(|(name, value)| (text(name), text(value))).collect()
    }

    #[test]
    fn the_environment_has_the_meta_variables_and_nothing_else() {
        let builder = EnvironBuilder::new("/cgi/run/a%20b?x=1")
            .base_url("https://example.org:8443")
            .method("PUT")
            .field("Content-Type", "text/plain")
            .field("User-Agent", "me")
            .field("Proxy", "http://evil")
            .field("Proxy-Authorization", "secret")
            .field("Authorization", "Basic secret")
            .field("Connection", "x")
            .field("X!odd", "y")
            .set("REMOTE_USER", "ada")
            .set("HTTP_lower", "z")
            .set("HTTP_PROXY", "http://evil")
            .body("hello");
        let mut options = CgiOptions { inherit: Vec::new(), ..CgiOptions::default() };
        options.variables.push(("DOCUMENT_ROOT".into(), "/srv".into()));
        let mut found = variables(builder, Some(5), &options);
        found.sort();
        let expected = [
            ("CONTENT_LENGTH", "5"),
            ("CONTENT_TYPE", "text/plain"),
            ("DOCUMENT_ROOT", "/srv"),
            ("GATEWAY_INTERFACE", "CGI/1.1"),
            ("HTTPS", "on"),
            ("HTTP_HOST", "example.org:8443"),
            ("HTTP_USER_AGENT", "me"),
            ("PATH_INFO", "/a b"),
            ("QUERY_STRING", "x=1"),
            ("REMOTE_ADDR", "127.0.0.1"),
            ("REMOTE_PORT", "0"),
            ("REMOTE_USER", "ada"),
            ("REQUEST_METHOD", "PUT"),
            ("REQUEST_URI", "/cgi/run/a%20b?x=1"),
            ("SCRIPT_FILENAME", "/srv/cgi/run"),
            ("SCRIPT_NAME", "/cgi/run"),
            ("SERVER_NAME", "example.org"),
            ("SERVER_PORT", "8443"),
            ("SERVER_PROTOCOL", "HTTP/1.1"),
        ];
        found.retain(|(name, _)| name != "SERVER_SOFTWARE");
        assert_eq!(found, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }

    #[test]
    fn a_request_without_a_body_has_no_content_variables_and_always_a_query() {
        let builder = EnvironBuilder::new("/").field("Content-Type", "a/b").field("Authorization", "Basic x");
        let options = CgiOptions { pass_authorization: true, ..CgiOptions::default() };
        let found = variables(builder, None, &options);
        let value = |name: &str| found.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
        assert_eq!((value("CONTENT_TYPE"), value("CONTENT_LENGTH"), value("HTTPS")), (None, None, None));
        assert_eq!((value("QUERY_STRING"), value("HTTP_AUTHORIZATION")), (Some(""), Some("Basic x")));
        assert_eq!(value("PATH").map(str::to_owned), std::env::var("PATH").ok());
        assert_eq!(value("CARGO"), None, "the server's environment is not inherited");
    }

    #[test]
    fn the_keys_of_dropped_fields() {
        for (name, passed) in [
            ("ACCEPT", true),
            ("X_FORWARDED_FOR", true),
            ("COOKIE", true),
            ("PROXY", false),
            ("PROXY_CONNECTION", false),
            ("TRANSFER_ENCODING", false),
            ("CONTENT_LENGTH", false),
            ("A!B", false),
            ("\u{c4}", false),
        ] {
            assert_eq!(is_passed_on(name, false), passed, "{name}");
        }
    }
}
