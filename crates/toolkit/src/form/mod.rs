//! Forms: the fields and files that a browser sends in the body of a request.
//!
//! [`parse_form`] reads two media types: `application/x-www-form-urlencoded`, and `multipart/form-data` (RFC 7578) with
//! files. Both are in UTF-8, as browsers send them.
//!
//! - A body that the server collected in a file is read once, in blocks. A [`FilePart`] is a range of that file, and
//!   nothing is written again.
//! - A body that it collected in memory belongs to the request, so each file is copied.
//! - Of a streamed body, files are kept in memory up to [`FormLimits::spool`], and then in one temporary file without a
//!   name.
//!
//! Multipart bodies are read strictly, because a filter in front of the application may read them differently: lines end
//! with CR LF, a line that begins with the boundary is a delimiter, a part has one name, each parameter occurs once, and
//! the last boundary must be there. Time is linear in the length of the body, and memory is bounded by [`FormLimits`].

mod error;
mod file_part;
mod limits;
pub(crate) mod multipart;
mod parameters;
mod secure_filename;
mod source;
mod storage;
mod urlencoded;

use amboss_core::{Collected, Environ};

pub use error::{FormError, FormErrorKind};
pub use file_part::{FilePart, Files};
pub use limits::FormLimits;
pub use secure_filename::secure_filename;
pub(crate) use source::Source;
pub use storage::FileReader;

use crate::multi_dict::MultiDict;
use parameters::split_parameters;

pub(crate) use parameters::is_token_byte;

/// The fields and files of a form.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct FormData {
    /// The fields in order. Bytes that are not UTF-8 are replaced with U+FFFD.
    pub fields: MultiDict,
    /// The files in order.
    pub files: Files,
}

/// Whether [`parse_form`] reads bodies of this media type.
pub(crate) fn is_form(media_type: &str) -> bool {
    matches!(media_type, "application/x-www-form-urlencoded" | "multipart/form-data")
}

/// Reads the form in the body of a request.
///
/// A body of another media type, or without one, is left unread, and the form is empty.
///
/// ```
/// use amboss_core::{AppError, Body, Environ, StartResponse};
/// use amboss_toolkit::form::{parse_form, FormLimits};
///
/// fn app(environ: &mut Environ<'_>, start_response: &mut dyn StartResponse) -> Result<Body, AppError> {
///     let form = parse_form(environ, &FormLimits::default())?;
///     let title = form.fields.get("title").unwrap_or("a photo");
///     let text = match form.files.get("photo") {
///         Some(photo) => format!("{title}: {} bytes\n", photo.size()),
///         None => "Choose a photo.\n".to_owned(),
///     };
///     start_response.start("200 OK", &[("Content-Type", "text/plain; charset=utf-8")])?;
///     Ok(Body::from(text))
/// }
/// # fn is_application(_: impl amboss_core::Application) {}
/// # is_application(app);
/// ```
///
/// # Errors
/// A form that is malformed, beyond a limit, or that can't be read. Answer with [`FormError::status`].
pub fn parse_form(environ: &mut Environ<'_>, limits: &FormLimits) -> Result<FormData, FormError> {
    let Some(content_type) = environ.get("CONTENT_TYPE").map(|value| value.into_bytes()) else {
        return Ok(FormData::default());
    };
    let input = environ.input();
    match input.collected() {
        Some(Collected::Bytes(bytes)) => parse(&content_type, Source::Bytes(bytes), limits),
        Some(Collected::File { file, range }) => parse(&content_type, Source::File(file, range), limits),
        _ => parse(&content_type, Source::Stream(input), limits),
    }
}

/// Reads a form of this Content-Type from a body.
pub(crate) fn parse(content_type: &[u8], source: Source<'_>, limits: &FormLimits) -> Result<FormData, FormError> {
    let (media_type, _) = split_parameters(content_type);
    if media_type.eq_ignore_ascii_case(b"application/x-www-form-urlencoded") {
        check_charset(content_type)?;
        urlencoded::parse(source, limits)
    } else if media_type.eq_ignore_ascii_case(b"multipart/form-data") {
        let boundary = only_parameter(content_type, b"boundary", FormErrorKind::Boundary)?;
        multipart::parse(&boundary.ok_or(FormErrorKind::Boundary)?, source, limits)
    } else {
        Ok(FormData::default())
    }
}

/// Refuses a charset other than UTF-8: to decode its bytes as UTF-8 would change the text.
fn check_charset(content_type: &[u8]) -> Result<(), FormError> {
    let charset = only_parameter(content_type, b"charset", FormErrorKind::Charset)?;
    let is_utf_8 =
        |charset: &[u8]| [&b"utf-8"[..], b"utf8", b"us-ascii"].iter().any(|known| charset.eq_ignore_ascii_case(known));
    match charset {
        Some(charset) if !is_utf_8(&charset) => Err(FormErrorKind::Charset.into()),
        _ => Ok(()),
    }
}

/// The value of a parameter that may occur once; the error if it is repeated.
pub(crate) fn only_parameter(
    content_type: &[u8],
    name: &[u8],
    repeated: FormErrorKind,
) -> Result<Option<Vec<u8>>, FormError> {
    let mut found = None;
    for parameter in split_parameters(content_type).1 {
        let (key, value) = parameter.map_err(|_| FormErrorKind::ContentType)?;
        if !key.eq_ignore_ascii_case(name) {
            continue;
        }
        if found.replace(value.into_owned()).is_some() {
            return Err(repeated.into());
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests;
