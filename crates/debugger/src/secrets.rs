//! Secrets that must not appear in a report: which names have secret values, and how values are masked.
//!
//! A report is copied into issues and chats, so a value is masked when its name says that it is a secret. The length of
//! the value is hidden as well.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

/// The text that a report shows in place of a secret.
pub(crate) const MASK: &str = "••••";

/// Parts of names that mark a secret. Names are compared in lowercase and without `-`, `_`, `.` and spaces, so that
/// `HTTP_COOKIE`, `X-Api-Key` and `apiKey` are found.
const SECRET_PARTS: [&str; 20] = [
    "authorization",
    "accesskey",
    "assertion",
    "bearer",
    "csrf",
    "encryptionkey",
    "masterkey",
    "pwd",
    "signature",
    "signingkey",
    "cookie",
    "password",
    "passwd",
    "passphrase",
    "secret",
    "token",
    "apikey",
    "session",
    "credential",
    "private",
];
/// Whole words of names that mark a secret, and that are too short to search for.
const SECRET_WORDS: [&str; 6] = ["auth", "jwt", "otp", "pass", "sid", "sig"];
/// Schemes of authentication, which are followed by a secret (RFC 9110 §11.4).
const SCHEMES: [&str; 2] = ["Bearer ", "Basic "];

/// Whether a field, parameter, variable or local with this name has a secret value.
pub(crate) fn is_secret(name: &str) -> bool {
    let is_separator = |c: char| matches!(c, '-' | '_' | '.' | ' ');
    let joined: String = name.chars().filter(|&c| !is_separator(c)).map(|c| c.to_ascii_lowercase()).collect();
    let is_word = |word: &str| SECRET_WORDS.iter().any(|secret| word.eq_ignore_ascii_case(secret));
    SECRET_PARTS.iter().any(|part| joined.contains(part)) || name.split(is_separator).any(is_word)
}

/// Returns the value of a field or variable as a report shows it. The query and the user information of URLs are masked
/// as well (`Referer`, `REQUEST_URI`, `DATABASE_URL`).
pub(crate) fn mask_value(name: &str, value: &str) -> String {
    if is_secret(name) {
        return MASK.to_owned();
    }
    if name == "QUERY_STRING" {
        return mask_query(value);
    }
    let is_json = value.starts_with(['{', '[']);
    mask_schemes(&if is_json { mask_repr("", value) } else { mask_url(value) })
}

/// Masks what follows a scheme of authentication.
fn mask_schemes(text: &str) -> String {
    let is_end = |c: char| c.is_whitespace() || matches!(c, '\'' | '"' | ',' | ')' | ']' | '}' | '>');
    let scheme_at = |rest: &str, at: usize| {
        SCHEMES.iter().find(|scheme| rest.get(at..at + scheme.len()).is_some_and(|it| it.eq_ignore_ascii_case(scheme)))
    };
    let (mut masked, mut rest) = (String::with_capacity(text.len()), text);
    let mut at = 0;
    while at < rest.len() {
        let Some(scheme) = scheme_at(rest, at) else {
            at += 1;
            continue;
        };
        let (before, value) = rest.split_at(at + scheme.len());
        masked.push_str(before);
        masked.push_str(MASK);
        rest = &value[value.find(is_end).unwrap_or(value.len())..];
        at = 0;
    }
    masked + rest
}

/// Masks the secret parameters of a query, which stays percent-encoded.
pub(crate) fn mask_query(query: &str) -> String {
    let mask = |pair: &str| match pair.split_once('=') {
        Some((name, _)) if name == "code" || is_secret(&percent_decode_str(name).decode_utf8_lossy()) => {
            format!("{name}={MASK}")
        }
        _ => pair.to_owned(),
    };
    let mut masked = String::with_capacity(query.len());
    for pair in query.split_inclusive(['&', ';']) {
        let end = pair.trim_end_matches(['&', ';']).len();
        masked.push_str(&mask(&pair[..end]));
        masked.push_str(&pair[end..]);
    }
    masked
}

/// Masks the user information and the secret parameters in the query and the fragment of a URL or a request target. Other
/// text stays the same.
pub(crate) fn mask_url(url: &str) -> String {
    if let Some((before, fragment)) = url.split_once('#') {
        return format!("{}#{}", mask_url(before), mask_query(fragment));
    }
    let (before, query) = match url.split_once('?') {
        Some((before, query)) => (before, Some(query)),
        None => (url, None),
    };
    let mut masked = mask_user(before).into_owned();
    if let Some(query) = query {
        masked.push('?');
        masked.push_str(&mask_query(query));
    }
    masked
}

/// Masks the user information of a URL (RFC 3986 §3.2.1).
fn mask_user(url: &str) -> Cow<'_, str> {
    let Some((scheme, rest)) = url.split_once("://") else { return url.into() };
    let is_end = |c: char| c.is_whitespace() || matches!(c, '/' | '?' | '#' | '"' | '\'');
    let authority = rest.split(is_end).next().unwrap_or_default();
    match authority.rsplit_once('@') {
        Some((_, host)) => format!("{scheme}://{MASK}@{host}{}", &rest[authority.len()..]).into(),
        None => url.into(),
    }
}

/// Masks the secrets in the printed form of a value, for example of a dictionary: the value behind each name that is
/// followed by `:`, `=` or `=>`, or that is the first of a pair; user information in URLs; and what follows the name of a
/// scheme of authentication.
pub(crate) fn mask_repr(name: &str, repr: &str) -> String {
    if is_secret(name) {
        return MASK.to_owned();
    }
    let repr = mask_users(&mask_schemes(repr));
    let (mut masked, mut rest) = (String::with_capacity(repr.len()), &*repr);
    while let Some(first) = rest.chars().next() {
        let is_name = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-');
        let length = rest.find(|c| !is_name(c)).unwrap_or(rest.len());
        if length == 0 {
            masked.push(first);
            rest = &rest[first.len_utf8()..];
            continue;
        }
        let (name, after) = rest.split_at(length);
        let is_quoted = masked.ends_with(['"', '\'']);
        masked.push_str(name);
        rest = after;
        let separator = separator_length(rest, is_quoted);
        if separator > 0 && is_secret(name) {
            masked.push_str(&rest[..separator]);
            masked.push_str(MASK);
            rest = &rest[separator..][value_length(&rest[separator..])..];
        }
    }
    masked
}

/// Masks the user information of all URLs in a text.
fn mask_users(text: &str) -> String {
    let (mut masked, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(colon) = rest.find("://") {
        let (scheme, url) = rest.split_at(colon);
        let end = url[3..].find("://").map_or(url.len(), |next| 3 + next);
        masked.push_str(scheme);
        masked.push_str(&mask_user(&url[..end]));
        rest = &url[end..];
    }
    masked + rest
}

/// The length of the separator between a name and its value: a closing quote, `:`, `=` or `=>`, and spaces; behind a
/// quoted name also a comma. 0 if no value follows.
fn separator_length(text: &str, is_quoted: bool) -> usize {
    let unquoted = text.trim_start_matches(['"', '\'', '\\']);
    let is_pair = is_quoted && unquoted.len() < text.len();
    let unquoted = unquoted.trim_start();
    let marks = ["=>", ":", "=", ","];
    let value = marks[..if is_pair { 4 } else { 3 }].iter().find_map(|mark| unquoted.strip_prefix(mark));
    value.filter(|value| !value.starts_with(':')).map_or(0, |value| text.len() - value.trim_start().len())
}

/// The length of a printed value: a string with its prefix, a bracket with its contents, or everything up to the next
/// comma or bracket.
fn value_length(text: &str) -> usize {
    let (mut depth, mut quote, mut escaped) = (0_usize, None, false);
    for (at, c) in text.char_indices() {
        match (c, quote) {
            _ if escaped => escaped = false,
            ('\\', Some(_)) => escaped = true,
            (_, Some(open)) => quote = if c == open { None } else { quote },
            ('"' | '\'', None) => quote = Some(c),
            ('(' | '[' | '{' | '<', None) => depth += 1,
            (')' | ']' | '}' | '>', None) if depth == 0 => return at,
            (')' | ']' | '}' | '>', None) => depth -= 1,
            (',' | '\n', None) if depth == 0 => return at,
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_secrets_are_known_in_every_spelling() {
        let secret = [
            "Authorization",
            "authorization",
            "Proxy-Authorization",
            "HTTP_AUTHORIZATION",
            "Cookie",
            "Set-Cookie",
            "HTTP_COOKIE",
            "password",
            "user_password",
            "PASSWD",
            "secret",
            "AWS_SECRET_ACCESS_KEY",
            "csrf_token",
            "X-CSRF-Token",
            "accessToken",
            "api-key",
            "api_key",
            "X-Api-Key",
            "apikey",
            "sessionid",
            "AWS_CREDENTIALS",
            "private_key",
            "auth",
            "jwt",
            "X-Auth-Key",
            "db_pass",
            "DB_PWD",
            "access_key",
            "otp",
            "sid",
            "Cf-Access-Jwt-Assertion",
            "X-Hub-Signature-256",
        ];
        for name in secret {
            assert!(is_secret(name), "{name}");
            assert_eq!(mask_value(name, "hunter2"), MASK, "{name}");
            assert_eq!(mask_value(name, ""), MASK, "{name}: the length is hidden");
            assert_eq!(mask_repr(name, "'hunter2'"), MASK, "{name}");
        }
        for name in [
            "Host",
            "Accept",
            "HTTP_USER_AGENT",
            "author",
            "key",
            "name",
            "PATH_INFO",
            "wsgi.url_scheme",
            "bypass",
            "side",
            "",
        ] {
            assert!(!is_secret(name), "{name}");
            assert_eq!(mask_value(name, "visible"), "visible", "{name}");
        }
    }

    #[test]
    fn secrets_in_queries_and_urls_are_masked() {
        let cases = [
            ("QUERY_STRING", "a=1&token=x&b", "a=1&token=••••&b"),
            ("QUERY_STRING", "pass%77ord=x&Api-Key=y=z", "pass%77ord=••••&Api-Key=••••"),
            ("REQUEST_URI", "/a?session=1&q=2", "/a?session=••••&q=2"),
            ("Referer", "http://localhost/?secret=1", "http://localhost/?secret=••••"),
            ("DATABASE_URL", "postgres://me:pw@db:5432/x?a=1", "postgres://••••@db:5432/x?a=1"),
            ("DATABASE_URL", "redis://:p@w@db/0", "redis://••••@db/0"),
            ("QUERY_STRING", "x=1;sig=y&code=z", "x=1;sig=••••&code=••••"),
            ("Referer", "http://a/b#access_token=y&z=1", "http://a/b#access_token=••••&z=1"),
            ("X-Json", r#"{"password": "x", "a": 1}"#, r#"{"password": ••••, "a": 1}"#),
            ("X-Custom", "Bearer abc", "Bearer ••••"),
            ("X-Mail", "me@example.com", "me@example.com"),
            ("X-Page", "http://localhost/@me", "http://localhost/@me"),
        ];
        for (name, value, expected) in cases {
            assert_eq!(mask_value(name, value), expected, "{name}: {value}");
        }
    }

    #[test]
    fn secrets_in_printed_values_are_masked() {
        let cases = [
            ("{'HTTP_COOKIE': 'a=1, b', 'x': 2}", "{'HTTP_COOKIE': ••••, 'x': 2}"),
            (r#"User { password: "a\"b", id: 1 }"#, "User { password: ••••, id: 1 }"),
            ("Config(api_key='x', name='y')", "Config(api_key=••••, name='y')"),
            (r#"{"tokens": ["a", {"b": 1}], "n": 1}"#, r#"{"tokens": ••••, "n": 1}"#),
            ("{:password=>\"x\"}", "{:password=>••••}"),
            ("{'authorization': b'x'}", "{'authorization': ••••}"),
            ("[('Authorization', 'x'), ('Host', 'a')]", "[('Authorization', ••••), ('Host', 'a')]"),
            ("'postgres://u:pw@db/x', 'http://a@b'", "'postgres://••••@db/x', 'http://••••@b'"),
            ("'Bearer abc', 1, 'bearer def', ü", "'Bearer ••••', 1, 'bearer ••••', ü"),
            (r#"'{\"password\": \"x\"}'"#, r#"'{\"password\": ••••"#),
            ("session::Store", "session::Store"),
            ("'the password is long'", "'the password is long'"),
            ("{'secret': 'never closed", "{'secret': ••••"),
            ("<Größe 'ä'>", "<Größe 'ä'>"),
        ];
        for (repr, expected) in cases {
            assert_eq!(mask_repr("value", repr), expected, "{repr}");
        }
    }
}
