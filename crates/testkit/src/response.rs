//! An HTTP/1.1 response as the client has received it.

/// One response, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// The status line and the fields as they were sent, with the empty line.
    pub head: String,
    /// The body without chunk framing.
    pub body: Vec<u8>,
    /// Whether the body ended as its framing says.
    pub complete: bool,
}

impl Response {
    /// Returns the value of the first field with this name, without regard to case.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields(name).first().copied()
    }

    /// Returns the values of all fields with this name, without regard to case.
    pub fn fields(&self, name: &str) -> Vec<&str> {
        let pairs = self.head.lines().skip(1).filter_map(|line| line.split_once(':'));
        pairs.filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).collect()
    }

    /// Returns the body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Whether the head says where the body ends. Otherwise the end of the connection is the end of the body.
    pub(crate) fn is_delimited(&self) -> bool {
        self.status < 200
            || matches!(self.status, 204 | 304)
            || self.field("Transfer-Encoding") == Some("chunked")
            || self.field("Content-Length").is_some()
    }
}
