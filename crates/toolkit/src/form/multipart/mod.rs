//! `multipart/form-data` (RFC 7578): reads a body, and makes fields and files of the parser's events.

mod boundary;
mod parser;
pub(super) mod part_head;

use std::io::{self, Read};

pub(crate) use boundary::Delimiter;
pub(crate) use parser::{Event, Parser};
pub(crate) use part_head::PartHead;

use super::error::{FormError, FormErrorKind};
use super::file_part::FilePart;
use super::limits::FormLimits;
use super::source::{check_total, FileRange, Source};
use super::storage::Store;
use super::FormData;

/// The number of bytes that are read at once.
const BLOCK: usize = 64 * 1024;

/// Reads a form from a body with this boundary.
pub(super) fn parse(boundary: &[u8], source: Source<'_>, limits: &FormLimits) -> Result<FormData, FormError> {
    let parser = Parser::new(Delimiter::new(boundary)?, limits);
    check_total(source.length().unwrap_or_default(), limits)?;
    match source {
        Source::Bytes(bytes) => {
            let mut reader = FormReader::new(parser, Store::memory(), 0, limits);
            let consumed = reader.feed(bytes)?;
            reader.finish(&bytes[consumed..])
        }
        Source::File(file, range) => {
            let store = Store::ranges(file).map_err(FormErrorKind::Storage)?;
            FormReader::new(parser, store, range.start, limits).read_from(&mut FileRange { file, range })
        }
        Source::Stream(stream) => FormReader::new(parser, Store::spool(limits), 0, limits).read_from(stream),
    }
}

/// A form that is being read.
struct FormReader<'l> {
    parser: Parser,
    store: Store,
    limits: &'l FormLimits,
    /// The position in the body of the next byte that is not consumed.
    offset: u64,
    /// The number of bytes of all part headers and field values.
    memory: usize,
    part: Part,
    form: FormData,
    done: bool,
}

/// The current part.
enum Part {
    None,
    Field { name: String, value: Vec<u8> },
    File(PartHead),
}

impl<'l> FormReader<'l> {
    fn new(parser: Parser, store: Store, offset: u64, limits: &'l FormLimits) -> FormReader<'l> {
        let form = FormData::default();
        FormReader { parser, store, limits, offset, memory: 0, part: Part::None, form, done: false }
    }

    /// Reads blocks until the form is complete.
    fn read_from(mut self, source: &mut dyn Read) -> Result<FormData, FormError> {
        let mut buffer = vec![0; BLOCK];
        let (mut filled, mut total) = (0, 0);
        while !self.done {
            // A header section may be longer than a block, if the limits allow it.
            if filled == buffer.len() {
                buffer.resize(2 * filled, 0);
            }
            let count = match source.read(&mut buffer[filled..]) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(FormErrorKind::Input(error).into()),
            };
            filled += count;
            total += count as u64;
            check_total(total, self.limits)?;
            let consumed = self.feed(&buffer[..filled])?;
            buffer.copy_within(consumed..filled, 0);
            filled -= consumed;
        }
        self.finish(&buffer[..filled])
    }

    /// Takes bytes that follow the consumed ones; returns the number of bytes that are now consumed.
    fn feed(&mut self, input: &[u8]) -> Result<usize, FormError> {
        let mut at = 0;
        while !self.done {
            let step = self.parser.step(&input[at..])?;
            match step.event {
                None => {
                    at += step.consumed;
                    break;
                }
                Some(Event::Part(head, length)) => self.begin_part(head, length)?,
                Some(Event::Data(range)) => {
                    let (data, position) = (at + range.start..at + range.end, at + range.start);
                    self.data(&input[data], self.offset + position as u64)?;
                }
                Some(Event::PartEnd) => self.end_part(),
                Some(Event::End) => self.done = true,
            }
            at += step.consumed;
        }
        self.offset += at as u64;
        Ok(at)
    }

    fn finish(self, rest: &[u8]) -> Result<FormData, FormError> {
        self.parser.finish(rest)?;
        Ok(self.form)
    }

    fn begin_part(&mut self, head: PartHead, length: usize) -> Result<(), FormError> {
        self.count_memory(length)?;
        self.part = match head.filename {
            Some(_) => Part::File(head),
            None => Part::Field { name: head.name, value: Vec::new() },
        };
        Ok(())
    }

    fn data(&mut self, bytes: &[u8], offset: u64) -> Result<(), FormError> {
        if let Part::Field { .. } = self.part {
            self.count_memory(bytes.len())?;
        }
        match &mut self.part {
            Part::None => {}
            Part::Field { value, .. } => value.extend_from_slice(bytes),
            Part::File(_) => self.store.write(bytes, offset).map_err(FormErrorKind::Storage)?,
        }
        Ok(())
    }

    fn end_part(&mut self) {
        match std::mem::replace(&mut self.part, Part::None) {
            Part::None => {}
            Part::Field { name, value } => self.form.fields.add(name, into_text(value)),
            Part::File(head) => {
                let content = self.store.end();
                // Browsers send such a part for a file input in which no file was chosen.
                if head.filename.as_deref() != Some("") || content.len() > 0 {
                    self.form.files.push(FilePart::new(head, content));
                }
            }
        }
    }

    fn count_memory(&mut self, count: usize) -> Result<(), FormError> {
        self.memory += count;
        if self.memory > self.limits.fields_memory {
            return Err(FormErrorKind::FieldsTooLarge(self.limits.fields_memory).into());
        }
        Ok(())
    }
}

/// Text in UTF-8; other bytes are replaced with U+FFFD. The charset of a part (RFC 7578 §4.5) and a field `_charset_`
/// (§4.6) are not used: browsers send forms in UTF-8, and a client must not choose how a filter reads its text.
fn into_text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

#[cfg(test)]
mod tests;
