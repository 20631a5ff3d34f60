//! Where a redirect leads: references relative to the current URL (RFC 3986 §5.2).

use percent_encoding::percent_decode_str;

/// Splits the URL of an application into its origin and its path.
pub(super) fn split_base_url(base_url: &str) -> (&str, &str) {
    let host = base_url.find("://").map_or(0, |colon| colon + 3);
    let end = base_url[host..].find('/').map_or(base_url.len(), |slash| host + slash);
    base_url.split_at(end)
}

/// The path and query that a reference leads to, below the path of `base_url`; `path` is that of the current request.
/// `None` if it leads to another host, or out of the application.
pub(super) fn resolve(base_url: &str, path: &str, reference: &str) -> Option<String> {
    let (origin, prefix) = split_base_url(base_url);
    let reference = reference.split('#').next().unwrap_or_default();
    let current = path.split('#').next().unwrap_or_default();
    let (current_path, _) = split_query(current);
    let (scheme, rest) = split_scheme(reference);
    let full = if let Some(rest) = rest.strip_prefix("//") {
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, rest) = rest.split_at(end);
        let (own_scheme, own_authority) = origin.split_once("://")?;
        let scheme = scheme.unwrap_or(own_scheme);
        if !scheme.eq_ignore_ascii_case(own_scheme) || host_of(scheme, authority) != host_of(own_scheme, own_authority)
        {
            return None;
        }
        if rest.starts_with('/') {
            rest.to_owned()
        } else {
            format!("/{rest}")
        }
    } else if scheme.is_some() {
        return None;
    } else if reference.is_empty() {
        format!("{prefix}{current}")
    } else if reference.starts_with('/') {
        reference.to_owned()
    } else if reference.starts_with('?') {
        format!("{prefix}{current_path}{reference}")
    } else {
        let folder = current_path.rfind('/').map_or("/", |slash| &current_path[..=slash]);
        format!("{prefix}{folder}{reference}")
    };
    let (full_path, query) = split_query(&full);
    let full_path = without_dot_segments(full_path);
    // The prefix may be written in another way: with or without percent signs.
    let decoded = percent_decode_str(prefix).collect::<Vec<u8>>();
    let slashes = full_path.match_indices('/').map(|(at, _)| at);
    let start = slashes.into_iter().find(|&at| percent_decode_str(&full_path[..at]).eq(decoded.iter().copied()))?;
    Some(format!("{}{query}", &full_path[start..]))
}

/// Splits at the `?`, which stays with the query.
fn split_query(reference: &str) -> (&str, &str) {
    reference.split_at(reference.find('?').unwrap_or(reference.len()))
}

fn split_scheme(reference: &str) -> (Option<&str>, &str) {
    match reference.split_once(':') {
        Some((scheme, rest)) if !scheme.is_empty() && !scheme.contains(['/', '?']) => (Some(scheme), rest),
        _ => (None, reference),
    }
}

/// The host in lower case, with a port that is not the scheme's own.
fn host_of(scheme: &str, authority: &str) -> String {
    let own_port = if scheme.eq_ignore_ascii_case("https") { ":443" } else { ":80" };
    authority.strip_suffix(own_port).unwrap_or(authority).to_ascii_lowercase()
}

/// RFC 3986 §5.2.4, for a path that begins with a slash.
fn without_dot_segments(path: &str) -> String {
    let mut segments: Vec<&str> = Vec::new();
    let mut parts = path.split('/').skip(1).peekable();
    while let Some(segment) = parts.next() {
        match segment {
            "." | ".." => {
                if segment == ".." {
                    segments.pop();
                }
                if parts.peek().is_none() {
                    segments.push("");
                }
            }
            segment => segments.push(segment),
        }
    }
    format!("/{}", segments.join("/"))
}

#[cfg(test)]
mod tests {
    use super::resolve;

    #[test]
    fn references_are_resolved_as_in_rfc_3986() {
        for (reference, expected) in [
            ("/login?next=http://localhost/foo", Some("/login?next=http://localhost/foo")),
            ("../x", Some("/a/x")),
            ("../../../x", Some("/x")),
            (".", Some("/a/b/")),
            ("/a/../b/./c", Some("/b/c")),
            ("/a/..", Some("/")),
            ("y?z=../1", Some("/a/b/y?z=../1")),
            ("", Some("/a/b/start?q=1")),
            ("#part", Some("/a/b/start?q=1")),
            ("?y=1", Some("/a/b/start?y=1")),
            ("HTTP://LOCALHOST/x", Some("/x")),
            ("http://localhost:80/x", Some("/x")),
            ("//localhost/x", Some("/x")),
            ("http://localhost?y=1", Some("/?y=1")),
            ("http://localhost", Some("/")),
            ("https://localhost/x", None),
            ("http://localhost:81/x", None),
            ("http://localhost.example/x", None),
            ("//example.org/x", None),
            ("mailto:a@b", None),
        ] {
            assert_eq!(resolve("http://localhost", "/a/b/start?q=1", reference).as_deref(), expected, "{reference}");
        }
    }

    #[test]
    fn a_path_is_below_that_of_the_application() {
        for base in ["http://localhost/r t", "http://localhost/r%20t"] {
            for (reference, expected) in [
                ("/r%20t/x", Some("/x")),
                ("/r t/x?y", Some("/x?y")),
                ("x", Some("/a/x")),
                ("../../x", None),
                ("/x", None),
                ("/r%20tx/y", None),
            ] {
                assert_eq!(resolve(base, "/a/b", reference).as_deref(), expected, "{reference}");
            }
        }
    }
}
