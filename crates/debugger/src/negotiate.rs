//! The choice of a format by the `Accept` field (RFC 9110 §12.5.1).

/// A form in which a report is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A page for browsers.
    Html,
    /// Plain text, for people who use a terminal.
    Text,
    /// A JSON document, for programs.
    Json,
}

impl Format {
    /// The value of `Content-Type`.
    pub fn content_type(self) -> &'static str {
        match self {
            Format::Html => "text/html; charset=utf-8",
            Format::Text => "text/plain; charset=utf-8",
            Format::Json => "application/json",
        }
    }
}

/// The formats with their media types, in order of preference among those that a client accepts equally. Text is first: a
/// client that accepts everything is `curl` or a script, and browsers ask for HTML by name.
const OFFERS: [(Format, (&str, &str)); 3] =
    [(Format::Text, ("text", "plain")), (Format::Html, ("text", "html")), (Format::Json, ("application", "json"))];

/// Chooses the format that the value of an `Accept` field prefers. Text is the answer to an empty value, to `*/*` and to
/// a client that accepts none of the formats.
///
/// ```
/// use amboss_debugger::{negotiate, Format};
/// assert_eq!(negotiate(b"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"), Format::Html);
/// assert_eq!(negotiate(b"application/json"), Format::Json);
/// assert_eq!(negotiate(b"*/*"), Format::Text);
/// ```
pub fn negotiate(accept: &[u8]) -> Format {
    let accept = String::from_utf8_lossy(accept);
    let ranges: Vec<Range<'_>> = accept.split(',').filter_map(Range::parse).collect();
    let mut best = (Format::Text, 0);
    for (format, media_type) in OFFERS {
        let quality = quality(&ranges, media_type);
        if quality > best.1 {
            best = (format, quality);
        }
    }
    best.0
}

/// A media range of an `Accept` field.
struct Range<'a> {
    main: &'a str,
    sub: &'a str,
    /// The quality value in thousandths.
    quality: u16,
}

impl<'a> Range<'a> {
    fn parse(text: &'a str) -> Option<Range<'a>> {
        let mut parts = text.split(';').map(str::trim);
        let (main, sub) = parts.next()?.split_once('/')?;
        let mut quality = 1000;
        for parameter in parts {
            if let Some((name, value)) = parameter.split_once('=') {
                if name.trim().eq_ignore_ascii_case("q") {
                    // A malformed weight is a client's mistake: it asks for nothing with it.
                    let weight = value.trim().parse::<f32>().ok().filter(|weight| (0.0..=1.0).contains(weight));
                    quality = weight.map_or(0, |weight| (weight * 1000.0) as u16);
                }
            }
        }
        Some(Range { main, sub, quality })
    }

    /// How precisely the range names this media type; `None` if it does not include it.
    fn precision(&self, (main, sub): (&str, &str)) -> Option<u8> {
        match (self.main, self.sub) {
            ("*", "*") => Some(0),
            (range, "*") if range.eq_ignore_ascii_case(main) => Some(1),
            (range, name) if range.eq_ignore_ascii_case(main) && name.eq_ignore_ascii_case(sub) => Some(2),
            _ => None,
        }
    }
}

/// The quality of a media type: that of the most precise range (RFC 9110 §12.5.1).
fn quality(ranges: &[Range<'_>], media_type: (&str, &str)) -> u16 {
    let included = ranges.iter().filter_map(|range| Some((range.precision(media_type)?, range.quality)));
    included.max().map_or(0, |(_, quality)| quality)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_format_is_what_the_client_prefers() {
        let cases: [(&str, Format); 19] = [
            ("", Format::Text),
            ("*/*", Format::Text),
            ("text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8", Format::Html),
            ("text/html", Format::Html),
            ("TEXT/HTML", Format::Html),
            ("application/xhtml+xml", Format::Text),
            ("text/plain", Format::Text),
            ("text/*", Format::Text),
            ("application/json", Format::Json),
            ("application/*", Format::Json),
            ("application/json, text/plain, */*", Format::Text),
            ("application/json, */*;q=0.5", Format::Json),
            ("text/html;q=0.5, application/json;q=0.9", Format::Json),
            ("text/html; q=0.9 , application/json ; Q=0.8", Format::Html),
            ("text/plain;q=0, */*", Format::Html),
            ("text/plain;q=0, text/html;q=0, */*;q=0.1", Format::Json),
            ("image/png", Format::Text),
            ("text/html;q=x, application/json;q=0.1", Format::Json),
            ("text/html;q=7, application/json;q=NaN, ;;, /, \u{fffd}", Format::Text),
        ];
        for (accept, format) in cases {
            assert_eq!(negotiate(accept.as_bytes()), format, "{accept}");
        }
        assert_eq!(negotiate(b"\xff\xfe, text/html"), Format::Html);
    }
}
