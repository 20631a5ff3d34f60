//! [`FormError`]: the reason why a form was refused or could not be read.

use std::{fmt, io};

use amboss_core::InputError;

/// The reason why a form was refused or could not be read. Answer with [`status`](FormError::status).
#[derive(Debug)]
pub struct FormError {
    kind: FormErrorKind,
}

/// The kinds of [`FormError`].
#[derive(Debug)]
#[non_exhaustive]
pub enum FormErrorKind {
    /// The parameters of Content-Type are malformed.
    ContentType,
    /// The `charset` of Content-Type is not UTF-8.
    Charset,
    /// The boundary is missing, repeated, empty, longer than 70 bytes, or has a character that RFC 2046 §5.1.1 forbids.
    Boundary,
    /// There are too many bytes before the first boundary; the limit is given in bytes.
    Preamble(usize),
    /// A line begins with the boundary, but is not a delimiter line of RFC 2046 §5.1.1.
    Delimiter,
    /// The body ends before its last boundary.
    Truncated,
    /// A header line of a part is malformed.
    PartHeader,
    /// The Content-Disposition of a part is missing, repeated, malformed, or not form data with one name (RFC 7578 §4.2).
    Disposition,
    /// A parameter ends with `*`, which RFC 7578 §4.2 forbids.
    ExtendedParameter,
    /// A part has an encoding other than its bytes (RFC 7578 §4.7).
    TransferEncoding,
    /// A part is a multipart body itself (RFC 7578 §4.3).
    Nested,
    /// The header section of a part is too large; the limit is given in bytes.
    PartHeadersTooLarge(usize),
    /// A part has too many header fields; the limit is given.
    TooManyHeaders(usize),
    /// The form has too many parts; the limit is given.
    TooManyParts(usize),
    /// The fields are too large; the limit is given in bytes.
    FieldsTooLarge(usize),
    /// The body is too large; the limit is given in bytes.
    BodyTooLarge(u64),
    /// A file is larger than the caller of [`FilePart::bytes`](super::FilePart::bytes) allows; the limit is given in
    /// bytes.
    FileTooLarge(u64),
    /// The body can't be read. The cause is an [`InputError`] if the client is responsible.
    Input(io::Error),
    /// An upload can't be stored or read.
    Storage(io::Error),
}

impl FormError {
    /// The kind of the error.
    pub fn kind(&self) -> &FormErrorKind {
        &self.kind
    }

    /// The status code for the client: 400, 413 or 415; that of the [`InputError`] if the body can't be read; 500 if the
    /// server is responsible.
    pub fn status(&self) -> u16 {
        use FormErrorKind::*;
        match &self.kind {
            ContentType | Boundary | Preamble(_) | Delimiter | Truncated | PartHeader | Disposition
            | ExtendedParameter => 400,
            PartHeadersTooLarge(_)
            | TooManyHeaders(_)
            | TooManyParts(_)
            | FieldsTooLarge(_)
            | BodyTooLarge(_)
            | FileTooLarge(_) => 413,
            Charset | TransferEncoding | Nested => 415,
            Input(error) => {
                let cause = error.get_ref().and_then(|cause| cause.downcast_ref::<InputError>());
                cause.map_or(500, InputError::status)
            }
            Storage(_) => 500,
        }
    }
}

impl From<FormErrorKind> for FormError {
    fn from(kind: FormErrorKind) -> FormError {
        FormError { kind }
    }
}

impl fmt::Display for FormError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use FormErrorKind::*;
        match &self.kind {
            ContentType => f.write_str("the parameters of Content-Type are malformed; send name=value or name=\"value\""),
            Charset => f.write_str("the form has another charset than UTF-8; send it in UTF-8"),
            Boundary => f.write_str(
                "the Content-Type of a multipart form needs one boundary of 1 to 70 characters: letters, digits, and ' ( ) + _ , - . / : = ?",
            ),
            Preamble(limit) => write!(f, "there are more than {limit} bytes before the first boundary; send none"),
            Delimiter => f.write_str(
                "a line begins with the boundary and goes on; end it with CR LF, or choose a boundary that is not in the \
                 data",
            ),
            Truncated => f.write_str("the form ends before its last boundary; send '--', the boundary and '--' at its end"),
            PartHeader => f.write_str(
                "a header line of a part is malformed; send name, colon, value without control characters, CR LF",
            ),
            Disposition => f.write_str(
                "a part needs one header 'Content-Disposition: form-data; name=\"…\"', with each parameter at most once",
            ),
            ExtendedParameter => f.write_str(
                "a Content-Disposition has a parameter such as filename*; send filename=\"…\" in UTF-8 (RFC 7578 §4.2)",
            ),
            TransferEncoding => f.write_str("a part has a Content-Transfer-Encoding; send its bytes unencoded"),
            Nested => f.write_str("a part is a multipart body itself; send one part for each file"),
            PartHeadersTooLarge(limit) => {
                write!(f, "the headers of a part are larger than {limit} bytes")
            }
            TooManyHeaders(limit) => {
                write!(f, "a part has more than {limit} header fields")
            }
            TooManyParts(limit) => write!(f, "the form has more than {limit} fields and files"),
            FieldsTooLarge(limit) => {
                write!(f, "the fields of the form are larger than {limit} bytes")
            }
            BodyTooLarge(limit) => write!(f, "the form is larger than {limit} bytes"),
            FileTooLarge(limit) => write!(f, "a file of the form is larger than {limit} bytes"),
            Input(error) => write!(f, "the form can't be read: {error}"),
            Storage(error) => write!(f, "an uploaded file can't be stored or read: {error}"),
        }
    }
}

impl std::error::Error for FormError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.kind {
            FormErrorKind::Input(error) | FormErrorKind::Storage(error) => Some(error),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use amboss_core::InputErrorKind;

    #[test]
    fn the_status_of_an_input_error_is_kept() {
        for (kind, status) in [(InputErrorKind::TooSlow, 408), (InputErrorKind::TooLarge(1), 413)] {
            let error = FormError::from(FormErrorKind::Input(InputError::from(kind).into()));
            assert_eq!(error.status(), status);
        }
        let error = FormError::from(FormErrorKind::Input(io::Error::other("disk")));
        assert_eq!((error.status(), error.to_string().as_str()), (500, "the form can't be read: disk"));
        assert!(std::error::Error::source(&error).is_some());
    }
}
