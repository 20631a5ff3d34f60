//! [`Request`]: the environ as a handler reads it.

mod accept;
mod app;
mod conditional;
#[cfg(feature = "json")]
mod json;
mod url;

use std::borrow::Cow;
use std::cell::OnceCell;
use std::io::Read;
use std::time::SystemTime;

use amboss_core::{ByteStr, Collected, Environ};

use crate::cookies;
use crate::error::HttpError;
use crate::form::{self, FormData, FormLimits};
use crate::headers::Headers;
use crate::multi_dict::MultiDict;
use crate::negotiation::{ByteRanges, ETags};

pub use accept::Accept;
pub use app::{request_app, RequestApp};

/// A request, after Werkzeug's: a view of an [`Environ`] that decodes on demand and remembers what it has decoded.
///
/// ```
/// use amboss_core::create_environ;
/// use amboss_toolkit::Request;
///
/// let mut owned = create_environ("/search?q=a%20b&page=2", "http://localhost:8080")?;
/// let mut environ = owned.environ();
/// let request = Request::new(&mut environ);
/// assert_eq!(request.path(), "/search");
/// assert_eq!(request.args().get("q"), Some("a b"));
/// assert_eq!(request.url(), "http://localhost:8080/search?q=a%20b&page=2");
/// # Ok::<(), amboss_core::EnvironError>(())
/// ```
///
/// Text that is not UTF-8 is replaced with U+FFFD; [`environ`](Request::environ) has the bytes.
///
/// What reads the body borrows the request for as long as its result is used: [`take_form_data`](Request::take_form_data)
/// and `json` return values of their own instead.
pub struct Request<'e, 'a> {
    environ: &'e mut Environ<'a>,
    args: OnceCell<MultiDict>,
    cookies: OnceCell<MultiDict>,
    data: Option<Vec<u8>>,
    max_data: u64,
    form_limits: FormLimits,
    form: Option<Result<FormData, RefusedForm>>,
}

/// The default of [`Request::set_max_data`], in bytes: more than any JSON of a person, and little enough that a few
/// requests at once do not fill the memory of a small machine.
const MAX_DATA: u64 = 64 * 1024 * 1024;

/// Why there is no form, for the second caller.
struct RefusedForm {
    status: u16,
    description: String,
}

impl<'e, 'a> Request<'e, 'a> {
    /// Makes a request of an environ.
    pub fn new(environ: &'e mut Environ<'a>) -> Request<'e, 'a> {
        Request {
            environ,
            args: OnceCell::new(),
            cookies: OnceCell::new(),
            data: None,
            max_data: MAX_DATA,
            form_limits: FormLimits::default(),
            form: None,
        }
    }

    /// The environ.
    pub fn environ(&self) -> &Environ<'a> {
        self.environ
    }

    /// The environ, for changing it, for its extensions and for its input.
    pub fn environ_mut(&mut self) -> &mut Environ<'a> {
        self.environ
    }

    /// The method, which is case-sensitive.
    pub fn method(&self) -> Cow<'_, str> {
        self.environ.text("REQUEST_METHOD")
    }

    /// The percent-decoded path below [`root_path`](Request::root_path).
    pub fn path(&self) -> Cow<'_, str> {
        self.environ.text("PATH_INFO")
    }

    /// The percent-decoded path of the application itself (`SCRIPT_NAME`); empty at the root of the host.
    pub fn root_path(&self) -> Cow<'_, str> {
        self.environ.text("SCRIPT_NAME")
    }

    /// The query as it was sent.
    pub fn query_string(&self) -> Cow<'_, str> {
        self.environ.text("QUERY_STRING")
    }

    /// The decoded arguments of the query.
    pub fn args(&self) -> &MultiDict {
        self.args.get_or_init(|| MultiDict::from_urlencoded(&self.environ.query()))
    }

    /// A header field by its name; repeated fields are joined.
    pub fn header(&self, name: &str) -> Option<Cow<'_, str>> {
        self.header_bytes(name).map(|value| match value.into() {
            Cow::Borrowed(bytes) => String::from_utf8_lossy(bytes),
            Cow::Owned(bytes) => String::from_utf8_lossy(&bytes).into_owned().into(),
        })
    }

    fn header_bytes(&self, name: &str) -> Option<ByteStr<'_>> {
        self.environ.header(name)
    }

    /// All header fields, with the changes of middleware; repeated fields are joined. The names are spelled as
    /// `Content-Type`.
    pub fn headers(&self) -> Headers {
        environ_headers(self.environ)
    }

    /// The cookies, in the order in which they were sent. Values are percent-decoded; names are as they were sent.
    pub fn cookies(&self) -> &MultiDict {
        self.cookies.get_or_init(|| {
            let field = self.header("Cookie").unwrap_or_default();
            cookies::parse(&field).collect()
        })
    }

    /// The address of the client, after trusted proxies (`REMOTE_ADDR`).
    pub fn remote_addr(&self) -> Cow<'_, str> {
        self.environ.text("REMOTE_ADDR")
    }

    /// The addresses of `X-Forwarded-For`, the client's first; without that field only
    /// [`remote_addr`](Request::remote_addr). The field can be forged by the client, so it is for logs, not for trust.
    pub fn access_route(&self) -> Vec<String> {
        match self.header("X-Forwarded-For") {
            Some(field) => {
                field.split(',').map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect()
            }
            None => vec![self.remote_addr().into_owned()],
        }
    }

    /// Whether the request came over TLS.
    pub fn is_secure(&self) -> bool {
        self.scheme() == "https"
    }

    /// The Content-Type with its parameters; empty if it was not sent.
    pub fn content_type(&self) -> Cow<'_, str> {
        self.environ.text("CONTENT_TYPE")
    }

    /// The media type of the body in lower case and without parameters, such as `text/html`; empty if it was not sent.
    pub fn mimetype(&self) -> String {
        self.content_type().split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
    }

    /// The length of the body in bytes; `None` if it is not known before its end.
    pub fn content_length(&mut self) -> Option<u64> {
        self.environ.input().length()
    }

    /// The media types that the client accepts.
    pub fn accept_mimetypes(&self) -> Accept {
        Accept::parse(self.header("Accept").as_deref())
    }

    /// The languages that the client accepts.
    pub fn accept_languages(&self) -> Accept {
        Accept::parse(self.header("Accept-Language").as_deref())
    }

    /// The content codings that the client accepts.
    pub fn accept_encodings(&self) -> Accept {
        Accept::parse(self.header("Accept-Encoding").as_deref())
    }

    /// The date of `If-Modified-Since`; `None` if it was not sent or is no HTTP date.
    pub fn if_modified_since(&self) -> Option<SystemTime> {
        httpdate::parse_http_date(self.header("If-Modified-Since")?.trim()).ok()
    }

    /// The entity tags of `If-Match`; `None` if it was not sent. [`Response::make_conditional`](crate::Response::make_conditional)
    /// evaluates all conditions.
    pub fn if_match(&self) -> Option<ETags> {
        Some(ETags::parse(&self.header_bytes("If-Match")?))
    }

    /// The entity tags of `If-None-Match`; `None` if it was not sent.
    pub fn if_none_match(&self) -> Option<ETags> {
        Some(ETags::parse(&self.header_bytes("If-None-Match")?))
    }

    /// The ranges that the client asks for; `None` for the whole, or if the field is malformed, which means the same.
    pub fn range(&self) -> Option<ByteRanges> {
        ByteRanges::parse(&self.header_bytes("Range")?)
    }

    /// Sets the limits of forms, before the first call of [`form`](Request::form) or [`files`](Request::files).
    pub fn set_form_limits(&mut self, limits: FormLimits) {
        self.form_limits = limits;
    }

    /// The fields of a form in the body; empty if the body is none.
    ///
    /// # Errors
    /// A form that is malformed, beyond a limit, or that can't be read: 400, 408, 413 or 415.
    pub fn form(&mut self) -> Result<&MultiDict, HttpError> {
        Ok(&self.form_data()?.fields)
    }

    /// The files of a form in the body, as [`form`](Request::form).
    ///
    /// # Errors
    /// The same as `form`.
    pub fn files(&mut self) -> Result<&form::Files, HttpError> {
        Ok(&self.form_data()?.files)
    }

    /// The fields and files of a form in the body.
    ///
    /// # Errors
    /// The same as [`form`](Request::form).
    pub fn form_data(&mut self) -> Result<&FormData, HttpError> {
        if self.form.is_none() {
            let parsed = match &self.data {
                // The body of a stream can be read only once, and `get_data` has done that.
                Some(data) => {
                    let content_type = self.environ.get("CONTENT_TYPE").unwrap_or_default();
                    form::parse(&content_type, form::Source::Bytes(data), &self.form_limits)
                }
                None => form::parse_form(self.environ, &self.form_limits),
            };
            let form = parsed.map_err(HttpError::from).inspect_err(|error| {
                let refused = RefusedForm { status: error.status(), description: error.description().to_owned() };
                self.form = Some(Err(refused));
            })?;
            self.form = Some(Ok(form));
        }
        match &self.form {
            Some(Ok(form)) => Ok(form),
            Some(Err(refused)) => Err(HttpError::new(refused.status).with_description(&refused.description)),
            None => Err(HttpError::new(500)),
        }
    }

    /// The fields and files of a form in the body, as values of their own: the request can be used beside them. A later
    /// call finds an empty form.
    ///
    /// # Errors
    /// The same as [`form`](Request::form).
    pub fn take_form_data(&mut self) -> Result<FormData, HttpError> {
        self.form_data()?;
        match &mut self.form {
            Some(Ok(form)) => Ok(std::mem::take(form)),
            _ => Ok(FormData::default()),
        }
    }

    /// Sets the largest body that [`get_data`](Request::get_data), [`text`](Request::text) and `json` read into memory,
    /// in bytes; 64 MiB. Of a larger one, [`environ_mut`](Request::environ_mut) has the input as a stream.
    pub fn set_max_data(&mut self, bytes: u64) {
        self.max_data = bytes;
    }

    /// The whole body. It is read once and remembered.
    ///
    /// # Errors
    /// A body that can't be read to its end (400, 408 or 413), that is larger than
    /// [`set_max_data`](Request::set_max_data) allows (413), or that arrives as a stream and was read as a form (500).
    pub fn get_data(&mut self) -> Result<&[u8], HttpError> {
        if self.data.is_none() {
            let max = self.max_data;
            let too_large =
                || HttpError::new(413).with_description(format!("The body of the request is larger than {max} bytes."));
            if self.environ.input().length().is_some_and(|length| length > max) {
                return Err(too_large());
            }
            let is_consumed = self.form.is_some() && form::is_form(&self.mimetype());
            let collected = match self.environ.input().collected() {
                // Complete, also if something has read a part of it.
                Some(Collected::Bytes(bytes)) => Some(bytes.to_vec()),
                Some(_) => None,
                None if is_consumed => {
                    let why = "the form has consumed the body, which arrives as a stream: call get_data before form";
                    return Err(HttpError::from_app_error(why.into()));
                }
                None => None,
            };
            let data = match collected {
                Some(data) => data,
                None => {
                    let mut data = Vec::new();
                    self.environ.input().take(max.saturating_add(1)).read_to_end(&mut data)?;
                    data
                }
            };
            if data.len() as u64 > max {
                return Err(too_large());
            }
            self.data = Some(data);
        }
        Ok(self.data.as_deref().unwrap_or_default())
    }

    /// The whole body as text.
    ///
    /// # Errors
    /// As [`get_data`](Request::get_data), and 400 for text that is not UTF-8.
    pub fn text(&mut self) -> Result<&str, HttpError> {
        std::str::from_utf8(self.get_data()?)
            .map_err(|_| HttpError::bad_request("The body of the request is not text in UTF-8."))
    }
}

/// The header fields in an environ, with the usual spelling of their names.
pub(crate) fn environ_headers(environ: &Environ<'_>) -> Headers {
    let fields = environ.iter().filter_map(|(key, value)| {
        let name = match &*key {
            "CONTENT_TYPE" | "CONTENT_LENGTH" => &key,
            key => key.strip_prefix("HTTP_")?,
        };
        Some((title_case(name), value.into_bytes()))
    });
    fields.collect()
}

/// The usual spelling of a field name, from a key such as `USER_AGENT`.
fn title_case(key: &str) -> String {
    let mut starts_word = true;
    let letters = key.chars().map(|letter| {
        let starts = std::mem::replace(&mut starts_word, letter == '_');
        match letter {
            '_' => '-',
            letter if starts => letter,
            letter => letter.to_ascii_lowercase(),
        }
    });
    letters.collect()
}

#[cfg(test)]
mod tests;
