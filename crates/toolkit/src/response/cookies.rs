//! `Set-Cookie` (RFC 6265 §4.1).

use cookie::{Cookie, Expiration, SameSite};
use percent_encoding::{utf8_percent_encode, AsciiSet, CONTROLS};

use super::Response;
use crate::form::is_token_byte;

/// The bytes that can't be in an attribute (`av-octet` of RFC 6265 §4.1.1): a semicolon would begin another one.
const NOT_IN_ATTRIBUTES: &AsciiSet = &CONTROLS.add(b';');

fn encode_attribute(value: &str) -> String {
    utf8_percent_encode(value, NOT_IN_ATTRIBUTES).to_string()
}

impl Response {
    /// Sets a cookie, with every attribute that the [`cookie`] crate knows. Bytes that the value of a cookie can't
    /// contain are percent-encoded; [`Request::cookies`](crate::Request::cookies) decodes them. A name that begins with
    /// `__Secure-` or `__Host-` brings the attributes without which browsers ignore the cookie (RFC 6265bis §4.1.3).
    ///
    /// # Panics
    /// If the name is not a token (RFC 6265 §4.1.1): one or more ASCII letters, digits and ``!#$%&'*+-.^_`|~``. Names are
    /// not encoded, since an encoded name would be another cookie.
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
        let is_token = !cookie.name().is_empty() && cookie.name().bytes().all(is_token_byte);
        assert!(is_token, "the name of a cookie has to be a token, and {:?} is none", cookie.name());
        let has_prefix =
            |prefix: &str| cookie.name().get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix));
        let is_of_host = has_prefix("__Host-");
        if is_of_host || has_prefix("__Secure-") {
            cookie.set_secure(true);
        }
        if is_of_host {
            cookie.set_path("/");
            cookie.unset_domain();
        }
        if let Some(path) = cookie.path().map(encode_attribute) {
            cookie.set_path(path);
        }
        if let Some(domain) = cookie.domain().map(encode_attribute) {
            cookie.set_domain(domain);
        }
        // `Cookie::encoded` would encode a `%` in the name, too.
        let name = cookie.name().to_owned();
        cookie.set_name("");
        self.headers.add("Set-Cookie", format!("{name}{}", cookie.encoded()));
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
    /// # Panics
    /// The same as [`set_cookie`](Response::set_cookie).
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
    fn the_prefix_of_a_name_brings_the_attributes_that_browsers_ask_for() {
        for (cookie, field) in [
            (Cookie::build(("__Host-s", "1")).path("/app").domain("example.org"), "__Host-s=1; Secure; Path=/"),
            (Cookie::build(("__secure-s", "1")), "__secure-s=1; Secure"),
            (Cookie::build(("Host-s", "1")), "Host-s=1"),
        ] {
            let response = Response::empty(200).with_cookie(cookie);
            assert_eq!(response.headers().get_str("Set-Cookie"), Some(field));
        }
        let mut response = Response::empty(200);
        response.delete_cookie("__Host-s");
        assert!(response.headers().get_str("Set-Cookie").unwrap().contains("Secure"));
    }

    #[test]
    fn a_name_that_is_no_token_is_refused() {
        for name in ["", "a b", "a;b", "a=b", "ä", "a\n", "prefs[theme]"] {
            let set = || Response::empty(200).with_cookie((name, "v"));
            assert!(std::panic::catch_unwind(set).is_err(), "{name:?}");
        }
        let response = Response::empty(200).with_cookie(("a%20b", "c"));
        assert_eq!(response.headers().get_str("Set-Cookie"), Some("a%20b=c"), "the name is sent as it is");
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
