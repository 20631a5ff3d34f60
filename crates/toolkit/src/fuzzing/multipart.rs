//! `multipart`: a form is the same in whatever pieces it arrives, and the same that a simple reader finds.

use std::io::{self, Read};

use super::reference;
use crate::form::multipart::{Delimiter, PartHead};
use crate::form::{only_parameter, parse, secure_filename, FormData, FormErrorKind, FormLimits, Source};
use crate::MultiDict;

/// The maximum length for which the input is fed byte by byte; longer inputs would take long and rarely find more.
const BYTE_BY_BYTE: usize = 2000;

/// Parses a form. The first byte of the input chooses the limits, four place two cuts; then a Content-Type up to the
/// first LF, and the body.
///
/// - The fields, files and errors are the same whether the body is collected, streamed whole, cut in two places or byte
///   by byte, and whether files are kept in memory or in a temporary file.
/// - There is never more data than input. An error has a status of 4xx.
/// - A multipart body is accepted exactly when the reference reads it and the limits hold, with the same parts.
/// - A file name that is made secure has no separators and only the characters that are promised.
pub fn multipart(data: &[u8]) {
    let (&[option, a, b, c, d], input) = data.split_first_chunk::<5>().unwrap_or((&[0; 5], b""));
    let line = input.iter().position(|&byte| byte == b'\n').unwrap_or(input.len());
    let (content_type, body) = (&input[..line], input.get(line + 1..).unwrap_or_default());
    let limits = limits(option);
    let position = |bytes| usize::from(u16::from_le_bytes(bytes)) % (body.len() + 1);
    let mut cuts = [position([a, b]), position([c, d])];
    cuts.sort_unstable();

    let form = parse(content_type, Source::Bytes(body), &limits);
    let whole = summary(&form);
    let check = |cuts: &[usize]| {
        let mut pieces = Pieces { body, at: 0, cuts: cuts.to_vec() };
        let streamed = summary(&parse(content_type, Source::Stream(&mut pieces), &limits));
        assert_eq!(streamed, whole, "cut at {cuts:?}: {}", input.escape_ascii());
    };
    check(&[]);
    check(&cuts);
    if body.len() <= BYTE_BY_BYTE {
        check(&(1..body.len()).collect::<Vec<_>>());
    }
    match &form {
        Ok(form) => check_form(form, body),
        Err(error) => assert!(matches!(error.status(), 400 | 413 | 415), "{error:?}"),
    }
    compare(content_type, body, &limits, &whole.ok());
}

/// The default limits, or tiny ones, with which files go to a temporary file at once.
fn limits(option: u8) -> FormLimits {
    let mut limits = FormLimits::default();
    if option & 1 == 1 {
        (limits.parts, limits.fields_memory, limits.spool) = (3, 200, 4);
        (limits.part_headers, limits.headers_per_part) = (120, 2);
    }
    limits
}

/// Fields as pairs; files as names, header fields and bytes.
#[derive(Debug, PartialEq)]
struct Summary {
    fields: MultiDict,
    files: Vec<(PartHead, Vec<u8>)>,
}

fn summary(form: &Result<FormData, crate::form::FormError>) -> Result<Summary, String> {
    let form = form.as_ref().map_err(|error| format!("{error:?}"))?;
    let files = form.files.iter().map(|file| {
        let head = PartHead {
            name: file.name().to_owned(),
            filename: Some(file.filename().to_owned()),
            headers: file.headers().clone(),
        };
        (head, file.bytes(u64::MAX).expect("a file of a form is readable"))
    });
    Ok(Summary { fields: form.fields.clone(), files: files.collect() })
}

fn check_form(form: &FormData, body: &[u8]) {
    let files: u64 = form.files.iter().map(|file| file.size()).sum();
    assert!(files <= body.len() as u64, "the files are larger than the body");
    for file in &form.files {
        let name = secure_filename(file.filename());
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
        assert!(name.bytes().all(allowed) && !name.starts_with('.') && !name.ends_with('.'), "{name:?}");
        assert_eq!(secure_filename(&name).trim_start_matches('_'), name.trim_start_matches('_'), "it is stable");
    }
}

/// Compares with the reference, if the body is of a multipart form.
fn compare(content_type: &[u8], body: &[u8], limits: &FormLimits, found: &Option<Summary>) {
    if !content_type.to_ascii_lowercase().starts_with(b"multipart/form-data;") {
        return;
    }
    let Ok(Some(boundary)) = only_parameter(content_type, b"boundary", FormErrorKind::Boundary) else {
        assert!(found.is_none(), "a form without a boundary was accepted");
        return;
    };
    let expected = Delimiter::new(&boundary).ok().and_then(|_| expected(body, &boundary, limits));
    assert_eq!(*found, expected, "{}", body.escape_ascii());
}

fn expected(body: &[u8], boundary: &[u8], limits: &FormLimits) -> Option<Summary> {
    let mut summary = Summary { fields: MultiDict::default(), files: Vec::new() };
    let mut memory = 0;
    for (section, data) in reference::split(body, boundary, limits)? {
        let head = PartHead::parse(&section, &[b"--", boundary].concat()).ok()?;
        memory += section.len();
        match head.filename.as_deref() {
            None => {
                memory += data.len();
                summary.fields.add(head.name, String::from_utf8_lossy(&data));
            }
            Some("") if data.is_empty() => {}
            Some(_) => summary.files.push((head, data)),
        }
    }
    (memory <= limits.fields_memory).then_some(summary)
}

/// A stream that ends each read at the next cut.
struct Pieces<'a> {
    body: &'a [u8],
    at: usize,
    cuts: Vec<usize>,
}

impl Read for Pieces<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let next = self.cuts.partition_point(|&cut| cut <= self.at);
        let end = self.cuts.get(next).copied().unwrap_or(self.body.len());
        let count = (&self.body[self.at..end]).read(buffer)?;
        self.at += count;
        Ok(count)
    }
}
