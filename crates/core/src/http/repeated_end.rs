//! The end of the head that a thread has completed last: `Server`, `Date` and the framing fields.
//!
//! Within a second, most responses of an application end their heads in the same way. Comparing what an end depends on
//! and copying the last one costs a quarter of composing it.

use std::sync::Arc;

use super::date::imf_fixdate;
use super::repeated_head::REPLACED_AFTER;
use super::response::{date_line, ResponseContext, ResponseHead, ResponsePlan};

/// What the end of a head depends on.
pub(crate) struct HeadEnding<'a> {
    pub(crate) head: &'a ResponseHead,
    pub(crate) context: ResponseContext,
    /// The length of the body in bytes, if it is known.
    pub(crate) length: Option<u64>,
    /// The time in `Date`, in Unix seconds.
    pub(crate) second: u64,
    /// The complete line of `Server`, empty for none. Equal lines are the same only in the same allocation.
    pub(crate) server_line: &'a Arc<str>,
}

/// The ends of heads that one thread completes.
#[derive(Default)]
pub(crate) struct RepeatedEnd {
    kept: Option<KeptEnd>,
    /// How many ends in a row have differed.
    misses: u32,
    /// The line of `Date`, and the Unix time in seconds for which it was formatted.
    date: Option<(u64, [u8; 37])>,
}

/// An end that was appended before, and what it depends on.
struct KeptEnd {
    head: ResponseHead,
    context: ResponseContext,
    length: Option<u64>,
    second: u64,
    server_line: Arc<str>,
    plan: ResponsePlan,
    appended: Vec<u8>,
}

impl KeptEnd {
    #[inline]
    fn is(&self, ending: &HeadEnding<'_>) -> bool {
        self.second == ending.second
            && self.length == ending.length
            && self.head == *ending.head
            && self.context == ending.context
            && Arc::ptr_eq(&self.server_line, ending.server_line)
    }
}

impl RepeatedEnd {
    /// As [`ResponseHead::finish`], which does the work if the end differs from the last one.
    #[inline]
    pub(crate) fn finish(&mut self, out: &mut Vec<u8>, ending: &HeadEnding<'_>) -> ResponsePlan {
        if let Some(kept) = self.kept.as_ref().filter(|kept| kept.is(ending)) {
            self.misses = 0;
            out.extend_from_slice(&kept.appended);
            return kept.plan;
        }
        self.finish_other(out, ending)
    }

    #[inline(never)]
    fn finish_other(&mut self, out: &mut Vec<u8>, ending: &HeadEnding<'_>) -> ResponsePlan {
        let &HeadEnding { head, context, length, second, server_line } = ending;
        let date = match self.date {
            Some((formatted_for, line)) if formatted_for == second => line,
            _ => self.date.insert((second, date_line(&imf_fixdate(second)))).1,
        };
        let begin = out.len();
        let plan = head.finish_with_lines(out, context, length, &date, server_line);
        self.misses += 1;
        if self.kept.is_none() || self.misses >= REPLACED_AFTER {
            self.misses = 0;
            let (head, server_line, appended) = (*head, server_line.clone(), out[begin..].to_vec());
            self.kept = Some(KeptEnd { head, context, length, second, server_line, plan, appended });
        }
        plan
    }
}

#[cfg(test)]
mod tests {
    use super::super::version::Version;
    use super::*;

    #[test]
    fn an_end_is_the_same_whether_it_repeats_or_not() {
        let start = |status, fields: &[(&'static str, &'static [u8])]| {
            ResponseHead::start(&mut Vec::new(), status, fields.iter().copied()).unwrap()
        };
        let heads = [
            start("200 OK", &[]),
            start("204 No Content", &[]),
            start("200 OK", &[("Content-Length", b"3")]),
            start("200 OK", &[("Date", b"today")]),
            start("200 OK", &[("Server", b"mine")]),
        ];
        let context = ResponseContext { version: Version::Http11, head: false, keep_alive: true };
        let contexts = [
            context,
            ResponseContext { version: Version::Http10, ..context },
            ResponseContext { head: true, ..context },
            ResponseContext { keep_alive: false, ..context },
        ];
        let server_lines: [Arc<str>; 3] = ["Server: a\r\n".into(), "Server: a\r\n".into(), "".into()];
        let mut ends = Vec::new();
        for head in heads {
            for context in contexts {
                for length in [None, Some(3), Some(4)] {
                    for second in [0, 1] {
                        ends.extend(server_lines.iter().map(|line| (head, context, length, second, line)));
                    }
                }
            }
        }
        let mut repeated = RepeatedEnd::default();
        // Each end twice in a row, then each so often in a row that each is kept at some time.
        for times in [2, REPLACED_AFTER + 2] {
            for &(head, context, length, second, server_line) in &ends {
                let (mut expected, date) = (b"before".to_vec(), date_line(&imf_fixdate(second)));
                let wanted = head.finish_with_lines(&mut expected, context, length, &date, server_line);
                let ending = HeadEnding { head: &head, context, length, second, server_line };
                for _ in 0..times {
                    let mut out = b"before".to_vec();
                    let plan = repeated.finish(&mut out, &ending);
                    assert_eq!(String::from_utf8_lossy(&out), String::from_utf8_lossy(&expected));
                    assert_eq!(plan, wanted);
                }
                if times > REPLACED_AFTER {
                    assert!(repeated.kept.as_ref().unwrap().is(&ending));
                }
            }
        }
    }
}
