//! Forms of a test request.

/// A part of a multipart form.
#[derive(Clone, Debug)]
pub(super) enum Part {
    Field { name: String, value: String },
    File { name: String, filename: String, content_type: String, data: Vec<u8> },
}

/// Encodes a `multipart/form-data` body as browsers do. Returns its Content-Type, too.
pub(super) fn encode(parts: &[Part]) -> (String, Vec<u8>) {
    let boundary = free_boundary(parts);
    let mut body = Vec::new();
    for part in parts {
        body.extend_from_slice(format!("--{boundary}\r\nContent-Disposition: form-data; ").as_bytes());
        match part {
            Part::Field { name, value } => {
                body.extend_from_slice(format!("name=\"{}\"\r\n\r\n{value}", quote(name)).as_bytes());
            }
            Part::File { name, filename, content_type, data } => {
                let (name, filename) = (quote(name), quote(filename));
                let head = format!("name=\"{name}\"; filename=\"{filename}\"\r\nContent-Type: {content_type}\r\n\r\n");
                body.extend_from_slice(head.as_bytes());
                body.extend_from_slice(data);
            }
        }
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
    (format!("multipart/form-data; boundary={boundary}"), body)
}

/// Escapes a name as browsers do (<https://html.spec.whatwg.org/#multipart-form-data>).
fn quote(name: &str) -> String {
    name.replace('\r', "%0D").replace('\n', "%0A").replace('"', "%22")
}

/// A boundary that no part contains.
fn free_boundary(parts: &[Part]) -> String {
    (0..)
        .map(|number| format!("test-boundary-{number}"))
        .find(|boundary| {
            !parts.iter().any(|part| match part {
                Part::Field { value, .. } => value.contains(boundary.as_str()),
                Part::File { data, .. } => data.windows(boundary.len()).any(|window| window == boundary.as_bytes()),
            })
        })
        .unwrap_or_default()
}
