//! The status line and the fields of the response that a thread has begun last.
//!
//! Most applications send the same few heads again and again. Comparing a head with the last one and copying it costs
//! a quarter of checking and appending it part by part.

use super::error::ResponseError;
use super::response::ResponseHead;

/// The maximum size in bytes of a head that is kept.
const MAX_KEPT: usize = 1024;
/// A head that differs from the one that is kept replaces it only each time that this number of heads has differed in a
/// row, so that heads that never repeat cost little.
pub(super) const REPLACED_AFTER: u32 = 8;

/// A head that was checked and appended before.
#[derive(Default)]
pub(crate) struct RepeatedHead {
    status: String,
    fields: Vec<(String, Vec<u8>)>,
    /// What was appended; `None` before the first head.
    appended: Option<(ResponseHead, Vec<u8>)>,
    /// How many heads in a row have differed.
    misses: u32,
}

impl RepeatedHead {
    /// As [`ResponseHead::start`], which does the work if the head differs from the last one.
    #[inline]
    pub(crate) fn start(
        &mut self,
        out: &mut Vec<u8>,
        status: &str,
        fields: &[(&str, &[u8])],
    ) -> Result<ResponseHead, ResponseError> {
        if let Some((head, bytes)) = self.appended.as_ref().filter(|_| self.is(status, fields)) {
            self.misses = 0;
            out.extend_from_slice(bytes);
            return Ok(*head);
        }
        self.start_other(out, status, fields)
    }

    #[inline]
    fn is(&self, status: &str, fields: &[(&str, &[u8])]) -> bool {
        self.status == status
            && self.fields.len() == fields.len()
            && self.fields.iter().zip(fields).all(|(kept, field)| kept.0 == field.0 && kept.1 == field.1)
    }

    #[inline(never)]
    fn start_other(
        &mut self,
        out: &mut Vec<u8>,
        status: &str,
        fields: &[(&str, &[u8])],
    ) -> Result<ResponseHead, ResponseError> {
        let begin = out.len();
        let head = ResponseHead::start(out, status, fields.iter().copied())?;
        self.misses += 1;
        let is_first = self.appended.is_none();
        if (is_first || self.misses >= REPLACED_AFTER) && out.len() - begin <= MAX_KEPT {
            self.misses = 0;
            status.clone_into(&mut self.status);
            self.fields.clear();
            self.fields.extend(fields.iter().map(|(name, value)| ((*name).to_owned(), value.to_vec())));
            self.appended = Some((head, out[begin..].to_vec()));
        }
        Ok(head)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_the_same_whether_it_repeats_or_not() {
        let mut repeated = RepeatedHead::default();
        type Fields = &'static [(&'static str, &'static [u8])];
        let heads: [(&str, Fields); 6] = [
            ("200 OK", &[("Content-Type", b"text/plain"), ("Content-Length", b"3")]),
            ("200 OK", &[("Content-Type", b"text/plain"), ("Content-Length", b"4")]),
            ("200 OK", &[("Content-Type", b"text/plain")]),
            ("200 OK", &[("content-type", b"text/plain")]),
            ("404 Not Found", &[("Content-Type", b"text/plain")]),
            ("200 OK", &[]),
        ];
        // Each head several times in a row, so that each is kept at some time.
        for (status, fields) in heads.iter().flat_map(|head| vec![head; REPLACED_AFTER as usize + 2]) {
            for _ in 0..2 {
                let (mut expected, mut out) = (b"before".to_vec(), b"before".to_vec());
                let wanted = ResponseHead::start(&mut expected, status, fields.iter().copied()).unwrap();
                let head = repeated.start(&mut out, status, fields).unwrap();
                assert_eq!(String::from_utf8_lossy(&out), String::from_utf8_lossy(&expected));
                assert_eq!(format!("{head:?}"), format!("{wanted:?}"));
            }
            assert_eq!(repeated.appended.as_ref().map(|(_, bytes)| bytes.is_empty()), Some(false));
        }
        assert!(repeated.is("200 OK", &[]), "the last head is kept by now");
    }

    #[test]
    fn a_head_that_is_refused_is_not_kept() {
        let mut repeated = RepeatedHead::default();
        for _ in 0..2 * REPLACED_AFTER {
            let mut out = b"before".to_vec();
            assert!(repeated.start(&mut out, "200 OK", &[("A", b"b\r\nc: d")]).is_err());
            assert_eq!(out, b"before");
        }
        assert!(repeated.appended.is_none());
    }
}
