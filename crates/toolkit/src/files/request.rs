//! What a request asks for, and the answers to requests that are refused.

use amboss_core::{AppError, Body, Environ, StartResponse};

use crate::error::HttpError;

/// Whether the method is GET or HEAD.
pub(super) fn is_read(environ: &Environ<'_>) -> bool {
    let method = environ.method();
    method == "GET" || method == "HEAD"
}

/// Whether the Accept field of a request names this media type.
pub(super) fn accepts(environ: &Environ<'_>, media_type: &[u8]) -> bool {
    names(&environ.get("HTTP_ACCEPT").unwrap_or_default(), media_type)
}

/// Whether the value of an Accept field names this media type, and does not refuse it with `q=0`.
pub(super) fn names(accept: &[u8], media_type: &[u8]) -> bool {
    accept.split(|&byte| byte == b',').any(|item| {
        let mut parts = item.split(|&byte| byte == b';').map(<[u8]>::trim_ascii);
        let is_named = parts.next().is_some_and(|name| name.eq_ignore_ascii_case(media_type));
        is_named && !parts.any(is_refusal)
    })
}

/// `q=0`, with or without decimals.
fn is_refusal(parameter: &[u8]) -> bool {
    let weight = parameter.strip_prefix(b"q=").or_else(|| parameter.strip_prefix(b"Q="));
    weight.is_some_and(|weight| !weight.is_empty() && weight.iter().all(|byte| matches!(byte, b'0' | b'.')))
}

/// Answers with 405.
pub(super) fn method_not_allowed(start_response: &mut dyn StartResponse) -> Result<Body, AppError> {
    HttpError::new(405).with_header("Allow", "GET, HEAD").respond(start_response)
}

/// Answers with 403.
pub(super) fn denied(start_response: &mut dyn StartResponse) -> Result<Body, AppError> {
    HttpError::new(403).with_description("The server may not read this file.").respond(start_response)
}
