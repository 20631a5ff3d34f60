//! The `Accept` fields: what a client prefers (RFC 9110 §12.4 and §12.5).

/// The values of an `Accept`, `Accept-Language` or `Accept-Encoding` field with their weights.
///
/// ```
/// use amboss_toolkit::Accept;
/// let accept = Accept::parse(Some("text/html, application/json;q=0.9, */*;q=0.1"));
/// assert_eq!(accept.quality("application/json"), 0.9);
/// assert_eq!(accept.best_match(&["application/json", "text/html"]), Some("text/html"));
/// assert_eq!(accept.best_match(&["image/png"]), Some("image/png"));
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Accept {
    /// In the order in which they were sent. `None`: the field was not sent, and everything is accepted.
    values: Option<Vec<(String, f32)>>,
}

impl Accept {
    /// Parses a field. A weight that is no number from 0 to 1 counts as 0, so that a broken value is not preferred.
    pub fn parse(field: Option<&str>) -> Accept {
        let values = field.map(|field| {
            let items = field.split(',').map(str::trim).filter(|item| !item.is_empty());
            items.map(parse_item).collect()
        });
        Accept { values }
    }

    /// The weight of a value, from 0 (not accepted) to 1. The most specific range that matches decides: `text/html`
    /// before `text/*` before `*/*`, and `de-AT` before `de` before `*`.
    pub fn quality(&self, value: &str) -> f32 {
        let Some(values) = &self.values else { return 1.0 };
        let matching = values.iter().filter_map(|(range, quality)| Some((specificity(range, value)?, *quality)));
        let best = matching.max_by(|(left, _), (right, _)| left.cmp(right));
        best.map_or(0.0, |(_, quality)| quality)
    }

    /// The offered value that the client prefers; `None` if it accepts none. Of equal ones, the first offered. A client
    /// that asks for `de-AT` also gets `de`, if nothing fits better (RFC 4647 §3.4).
    pub fn best_match<'o>(&self, offered: &[&'o str]) -> Option<&'o str> {
        let mut best = None;
        for value in offered {
            let quality = self.quality(value);
            if quality > best.map_or(0.0, |(_, quality)| quality) {
                best = Some((*value, quality));
            }
        }
        best.map(|(value, _)| value).or_else(|| self.look_up(offered))
    }

    /// The offered language of the most preferred range that begins with it, and that the client has not refused.
    fn look_up<'o>(&self, offered: &[&'o str]) -> Option<&'o str> {
        let values = self.values();
        let is_refused =
            |language: &str| values.iter().any(|(range, quality)| *quality == 0.0 && same_language(range, language));
        values.iter().filter(|(range, quality)| *quality > 0.0 && !range.contains('/')).find_map(|(range, _)| {
            let mut shorter = *range;
            while let Some(end) = shorter.rfind('-') {
                shorter = &shorter[..end];
                let found = offered.iter().find(|language| same_language(shorter, language) && !is_refused(language));
                if let Some(language) = found {
                    return Some(*language);
                }
            }
            None
        })
    }

    /// The values with their weights, the preferred ones first; empty if the field was not sent.
    pub fn values(&self) -> Vec<(&str, f32)> {
        let values = self.values.iter().flatten();
        let mut values: Vec<_> = values.map(|(value, quality)| (value.as_str(), *quality)).collect();
        values.sort_by(|(_, left), (_, right)| right.total_cmp(left));
        values
    }
}

/// Whether two language tags are equal; applications write `de_AT`, too.
fn same_language(range: &str, language: &str) -> bool {
    let hyphen = |byte| if byte == b'_' { b'-' } else { byte };
    range.len() == language.len()
        && range.bytes().zip(language.bytes()).all(|(left, right)| left.eq_ignore_ascii_case(&hyphen(right)))
}

/// Splits a value from its weight. Other parameters stay with the value.
fn parse_item(item: &str) -> (String, f32) {
    let mut quality = 1.0;
    let mut value = String::new();
    for part in item.split(';').map(str::trim) {
        match part.strip_prefix(['q', 'Q']).and_then(|rest| rest.trim_start().strip_prefix('=')) {
            Some(weight) if !value.is_empty() => {
                quality = weight.trim().parse().ok().filter(|weight| (0.0..=1.0).contains(weight)).unwrap_or(0.0);
            }
            _ if value.is_empty() => value = part.to_ascii_lowercase(),
            _ => value = value + ";" + &part.to_ascii_lowercase(),
        }
    }
    (value, quality)
}

/// How specifically a range matches a value: more for a longer range. `None` if it does not match.
fn specificity(range: &str, value: &str) -> Option<usize> {
    if range == "*" || range == "*/*" {
        return Some(0);
    }
    if let Some(group) = range.strip_suffix("/*") {
        let (kind, _) = value.split_once('/')?;
        return kind.eq_ignore_ascii_case(group).then_some(1);
    }
    if range.eq_ignore_ascii_case(value) || !range.contains('/') && same_language(range, value) {
        return Some(range.len() + 2);
    }
    // RFC 4647 §3.3.1: a language range matches the languages that it is a prefix of; and a media range without
    // parameters matches the type with parameters.
    let rest = value.get(range.len()..).filter(|_| value[..range.len()].eq_ignore_ascii_case(range))?;
    (rest.starts_with('-') && !range.contains('/') || rest.starts_with(';')).then_some(range.len() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_more_specific_language_range_finds_the_language() {
        for (field, offered, best) in [
            ("de-AT", &["en", "de"][..], Some("de")),
            ("en-US, de;q=0.5", &["de", "en"], Some("de")),
            ("zh-Hant-TW", &["zh-TW", "zh"], Some("zh")),
            ("fr-CA, de-AT;q=0.9", &["de", "fr"], Some("fr")),
            ("en-US", &["en_US", "en"], Some("en_US")),
            ("en-US, en;q=0", &["en"], None),
            ("de-AT;q=0", &["de"], None),
        ] {
            assert_eq!(Accept::parse(Some(field)).best_match(offered), best, "{field}");
        }
    }

    #[test]
    fn the_most_specific_range_decides() {
        let browser = "text/html,application/xhtml+xml,application/xml;q=0.9,image/webp,*/*;q=0.8";
        for (field, value, quality) in [
            (Some(browser), "text/html", 1.0),
            (Some(browser), "application/xml", 0.9),
            (Some(browser), "application/json", 0.8),
            (Some("text/*;q=0.5, text/html;q=0"), "text/html", 0.0),
            (Some("text/*;q=0.5, text/html;q=0"), "text/plain", 0.5),
            (Some("text/*"), "application/json", 0.0),
            (Some("TEXT/HTML ; Q = 0.3"), "text/html", 0.3),
            (Some("text/html"), "text/html;level=1", 1.0),
            (Some("de-AT, de;q=0.5, *;q=0.1"), "de-at", 1.0),
            (Some("de-AT, de;q=0.5, *;q=0.1"), "de-CH", 0.5),
            (Some("de-AT, de;q=0.5, *;q=0.1"), "fr", 0.1),
            (Some("de"), "deu", 0.0),
            (Some("gzip;q=x, br;q=2"), "gzip", 0.0),
            (Some("gzip;q=x, br;q=2"), "br", 0.0),
            (Some("gzip;q=NaN"), "gzip", 0.0),
            (Some(""), "gzip", 0.0),
            (Some("\u{e4}"), "\u{e4}", 1.0),
            (Some("aa"), "\u{20ac}", 0.0),
            (None, "anything", 1.0),
        ] {
            assert_eq!(Accept::parse(field).quality(value), quality, "{field:?} {value}");
        }
    }

    #[test]
    fn the_best_match_is_what_the_client_prefers() {
        let accept = Accept::parse(Some("text/plain;q=0.5, application/json, text/html"));
        assert_eq!(accept.best_match(&["text/plain", "text/html", "application/json"]), Some("text/html"));
        assert_eq!(accept.best_match(&["image/png"]), None);
        assert_eq!(Accept::parse(None).best_match(&["a", "b"]), Some("a"));
        let values: Vec<_> = accept.values().into_iter().map(|(value, _)| value).collect();
        assert_eq!(values, ["application/json", "text/html", "text/plain"]);
    }
}
