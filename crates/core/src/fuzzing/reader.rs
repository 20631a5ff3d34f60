//! A strict reader of responses: it reads the bytes that a server wrote, like a client that tolerates no error.

use super::reference::{self, is_token, BodyEnd};

/// One final response.
#[derive(Debug)]
pub(super) struct Response {
    pub(super) status: u16,
    pub(super) phrase: Vec<u8>,
    /// The fields; names are spelled as they were written.
    pub(super) fields: Vec<(Vec<u8>, Vec<u8>)>,
    pub(super) body: Vec<u8>,
    /// Whether the server announced that nothing follows, or nothing can follow.
    pub(super) closes: bool,
    /// The number of `100 Continue` responses before it.
    pub(super) continues: usize,
    /// Whether the response is complete; `false` only for the last one.
    pub(super) complete: bool,
}

impl Response {
    pub(super) fn get(&self, name: &str) -> Vec<&[u8]> {
        let named = self.fields.iter().filter(|(field, _)| field.eq_ignore_ascii_case(name.as_bytes()));
        named.map(|(_, value)| &value[..]).collect()
    }
}

/// The properties of a request that reading its response depends on.
#[derive(Clone, Copy)]
pub(super) struct RequestInfo {
    pub(super) head: bool,
    pub(super) http11: bool,
}

/// Reads a head: the response without its body, and the length of the head; `None` if the head is cut off.
///
/// # Errors
/// A message, if the bytes are not a response.
pub(super) fn head(bytes: &[u8]) -> Result<Option<(Response, usize)>, String> {
    let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(None) };
    let mut lines = bytes[..end].split(|&byte| byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let count = bytes[..end].iter().filter(|&&byte| byte == b'\r').count();
    let feeds = bytes[..end].windows(2).filter(|pair| pair == b"\r\n").count();
    if count != feeds || bytes[..end].iter().filter(|&&byte| byte == b'\n').count() != feeds {
        return Err("a head contains a bare CR or LF".into());
    }
    let line = lines.next().unwrap_or_default();
    let rest = line.strip_prefix(b"HTTP/1.1 ").ok_or("there is no status line")?;
    let (digits, phrase) = rest.split_at_checked(3).ok_or("the status line has no status")?;
    let text = |bytes: &[u8]| bytes.iter().all(|&byte| byte == b'\t' || byte >= b' ' && byte != 0x7f);
    if !digits.iter().all(u8::is_ascii_digit) || phrase.first() != Some(&b' ') || !text(phrase) {
        return Err("the status line is malformed".into());
    }
    let status = String::from_utf8_lossy(digits).parse().map_err(|_| "the status line has no status")?;
    let mut fields = Vec::new();
    for line in lines {
        let colon = line.iter().position(|&byte| byte == b':').ok_or("a field line has no colon")?;
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if !is_token(name) || !text(value) {
            return Err("a field line is malformed".into());
        }
        fields.push((name.to_vec(), value.to_vec()));
    }
    let phrase = phrase[1..].to_vec();
    let response = Response { status, phrase, fields, body: Vec::new(), closes: false, continues: 0, complete: true };
    Ok(Some((response, end + 4)))
}

/// Reads the responses of a connection. `request(n)` is the request of response *n*; `None` if the server sent the
/// response without knowing the request.
///
/// # Errors
/// A message, if the bytes are not a sequence of well-formed responses.
pub(super) fn responses(
    mut bytes: &[u8],
    request: impl Fn(usize) -> Option<RequestInfo>,
) -> Result<Vec<Response>, String> {
    let mut responses: Vec<Response> = Vec::new();
    let mut continues = 0;
    while !bytes.is_empty() {
        if responses.last().is_some_and(|last| last.closes) {
            return Err("bytes follow a response that closes the connection".into());
        }
        let Some((mut response, length)) = head(bytes)? else {
            // The head is cut off.
            let truncated = Response {
                status: 0,
                phrase: Vec::new(),
                fields: Vec::new(),
                body: Vec::new(),
                closes: true,
                continues: std::mem::take(&mut continues),
                complete: false,
            };
            responses.push(truncated);
            break;
        };
        bytes = &bytes[length..];
        if response.status == 100 {
            if !response.fields.is_empty() {
                return Err("100 Continue has fields".into());
            }
            continues += 1;
            continue;
        }
        response.continues = std::mem::take(&mut continues);
        let request = request(responses.len());
        bytes = body(&mut response, bytes, request)?;
        responses.push(response);
    }
    // One `100 Continue` may be the only response to a request, if the client left afterwards.
    if continues > 1 {
        return Err("one request received 100 Continue twice".into());
    }
    Ok(responses)
}

fn body<'a>(response: &mut Response, bytes: &'a [u8], request: Option<RequestInfo>) -> Result<&'a [u8], String> {
    let options: Vec<Vec<u8>> = response.get("connection").iter().map(|value| value.to_ascii_lowercase()).collect();
    let status = response.status;
    if status == 101 {
        response.closes = true;
        response.body = bytes.to_vec();
        // The bytes after it belong to the new protocol.
        return Ok(b"");
    }
    if status < 200 {
        return Err(format!("the interim response {status} is unexpected"));
    }
    let closes = options.iter().any(|option| option == b"close");
    if options.len() > 1 || !options.is_empty() && !closes && options[0] != b"keep-alive" {
        return Err(format!("the Connection options are ambiguous: {options:?}"));
    }
    let http11 = request.is_none_or(|request| request.http11);
    if !http11 && options.is_empty() {
        return Err("a response to an HTTP/1.0 client has no Connection field".into());
    }
    response.closes = closes;
    let lengths: Vec<Vec<u8>> = response.get("content-length").iter().map(|value| value.to_vec()).collect();
    let codings = response.get("transfer-encoding").len();
    let chunked = response.get("transfer-encoding") == [b"chunked"];
    if lengths.len() > 1 || codings > 0 && (!chunked || !lengths.is_empty()) {
        return Err("a response has two framings".into());
    }
    if chunked && !http11 {
        return Err("a response to an HTTP/1.0 client is chunked".into());
    }
    let length = match lengths.first() {
        None => None,
        Some(digits) if digits.iter().all(u8::is_ascii_digit) => {
            Some(String::from_utf8_lossy(digits).parse::<u64>().map_err(|_| "Content-Length is beyond 64 bits")?)
        }
        Some(_) => return Err("Content-Length is not a number".into()),
    };
    if request.is_some_and(|request| request.head) || status == 204 || status == 304 {
        if chunked || status == 204 && length.is_some() {
            return Err(format!("a response with the status {status} and no body has a framing"));
        }
        return Ok(bytes);
    }
    if status == 205 && length != Some(0) {
        return Err("a 205 response has no Content-Length of 0".into());
    }
    if chunked {
        let read = reference::chunked(bytes);
        response.body = read.data;
        return match read.end {
            BodyEnd::At(end) => Ok(&bytes[end..]),
            BodyEnd::Truncated => {
                response.complete = false;
                Ok(b"")
            }
            BodyEnd::Malformed => Err("a chunked body is malformed".into()),
        };
    }
    let Some(length) = length else {
        response.body = bytes.to_vec();
        return if closes { Ok(b"") } else { Err("a response has no end".into()) };
    };
    let present = usize::try_from(length).unwrap_or(usize::MAX).min(bytes.len());
    response.complete = present as u64 == length;
    response.body = bytes[..present].to_vec();
    Ok(&bytes[present..])
}
