//! A strict reader of responses: what a client that forgives nothing would make of the bytes a server wrote.

use super::reference::{self, is_token, End};

/// One final response.
#[derive(Debug)]
pub(super) struct Response {
    pub(super) status: u16,
    pub(super) phrase: Vec<u8>,
    /// Names as they were written.
    pub(super) fields: Vec<(Vec<u8>, Vec<u8>)>,
    pub(super) body: Vec<u8>,
    /// The server says that nothing follows, or nothing can.
    pub(super) closes: bool,
    /// How many `100 Continue` came before it.
    pub(super) continues: usize,
    /// Nothing is missing; false only for the last one.
    pub(super) complete: bool,
}

impl Response {
    pub(super) fn get(&self, name: &str) -> Vec<&[u8]> {
        let named = self.fields.iter().filter(|(field, _)| field.eq_ignore_ascii_case(name.as_bytes()));
        named.map(|(_, value)| &value[..]).collect()
    }
}

/// What was asked, as far as reading the answer depends on it.
#[derive(Clone, Copy)]
pub(super) struct Asked {
    pub(super) head: bool,
    pub(super) http11: bool,
}

/// A head and its length; `None` when it is cut off.
///
/// # Errors
/// A sentence, when this is no response.
pub(super) fn head(bytes: &[u8]) -> Result<Option<(Response, usize)>, String> {
    let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(None) };
    let mut lines = bytes[..end].split(|&byte| byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let count = bytes[..end].iter().filter(|&&byte| byte == b'\r').count();
    let feeds = bytes[..end].windows(2).filter(|pair| pair == b"\r\n").count();
    if count != feeds || bytes[..end].iter().filter(|&&byte| byte == b'\n').count() != feeds {
        return Err("a bare CR or LF in a head".into());
    }
    let line = lines.next().unwrap_or_default();
    let rest = line.strip_prefix(b"HTTP/1.1 ").ok_or("no status line")?;
    let (digits, phrase) = rest.split_at_checked(3).ok_or("no status")?;
    let text = |bytes: &[u8]| bytes.iter().all(|&byte| byte == b'\t' || byte >= b' ' && byte != 0x7f);
    if !digits.iter().all(u8::is_ascii_digit) || phrase.first() != Some(&b' ') || !text(phrase) {
        return Err("a malformed status line".into());
    }
    let status = String::from_utf8_lossy(digits).parse().map_err(|_| "no status")?;
    let mut fields = Vec::new();
    for line in lines {
        let colon = line.iter().position(|&byte| byte == b':').ok_or("a field line without a colon")?;
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if !is_token(name) || !text(value) {
            return Err("a malformed field line".into());
        }
        fields.push((name.to_vec(), value.to_vec()));
    }
    let phrase = phrase[1..].to_vec();
    let response = Response { status, phrase, fields, body: Vec::new(), closes: false, continues: 0, complete: true };
    Ok(Some((response, end + 4)))
}

/// The responses of a connection. `asked(n)` tells what the answer *n* answers; `None` where the server could not know
/// and answered of its own accord.
///
/// # Errors
/// A sentence, when the bytes are no sequence of well-formed responses.
pub(super) fn responses(mut bytes: &[u8], asked: impl Fn(usize) -> Option<Asked>) -> Result<Vec<Response>, String> {
    let mut responses: Vec<Response> = Vec::new();
    let mut continues = 0;
    while !bytes.is_empty() {
        if responses.last().is_some_and(|last| last.closes) {
            return Err("something follows a response that closes".into());
        }
        let Some((mut response, length)) = head(bytes)? else {
            // Cut off inside a head.
            let cut = Response {
                status: 0,
                phrase: Vec::new(),
                fields: Vec::new(),
                body: Vec::new(),
                closes: true,
                continues: std::mem::take(&mut continues),
                complete: false,
            };
            responses.push(cut);
            break;
        };
        bytes = &bytes[length..];
        if response.status == 100 {
            if !response.fields.is_empty() {
                return Err("100 Continue with fields".into());
            }
            continues += 1;
            continue;
        }
        response.continues = std::mem::take(&mut continues);
        let asked = asked(responses.len());
        bytes = body(&mut response, bytes, asked)?;
        responses.push(response);
    }
    // The last of them may be all that a request got before the client left.
    if continues > 1 {
        return Err("100 Continue twice to one request".into());
    }
    Ok(responses)
}

fn body<'a>(response: &mut Response, bytes: &'a [u8], asked: Option<Asked>) -> Result<&'a [u8], String> {
    let options: Vec<Vec<u8>> = response.get("connection").iter().map(|value| value.to_ascii_lowercase()).collect();
    let status = response.status;
    if status == 101 {
        response.closes = true;
        response.body = bytes.to_vec();
        // What it switches to is between the application and its client.
        return Ok(b"");
    }
    if status < 200 {
        return Err(format!("an unexpected interim response {status}"));
    }
    let closes = options.iter().any(|option| option == b"close");
    if options.len() > 1 || !options.is_empty() && !closes && options[0] != b"keep-alive" {
        return Err(format!("what is to become of the connection? {options:?}"));
    }
    let http11 = asked.is_none_or(|asked| asked.http11);
    if !http11 && options.is_empty() {
        return Err("an HTTP/1.0 client is not told what becomes of the connection".into());
    }
    response.closes = closes;
    let lengths: Vec<Vec<u8>> = response.get("content-length").iter().map(|value| value.to_vec()).collect();
    let codings = response.get("transfer-encoding").len();
    let chunked = response.get("transfer-encoding") == [b"chunked"];
    if lengths.len() > 1 || codings > 0 && (!chunked || !lengths.is_empty()) {
        return Err("two framings of one response".into());
    }
    if chunked && !http11 {
        return Err("the chunked coding to an HTTP/1.0 client".into());
    }
    let length = match lengths.first() {
        None => None,
        Some(digits) if digits.iter().all(u8::is_ascii_digit) => {
            Some(String::from_utf8_lossy(digits).parse::<u64>().map_err(|_| "a length beyond 64 bits")?)
        }
        Some(_) => return Err("a Content-Length that is no number".into()),
    };
    if asked.is_some_and(|asked| asked.head) || status == 204 || status == 304 {
        if chunked || status == 204 && length.is_some() {
            return Err(format!("framing for the body that {status} does not have"));
        }
        return Ok(bytes);
    }
    if status == 205 && length != Some(0) {
        return Err("205 without a Content-Length of 0".into());
    }
    if chunked {
        let read = reference::chunked(bytes);
        response.body = read.data;
        return match read.end {
            End::At(end) => Ok(&bytes[end..]),
            End::Open => {
                response.complete = false;
                Ok(b"")
            }
            End::Malformed => Err("a malformed chunked body".into()),
        };
    }
    let Some(length) = length else {
        response.body = bytes.to_vec();
        return if closes { Ok(b"") } else { Err("a response that never ends".into()) };
    };
    let there = usize::try_from(length).unwrap_or(usize::MAX).min(bytes.len());
    response.complete = there as u64 == length;
    response.body = bytes[..there].to_vec();
    Ok(&bytes[there..])
}
