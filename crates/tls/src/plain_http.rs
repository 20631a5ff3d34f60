//! The policy for plain HTTP requests on a port that speaks TLS.

/// What the server does with plain HTTP on a TLS port. The first byte of a connection tells the two apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PlainHttpPolicy {
    /// Responds with 308 and the same address with `https`.
    #[default]
    Redirect,
    /// Responds with 400 and a message that asks for `https`.
    Refuse,
    /// Serves the request: one port speaks both protocols, and `wsgi.url_scheme` says which one a request came over.
    Serve,
}
