//! The cookies of a client (RFC 6265 §5.3 and §5.4), for one host.

use cookie::{time::OffsetDateTime, Cookie, Expiration};

/// Cookies with their paths. Cookies that expire in the future are kept as long as the client lives, since a test does not
/// last that long.
#[derive(Debug, Default)]
pub(super) struct CookieJar(Vec<StoredCookie>);

#[derive(Debug)]
struct StoredCookie {
    name: String,
    /// As it was sent, so that it returns to the server unchanged.
    value: String,
    path: String,
    is_secure: bool,
}

impl CookieJar {
    /// Stores the cookie of a `Set-Cookie` field, or deletes one. A field that is not understood is ignored, as in
    /// browsers, and so is one for another host than that of the request.
    pub(super) fn store(&mut self, field: &str, host: &str, request_path: &str) {
        let Ok(cookie) = Cookie::parse(field) else { return };
        if cookie.domain().is_some_and(|domain| !domain_matches(host, domain)) {
            return;
        }
        let path = match cookie.path() {
            Some(path) if path.starts_with('/') => path.to_owned(),
            _ => default_path(request_path).to_owned(),
        };
        self.0.retain(|known| known.name != cookie.name() || known.path != path);
        let is_past = match (cookie.max_age(), cookie.expires()) {
            (Some(age), _) => age.whole_seconds() <= 0,
            (None, Some(Expiration::DateTime(date))) => date <= OffsetDateTime::now_utc(),
            _ => false,
        };
        if !is_past {
            let is_secure = cookie.secure() == Some(true);
            self.0.push(StoredCookie { name: cookie.name().into(), value: cookie.value().into(), path, is_secure });
        }
    }

    /// The cookies for a request as they were sent, those with longer paths first.
    fn for_request(&self, path: &str, is_secure: bool) -> Vec<&StoredCookie> {
        let sent = |cookie: &&StoredCookie| path_matches(path, &cookie.path) && (is_secure || !cookie.is_secure);
        let mut cookies: Vec<_> = self.0.iter().filter(sent).collect();
        cookies.sort_by_key(|cookie| std::cmp::Reverse(cookie.path.len()));
        cookies
    }

    /// The names and decoded values of the cookies for a request.
    pub(super) fn matching(&self, path: &str, is_secure: bool) -> Vec<(String, String)> {
        self.field(path, is_secure).map_or_else(Vec::new, |field| crate::cookies::parse(&field).collect())
    }

    /// The `Cookie` field of a request; `None` if there is no cookie for it.
    pub(super) fn field(&self, path: &str, is_secure: bool) -> Option<String> {
        let cookies = self.for_request(path, is_secure).into_iter();
        let pairs: Vec<_> = cookies.map(|cookie| format!("{}={}", cookie.name, cookie.value)).collect();
        (!pairs.is_empty()).then(|| pairs.join("; "))
    }
}

/// Whether a host may set a cookie for a domain (RFC 6265 §5.1.3): its own name, or the end of it after a dot.
fn domain_matches(host: &str, domain: &str) -> bool {
    let name = host.rsplit_once(':').filter(|_| !host.ends_with(']')).map_or(host, |(name, _)| name);
    let (name, domain) = (name.to_ascii_lowercase(), domain.trim_start_matches('.').to_ascii_lowercase());
    name.strip_suffix(&domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.') && !domain.is_empty())
}

/// The path of a cookie without a `Path` (RFC 6265 §5.1.4).
fn default_path(request_path: &str) -> &str {
    match request_path.rfind('/') {
        Some(0) | None => "/",
        Some(slash) => &request_path[..slash],
    }
}

/// Whether a cookie is sent for this path (RFC 6265 §5.1.4).
fn path_matches(path: &str, cookie_path: &str) -> bool {
    path.strip_prefix(cookie_path)
        .is_some_and(|rest| rest.is_empty() || cookie_path.ends_with('/') || rest.starts_with('/'))
}
