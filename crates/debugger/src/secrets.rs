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
const SECRET_PARTS: [&str; 11] = [
    "authorization",
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
/// Whole names that mark a secret, and that are too short to search for.
const SECRET_NAMES: [&str; 2] = ["auth", "jwt"];

/// Whether a field, parameter, variable or local with this name has a secret value.
pub(crate) fn is_secret(name: &str) -> bool {
    let name: String =
        name.chars().filter(|c| !matches!(c, '-' | '_' | '.' | ' ')).map(|c| c.to_ascii_lowercase()).collect();
    SECRET_PARTS.iter().any(|part| name.contains(part)) || SECRET_NAMES.contains(&&*name)
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
    mask_url(value)
}

/// Masks the secret parameters of a query, which stays percent-encoded.
pub(crate) fn mask_query(query: &str) -> String {
    let mask = |pair: &str| match pair.split_once('=') {
        Some((name, _)) if is_secret(&percent_decode_str(name).decode_utf8_lossy()) => format!("{name}={MASK}"),
        _ => pair.to_owned(),
    };
    query.split('&').map(mask).collect::<Vec<_>>().join("&")
}

/// Masks the user information and the secret query parameters of a URL or a request target. Other text stays the same.
pub(crate) fn mask_url(url: &str) -> String {
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
    let authority = rest.split('/').next().unwrap_or_default();
    match authority.rsplit_once('@') {
        Some((_, host)) => format!("{scheme}://{MASK}@{host}{}", &rest[authority.len()..]).into(),
        None => url.into(),
    }
}

/// Masks the secrets in the printed form of a value, for example of a dictionary: the value behind each name that is
/// followed by `:`, `=` or `=>`.
pub(crate) fn mask_repr(name: &str, repr: &str) -> String {
    if is_secret(name) {
        return MASK.to_owned();
    }
    let (mut masked, mut rest) = (String::with_capacity(repr.len()), repr);
    while let Some(first) = rest.chars().next() {
        let is_name = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-');
        let length = rest.find(|c| !is_name(c)).unwrap_or(rest.len());
        if length == 0 {
            masked.push(first);
            rest = &rest[first.len_utf8()..];
            continue;
        }
        let (name, after) = rest.split_at(length);
        masked.push_str(name);
        rest = after;
        let separator = separator_length(rest);
        if separator > 0 && is_secret(name) {
            masked.push_str(&rest[..separator]);
            masked.push_str(MASK);
            rest = &rest[separator..][value_length(&rest[separator..])..];
        }
    }
    masked
}

/// The length of the separator between a name and its value: a closing quote, `:`, `=` or `=>`, and spaces. 0 if no value
/// follows.
fn separator_length(text: &str) -> usize {
    let unquoted = text.trim_start_matches(['"', '\'']).trim_start();
    let value = ["=>", ":", "="].iter().find_map(|mark| unquoted.strip_prefix(mark));
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
        ];
        for name in secret {
            assert!(is_secret(name), "{name}");
            assert_eq!(mask_value(name, "hunter2"), MASK, "{name}");
            assert_eq!(mask_value(name, ""), MASK, "{name}: the length is hidden");
            assert_eq!(mask_repr(name, "'hunter2'"), MASK, "{name}");
        }
        for name in ["Host", "Accept", "HTTP_USER_AGENT", "author", "key", "name", "PATH_INFO", "wsgi.url_scheme", ""] {
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
