//! `Set-Cookie` (RFC 6265 §4.1).

use cookie::{Cookie, Expiration, SameSite};
use percent_encoding::{utf8_percent_encode, AsciiSet, CONTROLS};

use super::Response;

/// The bytes that can't be in an attribute (`av-octet` of RFC 6265 §4.1.1): a semicolon would begin another one.
const NOT_IN_ATTRIBUTES: &AsciiSet = &CONTROLS.add(b';');

fn encode_attribute(value: &str) -> String {
    utf8_percent_encode(value, NOT_IN_ATTRIBUTES).to_string()
}

impl Response {
    /// Sets a cookie, with every attribute that the [`cookie`] crate knows. Bytes that a cookie can't contain are
    /// percent-encoded; [`Request::cookies`](crate::Request::cookies) decodes them.
    ///
    /// ```
    /// use amboss_toolkit::cookie::{time::Duration, Cookie, SameSite};
    /// use amboss_toolkit::Response;
    ///
    /// let session = Cookie::build(("session", "42"))
    ///     .path("/")
    ///     .http_only(true)
    ///     .same_site(SameSite::Lax)
    ///     .max_age(Duration::days(7));
    /// let response = Response::text("logged in").with_cookie(session);
    /// assert_eq!(
    ///     response.headers().get_str("Set-Cookie"),
    ///     Some("session=42; HttpOnly; SameSite=Lax; Path=/; Max-Age=604800")
    /// );
    /// ```
    pub fn set_cookie<'c>(&mut self, cookie: impl Into<Cookie<'c>>) {
        let mut cookie = cookie.into();
        // `encoded` encodes the name and the value alone.
        if let Some(path) = cookie.path().map(encode_attribute) {
            cookie.set_path(path);
        }
        if let Some(domain) = cookie.domain().map(encode_attribute) {
            cookie.set_domain(domain);
        }
        self.headers.add("Set-Cookie", cookie.encoded().to_string());
    }

    /// Sets a cookie; see [`set_cookie`](Response::set_cookie).
    #[must_use]
    pub fn with_cookie<'c>(mut self, cookie: impl Into<Cookie<'c>>) -> Response {
        self.set_cookie(cookie);
        self
    }

    /// Makes the browser delete a cookie. `cookie` has the name, path and domain with which it was set; a bare name
    /// stands for the path `/`.
    ///
    /// ```
    /// use amboss_toolkit::Response;
    /// let mut response = Response::text("bye");
    /// response.delete_cookie("session");
    /// let field = response.headers().get_str("Set-Cookie").unwrap();
    /// assert!(field.starts_with("session=; ") && field.contains("Path=/; Max-Age=0; Expires=Thu, 01 Jan 1970"));
    /// ```
    pub fn delete_cookie<'c>(&mut self, cookie: impl Into<Cookie<'c>>) {
        let mut cookie = cookie.into().into_owned();
        cookie.set_value("");
        cookie.set_max_age(cookie::time::Duration::ZERO);
        cookie.set_expires(Expiration::from(cookie::time::OffsetDateTime::UNIX_EPOCH));
        if cookie.path().is_none() {
            cookie.set_path("/");
        }
        // Browsers refuse `SameSite=None` without `Secure`, also when it deletes.
        if cookie.same_site() == Some(SameSite::None) {
            cookie.set_secure(true);
        }
        self.set_cookie(cookie);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_can_hold_any_text_and_smuggle_no_attribute() {
        for (value, field) in [
            ("a b", "k=a%20b"),
            ("x; Domain=evil.example", "k=x%3B%20Domain%3Devil.example"),
            ("ä\r\n", "k=%C3%A4%0D%0A"),
            ("50%", "k=50%25"),
        ] {
            let response = Response::empty(200).with_cookie(("k", value));
            assert_eq!(response.headers().get_str("Set-Cookie"), Some(field));
            assert_eq!(Cookie::parse_encoded(field).unwrap().value(), value);
        }
    }

    #[test]
    fn a_path_and_a_domain_smuggle_no_attribute() {
        let cookie = Cookie::build(("k", "v")).path("/a; Domain=evil.example\r\nX: y").domain("a.example; Path=/");
        let response = Response::empty(200).with_cookie(cookie);
        let expected = "k=v; Path=/a%3B Domain=evil.example%0D%0AX: y; Domain=a.example%3B Path=/";
        assert_eq!(response.headers().get_str("Set-Cookie"), Some(expected));
    }

    #[test]
    fn cookies_add_up_and_a_deletion_repeats_path_and_domain() {
        let mut response = Response::empty(200).with_cookie(("a", "1")).with_cookie(("b", "2"));
        response.delete_cookie(Cookie::build(("a", "1")).path("/app").domain("example.org").same_site(SameSite::None));
        let fields: Vec<_> = response.headers().get_all("set-cookie").collect();
        assert_eq!(fields[..2], [b"a=1", b"b=2"]);
        let deletion = std::str::from_utf8(fields[2]).unwrap();
        for part in ["a=;", "Path=/app", "Domain=example.org", "Max-Age=0", "Secure", "SameSite=None"] {
            assert!(deletion.contains(part), "{deletion}");
        }
    }
}
