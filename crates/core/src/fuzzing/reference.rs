//! A reference reader of requests: line by line, and as simple as RFC 9112 allows. The server's results are compared
//! with its results.
//!
//! It accepts more than the server where it does not know what the server refuses (limits, Host, the form of a target).
//! It never accepts a framing that the server must refuse.

/// How a chunked body ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BodyEnd {
    /// Complete, after this number of bytes.
    At(usize),
    Malformed,
    /// Cut off; the part that is present may be malformed as well.
    Truncated,
}

/// A chunked body.
pub(super) struct Chunked {
    pub(super) data: Vec<u8>,
    pub(super) end: BodyEnd,
    /// The number of bytes after the sizes.
    pub(super) extensions: usize,
    /// The number of bytes of the trailer lines.
    pub(super) trailers: usize,
}

pub(super) fn chunked(input: &[u8]) -> Chunked {
    let mut body = Chunked { data: Vec::new(), end: BodyEnd::Truncated, extensions: 0, trailers: 0 };
    body.end = body.read(input).unwrap_or_else(|end| end);
    body
}

impl Chunked {
    fn read(&mut self, input: &[u8]) -> Result<BodyEnd, BodyEnd> {
        let mut at = 0;
        loop {
            let line = crlf_line(input, &mut at)?;
            let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
            let (size, extension) = line.split_at(digits);
            // Leading zeros of a size count as an extension, except for the one digit that a size needs.
            let zeros = size.iter().take_while(|&&byte| byte == b'0').count();
            self.extensions += zeros.min(digits.saturating_sub(1));
            let size = std::str::from_utf8(size).map_err(|_| BodyEnd::Malformed)?;
            let size = u64::from_str_radix(size, 16).map_err(|_| BodyEnd::Malformed)?;
            if !extensions(extension) {
                return Err(BodyEnd::Malformed);
            }
            self.extensions += extension.len();
            if size == 0 {
                break;
            }
            let rest = &input[at..];
            let present = usize::try_from(size).unwrap_or(usize::MAX).min(rest.len());
            self.data.extend_from_slice(&rest[..present]);
            match &rest[present..] {
                [b'\r', b'\n', ..] => at += present + 2,
                [] | [b'\r'] => return Err(BodyEnd::Truncated),
                _ => return Err(BodyEnd::Malformed),
            }
        }
        loop {
            let line = crlf_line(input, &mut at)?;
            if line.is_empty() {
                return Ok(BodyEnd::At(at));
            }
            self.trailers += line.len();
            let colon = line.iter().position(|&byte| byte == b':').ok_or(BodyEnd::Malformed)?;
            if !is_token(&line[..colon]) || !line[colon..].iter().all(|&byte| is_text(byte)) {
                return Err(BodyEnd::Malformed);
            }
        }
    }
}

/// Whether the text is `*( BWS ";" BWS token [ BWS "=" BWS ( token / quoted-string ) ] )` (RFC 9112 §7.1.1).
fn extensions(mut rest: &[u8]) -> bool {
    fn blank(text: &[u8]) -> &[u8] {
        let count = text.iter().take_while(|&&byte| byte == b' ' || byte == b'\t').count();
        &text[count..]
    }
    fn token(text: &[u8]) -> Option<&[u8]> {
        let count = text.iter().take_while(|&&byte| is_token(&[byte])).count();
        (count > 0).then(|| &text[count..])
    }
    fn quoted(text: &[u8]) -> Option<&[u8]> {
        let mut at = 1;
        loop {
            match text.get(at..)? {
                [b'"', rest @ ..] => return Some(rest),
                [b'\\', escaped, ..] if is_text(*escaped) => at += 2,
                [byte, ..] if is_text(*byte) && *byte != b'\\' => at += 1,
                _ => return None,
            }
        }
    }
    fn extension(text: &[u8]) -> Option<&[u8]> {
        let named = token(blank(blank(text).strip_prefix(b";")?))?;
        let Some(value) = blank(named).strip_prefix(b"=") else { return Some(named) };
        let value = blank(value);
        if value.first() == Some(&b'"') {
            quoted(value)
        } else {
            token(value)
        }
    }
    while !rest.is_empty() {
        let Some(next) = extension(rest) else { return false };
        rest = next;
    }
    true
}

fn crlf_line<'a>(input: &'a [u8], at: &mut usize) -> Result<&'a [u8], BodyEnd> {
    let rest = &input[*at..];
    let end = rest.windows(2).position(|pair| pair == b"\r\n").ok_or(BodyEnd::Truncated)?;
    *at += end + 2;
    Ok(&rest[..end])
}

fn is_text(byte: u8) -> bool {
    byte == b'\t' || byte >= b' ' && byte != 0x7f
}

pub(super) fn is_token(name: &[u8]) -> bool {
    !name.is_empty() && name.iter().all(|&byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

/// A request in the input.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) method: Vec<u8>,
    pub(super) target: Vec<u8>,
    pub(super) http11: bool,
    pub(super) fields: Fields,
    /// The body data that is present.
    pub(super) body: Vec<u8>,
    pub(super) body_end: BodyEnd,
    pub(super) expects_continue: bool,
    /// Whether the connection must close after this request.
    pub(super) closes: bool,
}

/// The requests of a connection, up to the first after which no request may be served: one that is incomplete or
/// malformed, or that closes the connection.
pub(super) fn requests(input: &[u8], lenient: bool) -> Vec<Request> {
    let mut requests = Vec::new();
    let mut at = 0;
    while let Some((request, head)) = request(&input[at..], lenient) {
        let stop = request.closes;
        // The position in the input, not the offset after the head.
        let end = match request.body_end {
            BodyEnd::At(length) => Some(at + head + length),
            _ => None,
        };
        requests.push(Request { body_end: end.map_or(request.body_end, BodyEnd::At), ..request });
        match end {
            Some(end) if !stop => at = end,
            _ => break,
        }
    }
    requests
}

/// The first request and the length of its head. The position of its body's end is relative to the end of the head.
fn request(input: &[u8], lenient: bool) -> Option<(Request, usize)> {
    let mut at = 0;
    let mut line = any_line(input, &mut at, lenient)?;
    while line.is_empty() {
        line = any_line(input, &mut at, lenient)?;
    }
    let [method, target, version] = line.split(|&byte| byte == b' ').collect::<Vec<_>>()[..] else { return None };
    let visible = |byte: &u8| byte.is_ascii_graphic() || lenient && *byte >= 0x80;
    let http11 = match version {
        b"HTTP/1.1" => true,
        b"HTTP/1.0" => false,
        _ => return None,
    };
    if !is_token(method) || target.is_empty() || !target.iter().all(visible) {
        return None;
    }
    let fields = field_lines(input, &mut at, lenient)?;
    let (length, is_chunked) = framing(&fields, http11)?;
    let (both, hosts) = (is_chunked && length.is_some(), values(&fields, "host").count());
    if !lenient && (both || hosts > 1 || http11 && hosts == 0) {
        return None;
    }
    let options: Vec<Vec<u8>> = values(&fields, "connection")
        .flat_map(|value| value.split(|&byte| byte == b','))
        .map(|option| option.trim_ascii().to_ascii_lowercase())
        .collect();
    let has_option = |word: &[u8]| options.iter().any(|option| option == word);
    let closes = both || has_option(b"close") || !http11 && !has_option(b"keep-alive");

    let rest = &input[at..];
    let (body, body_end) = if is_chunked {
        let chunked = chunked(rest);
        (chunked.data, chunked.end)
    } else {
        let length = usize::try_from(length.unwrap_or(0)).unwrap_or(usize::MAX);
        let present = length.min(rest.len());
        (rest[..present].to_vec(), if present == length { BodyEnd::At(length) } else { BodyEnd::Truncated })
    };
    let expects_continue = http11 && values(&fields, "expect").any(|value| value.eq_ignore_ascii_case(b"100-continue"));
    let (method, target) = (method.to_vec(), target.to_vec());
    let request = Request { method, target, http11, fields, body, body_end, expects_continue, closes };
    Some((request, at))
}

/// Names in lower case, with their values.
type Fields = Vec<(Vec<u8>, Vec<u8>)>;

/// The field lines from `at` on, up to and including the empty line.
fn field_lines(input: &[u8], at: &mut usize, lenient: bool) -> Option<Fields> {
    let mut fields = Fields::new();
    loop {
        let line = any_line(input, at, lenient)?;
        if line.is_empty() {
            break;
        }
        if !line.iter().all(|&byte| is_text(byte)) {
            return None;
        }
        if matches!(line[0], b' ' | b'\t') {
            fields.last_mut().filter(|_| lenient)?.1.extend_from_slice(line);
            continue;
        }
        let colon = line.iter().position(|&byte| byte == b':')?;
        if !is_token(&line[..colon]) {
            return None;
        }
        fields.push((line[..colon].to_ascii_lowercase(), line[colon + 1..].to_vec()));
    }
    for (_, value) in &mut fields {
        *value = value.trim_ascii().to_vec();
    }
    Some(fields)
}

/// The values of all fields with this name.
fn values<'f>(fields: &'f Fields, name: &'static str) -> impl Iterator<Item = &'f [u8]> {
    fields.iter().filter(move |field| field.0 == name.as_bytes()).map(|field| &field.1[..])
}

/// The Content-Length, and whether the body is chunked; `None` if the request must be refused.
fn framing(fields: &Fields, http11: bool) -> Option<(Option<u64>, bool)> {
    if values(fields, "content-type").count() > 1 {
        return None;
    }
    let lengths: Vec<_> = values(fields, "content-length").collect();
    let length = match &lengths[..] {
        [] => None,
        [digits] if !digits.is_empty() && digits.iter().all(u8::is_ascii_digit) => {
            Some(String::from_utf8_lossy(digits).parse::<u64>().ok()?)
        }
        _ => return None,
    };
    let codings: Vec<_> = values(fields, "transfer-encoding").collect();
    let is_chunked = match &codings[..] {
        [] => false,
        [coding] if coding.eq_ignore_ascii_case(b"chunked") && http11 => true,
        _ => return None,
    };
    Some((length, is_chunked))
}

/// A line of a head: up to CR LF, or, if `lenient`, up to LF alone.
fn any_line<'a>(input: &'a [u8], at: &mut usize, lenient: bool) -> Option<&'a [u8]> {
    let rest = &input[*at..];
    let lf = rest.iter().position(|&byte| byte == b'\n')?;
    *at += lf + 1;
    match rest[..lf].strip_suffix(b"\r") {
        Some(line) => Some(line),
        None if lenient => Some(&rest[..lf]),
        None => None,
    }
}
